"""The discriminators that BigVGAN is trained against, compatible with the published checkpoints.

Each is a set of small convolutional networks that hear the wave in different ways. The multi-period one folds it into
rows of one period, so that periodic faults stand in columns (Kong et al. 2020, HiFi-GAN, 2010.05646, sec. 2.3); the
multi-resolution one looks at magnitude spectrograms (Jang et al. 2021, UnivNet, 2106.07889).

Conventions: wave_B1N is one ear or a mono sound. A network answers a wave with `Heard`: its scores, trained to be 1 for
real and 0 for generated sound, and the feature maps on the way there.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from binaural_core.errors import need
from binaural_core.models import weight_norm
from binaural_core.models.bigvgan_config import BigVGANConfig
from binaural_core.models.weight_norm import Conv2d
from binaural_core.shapes import check

LEAK = 0.1  # slope of the leaky rectifier below zero


class Heard(NamedTuple):
    """What one network says about a wave."""

    scores: Tensor
    maps: list[Tensor]


class PeriodDiscriminator(nn.Module):
    """Hears every ``period``-th sample together."""

    def __init__(self, period: int, channel_mult: float):
        super().__init__()
        self.period = period
        widths = [1, *(int(width * channel_mult) for width in (32, 128, 512, 1024, 1024))]
        self.convs = nn.ModuleList(
            Conv2d(before, after, (5, 1), stride=(stride, 1), padding=(2, 0))
            for before, after, stride in zip(widths[:-1], widths[1:], (3, 3, 3, 3, 1), strict=True)
        )
        self.conv_post = Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, wave_B1N: Tensor) -> Heard:
        missing = -wave_B1N.shape[-1] % self.period
        wave_B1N = F.pad(wave_B1N, (0, missing), mode="reflect") if missing else wave_B1N
        return _hear(self, wave_B1N.unflatten(-1, (-1, self.period)))


class ResolutionDiscriminator(nn.Module):
    """Hears a magnitude spectrogram at one resolution: n_fft, hop and window in samples, rectangular window."""

    def __init__(self, resolution: tuple[int, int, int], channel_mult: float):
        super().__init__()
        self.resolution = resolution
        width = int(32 * channel_mult)
        self.convs = nn.ModuleList(
            [
                Conv2d(1, width, (3, 9), padding=(1, 4)),
                *(Conv2d(width, width, (3, 9), stride=(1, 2), padding=(1, 4)) for _ in range(3)),
                Conv2d(width, width, (3, 3), padding=(1, 1)),
            ]
        )
        self.conv_post = Conv2d(width, 1, (3, 3), padding=(1, 1))

    def forward(self, wave_B1N: Tensor) -> Heard:
        n_fft, hop, win = self.resolution
        margin = (n_fft - hop) // 2
        wave_BN = F.pad(wave_B1N, (margin, margin), mode="reflect")[:, 0].float()
        window = torch.ones(win, device=wave_BN.device)
        with torch.autocast(wave_BN.device.type, enabled=False):
            spectrum_BKF = torch.stft(wave_BN, n_fft, hop, win, window, center=False, return_complex=True)
        return _hear(self, spectrum_BKF.abs()[:, None])


def _hear(network: nn.Module, x_BCHW: Tensor) -> Heard:
    maps = []
    for conv in network.convs:
        x_BCHW = F.leaky_relu(conv(x_BCHW), LEAK)
        maps.append(x_BCHW)
    scores_BCHW = network.conv_post(x_BCHW)
    return Heard(scores_BCHW.flatten(1), [*maps, scores_BCHW])


class Discriminators(nn.Module):
    """A set of networks that hear the same wave; what the two below share."""

    shortest_samples: int
    """A shorter wave cannot be padded by mirroring."""

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.discriminators = nn.ModuleList(networks)
        weight_norm.split(self)

    def hear(self, wave_B1N: Tensor) -> list[Heard]:
        """What each network says. Raises InputError for a wave that is not (B, 1, N) or too short."""
        check(wave_B1N, "B 1 N", "wave")
        need(
            wave_B1N.shape[-1] >= self.shortest_samples,
            f"the wave has {wave_B1N.shape[-1]} samples",
            why=f"a {type(self).__name__} mirrors the ends and needs {self.shortest_samples}",
            fix="train on longer segments (segment_size)",
        )
        return [network(wave_B1N) for network in self.discriminators]

    def forward(
        self, real_B1N: Tensor, fake_B1N: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[list[Tensor]], list[list[Tensor]]]:
        """Scores of the real and of the generated wave, then the feature maps of both, one entry per network."""
        real, fake = self.hear(real_B1N), self.hear(fake_B1N)
        return [h.scores for h in real], [h.scores for h in fake], [h.maps for h in real], [h.maps for h in fake]


class MultiPeriodDiscriminator(Discriminators):
    """One `PeriodDiscriminator` per period of ``config.mpd_reshapes``."""

    def __init__(self, config: BigVGANConfig):
        super().__init__([PeriodDiscriminator(p, config.discriminator_channel_mult) for p in config.mpd_reshapes])
        self.shortest_samples = max(config.mpd_reshapes)


class MultiResolutionDiscriminator(Discriminators):
    """One `ResolutionDiscriminator` per entry of ``config.resolutions``."""

    def __init__(self, config: BigVGANConfig):
        mult = config.discriminator_channel_mult if config.mrd_channel_mult is None else config.mrd_channel_mult
        super().__init__([ResolutionDiscriminator(r, mult) for r in config.resolutions])
        self.shortest_samples = max((n_fft - hop) // 2 + 1 for n_fft, hop, _ in config.resolutions)
