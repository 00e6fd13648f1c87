"""Conditions that are sometimes hidden in training, and steering with the difference at sampling.

There are two conditions: the mono mel and what is seen. ``kept_B2`` (bool, columns in that order) says which of them
the network may use for each sample. A network that met both worlds can be pushed from one to the other (Ho & Salimans
2022).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

MONO, SIGHT = 0, 1
Network = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x_BEMF, t_B in [0, 1], kept_B2) -> (B, E, M, F)
Dropped = Literal["together", "apart", "sight"]


def keep_conditions(uniform_B2: Tensor, threshold: float, dropped: Dropped) -> Tensor:
    """kept_B2 from uniform numbers in [0, 1): a condition is hidden where its number is below ``threshold``.

    together: one number (the first) hides both, as in the original. apart: each has its own. sight: the mono always
    stays.
    """
    if dropped == "together":
        uniform_B2 = uniform_B2[:, :1].expand(-1, 2)
    kept_B2 = uniform_B2 >= threshold
    if dropped == "sight":
        kept_B2 = torch.stack([torch.ones_like(kept_B2[:, MONO]), kept_B2[:, SIGHT]], dim=1)
    return kept_B2


def both_ways(network: Network, mirrored: Network) -> Network:
    """The mean of what the network says and of what it says in a mirror, where the ears have changed places.

    ``mirrored`` sees the scene with left and right exchanged. A mirrored scene then gives mirrored ears exactly, and where
    nothing is seen no ear is preferred. Costs twice the evaluations.
    """

    def output(x_BEMF: Tensor, t_B: Tensor, kept_B2: Tensor) -> Tensor:
        seen_BEMF = network(x_BEMF, t_B, kept_B2)
        return (seen_BEMF + mirrored(x_BEMF.flip(1), t_B, kept_B2).flip(1)) / 2

    return output


def guided(network: Network, scale: float, dropped: Dropped) -> Callable[[Tensor, Tensor], Tensor]:
    """The network with its conditions pushed: hidden + scale (kept - hidden); Ho & Salimans 2022, eq. 6, w = scale - 1.

    scale 1 is the plain conditional network and 0 the unconditional one, at one evaluation each; others cost two.
    """

    def output(x: Tensor, t_B: Tensor) -> Tensor:
        kept_B2 = torch.ones(len(x), 2, dtype=torch.bool, device=x.device)
        hidden_B2 = torch.zeros_like(kept_B2)
        hidden_B2[:, MONO] = dropped == "sight"
        if scale == 1:
            return network(x, t_B, kept_B2)
        without = network(x, t_B, hidden_B2)
        if scale == 0:
            return without
        return without + scale * (network(x, t_B, kept_B2) - without)

    return output
