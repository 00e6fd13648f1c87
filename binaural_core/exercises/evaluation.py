"""Exercises of notebook 09: errors of level and phase, how many clips are needed, and what guessing reaches."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def level_error_db(predicted_GT, true_GT, heard_GT):
    """Mean absolute difference of level differences (bands, blocks), over the cells that are heard."""
    return np.abs(predicted_GT - true_GT)[heard_GT].mean()


def phase_error_rad(predicted_KF, true_KF):
    """Mean absolute difference of phases, the short way round: 0 to pi."""
    turned_KF = np.exp(1j * (predicted_KF - true_KF))
    return np.abs(np.angle(turned_KF)).mean()


def clips_needed(first_n, second_n, half_width):
    """How many clips bring the 95 % interval of the mean paired difference down to +- half_width."""
    spread = np.std(np.asarray(first_n) - np.asarray(second_n), ddof=1)
    return int(np.ceil((1.96 * spread / half_width) ** 2))


def least_right(trials, alpha):
    """The least number of right answers that guessing reaches with a probability of alpha or less."""
    from math import comb

    for right in range(trials + 1):
        chance = sum(comb(trials, k) for k in range(right, trials + 1)) / 2**trials
        if chance <= alpha:
            return right
    return trials + 1


def _check_level_error(answer: Callable) -> str | None:
    draws = numpy_stream(0, "exercise 09-ex1")
    true_GT, off_GT = draws.normal(0, 6, (7, 5)), draws.normal(0, 2, (7, 5))
    heard_GT = draws.random((7, 5)) > 0.3
    got = np.asarray(returned(answer(true_GT + off_GT, true_GT, heard_GT)), dtype=float)
    if got.shape:
        return f"One number is wanted, and you gave the shape {got.shape}."
    off_h = off_GT[heard_GT]
    if np.isclose(got, np.abs(off_h).mean()):
        return None
    if np.isclose(abs(got), abs(off_h.mean())):
        return "Errors to the left and to the right cancel: a spectrum that is wrong everywhere may get 0."
    if np.isclose(got, np.sqrt((off_h**2).mean())):
        return "That is the root of the mean square; the package takes absolute values."
    if np.isclose(got, np.abs(off_GT).mean()):
        return "Cells that nobody hears count too: their level difference is that of noise."
    if np.isclose(got, np.abs(off_GT * heard_GT).mean()):
        return "Unheard cells count as free of error: divide by the number of heard cells."
    if np.isclose(got, np.abs(off_GT[~heard_GT]).mean()):
        return "You took the cells that are not heard."
    return f"It gave {got:.4g} instead of {np.abs(off_h).mean():.4g}."


def _check_phase_error(answer: Callable) -> str | None:
    def at(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return np.asarray(returned(answer(predicted, true)), dtype=float)

    if at(np.zeros((2, 3)), np.zeros((2, 3))).shape:
        return "One number is wanted: the mean over all bins and frames."
    near = at(np.full((1, 1), 3.1), np.full((1, 1), -3.1))
    if np.isclose(near, 6.2):
        return "Phases of 3.1 and -3.1 are neighbours, 0.083 apart, and you gave 6.2: wrap the difference."
    if np.isclose(near, 0):
        return "The difference of 3.1 and -3.1 is not 0: abs of each phase forgets its sign."
    if not np.isclose(near, 2 * np.pi - 6.2):
        return f"3.1 and -3.1 are 0.083 apart on the circle, and you gave {near:.4g}."
    if np.isclose(at(np.array([[0.5, -0.5]]), np.zeros((1, 2))), 0):
        return "Errors of 0.5 and -0.5 cancelled: take absolute values before the mean."
    draws = numpy_stream(0, "exercise 09-ex2")
    predicted_KF, true_KF = draws.uniform(-np.pi, np.pi, (2, 40, 30))
    got, right = at(predicted_KF, true_KF), phase_error_rad(predicted_KF, true_KF)
    return None if np.isclose(got, right) else f"For phases at random it gave {got:.4g} instead of {right:.4g}."


def _check_clips_needed(answer: Callable) -> str | None:
    draws = numpy_stream(0, "exercise 09-ex3")
    clips_n = draws.lognormal(0, 1, 24)
    first_n, second_n = clips_n + 0.3 + draws.normal(0, 0.2, 24), clips_n
    got, right = float(returned(answer(first_n, second_n, 0.02))), clips_needed(first_n, second_n, 0.02)
    if got == right:
        return None
    exact = (1.96 * np.std(first_n - second_n, ddof=1) / 0.02) ** 2
    unpaired = 1.96**2 * (first_n.var(ddof=1) + second_n.var(ddof=1)) / 0.02**2
    if np.isclose(got, exact) or got == np.floor(exact):
        return f"Clips come whole, and {exact:.2f} of them are not enough: round up."
    if got == np.ceil((1.96 * np.std(first_n - second_n) / 0.02) ** 2):
        return "Nearly: the spread in the population is asked for, so divide by n - 1 (ddof=1)."
    if abs(got - unpaired) <= 1.01 or abs(got - (1.96 * first_n.std(ddof=1) / 0.02) ** 2) <= 1.01:
        return f"{got:.0f} clips are what two separate samples need. Both versions are of the same clips: take differences."
    if abs(got - 4 * exact) <= 4.01 or abs(got - exact / 4) <= 1.01:
        return "A factor of four: half_width is from the mean to one end, not from end to end."
    if abs(got - np.sqrt(exact)) <= 1.01:
        return "The width falls with the root of the number of clips: square it."
    return f"It gave {got:.5g} instead of {right}."


def _check_least_right(answer: Callable) -> str | None:
    got = int(returned(answer(16, 0.05)))
    if got == 11:
        return "11 of 16 are reached by guessing in 10.5 % of all tests: count 11, and all numbers above it."
    if got == 13:
        return (
            "13 would do, but 12 of 16 are reached by guessing in 3.8 % only. Did you test both sides, or demand more?"
        )
    if got != 12:
        return f"Of 16 trials you ask for {got} right answers at 5 %; it is 12."
    if returned(answer(4, 0.0625)) != 4:
        return "4 of 4 has a probability of 0.0625, which is 0.0625 or less."
    if returned(answer(4, 0.05)) != 5:
        return "With 4 trials nobody can pass at 5 %: even 4 of 4 are guessed in 6 %. Give trials + 1 there."
    if returned(answer(10, 0.05)) == 8:
        return "Exactly 8 of 10 are rare (4.4 %), but 8 or more are guessed in 5.5 %: add up the tail."
    wrong = [(n, a) for n in (5, 10, 25, 100) for a in (0.1, 0.05, 0.01) if answer(n, a) != least_right(n, a)]
    if wrong:
        trials, alpha = wrong[0]
        return f"{trials} trials at {alpha:g}: it is {least_right(trials, alpha)}, not {answer(trials, alpha)}."
    return None


EXERCISES = {
    "09-ex1": Exercise(
        answer="level_error_db",
        check=_check_level_error,
        hints=(
            "Absolute values first, the mean last, and only over what is heard.",
            "An array of truth values picks cells: values_GT[heard_GT].",
            "np.abs(predicted_GT - true_GT)[heard_GT].mean()",
        ),
        solution=source_of(level_error_db),
    ),
    "09-ex2": Exercise(
        answer="phase_error_rad",
        check=_check_phase_error,
        hints=(
            "A phase is a point on a circle: subtract, then bring the difference into -pi to pi.",
            "np.angle of exp(1j * difference) does it, at any number of turns.",
            "np.abs(np.angle(np.exp(1j * (predicted_KF - true_KF)))).mean()",
        ),
        solution=source_of(phase_error_rad),
    ),
    "09-ex3": Exercise(
        answer="clips_needed",
        check=_check_clips_needed,
        hints=(
            "The interval of a mean of n values is about +- 1.96 s / sqrt(n). Which values, and whose s?",
            "s is the standard deviation (ddof=1) of first_n - second_n; solve for n, and round up.",
            "int(np.ceil((1.96 * np.std(first_n - second_n, ddof=1) / half_width) ** 2))",
        ),
        solution=source_of(clips_needed),
    ),
    "09-ex4": Exercise(
        answer="least_right",
        check=_check_least_right,
        hints=(
            "Of 2**trials ways to guess, math.comb(trials, k) have k right answers.",
            "The chance of `right` or more is the sum over k from right to trials; go up until it is alpha or less.",
            "sum(comb(trials, k) for k in range(right, trials + 1)) / 2**trials <= alpha",
        ),
        solution=source_of(least_right),
    ),
}
