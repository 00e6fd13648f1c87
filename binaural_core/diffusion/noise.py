"""Normal numbers for samplers: from one generator, or from one per sample so that batches may be cut anywhere.

Numbers are drawn on the CPU in float32 and moved, so every device sees the same ones.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from binaural_core.errors import InputError

NoiseSource = Generator | Sequence[Generator] | Callable[[Tensor], Tensor] | None


def normal(source: NoiseSource, like: Tensor) -> Tensor:
    """Standard normal numbers in the shape, dtype and device of ``like`` (B, …).

    source : one generator; or B generators, one per sample; or a function of ``like`` that hands out prepared numbers.
    Raises InputError when there is no source, or not one generator per sample.
    """
    if isinstance(source, Generator):
        drawn = torch.randn(like.shape, generator=source)
    elif isinstance(source, Sequence):
        if len(source) != len(like):
            raise InputError(
                f"{len(source)} generators came for {len(like)} samples",
                why="each sample draws from its own",
                fix="give one generator per sample, or a single one",
            )
        drawn = torch.stack([torch.randn(like.shape[1:], generator=g) for g in source])
    elif callable(source):
        drawn = source(like)
    else:
        raise InputError(
            "this sampler draws noise but was given no generator",
            why="randomness is an argument here, never a global seed",
            fix='pass generator=seeds.stream(seed, "sampling"), or use eta=0',
        )
    return drawn.to(like)
