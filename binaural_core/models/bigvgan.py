"""BigVGAN: from a log-mel to a wave, compatible with the published v1 and v2 checkpoints.

The generator widens one mel frame to hop_size samples in stages. Each stage is a transposed convolution and the mean
of a few residual blocks whose Snake activations favour periodic signals and do not alias. Letters: x_BCN is the signal
between stages, N growing from F mel frames to F x hop_size samples.

Source: Lee et al. 2023, BigVGAN (2206.04658), sec. 3; v2 as its authors released it.
"""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from binaural_core import checkpoint
from binaural_core.errors import need
from binaural_core.models import kernels, weight_norm
from binaural_core.models.alias_free import AliasFree, Snake, SnakeBeta
from binaural_core.models.bigvgan_config import BigVGANConfig
from binaural_core.models.kernels.packed import PackedBigVGAN, packable, state_of
from binaural_core.models.weight_norm import Conv1d, ConvTranspose1d
from binaural_core.shapes import check

__all__ = ["BigVGAN", "BigVGANConfig", "receptive_field_frames"]

FIRST_KERNEL = LAST_KERNEL = 7
USUAL_LOG_MEL, USUAL_DEVIATION = -5.0, 2.2  # of speech and instruments that peak at full scale
ACTIVATION_REACH = 5  # samples to either side that an alias-free activation mixes


def _activation(channels: int, config: BigVGANConfig) -> AliasFree:
    curve = {"snake": Snake, "snakebeta": SnakeBeta}[config.activation]
    return AliasFree(curve(channels, log_scale=config.snake_logscale))


def _same(channels: int, kernel: int, dilation: int) -> Conv1d:
    return Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)


class PairedBlock(nn.Module):
    """AMPBlock1: per dilation, activation, dilated convolution, activation, convolution, plus the input."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], config: BigVGANConfig):
        super().__init__()
        self.convs1 = nn.ModuleList(_same(channels, kernel, d) for d in dilations)
        self.convs2 = nn.ModuleList(_same(channels, kernel, 1) for _ in dilations)
        self.activations = nn.ModuleList(_activation(channels, config) for _ in range(2 * len(dilations)))

    def forward(self, x_BCN: Tensor) -> Tensor:
        before, between = self.activations[::2], self.activations[1::2]
        for act1, conv1, act2, conv2 in zip(before, self.convs1, between, self.convs2, strict=True):
            x_BCN = x_BCN + conv2(act2(conv1(act1(x_BCN))))
        return x_BCN


class SingleBlock(nn.Module):
    """AMPBlock2: per dilation, activation and dilated convolution, plus the input."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], config: BigVGANConfig):
        super().__init__()
        self.convs = nn.ModuleList(_same(channels, kernel, d) for d in dilations)
        self.activations = nn.ModuleList(_activation(channels, config) for _ in dilations)

    def forward(self, x_BCN: Tensor) -> Tensor:
        for act, conv in zip(self.activations, self.convs, strict=True):
            x_BCN = x_BCN + conv(act(x_BCN))
        return x_BCN


class BigVGAN(nn.Module):
    """Log-mel (B, M, F) of `BigVGANConfig.mel` to wave (B, 1, F * hop_size) in [-1, 1].

    New networks are weight-normed, for training; `remove_weight_norm` makes inference faster. In ``eval`` and without
    gradients a CPU computes with packed layers (`kernels`), prepared at the first call; they take about three times the
    memory of the weights.
    """

    def __init__(self, config: BigVGANConfig):
        super().__init__()
        self.config = config
        self._packed: tuple[list[int], PackedBigVGAN] | None = None
        block = {"1": PairedBlock, "2": SingleBlock}[config.resblock]
        channels = config.upsample_initial_channel
        self.conv_pre = Conv1d(config.num_mels, channels, FIRST_KERNEL, padding=FIRST_KERNEL // 2)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            widen = ConvTranspose1d(channels, channels // 2, kernel, stride=rate, padding=(kernel - rate) // 2)
            self.ups.append(nn.ModuleList([widen]))  # one level deeper than needed: the published names are ups.0.0
            channels //= 2
            for size, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True):
                self.resblocks.append(block(channels, size, dilations, config))
        self.activation_post = _activation(channels, config)
        self.conv_post = Conv1d(channels, 1, LAST_KERNEL, padding=LAST_KERNEL // 2, bias=config.use_bias_at_final)
        self._centre_first_layer()
        weight_norm.split(self)

    @torch.no_grad()
    def _centre_first_layer(self) -> None:
        """Let a new network start as if its mels had mean 0 and deviation 1; a short training gets further."""
        self.conv_pre.weight /= USUAL_DEVIATION
        self.conv_pre.bias -= USUAL_LOG_MEL * self.conv_pre.weight.sum(dim=(1, 2))

    def forward(self, mel_BMF: Tensor) -> Tensor:
        """Wave (B, 1, N), N = F * hop_size. Any F from 1 on. Raises InputError for other mels."""
        check(mel_BMF, f"B {self.config.num_mels} F", "mel")
        need(
            mel_BMF.shape[-1] > 0,
            "the mel has no frames",
            why="there is nothing to make sound of",
            fix="give one or more",
        )
        if self._can_be_packed(mel_BMF):
            return self._up_to_date()(mel_BMF)
        x_BCN = self.conv_pre(mel_BMF)
        per_stage = len(self.config.resblock_kernel_sizes)
        for stage, (widen,) in enumerate(self.ups):
            x_BCN = widen(x_BCN)
            blocks = self.resblocks[stage * per_stage : (stage + 1) * per_stage]
            total_BCN = blocks[0](x_BCN)
            for block in blocks[1:]:
                total_BCN += block(x_BCN)
            x_BCN = total_BCN / per_stage
        with torch.autocast(x_BCN.device.type, enabled=False):  # eight bits of mantissa are a hiss
            wave_B1N = self.conv_post(self.activation_post(x_BCN.to(self.conv_post.normed().dtype)))
        return torch.tanh(wave_B1N) if self.config.use_tanh_at_final else wave_B1N.clamp(-1, 1)

    def _can_be_packed(self, mel_BMF: Tensor) -> bool:
        """Inference in float32 on the CPU with compiled kernels, by layers that nobody listens in on or traces."""
        return (
            not self.training
            and not (torch.is_grad_enabled() and any(p.requires_grad for p in (mel_BMF, *self.parameters())))
            and mel_BMF.device.type == "cpu"
            and mel_BMF.dtype == self.conv_pre.normed().dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not any(m._forward_hooks or m._forward_pre_hooks for m in self.modules() if m is not self)
            and packable(self.config)
            and len(mel_BMF) > 0
            and kernels.way_for(mel_BMF) == "fused"
        )

    def _up_to_date(self) -> PackedBigVGAN:
        """The packed layers of the weights as they are now; packed anew when any number was changed."""
        state = state_of(self)
        kept = self._packed
        if kept is None or kept[0] != state:
            kept = self._packed = None  # frees the old ones first
            kept = self._packed = state, PackedBigVGAN(self)
        return kept[1]

    def train(self, mode: bool = True) -> Self:
        """As for any module; for training the packed layers are given back."""
        if mode:
            self._packed = None
        return super().train(mode)

    def __getstate__(self) -> dict:
        """Copies and files are of the weights alone."""
        return self.__dict__ | {"_packed": None}

    def remove_weight_norm(self) -> Self:
        """Fold the weight norm into plain weights, in place. The output stays the same."""
        weight_norm.fold(self)
        return self

    def to_public_state(self) -> dict[str, Tensor]:
        """The state dict as published checkpoints hold it (``weight_g``, ``weight_v``), folded or not."""
        return weight_norm.split_state(self)

    @classmethod
    def from_checkpoint(cls, path: str | Path, config: BigVGANConfig) -> Self:
        """Load ``{"generator": state dict}``, weight-normed or folded; the network stays as the file has it.

        Raises InputError when the file is broken, holds no generator, or does not fit the config.
        """
        file = checkpoint.load(path)
        need(
            isinstance(file, dict) and isinstance(file.get("generator"), dict),
            f"checkpoint {path} holds no generator",
            why=f"a BigVGAN generator file has the key 'generator'; this one has {_keys(file)}",
            fix="give a g_XXXXXXXX or bigvgan_generator.pt file (do_XXXXXXXX holds the discriminators)",
        )
        generator, weights = cls(config), weight_norm.published(file["generator"])
        if "conv_pre.weight" in weights:
            generator.remove_weight_norm()
        checkpoint.load_into(generator, weights, name=f"BigVGAN from {path}")
        return generator


def _keys(file) -> str:
    return ", ".join(map(repr, list(file)[:4])) if isinstance(file, dict) else f"a {type(file).__name__}"


def receptive_field_frames(config: BigVGANConfig) -> int:
    """Mel frames to either side that one frame's samples depend on: what streaming must overlap.

    Follows the samples of one frame back through every layer; 18 for the base config, 38 for v2.
    """
    first, last = 0, config.hop_size - 1  # sample range of the frame, widened layer by layer
    reach = LAST_KERNEL // 2 + ACTIVATION_REACH
    first, last = first - reach, last + reach
    blocks = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
    reach = max(_block_reach(config.resblock, kernel, dilations) for kernel, dilations in blocks)
    for rate, kernel in zip(reversed(config.upsample_rates), reversed(config.upsample_kernel_sizes), strict=True):
        first, last = first - reach, last + reach
        padding = (kernel - rate) // 2  # output m hears input i where 0 <= m + padding - rate i < kernel
        first, last = -((kernel - 1 - first - padding) // rate), (last + padding) // rate
    return max(-first, last) + FIRST_KERNEL // 2


def _block_reach(resblock: str, kernel: int, dilations: tuple[int, ...]) -> int:
    reach = sum(d * (kernel - 1) // 2 + ACTIVATION_REACH for d in dilations)
    if resblock == "1":
        reach += len(dilations) * ((kernel - 1) // 2 + ACTIVATION_REACH)
    return reach
