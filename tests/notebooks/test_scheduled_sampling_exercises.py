"""Notebook 08: a wrong answer is told what is wrong with it, and so are parameters."""

from itertools import pairwise

import numpy as np
import pytest

from binaural_core.errors import InputError
from binaural_core.exercises import all_exercises, check
from binaural_core.exercises.scheduled_sampling import CORNERS, frames_late, mixed, share_at
from binaural_core.notebooks import ScheduledSampling
from binaural_core.training import annealing


def before(epoch, corners):
    return max((c for c in corners if c[0] <= epoch), default=corners[0])[1]


def from_zero(epoch, corners):
    for (e0, s0), (e1, s1) in pairwise(corners):
        if epoch < e1:
            return s0 + (s1 - s0) * (epoch if e0 else epoch - e0) / (e1 if e0 else e1 - e0)
    return corners[-1][1]


def endless(epoch, corners):
    slope = (corners[-1][1] - corners[-2][1]) / (corners[-1][0] - corners[-2][0])
    return share_at(epoch, corners) + slope * max(0.0, epoch - corners[-1][0])


def per_ear(true_BEMF, predicted_BEMF, drawn_B, share):
    drawn_BE = np.stack([drawn_B, drawn_B[::-1]], axis=1)
    return np.where((drawn_BE < share)[:, :, None, None], predicted_BEMF, true_BEMF)


def test_the_answers():
    for epoch in np.arange(-20, 1300, 7.5):
        assert share_at(epoch, CORNERS) == pytest.approx(annealing.piecewise(epoch))
    true, predicted = np.zeros((3, 2, 4, 5)), np.ones((3, 2, 4, 5))
    chosen = mixed(true, predicted, np.array([0.1, 0.5, 0.4]), 0.5)
    np.testing.assert_array_equal(chosen.mean(axis=(1, 2, 3)), [1, 0, 1])
    mel_MF = np.random.default_rng(0).normal(size=(3, 40)).cumsum(axis=1)
    for late in range(-4, 5):
        assert frames_late(mel_MF[:, 5 - late : 35 - late], mel_MF[:, 5:35], 4) == late


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("08-ex1", before, "a corner's share"),
        ("08-ex1", from_zero, "from the corner before"),
        ("08-ex1", endless, "stays at 0.8"),
        ("08-ex1", lambda e, c: share_at(e, c) if e >= c[0][0] else -1.0, "Before the first corner"),
        ("08-ex1", lambda e, c: share_at(e, CORNERS), "may begin at another corner"),
        ("08-ex1", lambda e, c: share_at(e, c) if e != 499 else 0.0, "At epoch 499"),
        ("08-ex2", lambda t, p, d, s: s * p + (1 - s) * t, "a mixture"),
        ("08-ex2", lambda t, p, d, s: mixed(p, t, d, s), "changed places"),
        ("08-ex2", per_ear, "from each source"),
        ("08-ex2", lambda t, p, d, s: mixed(t, p, d, s)[:, 0], "keeps its shape"),
        ("08-ex2", lambda t, p, d, s: mixed(t, p, d, 0.4), "share of 0"),
        ("08-ex2", lambda t, p, d, s: mixed(t, p, d, min(s, 0.4)), "share of 1"),
        ("08-ex2", lambda t, p, d, s: np.where((d <= s)[:, None, None, None], p, t), "not below it"),
        ("08-ex3", lambda p, t, m: -frames_late(p, t, m), "The sign"),
        ("08-ex3", lambda p, t, m: 0, "2 frames after"),
        ("08-ex3", lambda p, t, m: max(0, frames_late(p, t, m)), "which is -3"),
        ("08-ex3", lambda p, t, m: min(4, frames_late(p, t, m)), "5 frames late"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    verdict = check(name, {all_exercises()[name].answer: answer})
    assert verdict.state == "not there yet"
    assert said in verdict.message


def test_parameters_know_what_a_window_holds_and_how_judges_are_named():
    with pytest.raises(InputError, match="segment is 2000"):
        ScheduledSampling(segment=2000)
    with pytest.raises(InputError, match="segment is 19712"):
        ScheduledSampling(segment=77 * 256)
    assert ScheduledSampling(segment=76 * 256).segment == 19_456
    with pytest.raises(InputError, match="data_root is empty"):
        ScheduledSampling(dataset="fairplay")
    with pytest.raises(InputError, match="id is empty"):
        ScheduledSampling(id="")
    named = {"none": (), "mpd": ("mpd",), "both": ("mpd", "mrd")}
    assert {name: ScheduledSampling(discriminators=name).judges for name in named} == named
