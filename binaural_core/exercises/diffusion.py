"""Exercises of notebook 03: noise in decibels, from v to noise, and weights that survive small noise."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def noise_db(alpha_bar):
    """Deviation of the noise in a cell beside the mel it covers, as a level."""
    return 7.25 * 20 / np.log(10) * np.sqrt((1 - alpha_bar) / alpha_bar)


def v_to_noise(v, x_t, alpha_bar):
    """The noise that a predicted velocity stands for."""
    return np.sqrt(alpha_bar) * v + np.sqrt(1 - alpha_bar) * x_t


def posterior_weights(x_t, mels_KD, alpha_bar):
    """How probable each of K mels is behind one noised mel."""
    squared_K = ((x_t - np.sqrt(alpha_bar) * mels_KD) ** 2).sum(axis=1)
    exponent_K = -squared_K / (2 * (1 - alpha_bar))
    likelihood_K = np.exp(exponent_K - exponent_K.max())
    return likelihood_K / likelihood_K.sum()


def _check_noise(answer: Callable) -> str | None:
    got = float(returned(answer(0.8)))
    if np.isclose(got, 31.4868, atol=1e-2):
        return None
    if np.isclose(got, 0.5):
        return "That is b / a in unit scale; one unit is half of 14.5 nepers, and a neper is 20 / ln 10 dB."
    if np.isclose(got, 62.9736, atol=2e-2):
        return "You are out by a factor of two: [-1, 1] is two units wide, so one unit is 7.25 nepers."
    if np.isclose(got, 28.1627, atol=1e-2):
        return "That is b alone. The mel has shrunk to a times itself, so the noise must be compared with a."
    if np.isclose(got, 15.7434, atol=1e-2):
        return "That is b² / a², a ratio of variances; a deviation is the root of it."
    return f"At alpha_bar = 0.8 it gave {got:.4g} dB instead of 31.49 dB."


def _check_v(answer: Callable) -> str | None:
    x_0, noise = numpy_stream(0, "exercise 03-ex2").standard_normal((2, 6))
    a, b = 0.8, 0.6
    x_t, v = a * x_0 + b * noise, a * noise - b * x_0
    got = np.asarray(returned(answer(v, x_t, a**2)), dtype=float)
    if got.shape == noise.shape and np.allclose(got, noise):
        return None
    if np.allclose(got, x_0):
        return "That is x_0, the other thing that v and x_t determine."
    if np.allclose(got, a**2 * v + b**2 * x_t):
        return "alpha_bar is a², not a: take its root."
    if np.allclose(got, a * v - b * x_t):
        return "One sign is turned round: put the definitions of v and x_t into your formula and see what cancels."
    return "Noise, turned into v and back, did not come back. Solve the two equations for e: what cancels x_0?"


def _check_weights(answer: Callable) -> str | None:
    draws = numpy_stream(0, "exercise 03-ex3")
    mels_KD, noise_D = draws.normal(0, 0.2, (4, 6)), draws.standard_normal(6)
    x_t = 0.6 * mels_KD[2] + 0.8 * noise_D
    got_K = np.asarray(returned(answer(x_t, mels_KD, 0.36)), dtype=float)
    if got_K.shape != (4,):
        return f"One weight for each of the 4 mels is wanted; you gave the shape {got_K.shape}."
    if not np.isclose(got_K.sum(), 1.0):
        return f"The weights must add up to 1; yours add up to {got_K.sum():.3g}."
    if not np.allclose(got_K, posterior_weights(x_t, mels_KD, 0.36)):
        return "The weights add up to 1 but are not Bayes': the exponent is -|x_t - a mel|² / (2 b²)."
    far_KD = np.array([[0.0] * 500, [1.0] * 500])
    with np.errstate(all="ignore"):
        sharp_K = np.asarray(answer(far_KD[1] + 0.3, far_KD, 0.999), dtype=float)
    if not np.allclose(sharp_K, [0.0, 1.0]):
        return "With little noise and many cells it gives NaN: exp(-60000) is 0, and 0 / 0 is nothing."
    return None


EXERCISES = {
    "03-ex1": Exercise(
        answer="noise_db",
        check=_check_noise,
        hints=(
            "In units of the mel, the noise of x_t = a x_0 + b e has the deviation b / a.",
            "a is the root of alpha_bar, b of 1 - alpha_bar; one unit is 7.25 nepers.",
            "7.25 * 20 / np.log(10) * np.sqrt((1 - alpha_bar) / alpha_bar)",
        ),
        solution=source_of(noise_db),
    ),
    "03-ex2": Exercise(
        answer="v_to_noise",
        check=_check_v,
        hints=(
            "Two equations, x_t = a x_0 + b e and v = a e - b x_0: get rid of x_0.",
            "Multiply the first by b and the second by a, and add; a² + b² = 1.",
            "e = a v + b x_t",
        ),
        solution=source_of(v_to_noise),
    ),
    "03-ex3": Exercise(
        answer="posterior_weights",
        check=_check_weights,
        hints=(
            "Bayes: the weight of mel k goes with p(x_t | mel k), a normal density around a mel k with deviation b.",
            "Only the exponents -|x_t - a mel|² / (2 b²) differ; a common factor cancels, and so does a common summand.",
            "Take the largest exponent away from all before np.exp; then divide by the sum.",
        ),
        solution=source_of(posterior_weights),
    ),
}
