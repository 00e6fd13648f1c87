"""Exercises of notebook 08: a schedule from its corners, which clips hear a prediction, and how late a mel is."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def share_at(epoch, corners):
    """A schedule of straight lines between corners (epoch, share); before the first and after the last it is constant."""
    epochs, shares = np.transpose(corners)
    return np.interp(epoch, epochs, shares)


def mixed(true_BEMF, predicted_BEMF, drawn_B, share):
    """A batch of mels in which every clip whose number is below the share is predicted, in both ears."""
    predicted_B = drawn_B < share
    return np.where(predicted_B[:, None, None, None], predicted_BEMF, true_BEMF)


def frames_late(predicted_MF, true_MF, most):
    """By how many frames the prediction comes after the truth: the shift of at most `most` with the smallest L1."""
    frames = true_MF.shape[1]
    errors = {}
    for late in range(-most, most + 1):
        first, last = max(0, late), frames + min(0, late)
        errors[late] = np.abs(predicted_MF[:, first:last] - true_MF[:, first - late : last - late]).mean()
    return min(errors, key=errors.get)


CORNERS = ((0.0, 0.0), (200.0, 0.2), (500.0, 0.5), (1000.0, 0.8))


def _check_share(answer: Callable) -> str | None:
    def at(epoch: float) -> float:
        return float(returned(answer(epoch, CORNERS)))

    if np.isclose(at(350), 0.2) or np.isclose(at(350), 0.5):
        return "At epoch 350 it is a corner's share: between two corners the share rises evenly."
    if np.isclose(at(350), 0.2 + 0.3 * 350 / 500):
        return "From epoch 200 to 500 the share rises by 0.3 in 300 epochs: count from the corner before, not from 0."
    if not np.isclose(at(350), 0.35):
        return f"At epoch 350, half-way between 20 % and 50 %, it gave {at(350):.4g}."
    if not np.isclose(at(2000), 0.8):
        return f"After the last corner the share stays at 0.8; at epoch 2000 it gave {at(2000):.4g}."
    if not np.isclose(at(-5), 0.0):
        return f"Before the first corner the share is that of the first corner; you gave {at(-5):.4g}."
    late = float(returned(answer(10, ((100.0, 0.1), (200.0, 0.4)))))
    if not np.isclose(late, 0.1):
        return (
            f"A schedule may begin at another corner: with (100, 0.1) first, epoch 10 has 0.1, and you gave {late:.4g}."
        )
    wrong = [e for e in (0, 50, 200, 499, 500, 750, 1000) if not np.isclose(at(e), share_at(e, CORNERS))]
    return f"At epoch {wrong[0]} it gave {at(wrong[0]):.4g}." if wrong else None


def _check_mixed(answer: Callable) -> str | None:
    draws = numpy_stream(0, "exercise 08-ex2")
    true_BEMF, predicted_BEMF = draws.normal(size=(2, 6, 2, 3, 4))
    drawn_B = np.array([0.05, 0.9, 0.3, 0.6, 0.1, 0.4])

    def at(share: float) -> np.ndarray:
        return np.asarray(returned(answer(true_BEMF.copy(), predicted_BEMF.copy(), drawn_B, share)), dtype=float)

    got, right = at(0.4), mixed(true_BEMF, predicted_BEMF, drawn_B, 0.4)
    if got.shape != right.shape:
        return f"The batch keeps its shape {right.shape}; you gave {got.shape}."
    if np.allclose(got, 0.4 * predicted_BEMF + 0.6 * true_BEMF):
        return "That is a mixture of both mels, which neither stage 1 nor a recording gives: choose one for each clip."
    if np.allclose(got, mixed(predicted_BEMF, true_BEMF, drawn_B, 0.4)):
        return "True and predicted have changed places."
    same_source = [
        np.allclose(g, p) or np.allclose(g, t) for g, p, t in zip(got, predicted_BEMF, true_BEMF, strict=True)
    ]
    if not all(same_source):
        return "A clip has an ear, or cells, from each source: the level between its ears is then nobody's."
    if not np.allclose(at(0.0), true_BEMF):
        return "With a share of 0 all mels must be true."
    if not np.allclose(at(1.0), predicted_BEMF):
        return "With a share of 1 all mels must be predicted."
    if np.allclose(got, right):
        return None
    return "Clips 0, 2 and 4 have numbers below 0.4 (0.05, 0.3 and 0.1), and 0.4 itself is not below it."


def _check_late(answer: Callable) -> str | None:
    mel_MF = numpy_stream(0, "exercise 08-ex3").normal(size=(12, 60)).cumsum(axis=1)

    def pair(late: int) -> tuple[np.ndarray, np.ndarray]:
        return mel_MF[:, 10 - late : 50 - late], mel_MF[:, 10:50]

    def at(late: int) -> float:
        return float(returned(answer(*pair(late), 5)))

    if at(2) == -2 and at(-3) == 3:
        return "The sign: a prediction that comes later than the truth is late by a positive number of frames."
    if at(2) != 2:
        return f"The prediction came 2 frames after the truth; you gave {at(2):.4g}."
    if at(-3) != -3:
        return f"The prediction came 3 frames before the truth, which is -3; you gave {at(-3):.4g}."
    if at(0) != 0:
        return f"Aligned mels are 0 frames late; you gave {at(0):.4g}."
    wrong = [late for late in (-5, -1, 1, 5) if at(late) != late]
    return f"A prediction {wrong[0]} frames late gave {at(wrong[0]):.4g}." if wrong else None


EXERCISES = {
    "08-ex1": Exercise(
        answer="share_at",
        check=_check_share,
        hints=(
            "Find the two corners around the epoch; what is before the first or after the last is constant.",
            "Between (e0, s0) and (e1, s1) the share is s0 + (s1 - s0) * (epoch - e0) / (e1 - e0).",
            "np.interp(epoch, epochs, shares), with epochs, shares = np.transpose(corners)",
        ),
        solution=source_of(share_at),
    ),
    "08-ex2": Exercise(
        answer="mixed",
        check=_check_mixed,
        hints=(
            "One decision for each clip, and it holds for both of its ears, all bands and all frames.",
            "drawn_B < share is True for clips that hear the prediction; give it three more axes.",
            "np.where((drawn_B < share)[:, None, None, None], predicted_BEMF, true_BEMF)",
        ),
        solution=source_of(mixed),
    ),
    "08-ex3": Exercise(
        answer="frames_late",
        check=_check_late,
        hints=(
            "Try every shift from -most to most, and compare the frames that both mels then have.",
            "If the prediction is late by k, predicted_MF[:, n] belongs to true_MF[:, n - k].",
            "first, last = max(0, k), frames + min(0, k); compare predicted_MF[:, first:last] with"
            " true_MF[:, first - k : last - k], as a mean, since the overlap shrinks",
        ),
        solution=source_of(frames_late),
    ),
}
