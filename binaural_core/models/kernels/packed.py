"""A BigVGAN laid out for inference on the CPU: every layer prepared once, the signal in vectors of channels throughout.

Letters: x_BVNL is a signal as ``layers.cpp`` wants it, V vectors of L neighbouring channels at N samples.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from binaural_core.models.kernels import cook_toom
from binaural_core.models.kernels.build import library
from binaural_core.models.kernels.cook_toom import Filter

if TYPE_CHECKING:
    from binaural_core.models.alias_free import AliasFree
    from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
    from binaural_core.models.weight_norm import Conv1d, ConvTranspose1d


@dataclass(frozen=True)
class Convolution:
    """A plain convolution, or (phases > 1) a transposed one whose output vectors are ``phases`` neighbouring samples."""

    filter: Filter
    bias_VL: Tensor
    dilation: int = 1
    phases: int = 1

    def __call__(self, x_BVNL: Tensor, *, add: Tensor | None = None, into: Tensor | None = None) -> Tensor:
        """The convolution of the same length (times ``phases``), plus ``add``, and added to ``into`` where given."""
        batch, vectors, samples, lanes = x_BVNL.shape
        made = self.bias_VL.shape[0]
        y_BVNL = into
        if y_BVNL is None:
            y_BVNL = x_BVNL.new_empty(batch, made // self.phases, samples * self.phases, lanes)
        sizes = (batch, samples, self.filter.inputs, vectors, made, len(self.filter.analysis), self.filter.pieces)
        sizes += (self.filter.taps // 2, self.dilation, self.phases)
        unknown = library().convolve(
            *_pointers(x_BVNL, self.filter.weight, self.bias_VL, add, y_BVNL),
            *_pointers(self.filter.analysis, self.filter.synthesis),
            *(ctypes.c_int64(size) for size in sizes),
            ctypes.c_int(into is not None),
            ctypes.c_int(torch.get_num_threads()),
        )
        assert not unknown, "cook_toom.py and layers.cpp disagree"
        return y_BVNL


@dataclass(frozen=True)
class Activation:
    """The alias-free activation."""

    alpha_VL: Tensor
    scale_VL: Tensor
    taps: Tensor

    def __call__(self, x_BVNL: Tensor) -> Tensor:
        batch, vectors, samples, _ = x_BVNL.shape
        y_BVNL = torch.empty_like(x_BVNL)
        library().activate(
            *_pointers(x_BVNL, self.alpha_VL, self.scale_VL, self.taps, y_BVNL),
            *(ctypes.c_int64(size) for size in (batch, vectors, samples)),
            ctypes.c_int(torch.get_num_threads()),
        )
        return y_BVNL


@dataclass(frozen=True)
class Block:
    """A residual block: activations and convolutions in turn, ``per_step`` of each between two additions of the input."""

    layers: tuple[tuple[Activation, Convolution], ...]
    per_step: int

    def __call__(self, x_BVNL: Tensor, into: Tensor | None) -> Tensor:
        """The block's output, added to ``into`` where given."""
        for first in range(0, len(self.layers), self.per_step):
            *before, (activation, convolution) = self.layers[first : first + self.per_step]
            inner_BVNL = x_BVNL
            for early_activation, early_convolution in before:
                inner_BVNL = early_convolution(early_activation(inner_BVNL))
            last = first + self.per_step == len(self.layers)
            x_BVNL = convolution(activation(inner_BVNL), add=x_BVNL, into=into if last else None)
        return x_BVNL


class PackedBigVGAN:
    """The layers of one generator, prepared. Takes about three times the memory of its weights."""

    def __init__(self, generator: BigVGAN):
        self.lanes = library().lanes()
        self.config = generator.config
        self.first, self.last = self._plain(generator.conv_pre), self._plain(generator.conv_post)
        self.widen = [self._transposed(widen) for (widen,) in generator.ups]
        per_stage = len(self.config.resblock_kernel_sizes)
        blocks = [self._block(block) for block in generator.resblocks]
        self.stages = [blocks[i : i + per_stage] for i in range(0, len(blocks), per_stage)]
        self.activation_post = self._activation(generator.activation_post)

    @torch.no_grad()
    def __call__(self, mel_BMF: Tensor) -> Tensor:
        """Wave (B, 1, N), as the generator's own `forward`."""
        x_BVNL = self.first(self.pack(mel_BMF))
        for widen, blocks in zip(self.widen, self.stages, strict=True):
            x_BVNL = widen(x_BVNL)
            total_BVNL = None
            for block in blocks:
                total_BVNL = block(x_BVNL, total_BVNL)
            x_BVNL = total_BVNL.div_(len(blocks))
        wave_B1N = self.last(self.activation_post(x_BVNL))[:, 0, :, 0][:, None]
        return torch.tanh(wave_B1N) if self.config.use_tanh_at_final else wave_B1N.clamp(-1, 1)

    def pack(self, x_BCN: Tensor) -> Tensor:
        """(B, C, N) -> (B, V, N, L)."""
        return F.pad(x_BCN, (0, 0, 0, -x_BCN.shape[1] % self.lanes)).unflatten(1, (-1, self.lanes)).mT.contiguous()

    def _vectors(self, per_channel_C: Tensor) -> Tensor:
        padded = F.pad(per_channel_C.detach().float(), (0, -len(per_channel_C) % self.lanes))
        return padded.unflatten(0, (-1, self.lanes)).contiguous()

    def _plain(self, conv: Conv1d) -> Convolution:
        bias_C = conv.normed().new_zeros(conv.out_channels) if conv.bias is None else conv.bias
        return Convolution(
            cook_toom.prepare(conv.normed(), self.lanes), self._vectors(bias_C), dilation=conv.dilation[0]
        )

    def _transposed(self, conv: ConvTranspose1d) -> Convolution:
        (phases,), (padding,) = conv.stride, conv.padding
        outputs = conv.out_channels + -conv.out_channels % self.lanes  # every phase begins a vector
        w_IOK = F.pad(conv.normed(), (0, 0, 0, outputs - conv.out_channels))
        plain_OIK = cook_toom.transposed_as_plain(w_IOK, phases, padding)
        bias_VL = self._vectors(conv.bias).repeat(phases, 1)
        return Convolution(cook_toom.prepare(plain_OIK, self.lanes), bias_VL, phases=phases)

    def _activation(self, activation: AliasFree) -> Activation:
        alpha_C, scale_C = activation.curve()
        return Activation(self._vectors(alpha_C), self._vectors(scale_C), activation.upsample.filter.flatten())

    def _block(self, block) -> Block:
        paired = hasattr(block, "convs1")
        convs = [c for pair in zip(block.convs1, block.convs2, strict=True) for c in pair] if paired else block.convs
        layers = zip(map(self._activation, block.activations), map(self._plain, convs), strict=True)
        return Block(tuple(layers), 2 if paired else 1)


def packable(config: BigVGANConfig) -> bool:
    """Whether no filter of this config is too long; that of a transposed convolution counts as `cook_toom` makes it."""
    widening = zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True)
    longest = [cook_toom.plain_taps(rate, taps, (taps - rate) // 2) for rate, taps in widening]
    return max(*longest, *config.resblock_kernel_sizes) <= cook_toom.LONGEST


def state_of(network: nn.Module) -> list[int]:
    """One number for each tensor of a network, which changes with any of its values: their bits added up.

    PyTorch counts changes too, but not those made through ``.data``. Reads every tensor once.
    """
    found = []
    for tensor in (*network.parameters(), *network.buffers()):
        values = tensor.detach().float().flatten()
        if values.numel() % 2 or values.storage_offset() % 2:
            values = F.pad(values, (0, values.numel() % 2)).clone()
        found.append(int(values.view(torch.int64).sum()))
    return found


def _pointers(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    assert all(t is None or (t.is_contiguous() and t.dtype == torch.float32) for t in tensors)
    return [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]
