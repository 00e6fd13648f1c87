"""Exercises of notebook 02: where a frame lies, and the level difference that a mel keeps."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def frame_centre_s(frame, hop_samples=256, sample_rate_hz=22050):
    """Time of the middle of a mel frame."""
    return (frame + 0.5) * hop_samples / sample_rate_hz


def mel_level_difference_db(mel_EMF):
    """Level difference of the ears in every frame, read off their log-mels."""
    energy_EF = np.exp(2 * np.asarray(mel_EMF)).sum(axis=1)
    return 10 * np.log10(energy_EF[0] / energy_EF[1])


def _check_centre(answer: Callable) -> str | None:
    first, tenth = float(returned(answer(0))), float(returned(answer(10)))
    hop_s = 256 / 22050
    if np.isclose(first, 0.0) and np.isclose(tenth, 10 * hop_s):
        return "That is where the hop begins; the frame's window is centred in the middle of its hop."
    if not np.isclose(first, 0.5 * hop_s):
        return f"Frame 0 is centred at {0.5e3 * hop_s:.3f} ms, not at {1e3 * first:.3f} ms."
    if not np.isclose(tenth, 10.5 * hop_s):
        return f"Frame 10 is centred at {10.5e3 * hop_s:.2f} ms, not at {1e3 * tenth:.2f} ms."
    return None


def _check_difference(answer: Callable) -> str | None:
    right_MF = numpy_stream(0, "exercise 02-ex2").normal(-3.0, 1.0, (80, 5))
    got_F = np.asarray(returned(answer(np.stack([right_MF + np.log(2.0), right_MF]))), dtype=float)
    if got_F.shape != (5,):
        return f"One number for each of the 5 frames is wanted; you gave the shape {got_F.shape}."
    if np.allclose(got_F, 6.0206, atol=1e-3):
        return None
    if np.allclose(got_F, -6.0206, atol=1e-3):
        return "The sign is turned round: positive means that the left ear is louder."
    if np.allclose(got_F, 3.0103, atol=1e-3):
        return "You are out by a factor of two: a mel is a magnitude, and energy is its square."
    return f"A left ear twice as loud gave {got_F[0]:.3f} dB in frame 0 instead of 6.021 dB."


EXERCISES = {
    "02-ex1": Exercise(
        answer="frame_centre_s",
        check=_check_centre,
        hints=(
            "The padding is (n_fft - hop) / 2 samples, so frame 0's window is centred hop / 2 samples in.",
            "(frame + 1/2) hops, divided by the sample rate.",
        ),
        solution=source_of(frame_centre_s),
    ),
    "02-ex2": Exercise(
        answer="mel_level_difference_db",
        check=_check_difference,
        hints=(
            "Leave the logarithm, sum energies over the mel axis, and take the ratio of the ears.",
            "10 * np.log10 of the ratio of np.exp(2 * mel).sum(axis=1).",
        ),
        solution=source_of(mel_level_difference_db),
    ),
}
