"""Snake, SnakeBeta, and the wrapper that keeps them from aliasing.

A pointwise curve makes new frequencies, and those above half of the rate fold back as tones that belong to nothing.
`AliasFree` applies the curve at twice the rate and removes what lies above the old Nyquist frequency before it goes
back (Lee et al. 2023, BigVGAN, 2206.04658).

Sources: Snake, Ziyin et al. 2020 (2006.08195); SnakeBeta and the log scale come with the published BigVGAN.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from binaural_core.models import kernels
from binaural_core.models.alias_free.filters import TAPS, DownsampleTwice, UpsampleTwice
from binaural_core.models.kernels.fused import AliasFreeFunction

TINY = 1e-9  # keeps 1 / alpha finite; part of the published definition
AT_ONCE = 2**17  # samples of all channels together that `polyphase` passes through its steps


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
    """A pointwise activation at twice the rate: (B, C, N) -> (B, C, N), computed as `kernels` says.

    Both filters are the same, as published; all ways but the plain one read the first.
    """

    def __init__(self, act: Snake):
        super().__init__()
        self.act = act
        self.upsample = UpsampleTwice()
        self.downsample = DownsampleTwice()

    def curve(self) -> tuple[Tensor, Tensor]:
        """(alpha_C, scale_C) of x + scale sin²(alpha x)."""
        alpha_C, beta_C = self.act.curve()
        return alpha_C, 1 / (beta_C + TINY)

    def forward(self, x_BCN: Tensor) -> Tensor:
        way = kernels.way_for(x_BCN, *self.act.parameters())
        if way == "plain":
            return self.downsample(self.act(self.upsample(x_BCN)))
        taps = self.upsample.filter.flatten()
        if way == "fused":
            return AliasFreeFunction.apply(x_BCN, *self.curve(), taps)
        return polyphase(x_BCN, *self.curve(), taps)


@torch.no_grad()
def polyphase(x_BCN: Tensor, alpha_C: Tensor, scale_C: Tensor, taps: Tensor) -> Tensor:
    """`AliasFree` without multiplying by stuffed zeros and without gradients.

    Of the 12 taps f every sample at the doubled rate u meets six, the even samples the odd taps and the odd ones the even:
    u[2j] = 2 sum_k f[2k+1] x[j+2-k],  u[2j+1] = 2 sum_k f[2k] x[j+3-k],  y[t] = sum_k f[k] u[2t+k-5].
    A few channels at a time, so that they stay in the cache.
    """
    batch, channels, samples = x_BCN.shape
    y_BCN, reach = (
        torch.empty_like(x_BCN),
        TAPS // 4,
    )  # how many samples y hears to either side at each of the two steps
    f, at_once = taps.tolist(), max(1, AT_ONCE // samples)
    for b in range(batch):
        for c in range(0, channels, at_once):
            some, alpha_C11, scale_C11 = (
                slice(c, c + at_once),
                *(p[c : c + at_once, None, None] for p in (alpha_C, scale_C)),
            )
            x_CN = F.pad(x_BCN[b, some], (reach, reach), mode="replicate")
            u_CPN = x_CN.new_zeros(len(x_CN), 2, samples + 2 * reach)  # P: the even and the odd samples
            even_CN, odd_CN = u_CPN[:, :, reach:-reach].unbind(1)
            for k in range(TAPS // 2):
                even_CN.add_(x_CN[:, 5 - k :][:, :samples], alpha=2 * f[2 * k + 1])
                odd_CN.add_(x_CN[:, 6 - k :][:, :samples], alpha=2 * f[2 * k])
            u_CPN.add_((alpha_C11 * u_CPN).sin_().square_().mul_(scale_C11))
            u_CPN[:, :, :reach] = u_CPN[:, :1, reach : reach + 1]  # both are held at the first and at the last sample
            u_CPN[:, :, -reach:] = u_CPN[:, 1:, -reach - 1 : -reach]
            y_CN = y_BCN[b, some].zero_()
            for k in range(TAPS // 2):
                y_CN.add_(u_CPN[:, 0, 1 + k :][:, :samples], alpha=f[2 * k + 1])
                y_CN.add_(u_CPN[:, 1, k:][:, :samples], alpha=f[2 * k])
    return y_BCN
