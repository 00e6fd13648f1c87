"""Log-mels to the range that diffusion works in, and back.

Conventions: log-mels are clamped to [-12, 2.5] (natural log) and mapped linearly to [-1, 1].
"""

from typing import TypeVar

import numpy as np
from torch import Tensor

Array = TypeVar("Array", Tensor, np.ndarray)

LOWEST, HIGHEST = -12.0, 2.5
HALF = (HIGHEST - LOWEST) / 2


def to_unit(log_mel: Array) -> Array:
    """A log-mel of any shape in [-1, 1]."""
    return (log_mel.clip(LOWEST, HIGHEST) - LOWEST) / HALF - 1


def from_unit(unit: Array) -> Array:
    """The log-mel of any shape; what lies outside [-1, 1] is clamped."""
    return (unit.clip(-1, 1) + 1) * HALF + LOWEST
