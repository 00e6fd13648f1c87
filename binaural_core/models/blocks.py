"""The parts that the UNet and the visual net are made of.

Conditioning is FiLM (Perez et al. 2018): features are scaled and shifted by numbers read from a condition. Here the
condition is a sequence over the L video frames, so the scale and shift move with time, and they may also vary
smoothly over the mel bands.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as fn
from torch import Tensor, nn


class StandardConv2d(nn.Conv2d):
    """A convolution whose weights have mean 0 and variance 1 over each output channel's inputs (Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.float()
        mean = weight.mean(dim=(1, 2, 3), keepdim=True)
        variance = weight.var(dim=(1, 2, 3), keepdim=True, unbiased=False)
        return self._conv_forward(x, (weight - mean) * torch.rsqrt(variance + 1e-5), self.bias)


def fourier_features(x: Tensor, octaves: Sequence[float]) -> Tensor:
    """sin and cos of pi x 2^k for each k in ``octaves``: (…, D) -> (…, 2 D len(octaves))."""
    angles = math.pi * x[..., None] * torch.tensor([2.0**k for k in octaves], dtype=x.dtype, device=x.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class TimeEmbedding(nn.Module):
    """Diffusion time in [0, 1] as D features: sinusoids from slow to fast (Vaswani et al. 2017), then two layers."""

    def __init__(self, width: int, waves: int = 32):
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(0, 3, waves), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t_B: Tensor) -> Tensor:
        angles = t_B.float()[:, None] * self.frequencies
        return self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))


def frames_from_views(x_BLD: Tensor, frames: int) -> Tensor:
    """Linear interpolation from L views to F frames: (B, L, D) -> (B, D, F).

    The views stand at the centres of L equal parts of the window; the first and last hold to its ends.
    """
    if x_BLD.shape[1] == 1:
        return x_BLD.transpose(1, 2).expand(-1, -1, frames)
    return fn.interpolate(x_BLD.transpose(1, 2).float(), size=frames, mode="linear", align_corners=False)


class FiLM(nn.Module):
    """x (1 + scale) + shift, both read from the condition, interpolated over frames and smooth over mel bands.

    bands : how many cosines over the mel axis the scale and shift are made of; 1 = the same for every band. With
    more, a level difference that grows with frequency is one linear map away from the condition.
    """

    def __init__(self, condition: int, channels: int, bands: int = 1):
        super().__init__()
        self.bands = bands
        self.project = nn.Linear(condition, 2 * channels * bands)
        nn.init.zeros_(self.project.bias)

    def forward(self, x_BCMF: Tensor, condition_BLD: Tensor) -> Tensor:
        _, channels, mels, frames = x_BCMF.shape
        weights = frames_from_views(self.project(condition_BLD), frames)  # (B, 2 C bands, F)
        if self.bands == 1:
            film = weights[:, :, None, :]
        else:
            height = (torch.arange(mels, device=x_BCMF.device) + 0.5) / mels
            cosines = torch.cos(math.pi * height[:, None] * torch.arange(self.bands, device=x_BCMF.device))
            film = torch.einsum("mr,bcrf->bcmf", cosines, weights.unflatten(1, (2 * channels, self.bands)))
        scale, shift = film.to(x_BCMF.dtype).chunk(2, dim=1)
        return torch.addcmul(shift, x_BCMF, 1 + scale)


class ResBlock(nn.Module):
    """Two weight-standardised convolutions with group norm, FiLM after the first norm, around a shortcut."""

    def __init__(self, inputs: int, outputs: int, condition: int, groups: int = 8, bands: int = 1):
        super().__init__()
        self.conv1 = StandardConv2d(inputs, outputs, 3, padding=1)
        self.norm1 = nn.GroupNorm(groups, outputs)
        self.film = FiLM(condition, outputs, bands)
        self.conv2 = StandardConv2d(outputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x_BCMF: Tensor, condition_BLD: Tensor) -> Tensor:
        h = fn.silu(self.film(self.norm1(self.conv1(x_BCMF)), condition_BLD))
        h = fn.silu(self.norm2(self.conv2(h)))
        return h + self.shortcut(x_BCMF)


class _Attention(nn.Module):
    """What both kinds of attention share: a norm, queries, keys and values of every cell by head, and the way back."""

    def __init__(self, channels: int, heads: int = 4, head_width: int = 16):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Conv2d(channels, 3 * heads * head_width, 1, bias=False)
        self.out = nn.Conv2d(heads * head_width, channels, 1)

    def heads_of(self, x_BCMF: Tensor) -> list[Tensor]:
        """Queries, keys and values, each (B, heads, D, M F)."""
        return [y.unflatten(1, (self.heads, -1)).flatten(3) for y in self.qkv(self.norm(x_BCMF)).chunk(3, dim=1)]


class LinearAttention(_Attention):
    """Attention whose cost grows with the number of cells, not its square (Shen et al. 2018), as a residual."""

    def forward(self, x_BCMF: Tensor) -> Tensor:
        mels, frames = x_BCMF.shape[-2:]
        q, k, v = self.heads_of(x_BCMF)
        q = q.float().softmax(dim=2).to(v.dtype)
        k = k.float().softmax(dim=3).to(v.dtype)
        context = k @ v.transpose(2, 3)  # (B, heads, D, D)
        y = (context.transpose(2, 3) @ q).flatten(1, 2).unflatten(2, (mels, frames))
        return x_BCMF + self.out(y)


class Attention(_Attention):
    """Full attention over all cells, as a residual."""

    def forward(self, x_BCMF: Tensor) -> Tensor:
        mels, frames = x_BCMF.shape[-2:]
        q, k, v = (y.transpose(2, 3) for y in self.heads_of(x_BCMF))
        y = fn.scaled_dot_product_attention(q, k, v)  # (B, heads, M F, D)
        return x_BCMF + self.out(y.transpose(2, 3).flatten(1, 2).unflatten(2, (mels, frames)))
