"""Exercises of notebook 00: the level difference of the ears, and a head that is not there."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def level_difference_db(wave_EN):
    """Level of the left ear over the right one in dB."""
    energy_E = (np.asarray(wave_EN, dtype=float) ** 2).sum(axis=1)
    return 10 * np.log10(energy_E[0] / energy_E[1])


def delay_us(azimuth_deg, ear_distance_m=0.18, speed_m_s=343.0):
    """How much earlier a far source reaches the left of two points in free air."""
    return 1e6 * ear_distance_m * np.sin(np.radians(azimuth_deg)) / speed_m_s


def _check_level(answer: Callable) -> str | None:
    noise_N = numpy_stream(0, "exercise 00-ex1").standard_normal(4000)
    got = float(returned(answer(np.stack([noise_N, 0.5 * noise_N]))))
    if np.isclose(got, 6.0206, atol=1e-3):
        return None
    if np.isclose(got, -6.0206, atol=1e-3):
        return "The sign is turned round: positive means that the left ear is louder."
    if np.isclose(got, 3.0103, atol=1e-3):
        return "You are out by a factor of two: 20 log10 goes with amplitudes, 10 log10 with energies."
    return f"With a left ear twice the right one, it gave {got:.3f} dB instead of 6.021 dB."


def _check_delay(answer: Callable) -> str | None:
    if not np.isclose(float(returned(answer(0.0))), 0.0, atol=1e-6):
        return "Straight ahead both ears hear at once: the delay at 0° must be 0."
    got = float(returned(answer(90.0)))
    if np.isclose(got, -524.78, atol=0.5):
        return "The sign is turned round: +90° is left, and the left ear hears first."
    if not np.isclose(got, 524.78, atol=0.5):
        return f"At 90° it gave {got:.4g} µs; sound needs 524.8 µs for 0.18 m."
    if not np.isclose(float(answer(30.0)), 262.39, atol=0.5):
        return "90° is right, but 30° is not: only the part of the distance along the sound's way counts."
    return None


EXERCISES = {
    "00-ex1": Exercise(
        answer="level_difference_db",
        check=_check_level,
        hints=(
            "Energy is the sum of squares along the samples axis.",
            "Ten times the base-10 logarithm of left energy over right energy.",
        ),
        solution=source_of(level_difference_db),
    ),
    "00-ex2": Exercise(
        answer="delay_us",
        check=_check_delay,
        hints=(
            "A far source sends plane waves: draw the line from one point to the wave front through the other.",
            "The extra way is ear_distance_m times the sine of the azimuth.",
        ),
        solution=source_of(delay_us),
    ),
}
