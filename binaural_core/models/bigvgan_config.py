"""The one flat table that describes a BigVGAN: its networks, its mel and its training, in the published JSON format.

The names are the published ones, so any public v1 or v2 file loads unchanged. What a file leaves out means what it
meant when the file was written (tanh and bias at the end, clip at 1000, mel weight 45); what we do not use is kept in
`other` and written back.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from binaural_core.audio.mel import MelConfig
from binaural_core.checkpoint import save_json
from binaural_core.config import Config
from binaural_core.errors import InputError, need

CQT_LOWEST_HZ = 32.70
"""Frequency of the lowest constant-Q bin, the note C1."""


@dataclass(frozen=True, kw_only=True)
class BigVGANConfig(Config):
    """Generator, discriminators, mel and training settings under their published names.

    Narrower than the published code in three things, which no published config uses: a kernel longer than its rate by an
    odd number (there the wave's length is then no longer ``hop_size`` times the frames), initial channels that the stages
    cannot halve exactly (there rounded down), and spectral norm. They are refused.
    """

    resblock: Literal["1", "2"]
    """Residual block: "1" AMPBlock1 (pairs of convolutions), "2" AMPBlock2 (single ones)."""
    upsample_rates: tuple[int, ...]
    """Factor of each stage; their product is hop_size."""
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    """Channels before the first stage; each stage halves them."""
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    """Per residual block (as many as kernel sizes), the dilation of each of its layers."""
    activation: Literal["snake", "snakebeta"]
    snake_logscale: bool
    use_tanh_at_final: bool = True
    """False clamps to [-1, 1] instead."""
    use_bias_at_final: bool = True

    num_mels: int
    n_fft: int
    """Samples, as are hop_size and win_size."""
    hop_size: int
    win_size: int
    sampling_rate: int
    """Hz, as are fmin and fmax; fmax None is half the sampling rate."""
    fmin: float = 0.0
    fmax: float | None = None
    fmax_for_loss: float | None = None
    """Top of the mel in the loss; None is the full band even where the generator's mel stops earlier."""

    mpd_reshapes: tuple[int, ...] = (2, 3, 5, 7, 11)
    """Periods in samples of the multi-period discriminator."""
    resolutions: tuple[tuple[int, int, int], ...] = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
    """(n_fft, hop, win) in samples of each multi-resolution discriminator."""
    discriminator_channel_mult: float = 1.0
    mrd_channel_mult: float | None = None
    """Overrides discriminator_channel_mult for the multi-resolution discriminator."""
    use_spectral_norm: bool = False
    use_cqtd_instead_of_mrd: bool = False
    """The second set of discriminators hears constant-Q transforms instead of spectrograms; what follows is about it."""
    cqtd_filters: int = 32
    """Channels of its convolutions, times cqtd_filters_scale per layer, at most cqtd_max_filters."""
    cqtd_max_filters: int = 1024
    cqtd_filters_scale: int = 1
    cqtd_dilations: tuple[int, ...] = (1, 2, 4)
    """Along time, one per strided layer."""
    cqtd_in_channels: int = 1
    cqtd_out_channels: int = 1
    cqtd_hop_lengths: tuple[int, ...] = (512, 256, 256)
    """Samples at twice the sampling rate, one per network, as are the octaves and the bins per octave."""
    cqtd_n_octaves: tuple[int, ...] = (9, 9, 9)
    cqtd_bins_per_octaves: tuple[int, ...] = (24, 36, 48)
    cqtd_normalize_volume: bool = False
    """Each wave is freed of its mean and scaled to a peak of 0.8 before it is heard."""

    batch_size: int = 32
    segment_size: int = 8192
    """Samples of a training segment."""
    learning_rate: float = 1e-4
    adam_b1: float = 0.8
    adam_b2: float = 0.99
    lr_decay: float = 0.9999996
    """Factor per step."""
    clip_grad_norm: float = 1000.0
    seed: int = 1234
    lambda_melloss: float = 45.0
    use_multiscale_melloss: bool = False
    freeze_step: int = 0
    """Steps at the start with the mel loss alone and no discriminator."""
    silence_weight: float = 1.0
    """Weight in the mel loss of frames whose target is silent; 1 is the published loss."""
    silence_threshold_db: float = -50.0
    """RMS re full scale below which a frame is silent."""

    other: dict[str, Any] = field(default_factory=dict)
    """What a public file says beyond this; kept, not used."""

    @property
    def mel(self) -> MelConfig:
        """The mel that the generator hears."""
        return MelConfig(
            sample_rate_hz=self.sampling_rate,
            n_fft=self.n_fft,
            hop_samples=self.hop_size,
            win_samples=self.win_size,
            n_mels=self.num_mels,
            f_min_hz=self.fmin,
            f_max_hz=self.fmax,
        )

    @property
    def loss_mel(self) -> MelConfig:
        """The mel that the training loss compares."""
        return self.mel.replace(f_max_hz=self.fmax_for_loss)

    def validate(self) -> None:
        stages = len(self.upsample_rates)
        for name in (
            "upsample_rates",
            "resblock_kernel_sizes",
            "resblock_dilation_sizes",
            "mpd_reshapes",
            "resolutions",
        ):
            sizes = getattr(self, name)
            rows = [row if isinstance(row, tuple) else (row,) for row in sizes]
            need(
                bool(rows) and all(row and min(row) >= 1 for row in rows),
                f"{name} is {list(sizes)}",
                why="it holds rates, lengths or dilations, and a network needs at least one of each",
                fix="give a list, and in it numbers of 1 or more",
            )
        need(
            math.prod(self.upsample_rates) == self.hop_size,
            f"upsample_rates {list(self.upsample_rates)} multiply to {math.prod(self.upsample_rates)}",
            why=f"one mel frame must become hop_size={self.hop_size} samples",
            fix="make the product of upsample_rates equal to hop_size",
        )
        need(
            stages == len(self.upsample_kernel_sizes)
            and all(
                k >= u and (k - u) % 2 == 0
                for k, u in zip(self.upsample_kernel_sizes, self.upsample_rates, strict=True)
            ),
            f"upsample_kernel_sizes {list(self.upsample_kernel_sizes)} do not suit rates {list(self.upsample_rates)}",
            why="each stage has one kernel, as long as its rate or longer by an even number, to be centred",
            fix="give one kernel per rate, usually twice the rate",
        )
        need(
            self.upsample_initial_channel % 2**stages == 0 and self.upsample_initial_channel > 0,
            f"upsample_initial_channel={self.upsample_initial_channel} cannot be halved {stages} times",
            why="each of the stages halves the channels",
            fix=f"use a multiple of {2**stages}",
        )
        need(
            len(self.resblock_kernel_sizes) == len(self.resblock_dilation_sizes) > 0
            and all(k % 2 == 1 for k in self.resblock_kernel_sizes),
            f"{len(self.resblock_kernel_sizes)} resblock_kernel_sizes {list(self.resblock_kernel_sizes)} and "
            f"{len(self.resblock_dilation_sizes)} resblock_dilation_sizes do not pair",
            why="each residual block has one odd kernel size and its own list of dilations",
            fix="give as many odd kernel sizes as lists of dilations",
        )
        asked = {"use_spectral_norm": self.use_spectral_norm}
        asked |= {"mrd_use_spectral_norm": self.other.get("mrd_use_spectral_norm", False)}
        for name, wanted in asked.items():
            need(
                not wanted,
                f"{name} is on",
                why="no published BigVGAN uses it and only weight norm is built here",
                fix=f"set {name} to false",
            )
        for name, lowest in {
            "batch_size": 1,
            "freeze_step": 0,
            "lambda_melloss": 0,
            "segment_size": self.hop_size,
        }.items():
            value = getattr(self, name)
            need(
                value >= lowest,
                f"{name}={value}",
                why="weights and steps are not negative, and a segment holds at least one mel frame",
                fix=f"use {lowest} or more",
            )
        positive = ("silence_weight", "clip_grad_norm", "learning_rate", "lr_decay")
        for name in (*positive, "discriminator_channel_mult", "mrd_channel_mult"):
            value = getattr(self, name)
            need(
                value is None or value > 0,
                f"{name}={value}",
                why="at 0 nothing would be learned or built, and below it is no rate, norm or factor",
                fix="use a number above 0",
            )
        if self.use_cqtd_instead_of_mrd:
            self._validate_cqt()

    def _validate_cqt(self) -> None:
        """What must hold where the constant-Q discriminator is asked for; elsewhere its settings only travel along."""
        networks = {len(self.cqtd_hop_lengths), len(self.cqtd_n_octaves), len(self.cqtd_bins_per_octaves)}
        need(
            len(networks) == 1 and min(networks) > 0,
            f"cqtd_hop_lengths {list(self.cqtd_hop_lengths)}, cqtd_n_octaves {list(self.cqtd_n_octaves)} and "
            f"cqtd_bins_per_octaves {list(self.cqtd_bins_per_octaves)} are not of one length",
            why="each network has one hop, one number of octaves and one number of bins",
            fix="give each list one entry per network",
        )
        sizes = (self.cqtd_filters, self.cqtd_max_filters, self.cqtd_filters_scale, self.cqtd_out_channels)
        need(
            min(*sizes, *self.cqtd_n_octaves, *self.cqtd_bins_per_octaves, *self.cqtd_dilations) > 0
            and self.cqtd_in_channels == 1,
            "a cqtd_ setting is out of range",
            why="filters, dilations, octaves and bins are positive, and one channel of sound is heard at a time",
            fix="use numbers above 0 and cqtd_in_channels 1",
        )
        for hop, octaves, bins in zip(
            self.cqtd_hop_lengths, self.cqtd_n_octaves, self.cqtd_bins_per_octaves, strict=True
        ):
            need(
                hop > 0 and hop % 2 ** (octaves - 1) == 0,
                f"{hop} in cqtd_hop_lengths cannot be halved {octaves - 1} times",
                why=f"the transform halves rate and hop once per octave, and has {octaves}",
                fix=f"use a multiple of {2 ** (octaves - 1)}",
            )
            top_hz = CQT_LOWEST_HZ * 2 ** (octaves - 1 / bins)
            need(
                top_hz <= self.sampling_rate,
                f"{octaves} in cqtd_n_octaves reaches {top_hz:.0f} Hz",
                why=f"the sound is heard at twice {self.sampling_rate} Hz, which holds nothing above {self.sampling_rate}",
                fix="use fewer octaves",
            )

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read a published config file. Raises InputError naming the file and what does not fit."""
        path = Path(path)
        need(path.is_file(), f"config {path} is not there", why="no network can be built", fix="check the path")
        try:
            return cls.from_public(json.loads(path.read_text()))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"config {path} is not JSON", why=str(error), fix="correct or copy the file") from error
        except InputError as error:
            raise InputError(f"config {path}: {error.what}", why=error.why, fix=error.fix) from error

    @classmethod
    def from_public(cls, table: dict[str, Any]) -> Self:
        """Build from a published flat table; names we do not know go to `other`."""
        need(isinstance(table, dict), "it holds no table", why="a config names its settings", fix="give a JSON object")
        fields = {f.name: f for f in dataclasses.fields(cls) if f.name != "other"}
        missing = [
            name
            for name, f in fields.items()
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in table
        ]
        need(
            not missing,
            f"it does not say {', '.join(missing)}",
            why="the network cannot be built without",
            fix="take the config.json that came with the checkpoint",
        )
        known = {name: value for name, value in table.items() if name in fields}
        return cls(**known, other={name: value for name, value in table.items() if name not in fields})

    def to_public(self) -> dict[str, Any]:
        """The flat table that other BigVGAN code reads."""
        table = self.to_dict()
        other = table.pop("other")
        if table["mrd_channel_mult"] is None:
            del table["mrd_channel_mult"]  # other code takes its presence for an override
        return table | other

    def save_json(self, path: str | Path) -> Path:
        """Write the published format; usual name ``config.json`` beside the checkpoints."""
        return save_json(path, self.to_public())
