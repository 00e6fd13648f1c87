"""The discriminators that BigVGAN is trained against, compatible with the published checkpoints.

Each is a set of small convolutional networks that hear the wave in different ways. The multi-period one folds it into
rows of one period, so that periodic faults stand in columns (Kong et al. 2020, HiFi-GAN, 2010.05646, sec. 2.3); the
multi-resolution one looks at magnitude spectrograms (Jang et al. 2021, UnivNet, 2106.07889); the multi-scale sub-band
CQT one, in its place in BigVGAN v2, at constant-Q transforms octave by octave (Gu et al. 2023, 2311.14957).

`discriminators_of` builds the sets that a config asks for.

Conventions: wave_B1N is one ear or a mono sound. A network answers a wave with `Heard`: its scores, trained to be 1 for
real and 0 for generated sound, and the feature maps on the way there.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from binaural_core.errors import need
from binaural_core.models import weight_norm
from binaural_core.models.bigvgan_config import BigVGANConfig
from binaural_core.models.cqt import DoubleRate, constant_q
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


class SubbandCQTDiscriminator(nn.Module):
    """Hears a constant-Q transform, real and imaginary part as channels, at one hop and one number of bins per octave.

    Every octave has a convolution of its own before they are heard together. The scores stay (B, 1, F, K') and the
    feature maps end before them, as published. The fixed numbers of resampler and transform are buffers, saved because
    published code asks for them; a file without them leaves those that the config gave.
    """

    def __init__(self, config: BigVGANConfig, hop_samples: int, octaves: int, bins_per_octave: int):
        super().__init__()
        self.bins_per_octave, self.normalize_volume = bins_per_octave, config.cqtd_normalize_volume
        self.cqt_transform = constant_q(2 * config.sampling_rate, hop_samples, octaves, bins_per_octave)
        self.conv_pres = nn.ModuleList(nn.Conv2d(2, 2, (3, 9), padding=(1, 4)) for _ in range(octaves))
        scales = (config.cqtd_filters_scale**layer for layer in range(1, len(config.cqtd_dilations) + 2))
        widths = [
            config.cqtd_filters,
            *(min(scale * config.cqtd_filters, config.cqtd_max_filters) for scale in scales),
        ]
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(2, widths[0], (3, 9), padding=(1, 4)),  # unlike the next ones without weight norm
                *(
                    Conv2d(before, after, (3, 9), stride=(1, 2), dilation=(dilation, 1), padding=(dilation, 4))
                    for before, after, dilation in zip(widths[:-2], widths[1:-1], config.cqtd_dilations, strict=True)
                ),
                Conv2d(widths[-2], widths[-1], (3, 3), padding=(1, 1)),
            ]
        )
        self.conv_post = Conv2d(widths[-1], config.cqtd_out_channels, (3, 3), padding=(1, 1))
        self.resample = DoubleRate()
        self.register_load_state_dict_pre_hook(_fixed_numbers_may_be_left_out)

    @property
    def shortest_samples(self) -> int:
        """So many leave one sample at the rate of the lowest octave: doubled, lowered, then halved octave by octave."""
        halvings = 2 ** (len(self.conv_pres) - 1)
        return max(1, halvings * int(self.cqt_transform.downsample_factor) // 2)

    def forward(self, wave_B1N: Tensor) -> Heard:
        with torch.autocast(wave_B1N.device.type, enabled=False):
            wave_B1N = wave_B1N.float()
            if self.normalize_volume:
                wave_B1N = wave_B1N - wave_B1N.mean(dim=-1, keepdim=True)
                wave_B1N = 0.8 * wave_B1N / (wave_B1N.abs().amax(dim=-1, keepdim=True) + 1e-9)
            cqt_BKF2 = self.cqt_transform(self.resample(wave_B1N))
        octaves_B2FK = cqt_BKF2.permute(0, 3, 2, 1).split(self.bins_per_octave, dim=-1)
        x_BCFK = torch.cat([conv(octave) for conv, octave in zip(self.conv_pres, octaves_B2FK, strict=True)], dim=-1)
        maps = []
        for conv in self.convs:
            x_BCFK = F.leaky_relu(conv(x_BCFK), LEAK)
            maps.append(x_BCFK)
        return Heard(self.conv_post(x_BCFK), maps)


def _fixed_numbers_may_be_left_out(network: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, value in network.named_buffers(prefix=prefix.removesuffix(".")):
        state.setdefault(name, value)


def _hear(network: nn.Module, x_BCHW: Tensor) -> Heard:
    maps = []
    for conv in network.convs:
        x_BCHW = F.leaky_relu(conv(x_BCHW), LEAK)
        maps.append(x_BCHW)
    scores_BCHW = network.conv_post(x_BCHW)
    return Heard(scores_BCHW.flatten(1), [*maps, scores_BCHW])


class Discriminators(nn.Module):
    """A set of networks that hear the same wave; what the three below share."""

    shortest_samples: int
    """A shorter wave cannot be padded by mirroring, or leaves nothing at the lowest rate."""

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
            why=f"a {type(self).__name__} of this config needs {self.shortest_samples}",
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


class MultiScaleSubbandCQTDiscriminator(Discriminators):
    """One `SubbandCQTDiscriminator` per entry of ``config.cqtd_hop_lengths``. Raises InputError without nnAudio."""

    def __init__(self, config: BigVGANConfig):
        kinds = zip(config.cqtd_hop_lengths, config.cqtd_n_octaves, config.cqtd_bins_per_octaves, strict=True)
        super().__init__([SubbandCQTDiscriminator(config, *kind) for kind in kinds])
        self.shortest_samples = max(network.shortest_samples for network in self.discriminators)


def discriminators_of(config: BigVGANConfig, names: Sequence[str] = ("mpd", "mrd")) -> dict[str, Discriminators]:
    """The sets of discriminators that ``config`` asks for, under the names of the published ``do_`` files.

    ``mpd`` is the multi-period one; ``mrd`` is the second one, whichever it is: the CQT one where
    ``config.use_cqtd_instead_of_mrd`` says so, else the multi-resolution one. ``names`` picks some of them.
    Raises InputError for another name, where the CQT one is asked for and nnAudio is missing, and where a public config
    asks for the multi-band one, which no published model was trained with.
    """
    need(
        not config.other.get("use_mbd_instead_of_mrd"),
        "use_mbd_instead_of_mrd is on",
        why="no published BigVGAN was trained with the multi-band discriminator, and it is not built here",
        fix="set it to false; use_cqtd_instead_of_mrd true is BigVGAN v2's choice",
    )
    second = MultiScaleSubbandCQTDiscriminator if config.use_cqtd_instead_of_mrd else MultiResolutionDiscriminator
    kinds = {"mpd": MultiPeriodDiscriminator, "mrd": second}
    for name in names:
        need(
            name in kinds,
            f"there are no discriminators named {name!r}",
            why=f"a checkpoint holds {' and '.join(kinds)}",
            fix="use these names; use_cqtd_instead_of_mrd in the config says which kind mrd is",
        )
    return {name: kinds[name](config) for name in names}
