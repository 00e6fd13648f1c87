"""Exercises of notebook 05: a learning rate over a run, averaged weights, and how sure samples may be."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def rate_factor(step, steps_per_epoch, warmup_steps, decay_factor, decay_epochs):
    """What the learning rate is multiplied by: a ramp, then stairs down."""
    ramp = min(1.0, (step + 1) / warmup_steps)
    epoch = step // steps_per_epoch
    return ramp * decay_factor ** (epoch // decay_epochs)


def averaged(weights, decay):
    """The moving average after each update; its memory grows with the number of updates."""
    average, path = weights[0], []
    for n, weight in enumerate(weights[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * weight
        path.append(average)
    return np.array(path)


def spread_ratio(draws_KD, truth_D):
    """Deviation of the draws over what it would be if the truth were one more of them."""
    draws = len(draws_KD)
    variance = draws_KD.var(axis=0, ddof=1).mean()
    squared_error = ((draws_KD.mean(axis=0) - truth_D) ** 2).mean()
    return np.sqrt(variance * (draws + 1) / draws / squared_error)


def _check_rate(answer: Callable) -> str | None:
    def at(step: int) -> float:
        return float(returned(answer(step, 50, 20, 0.94, 100)))

    if np.isclose(at(0), 0.0):
        return "The first step has no rate at all, so it learns nothing: a ramp of 20 steps begins at 1/20."
    if not np.isclose(at(9), 0.5, rtol=1e-3):
        return f"At step 9 of a warm-up of 20 steps it gave {at(9):.4g} instead of 10/20."
    if np.isclose(at(5_000), 0.94**5_000) or np.isclose(at(5_000), 0.94**50):
        return "The decay falls once every 100 epochs, not every step or every 100 steps; 50 steps are an epoch."
    if np.isclose(at(7_500), 0.94**1.5, rtol=1e-3):
        return "It decays smoothly. The original's falls in stairs: whole hundreds of epochs count."
    wrong = [s for s in (19, 4_999, 5_000, 7_500, 10_000) if not np.isclose(at(s), rate_factor(s, 50, 20, 0.94, 100))]
    return f"At step {wrong[0]} it gave {at(wrong[0]):.4g}." if wrong else None


def _check_average(answer: Callable) -> str | None:
    weights = numpy_stream(0, "exercise 05-ex2").normal(1.0, 0.3, 60)
    got = np.asarray(returned(answer(weights, 0.9)), dtype=float)
    if got.shape != (59,):
        return f"The first weight is where the average starts; 59 updates follow, and you gave the shape {got.shape}."
    if np.allclose(got, averaged(weights, 0.9)):
        return None
    if np.isclose(got[0], 0.9 * weights[0] + 0.1 * weights[1]):
        return "The decay is 0.9 from the start: the random first weights stay in the average for long."
    if np.isclose(got[0], 9 / 11 * weights[0] + 2 / 11 * weights[1]):
        return "Old and new have changed places: the decay is the share of what was there."
    return "The average is not right: look at how the decay depends on the number n of the update, from 1 on."


def _check_spread(answer: Callable) -> str | None:
    draws = numpy_stream(0, "exercise 05-ex3")
    middle_D = draws.normal(0.0, 1.0, 4_000)
    made_KD, truth_D = middle_D + 0.2 * draws.normal(size=(3, 4_000)), middle_D + 0.2 * draws.normal(size=4_000)
    got = float(returned(answer(made_KD, truth_D)))
    right = spread_ratio(made_KD, truth_D)
    if np.isclose(got, right):
        return None
    if np.isclose(got, right**2):
        return "That is a ratio of variances; take the root."
    if np.isclose(got, 1 / right):
        return "Turned over: the draws' deviation goes on top."
    if np.isclose(got, right * np.sqrt(3 / 4)):
        return "A mean of 3 draws has an error of its own: the truth is off it by spread² (1 + 1/3) in square."
    if np.isclose(got, right * np.sqrt(2 / 3)):
        return "The variance of few draws about their own mean is too small; divide by K - 1."
    if np.isclose(got, right * np.sqrt(2 / 3) * np.sqrt(3 / 4)):
        return "Two corrections for few draws are missing: K - 1 in the variance, and (K + 1) / K for the mean's own error."
    return f"For draws and truth of one distribution it gave {got:.3g}; about 1 would be right."


EXERCISES = {
    "05-ex1": Exercise(
        answer="rate_factor",
        check=_check_rate,
        hints=(
            "Two factors: a ramp that ends at 1, and a power of decay_factor.",
            "The epoch is step // steps_per_epoch; the exponent is epoch // decay_epochs.",
            "min(1, (step + 1) / warmup_steps) * decay_factor ** (epoch // decay_epochs)",
        ),
        solution=source_of(rate_factor),
    ),
    "05-ex2": Exercise(
        answer="averaged",
        check=_check_average,
        hints=(
            "Start at weights[0]; each later weight moves the average a little towards itself.",
            "At update n, counted from 1, the decay is min(decay, (1 + n) / (10 + n)).",
            "average = d * average + (1 - d) * weight",
        ),
        solution=source_of(averaged),
    ),
    "05-ex3": Exercise(
        answer="spread_ratio",
        check=_check_spread,
        hints=(
            "Compare two things: the variance of the draws, and the squared error of their mean.",
            "If the truth is as one more draw, the mean of K draws is off by variance * (K + 1) / K in square.",
            "np.sqrt(variance * (K + 1) / K / squared_error), with draws_KD.var(axis=0, ddof=1).mean()",
        ),
        solution=source_of(spread_ratio),
    ),
}
