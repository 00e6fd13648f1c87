"""Resampling by two with a short Kaiser-windowed sinc, as BigVGAN does around every activation.

Conventions: x_BCN is any signal of B batches, C channels and N samples; every channel is filtered alone. The ends are
held (the first and the last sample are repeated), so a signal of one sample works too. The filters are stored with the
weights because published checkpoints store them.

Sources: Kaiser's formulas (Oppenheim and Schafer, Discrete-Time Signal Processing, ch. 7); Karras et al. 2021
(2106.12423) for alias-free networks; Lee et al. 2023, BigVGAN (2206.04658), for sound.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from binaural_core.errors import need

TAPS = 12
CUTOFF = 0.25  # of the doubled rate: the Nyquist frequency of the signal itself
HALF_WIDTH = 0.3  # half the transition band, of the same rate


def kaiser_sinc(cutoff: float = CUTOFF, half_width: float = HALF_WIDTH, taps: int = TAPS) -> Tensor:
    """Low-pass filter: an ideal sinc under a Kaiser window, scaled to sum 1.

    cutoff, half_width : cycles per sample, cutoff in (0, 0.5].   Returns (taps,) float32, symmetric.
    Raises InputError for a cutoff outside (0, 0.5] or fewer than two taps.
    """
    need(
        0 < cutoff <= 0.5 and half_width > 0 and taps >= 2,
        f"no low-pass has cutoff={cutoff}, half_width={half_width}, taps={taps}",
        why="the cutoff lies between 0 and half the rate, and the window needs a width and two taps",
        fix="use 0 < cutoff <= 0.5, half_width > 0 and taps >= 2",
    )
    # Kaiser's formula asks for taps - 1; the published filters were made with half of the taps, so that is kept.
    attenuation_db = 2.285 * (taps // 2 - 1) * math.pi * 4 * half_width + 7.95
    if attenuation_db > 50:
        beta = 0.1102 * (attenuation_db - 8.7)
    elif attenuation_db >= 21:
        beta = 0.5842 * (attenuation_db - 21) ** 0.4 + 0.07886 * (attenuation_db - 21)
    else:
        beta = 0.0
    window = torch.kaiser_window(taps, beta=beta, periodic=False)
    time = torch.arange(taps) - taps // 2 + (0.5 if taps % 2 == 0 else 0.0)
    ideal = 2 * cutoff * window * torch.sinc(2 * cutoff * time)
    return ideal / ideal.sum()


class UpsampleTwice(nn.Module):
    """(B, C, N) -> (B, C, 2 N): a zero after every sample, then the low-pass with gain 2."""

    def __init__(self):
        super().__init__()
        self.register_buffer("filter", kaiser_sinc().view(1, 1, TAPS))

    def forward(self, x_BCN: Tensor) -> Tensor:
        channels, held = x_BCN.shape[1], TAPS // 2 - 1
        crop = 3 * held  # 2 x held for what was held, and held again: half of the filter
        x_BCN = F.pad(x_BCN, (held, held), mode="replicate")
        taps_C1K = (2 * self.filter).expand(channels, 1, TAPS)
        return F.conv_transpose1d(x_BCN, taps_C1K, stride=2, groups=channels)[..., crop:-crop]


class LowPass(nn.Module):
    """(B, C, 2 N) -> (B, C, N): the low-pass, computed only at every second sample."""

    def __init__(self):
        super().__init__()
        self.register_buffer("filter", kaiser_sinc().view(1, 1, TAPS))

    def forward(self, x_BCN: Tensor) -> Tensor:
        channels = x_BCN.shape[1]
        x_BCN = F.pad(x_BCN, (TAPS // 2 - 1, TAPS // 2), mode="replicate")
        return F.conv1d(x_BCN, self.filter.expand(channels, 1, TAPS), stride=2, groups=channels)


class DownsampleTwice(nn.Module):
    """`LowPass` under the name that checkpoints give it."""

    def __init__(self):
        super().__init__()
        self.lowpass = LowPass()

    def forward(self, x_BCN: Tensor) -> Tensor:
        return self.lowpass(x_BCN)
