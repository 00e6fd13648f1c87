"""Exercises of notebook 07: where a tone folds to, how a wave is folded, what silence weighs, and sound in chunks."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def folded_hz(frequency_hz, sample_rate_hz):
    """Where a tone of any frequency is found after sampling."""
    rest_hz = frequency_hz % sample_rate_hz
    return min(rest_hz, sample_rate_hz - rest_hz)


def folded(wave_N, period):
    """The wave in rows of one period, (rows, period); the end is mirrored where it does not fill a row."""
    missing = -len(wave_N) % period
    return np.pad(wave_N, (0, missing), mode="reflect").reshape(-1, period)


def weighted_mel_l1(real_MF, fake_MF, silent_F, weight):
    """Mean absolute difference of two log-mels; cells of silent frames are multiplied by the weight first."""
    weight_F = np.where(silent_F, weight, 1.0)
    return (np.abs(real_MF - fake_MF) * weight_F).mean()


def streamed(vocode, mel_MF, chunk, context, hop):
    """The wave of `vocode(mel_MF)`, made from `chunk` frames at a time with `context` frames on either side."""
    pieces = []
    for first in range(0, mel_MF.shape[1], chunk):
        start = max(0, first - context)
        wave_N = vocode(mel_MF[:, start : first + chunk + context])
        before = (first - start) * hop
        pieces.append(wave_N[before : before + chunk * hop])
    return np.concatenate(pieces)


def _check_folded_hz(answer: Callable) -> str | None:
    def at(frequency_hz: float) -> float:
        return float(returned(answer(frequency_hz, 22_050)))

    if not np.isclose(at(4_000), 4_000):
        return f"4,000 Hz is below half the rate and stays; you gave {at(4_000):.5g}."
    if np.isclose(at(12_000), 12_000 % 11_025):
        return "A tone a little above half the rate comes back a little below it, not at 0: spectra are mirrored there."
    if not np.isclose(at(12_000), 10_050):
        return f"12,000 Hz, at 22,050 samples a second: you gave {at(12_000):.5g} Hz."
    if at(24_000) < 0:
        return "24,000 Hz became negative: fold it again, at 0."
    wrong = [f for f in (20_000, 24_000, 36_000, 50_000, 100_000) if not np.isclose(at(f), folded_hz(f, 22_050))]
    return f"{wrong[0]:,} Hz folds more than once; you gave {at(wrong[0]):.5g} Hz." if wrong else None


def _check_folded(answer: Callable) -> str | None:
    wave_N = numpy_stream(0, "exercise 07-ex2").normal(size=23)
    whole_RP = np.asarray(returned(answer(wave_N[:20], 5)))
    if whole_RP.shape == (5, 4):
        return "A row holds one period: 20 samples make 4 rows of 5."
    if whole_RP.shape != (4, 5):
        return f"20 samples folded by 5 gave the shape {whole_RP.shape}, not (4, 5)."
    if not np.allclose(whole_RP, wave_N[:20].reshape(4, 5)):
        return "The shape is right, the order is not: time goes along a row, then to the next."
    got_RP = np.asarray(returned(answer(wave_N, 5)))
    if got_RP.shape == (4, 5):
        return "Three samples at the end of 23 got lost; fill the last row up."
    right_RP = folded(wave_N, 5)
    if got_RP.shape != right_RP.shape:
        return f"23 samples folded by 5 gave the shape {got_RP.shape}, not (5, 5)."
    if np.allclose(got_RP, right_RP):
        return None
    if np.allclose(got_RP[-1, 3:], 0):
        return "The last row is filled with zeros: a cut that the network would learn to hear. Mirror the end."
    return "The last row is not filled by mirroring: after ... a, b, c come b, a."


def _check_weighted(answer: Callable) -> str | None:
    draws = numpy_stream(0, "exercise 07-ex3")
    real_MF, fake_MF = draws.normal(size=(2, 7, 9))
    silent_F = np.arange(9) < 3
    got = np.asarray(returned(answer(real_MF, fake_MF, silent_F, 2.0)), dtype=float)
    if got.shape:
        return f"One number is wanted, and you gave the shape {got.shape}."
    right, error_MF = weighted_mel_l1(real_MF, fake_MF, silent_F, 2.0), np.abs(real_MF - fake_MF)
    if np.isclose(got, right):
        return None
    if np.isclose(got, weighted_mel_l1(real_MF, fake_MF, ~silent_F, 2.0)):
        return "Sound and silence have changed places."
    if np.isclose(got, right * 9 / 12):
        return "You divided by the sum of the weights. The loss divides by the number of cells, so silence adds to it."
    if np.isclose(got, error_MF.mean()):
        return "Nothing is weighted yet."
    if np.isclose(got, ((real_MF - fake_MF) ** 2 * np.where(silent_F, 2.0, 1.0)).mean()):
        return "Those are squares; L1 takes absolute values."
    return f"It gave {got:.4g} instead of {right:.4g}."


def _short_sighted(mel_MF: np.ndarray, hop: int = 4, reach: int = 3) -> np.ndarray:
    """A vocoder in miniature: each frame's samples depend on ``reach`` frames to either side."""
    taps = numpy_stream(0, "exercise 07-ex4 taps").normal(size=(hop, 2 * reach + 1))
    rows_FK = np.lib.stride_tricks.sliding_window_view(np.pad(mel_MF.sum(axis=0), reach), 2 * reach + 1)
    return np.tanh(rows_FK @ taps.T).ravel()


def _check_streamed(answer: Callable) -> str | None:
    mel_MF, asked = numpy_stream(0, "exercise 07-ex4").normal(size=(5, 83)), []

    def vocode(part_MF: np.ndarray) -> np.ndarray:
        asked.append(part_MF.shape[1])
        return _short_sighted(part_MF)

    got_N = np.asarray(returned(answer(vocode, mel_MF, 20, 3, 4)), dtype=float)
    whole_N = _short_sighted(mel_MF)
    if asked and max(asked) > 26:
        return f"It gave the vocoder {max(asked)} frames at once; a chunk of 20 with 3 on either side has 26."
    if len(got_N) == 320:
        return "83 frames are four chunks of 20 and 3 more: the end is missing."
    if len(got_N) > len(whole_N):
        return f"{len(got_N)} samples instead of {len(whole_N)}: cut the context's sound off before you join."
    if len(got_N) != len(whole_N):
        return f"{len(got_N)} samples instead of {len(whole_N)}."
    if np.allclose(got_N, whole_N):
        return None
    wrong_F = ~np.isclose(got_N, whole_N).reshape(-1, 4).all(axis=1)
    if wrong_F.mean() > 0.5:
        return "Most samples are not those of the whole: is what you keep of a chunk where the chunk is?"
    before, after = wrong_F[[17, 18, 19, 37, 38, 39]].any(), wrong_F[[20, 21, 22, 40, 41, 42]].any()
    if before and not after:
        return "The end of each chunk is wrong: the network hears what comes next too."
    if after and not before:
        return "The beginning of each chunk is wrong: the network hears what came before."
    return "There is a click at every joint: each chunk needs `context` frames on either side."


EXERCISES = {
    "07-ex1": Exercise(
        answer="folded_hz",
        check=_check_folded_hz,
        hints=(
            "After sampling nobody can tell f from f plus or minus the sampling rate, nor f from -f.",
            "Take the remainder by the sampling rate first; what is then above half the rate is mirrored.",
            "rest_hz = frequency_hz % sample_rate_hz; the smaller of rest_hz and sample_rate_hz - rest_hz",
        ),
        solution=source_of(folded_hz),
    ),
    "07-ex2": Exercise(
        answer="folded",
        check=_check_folded,
        hints=(
            "Fill the end up to a whole number of periods, then reshape.",
            "-len(wave_N) % period samples are missing; np.pad can mirror (mode='reflect').",
            "np.pad(wave_N, (0, missing), mode='reflect').reshape(-1, period)",
        ),
        solution=source_of(folded),
    ),
    "07-ex3": Exercise(
        answer="weighted_mel_l1",
        check=_check_weighted,
        hints=(
            "A weight for each frame, multiplied into the absolute differences, then a plain mean.",
            "np.where(silent_F, weight, 1.0) has shape (F,) and multiplies (M, F) as it is.",
            "(np.abs(real_MF - fake_MF) * weight_F).mean()",
        ),
        solution=source_of(weighted_mel_l1),
    ),
    "07-ex4": Exercise(
        answer="streamed",
        check=_check_streamed,
        hints=(
            "For each chunk: vocode it with its neighbours, and keep only the chunk's own samples.",
            "The first chunk has nothing before it: start at max(0, first - context), and count what really is there.",
            "wave_N[(first - start) * hop :][: chunk * hop], with start = max(0, first - context)",
        ),
        solution=source_of(streamed),
    ),
}
