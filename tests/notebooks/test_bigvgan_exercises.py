"""Notebook 07: a wrong answer is told what is wrong with it, and so are parameters."""

import numpy as np
import pytest

from binaural_core.errors import InputError
from binaural_core.exercises import all_exercises, check
from binaural_core.exercises.bigvgan import folded, folded_hz, streamed, weighted_mel_l1
from binaural_core.notebooks import TrainingVocoder


def without_context(vocode, mel_MF, chunk, context, hop):
    return np.concatenate([vocode(mel_MF[:, i : i + chunk]) for i in range(0, mel_MF.shape[1], chunk)])


def uncut(vocode, mel_MF, chunk, context, hop):
    frames = mel_MF.shape[1]
    return np.concatenate(
        [vocode(mel_MF[:, max(0, i - context) : i + chunk + context]) for i in range(0, frames, chunk)]
    )


def one_sided(vocode, mel_MF, chunk, context, hop, past=True):
    pieces = []
    for i in range(0, mel_MF.shape[1], chunk):
        start = max(0, i - context) if past else i
        wave_N = vocode(mel_MF[:, start : i + chunk + (0 if past else context)])
        pieces.append(wave_N[(i - start) * hop :][: chunk * hop])
    return np.concatenate(pieces)


def cut_as_if_always_full(vocode, mel_MF, chunk, context, hop):
    padded_MF = np.pad(mel_MF, ((0, 0), (context, context)), mode="edge")
    pieces = [vocode(padded_MF[:, i : i + chunk + 2 * context]) for i in range(0, mel_MF.shape[1], chunk)]
    return np.concatenate([piece[: chunk * hop] for piece in pieces])[: mel_MF.shape[1] * hop]


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("07-ex1", lambda f, rate: f % (rate / 2), "mirrored there"),
        ("07-ex1", lambda f, rate: f if f < rate / 2 else rate - f, "fold it again"),
        ("07-ex1", lambda f, rate: f if f < rate / 2 else abs(rate - f), "more than once"),
        ("07-ex1", lambda f, rate: rate - f, "stays"),
        ("07-ex1", lambda f, rate: f if f < rate / 2 else f - rate / 2 + 1, "12,000 Hz, at"),
        ("07-ex2", lambda w, p: folded(w, p).T if len(w) == 20 else folded(w, p), "4 rows of 5"),
        ("07-ex2", lambda w, p: folded(w, p)[1:], "not (4, 5)"),
        ("07-ex2", lambda w, p: folded(w, p)[::-1], "the order is not"),
        ("07-ex2", lambda w, p: w[: len(w) // p * p].reshape(-1, p), "got lost"),
        ("07-ex2", lambda w, p: np.pad(w, (0, -len(w) % p)).reshape(-1, p), "filled with zeros"),
        ("07-ex2", lambda w, p: np.pad(w, (0, -len(w) % p), mode="edge").reshape(-1, p), "by mirroring"),
        ("07-ex2", lambda w, p: np.pad(w, (0, p + -len(w) % p if len(w) == 23 else 0)).reshape(-1, p), "not (5, 5)"),
        ("07-ex3", lambda r, f, s, w: np.abs(r - f) * np.where(s, w, 1), "the shape (7, 9)"),
        ("07-ex3", lambda r, f, s, w: weighted_mel_l1(r, f, ~s, w), "changed places"),
        (
            "07-ex3",
            lambda r, f, s, w: np.average(np.abs(r - f).mean(0), weights=np.where(s, w, 1)),
            "sum of the weights",
        ),
        ("07-ex3", lambda r, f, s, w: np.abs(r - f).mean(), "Nothing is weighted"),
        ("07-ex3", lambda r, f, s, w: ((r - f) ** 2 * np.where(s, w, 1)).mean(), "squares"),
        ("07-ex3", lambda r, f, s, w: 0.0, "instead of"),
        ("07-ex4", lambda v, m, chunk, context, hop: v(m), "83 frames at once"),
        ("07-ex4", lambda v, m, chunk, context, hop: streamed(v, m, chunk, context, hop)[:320], "the end is missing"),
        ("07-ex4", uncut, "before you join"),
        ("07-ex4", lambda v, m, chunk, context, hop: streamed(v, m, chunk, context, hop)[:-1], "331 samples"),
        ("07-ex4", cut_as_if_always_full, "where the chunk is"),
        ("07-ex4", one_sided, "hears what comes next"),
        (
            "07-ex4",
            lambda v, m, chunk, context, hop: one_sided(v, m, chunk, context, hop, past=False),
            "what came before",
        ),
        ("07-ex4", without_context, "at every joint"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    verdict = check(name, {all_exercises()[name].answer: answer})
    assert verdict.state == "not there yet"
    assert said in verdict.message


@pytest.mark.parametrize("harmonic", range(1, 30))
def test_a_tone_folds_to_where_sampling_puts_it(harmonic):
    hz = harmonic * 1_237
    tone_N = np.cos(2 * np.pi * hz * np.arange(22_050) / 22_050)
    assert np.abs(np.fft.rfft(tone_N)).argmax() == folded_hz(hz, 22_050)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"segment": 4000}, "such as 3840"),
        ({"dataset": "fairplay"}, "name that folder"),
        ({"id": ""}, "give it a name"),
        ({"rounds": 0}, "between 1 and 100"),
    ],
)
def test_parameters_that_cannot_be_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        TrainingVocoder(**changes)


@pytest.mark.parametrize(("epochs", "every"), [(1, 1), (10, 5), (1000, 10)])
def test_a_short_training_is_validated_twice(epochs, every):
    assert TrainingVocoder(epochs=epochs).validate_epochs == every
