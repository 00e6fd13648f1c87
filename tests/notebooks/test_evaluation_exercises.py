"""Notebook 09: a wrong answer is told what is wrong with it, and so are parameters."""

from math import ceil, comb

import numpy as np
import pytest

from binaural_core.errors import InputError
from binaural_core.exercises import all_exercises, check
from binaural_core.exercises.evaluation import clips_needed, least_right, level_error_db, phase_error_rad
from binaural_core.notebooks import Evaluation


def exactly(trials, alpha):
    """Guesses that are reached *exactly* with alpha or less: the tail is forgotten."""
    return next((k for k in range(trials // 2, trials + 1) if comb(trials, k) / 2**trials <= alpha), trials + 1)


def two_sided(trials, alpha):
    return least_right(trials, alpha / 2)


def strictly(trials, alpha):
    return least_right(trials, alpha - 1e-12)


def needed(spread, half_width):
    return ceil((1.96 * spread / half_width) ** 2)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("09-ex1", lambda p, t, h: np.abs(p - t), "the shape (7, 5)"),
        ("09-ex1", lambda p, t, h: (p - t)[h].mean(), "cancel"),
        ("09-ex1", lambda p, t, h: ((p - t)[h] ** 2).mean() ** 0.5, "root of the mean square"),
        ("09-ex1", lambda p, t, h: np.abs(p - t).mean(), "nobody hears"),
        ("09-ex1", lambda p, t, h: np.abs((p - t) * h).mean(), "number of heard cells"),
        ("09-ex1", lambda p, t, h: np.abs(p - t)[~h].mean(), "not heard"),
        ("09-ex1", lambda p, t, h: 2 * level_error_db(p, t, h), "instead of"),
        ("09-ex2", lambda p, t: np.abs(np.angle(np.exp(1j * (p - t)))), "One number"),
        ("09-ex2", lambda p, t: np.abs(p - t).mean(), "wrap the difference"),
        ("09-ex2", lambda p, t: np.abs(np.abs(p) - np.abs(t)).mean(), "forgets its sign"),
        ("09-ex2", lambda p, t: abs(np.angle(np.exp(1j * (p - t))).mean()), "cancelled"),
        ("09-ex2", lambda p, t: 2 * phase_error_rad(p, t), "0.083 apart on the circle"),
        ("09-ex2", lambda p, t: np.median(np.abs(np.angle(np.exp(1j * (p - t))))), "at random"),
        ("09-ex3", lambda a, b, h: (1.96 * np.std(a - b, ddof=1) / h) ** 2, "round up"),
        ("09-ex3", lambda a, b, h: needed(np.std(a - b), h), "ddof=1"),
        ("09-ex3", lambda a, b, h: needed((a.var(ddof=1) + b.var(ddof=1)) ** 0.5, h), "two separate samples"),
        ("09-ex3", lambda a, b, h: needed(a.std(ddof=1), h), "take differences"),
        ("09-ex3", lambda a, b, h: needed(np.std(a - b, ddof=1), h / 2), "factor of four"),
        ("09-ex3", lambda a, b, h: ceil(1.96 * np.std(a - b, ddof=1) / h), "square it"),
        ("09-ex3", lambda a, b, h: 3 * clips_needed(a, b, h), "instead of"),
        ("09-ex4", lambda n, a: least_right(n, a) - 1, "10.5 %"),
        ("09-ex4", exactly, "add up the tail"),
        ("09-ex4", two_sided, "13 would do"),
        ("09-ex4", lambda n, a: ceil(0.95 * n), "you ask for 16"),
        ("09-ex4", strictly, "0.0625 or less"),
        ("09-ex4", lambda n, a: min(n, least_right(n, a)), "trials + 1"),
        ("09-ex4", lambda n, a: least_right(n, a) + (n == 100), "100 trials"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    verdict = check(name, {all_exercises()[name].answer: answer})
    assert verdict.state == "not there yet"
    assert said in verdict.message


def test_the_model_answers_agree_with_the_package():
    from binaural_core.metrics.listening import abx_critical

    assert [least_right(n, 0.05) for n in (4, 5, 16, 40)] == [abx_critical(n) for n in (4, 5, 16, 40)]
    assert [least_right(n, 0.01) for n in (6, 7, 25)] == [abx_critical(n, alpha=0.01) for n in (6, 7, 25)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dataset": "fairplay", "updates": 0}, "data_root is empty"),
        ({"clips": 1}, "has no spread"),
        ({"systems": "warp,ours"}, "compared with the mono copy"),
        ({"systems": "mono, "}, "compared with the mono copy"),
        ({"listeners": 2}, "between"),
        ({"updates": 50}, "multiple of 20"),
        ({"updates": 20, "dataset": "fairplay", "data_root": "somewhere"}, "rendered scenes alone"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        Evaluation(**given)


def test_systems_are_read_as_the_command_line_reads_them():
    assert Evaluation(systems=" mono, warp ,").names == ["mono", "warp"]
    assert Evaluation(dataset="fairplay", data_root="somewhere", clips=0, updates=0).clips == 0


def test_the_baseline_gets_as_many_updates_as_asked():
    for updates in (0, 20, 60, 600):
        taken = Evaluation(updates=updates)
        assert taken.scenes % taken.BATCH == 0  # whole batches
        assert taken.EPOCHS * taken.scenes // taken.BATCH == updates
