"""Snake, SnakeBeta, and the wrapper that keeps them from aliasing.

A pointwise curve makes new frequencies, and those above half of the rate fold back as tones that belong to nothing.
`AliasFree` applies the curve at twice the rate and removes what lies above the old Nyquist frequency before it goes
back (Lee et al. 2023, BigVGAN, 2206.04658).

Sources: Snake, Ziyin et al. 2020 (2006.08195); SnakeBeta and the log scale come with the published BigVGAN.
"""

import torch
from torch import Tensor, nn

from binaural_core.models.alias_free.filters import DownsampleTwice, UpsampleTwice

TINY = 1e-9  # keeps 1 / alpha finite; part of the published definition


def snake(x_BCN: Tensor, alpha_C: Tensor, beta_C: Tensor) -> Tensor:
    """x + sin²(alpha x) / beta, per channel.

    alpha_C sets the frequency of the ripple, beta_C divides its size; Snake is beta = alpha.
    """
    alpha_C1, beta_C1 = alpha_C[:, None], beta_C[:, None]
    return torch.addcmul(x_BCN, torch.sin(alpha_C1 * x_BCN).square(), 1 / (beta_C1 + TINY))


class Snake(nn.Module):
    """x + sin²(alpha x) / alpha with one trained alpha per channel.

    log_scale : the stored parameter is ln alpha (starts at 0) instead of alpha (starts at 1).
    """

    def __init__(self, channels: int, *, log_scale: bool):
        super().__init__()
        self.log_scale = log_scale
        self.alpha = nn.Parameter(torch.zeros(channels) if log_scale else torch.ones(channels))

    def curve(self) -> tuple[Tensor, Tensor]:
        """(alpha_C, beta_C) on the linear scale: all that a fused kernel needs to know."""
        alpha_C = self.alpha.exp() if self.log_scale else self.alpha
        return alpha_C, alpha_C

    def forward(self, x_BCN: Tensor) -> Tensor:
        return snake(x_BCN, *self.curve())


class SnakeBeta(Snake):
    """x + sin²(alpha x) / beta: the size of the ripple is trained apart from its frequency."""

    def __init__(self, channels: int, *, log_scale: bool):
        super().__init__(channels, log_scale=log_scale)
        self.beta = nn.Parameter(self.alpha.detach().clone())

    def curve(self) -> tuple[Tensor, Tensor]:
        return (self.alpha.exp(), self.beta.exp()) if self.log_scale else (self.alpha, self.beta)


class AliasFree(nn.Module):
    """A pointwise activation at twice the rate: (B, C, N) -> (B, C, N)."""

    def __init__(self, act: nn.Module):
        super().__init__()
        self.act = act
        self.upsample = UpsampleTwice()
        self.downsample = DownsampleTwice()

    def forward(self, x_BCN: Tensor) -> Tensor:
        return self.downsample(self.act(self.upsample(x_BCN)))
