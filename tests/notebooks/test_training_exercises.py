"""Exercises of notebooks 05 and 06: a wrong answer is told what is wrong with it."""

import numpy as np
import pytest

from binaural_core.exercises import all_exercises, check
from binaural_core.exercises.training import averaged, rate_factor, spread_ratio


def plain_average(weights, decay):
    path = [weights[0]]
    for weight in weights[1:]:
        path.append(decay * path[-1] + (1 - decay) * weight)
    return np.array(path[1:])


def turned_average(weights, decay):
    path = [weights[0]]
    for n, weight in enumerate(weights[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        path.append((1 - d) * path[-1] + d * weight)
    return np.array(path[1:])


def uncorrected(draws_KD, truth_D, ddof=1):
    return np.sqrt(draws_KD.var(axis=0, ddof=ddof).mean() / ((draws_KD.mean(axis=0) - truth_D) ** 2).mean())


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("05-ex1", lambda s, n, w, f, e: min(1, s / w) * f ** (s // n // e), "learns nothing"),
        ("05-ex1", lambda s, n, w, f, e: f ** (s // n // e), "At step 9"),
        ("05-ex1", lambda s, n, w, f, e: min(1, (s + 1) / w) * f ** (s // e), "once every 100 epochs"),
        ("05-ex1", lambda s, n, w, f, e: min(1, (s + 1) / w) * f ** (s / n / e), "stairs"),
        ("05-ex1", lambda s, n, w, f, e: rate_factor(s, n, w, f, e) * (1 if s < 10_000 else 0.9), "At step 10000"),
        ("05-ex2", plain_average, "from the start"),
        ("05-ex2", turned_average, "changed places"),
        ("05-ex2", lambda w, d: np.array([w[0], *averaged(w, d)]), "the shape (60,)"),
        ("05-ex2", lambda w, d: averaged(w, d) + 0.1, "number n"),
        ("05-ex3", lambda m, t: spread_ratio(m, t) ** 2, "take the root"),
        ("05-ex3", lambda m, t: 1 / spread_ratio(m, t), "Turned over"),
        ("05-ex3", uncorrected, "error of its own"),
        ("05-ex3", lambda m, t: uncorrected(m, t, 0) * (4 / 3) ** 0.5, "K - 1"),
        ("05-ex3", lambda m, t: uncorrected(m, t, 0), "Two corrections"),
        ("05-ex3", lambda m, t: 0.5, "about 1 would be right"),
        ("06-ex1", lambda g, c: np.mean(g, axis=0), "five times too much"),
        ("06-ex1", lambda g, c: sum(n * x for n, x in zip(c, g, strict=True)), "gradient of the sum"),
        ("06-ex1", lambda g, c: g[0], "not the gradient of the mean"),
        ("06-ex1", lambda g, c: 1.0, "shape of the weights"),
        ("06-ex2", lambda items, rank, size: items[rank * (len(items) // size) :][: len(items) // size], "Nobody gets"),
        ("06-ex2", lambda items, rank, size: items, "measured twice"),
        ("06-ex2", lambda items, rank, size: items[rank * 2 : rank * 2 + 2] if rank < 3 else items[6:], "wait for"),
        ("06-ex3", lambda s, b, p: s // b, "All 4 processes count"),
        ("06-ex3", lambda s, b, p: s // (b * p), "give None"),
        ("06-ex3", lambda s, b, p: 3, "need 2 batches each"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    verdict = check(name, {all_exercises()[name].answer: answer})
    assert verdict.state == "not there yet"
    assert said in verdict.message
