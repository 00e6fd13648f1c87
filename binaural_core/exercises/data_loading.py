"""Exercises of notebook 01: the mirror, and the mask."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of


def mirror(wave_EN, image_HW3, azimuth_deg):
    """The same scene seen in a mirror."""
    return wave_EN[::-1], image_HW3[:, ::-1], -azimuth_deg


def mean_azimuth_deg(positions_LO3, mask_LO):
    """Mean azimuth of the objects that are there and whose place is known."""
    azimuth_LO = positions_LO3[..., 0]
    return azimuth_LO[~mask_LO & np.isfinite(azimuth_LO)].mean()


def _check_mirror(answer: Callable) -> str | None:
    wave_EN = np.arange(6.0).reshape(2, 3)
    image_HW3 = np.arange(24).reshape(2, 4, 3)
    wave, image, azimuth = returned(answer(wave_EN, image_HW3, 30.0))
    if np.array_equal(wave, wave_EN):
        return "The picture's left is the sound's left: when the picture turns, the ears must change places."
    if np.array_equal(wave, wave_EN[:, ::-1]):
        return "That plays the sound backwards: turn the ears axis, not the samples axis."
    if not np.array_equal(wave, wave_EN[::-1]):
        return "The wave is not the one with its two rows changed."
    if not np.array_equal(image, image_HW3[:, ::-1]):
        return "The picture must be turned along its width, axis 1, and along nothing else."
    if azimuth != -30.0:
        return "What was 30° to the left is 30° to the right in the mirror."
    return None


def _check_mean(answer: Callable) -> str | None:
    positions_LO3 = np.zeros((2, 3, 3))
    positions_LO3[..., 0] = [[10.0, 99.0, np.nan], [30.0, 20.0, 99.0]]
    mask_LO = np.array([[False, True, False], [False, False, True]])
    got = float(returned(answer(positions_LO3, mask_LO)))
    if np.isclose(got, 20.0):
        return None
    if np.isnan(got):
        return "A place may be unknown though the object is there: leave the NaN out."
    if np.isclose(got, 99.0):
        return "You kept what you should drop: the mask is True where nothing is."
    return f"It gave {got:g}°; the objects that are there, at 10°, 30° and 20°, have the mean 20°."


EXERCISES = {
    "01-ex1": Exercise(
        answer="mirror",
        check=_check_mirror,
        hints=(
            "Three things turn together: ears, picture, direction.",
            "wave_EN[::-1] changes the ears; image_HW3[:, ::-1] turns the picture.",
        ),
        solution=source_of(mirror),
    ),
    "01-ex2": Exercise(
        answer="mean_azimuth_deg",
        check=_check_mean,
        hints=(
            "Azimuth is the first number of the last axis.",
            "Keep what is not masked and finite: ~mask_LO & np.isfinite(azimuth_LO).",
        ),
        solution=source_of(mean_azimuth_deg),
    ),
}
