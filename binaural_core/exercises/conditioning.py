"""Exercises of notebook 04: how far convolutions reach, a camera's azimuth, attention that knows a mask."""

from collections.abc import Callable

import numpy as np

from binaural_core.exercises import Exercise, returned, source_of
from binaural_core.seeds import numpy_stream


def receptive_field(layers):
    """Input cells that one output cell sees along an axis; layers are (kernel, stride), first to last."""
    cells = 1
    for kernel, stride in reversed(layers):
        cells = (cells - 1) * stride + kernel
    return cells


def azimuth_deg(x, h_fov_deg):
    """Azimuth, positive to the left, of the image column x in [0, 1] of a pinhole camera that looks ahead."""
    edge = np.tan(np.radians(h_fov_deg) / 2)
    return -np.degrees(np.arctan((2 * x - 1) * edge))


def pooled(match_O, objects_OD, mask_O):
    """The objects' mean by attention, of those that are there; zeros where there is none."""
    there_O = ~mask_O
    if not there_O.any():
        return np.zeros(objects_OD.shape[1])
    weights_O = np.exp(match_O[there_O] - match_O[there_O].max())
    return weights_O / weights_O.sum() @ objects_OD[there_O]


def _check_reach(answer: Callable) -> str | None:
    one = returned(answer([(3, 1)]))
    if one != 3:
        return f"One convolution of 3 cells sees 3 cells; you gave {one}."
    two = answer([(3, 1), (3, 1)])
    if two != 5:
        return f"Two convolutions of 3 cells, one on the other, see 5 cells; you gave {two}."
    got = answer([(5, 4), (3, 2), (3, 2)])
    if got == 1 + 4 * 4 + 2 * 8 + 2 * 16:
        return "You let a layer's own stride count for itself: it counts for the layers after it."
    if got == 1 + 4 + 2 + 2:
        return "You left out the strides: a step of a later layer is as long as all strides before it together."
    if got == 29:
        return None
    return f"The layers of the small encoder, (5, 4), (3, 2), (3, 2), see 29 pixels; you gave {got}."


def _check_azimuth(answer: Callable) -> str | None:
    got = float(returned(answer(0.25, 90.0)))
    if np.isclose(got, 26.5651, atol=1e-3):
        wide = float(answer(0.0, 120.0))
        return None if np.isclose(wide, 60.0) else f"The left edge of a view of 120° lies at 60°; you gave {wide:.4g}°."
    if np.isclose(got, -26.5651, atol=1e-3):
        return "The size is right and the sign is not: x grows to the right, azimuth to the left."
    if np.isclose(abs(got), 22.5):
        return "Angles do not grow evenly over a picture: its pixels lie on a plane, and the tangent does."
    if np.isclose(abs(got), np.degrees(0.5)) or np.isclose(got, np.arctan(0.5)):
        return "arctan gives radians: np.degrees of it is wanted."
    return f"A quarter of the way from the left edge of a view of 90° lies at 26.57°; you gave {got:.4g}°."


def _check_pooled(answer: Callable) -> str | None:
    draw = numpy_stream(0, "exercise 04-ex3")
    match_O, objects_OD = draw.normal(0, 2, 4), draw.normal(0, 1, (4, 3))
    mask_O = np.array([False, True, False, True])
    wanted_D = pooled(match_O, objects_OD, mask_O)
    got_D = np.asarray(returned(answer(match_O, objects_OD, mask_O)), dtype=float)
    if got_D.shape != (3,):
        return f"One vector of 3 features is wanted; you gave the shape {got_D.shape}."
    if np.allclose(got_D, pooled(match_O, objects_OD, ~mask_O)):
        return "You kept what you should drop: the mask is True where nothing is."
    if np.allclose(got_D, pooled(match_O, objects_OD, np.zeros(4, bool))):
        return "The masked objects still have weight: leave them out before the softmax."
    if not np.allclose(got_D, wanted_D):
        return "It is not the softmax's mean of the objects that are there. Do the weights add up to 1?"
    broken_OD = np.where(mask_O[:, None], np.nan, objects_OD)
    if not np.allclose(answer(match_O, broken_OD, mask_O), wanted_D):
        return "A masked slot may hold anything, NaN too, and 0 times NaN is NaN: do not multiply, leave out."
    with np.errstate(all="ignore"):
        empty_D = np.asarray(answer(match_O, objects_OD, np.ones(4, bool)), dtype=float)
    if not np.array_equal(empty_D, np.zeros(3)):
        return "With every object masked it must give zeros."
    return None


EXERCISES = {
    "04-ex1": Exercise(
        answer="receptive_field",
        check=_check_reach,
        hints=(
            "Go backwards, from the one output cell to the input, as section 1 does.",
            "n neighbouring outputs of a layer lie (n - 1) strides apart, and each sees a kernel's width.",
            "cells = (cells - 1) * stride + kernel, for the layers in reversed order.",
        ),
        solution=source_of(receptive_field),
    ),
    "04-ex2": Exercise(
        answer="azimuth_deg",
        check=_check_azimuth,
        hints=(
            "Draw the picture as a plane one metre ahead: how far to the side is its edge?",
            "The edge lies tan(h_fov / 2) to the side, and x runs evenly from one edge to the other.",
            "-np.degrees(np.arctan((2 * x - 1) * np.tan(np.radians(h_fov_deg) / 2)))",
        ),
        solution=source_of(azimuth_deg),
    ),
    "04-ex3": Exercise(
        answer="pooled",
        check=_check_pooled,
        hints=(
            "Choose the objects that are there first (~mask_O); what is left is a softmax and a weighted sum.",
            "Take the largest match away before np.exp, as in 03-ex3; weights_O @ objects_OD sums over the objects.",
            "Where mask_O.all(), return np.zeros(objects_OD.shape[1]) before anything else.",
        ),
        solution=source_of(pooled),
    ),
}
