"""Convolutions with fewer multiplications: the matrices of Cook and Toom, and filters prepared by them.

A filter of r taps gives m outputs from n = m + r - 1 inputs as y = A^T [(G w) * (B^T x)] with n products instead of m r
(Winograd 1980, Arithmetic Complexity of Computations; Lavin and Gray 2016, 1509.09308, eq. 5). The filter and the input
are polynomials; the matrices evaluate them at n - 1 small points and at infinity, and interpolate. All is computed in
exact fractions; float32 enters when a filter has been transformed.

Letters: w_OIK is a filter of O output and I input channels and K taps, P counts products.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STEP = 4  # outputs of the inner transform
POINTS = {3: (0, 1, -1, 2, -2), 4: (0, 1, -1, 2, -2, Fraction(1, 2))}  # by number of taps; infinity comes last
OUTER = {  # of the pieces of a long filter: 1 output of 1 piece, 2 outputs of 2 or 3
    1: ((1,),),
    2: ((1, 0), (1, 1), (0, 1)),
    3: ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
}
LONGEST = 12  # taps


@dataclass(frozen=True)
class Transform:
    """The three matrices for ``outputs`` outputs of a filter of ``taps`` taps, as exact fractions."""

    synthesis: np.ndarray  # A^T (m, n): products to outputs
    filters: np.ndarray  # G (n, r): taps to points
    analysis: np.ndarray  # B^T (n, n): inputs to points


def transform(outputs: int, taps: int, points: tuple[int | Fraction, ...]) -> Transform:
    """Cook and Toom's matrices from ``outputs + taps - 2`` distinct points; infinity is the last.

    The transposed form of polynomial multiplication: with V the Vandermonde matrix of the points, G and A are its first
    columns and B^T is the transpose of its inverse.
    """
    size = outputs + taps - 1
    assert len(set(points)) == size - 1, "one distinct point for every product but the last"
    vandermonde = [[Fraction(p) ** j for j in range(size)] for p in points]
    vandermonde.append([Fraction(0)] * (size - 1) + [Fraction(1)])  # at infinity the leading coefficient is left

    def columns(count: int) -> np.ndarray:
        rows = [row[:count] for row in vandermonde[:-1]]
        return np.array([*rows, [Fraction(0)] * (count - 1) + [Fraction(1)]], dtype=object)

    return Transform(columns(outputs).T, columns(taps), _inverse(vandermonde).T)


def _inverse(matrix: list[list[Fraction]]) -> np.ndarray:
    """Gauss and Jordan, exact."""
    size = len(matrix)
    rows = [list(row) + [Fraction(int(i == j)) for j in range(size)] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for i in range(size):
            if i != column and (factor := rows[i][column]) != 0:
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column], strict=True)]
    return np.array([row[size:] for row in rows], dtype=object)


def _tensor(fractions: np.ndarray) -> Tensor:
    return torch.from_numpy(fractions.astype(np.float64))


TRANSFORMS = {taps: transform(STEP, taps, points) for taps, points in POINTS.items()}


@dataclass(frozen=True)
class Filter:
    """A transformed filter as the kernel reads it."""

    weight: Tensor  # float32, for each product and each panel of two vectors of outputs (I, panel width)
    analysis: Tensor  # (n, n) float32, and synthesis (m, n)
    synthesis: Tensor
    pieces: int
    taps: int  # K
    inputs: int  # I


def prepare(w_OIK: Tensor, lanes: int) -> Filter:
    """Transform a filter of at most `LONGEST` taps, in float64, and lay it out for vectors of ``lanes`` channels."""
    outputs, inputs, taps = w_OIK.shape
    assert taps <= LONGEST
    length = 3 if taps <= 3 else 4
    pieces = -(-taps // length)
    chosen = TRANSFORMS[length]
    both_PK = torch.kron(torch.tensor(OUTER[pieces], dtype=torch.float64), _tensor(chosen.filters))[:, :taps]
    w_OIK = F.pad(w_OIK.detach(), (0, 0, 0, 0, 0, -outputs % lanes))
    weight = w_OIK.new_empty(len(both_PK), w_OIK.shape[0] * inputs)
    for first in range(0, w_OIK.shape[0], 2 * lanes):
        panel_KIO = w_OIK[first : first + 2 * lanes].permute(2, 1, 0).double()
        weight[:, first * inputs :][:, : panel_KIO[0].numel()] = both_PK @ panel_KIO.flatten(1)
    return Filter(
        weight,
        _tensor(chosen.analysis).float().contiguous(),
        _tensor(chosen.synthesis).float().contiguous(),
        pieces,
        taps,
        inputs,
    )


def transposed_as_plain(w_IOK: Tensor, stride: int, padding: int) -> Tensor:
    """A transposed convolution as a plain one with ``stride`` times the outputs, which stand for neighbouring samples.

    Output sample ``stride n + phase`` meets the taps k with ``k = phase + padding (mod stride)``, each with its own input:
    y[stride n + phase] = sum_k w[k] x[n + (phase + padding - k) / stride].   Returns (stride * O, I, odd K), the outputs of
    a phase together.
    """
    inputs, outputs, taps = w_IOK.shape
    reach = plain_taps(stride, taps, padding) // 2
    shifts = [(k, phase, (phase + padding - k) // stride) for k in range(taps) for phase in range(stride)]
    shifts = [(k, phase, shift) for k, phase, shift in shifts if (phase + padding - k) % stride == 0]
    plain = w_IOK.new_zeros(stride, outputs, inputs, 2 * reach + 1)
    for k, phase, shift in shifts:
        plain[phase, :, :, reach + shift] = w_IOK[:, :, k].T
    return plain.flatten(0, 1)


def plain_taps(stride: int, taps: int, padding: int) -> int:
    """How many taps `transposed_as_plain` gives: the earliest and the latest input that an output sample meets."""
    return 2 * max((stride - 1 + padding) // stride, (taps - 1 - padding) // stride) + 1
