"""Exercises of notebook 06: the gradient of a batch in unequal parts, fair shares, and how often to accumulate."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def joint_gradient(gradients, counts):
    """The gradient of a mean over all samples, from each process's mean over its own."""
    return np.average(gradients, axis=0, weights=counts)


def share(items, rank, size):
    """What process ``rank`` of ``size`` works on."""
    return items[rank::size]


def accumulate(samples_per_step, batch_size, processes):
    """Batches of each process whose gradients make one step; None where it does not come out even."""
    whole, left = divmod(samples_per_step, batch_size * processes)
    return whole if left == 0 and whole > 0 else None


def _check_gradient(answer: Callable) -> str | None:
    samples = numpy_stream(0, "exercise 06-ex1").normal(size=(6, 3))
    parts, counts = (samples[:1], samples[1:6]), (1, 5)
    got = np.asarray(returned(answer([part.mean(axis=0) for part in parts], counts)), dtype=float)
    if got.shape != (3,):
        return f"A gradient has the shape of the weights, here (3,); you gave {got.shape}."
    if np.allclose(got, samples.mean(axis=0)):
        return None
    if np.allclose(got, np.mean([part.mean(axis=0) for part in parts], axis=0)):
        return (
            "That is the plain mean, as DDP takes it: the single sample of the first part counts five times too much."
        )
    if np.allclose(got, samples.sum(axis=0)):
        return "That is the gradient of the sum; a loss is a mean, so divide by the number of all samples."
    return "It is not the gradient of the mean over all 6 samples."


def _check_share(answer: Callable) -> str | None:
    clips = [f"clip {n}" for n in range(11)]
    shares = [list(returned(answer(clips, rank, 4))) for rank in range(4)]
    every = [clip for mine in shares for clip in mine]
    if len(every) > len(set(every)):
        return "Some clips are in more than one share: they would be measured twice."
    missing = sorted(set(clips) - set(every))
    if missing:
        return f"Nobody gets {', '.join(missing)}: 11 clips are not divisible by 4, and none may be lost."
    if max(map(len, shares)) - min(map(len, shares)) > 1:
        return f"The shares have {', '.join(str(len(mine)) for mine in shares)} clips: all wait for the longest."
    return None


def _check_accumulate(answer: Callable) -> str | None:
    got = returned(answer(64, 8, 4))
    if got == 8:
        return "All 4 processes count: one round of batches holds 8 x 4 samples."
    if got != 2 or answer(64, 8, 8) != 1 or answer(64, 2, 1) != 32:
        return f"64 samples in batches of 8 on 4 processes need 2 batches each; it gave {got}."
    if answer(64, 8, 3) is not None or answer(64, 16, 8) is not None:
        return "Where it does not come out even no whole number is right: give None (64 over 3 x 8, or 64 over 8 x 16)."
    return None


EXERCISES = {
    "06-ex1": Exercise(
        answer="joint_gradient",
        check=_check_gradient,
        hints=(
            "A mean over all samples weighs every sample alike; how much does one weigh in its own part's mean?",
            "Multiply each part's gradient by its number of samples, add, and divide by the number of all.",
            "np.average(gradients, axis=0, weights=counts)",
        ),
        solution=source_of(joint_gradient),
    ),
    "06-ex2": Exercise(
        answer="share",
        check=_check_share,
        hints=(
            "A slice is enough.",
            "Deal them out like cards: process 0 gets items 0, size, 2 size ...",
            "items[rank::size]",
        ),
        solution=source_of(share),
    ),
    "06-ex3": Exercise(
        answer="accumulate",
        check=_check_accumulate,
        hints=(
            "samples per step = batch size x accumulated batches x processes",
            "divmod gives the whole number and what is left over.",
            "samples_per_step // (batch_size * processes) where nothing is left over and it is not 0, else None",
        ),
        solution=source_of(accumulate),
    ),
}
