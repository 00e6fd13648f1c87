"""The parts that the UNet and the visual net are made of.

Conditioning is FiLM (Perez et al. 2018): features are scaled and shifted by numbers read from a condition. Here the
condition is a sequence over the L video frames, so the scale and shift move with time, and they may also vary
smoothly over the mel bands.

Conventions: where something stands along an axis (mel, time) is a number from 0 to 1, and n equal parts stand at their
centres, (i + 0.5) / n. A UNet pads its axes; ``reach_MF`` says how far its cells then reach along each, 1 or a little
more, so that a picture keeps its time whatever the padding.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

AXIS_OCTAVES = (-1, 0, 1, 2)
AXIS_FEATURES = 2 * len(AXIS_OCTAVES)


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


def centres(count: int, reach: float = 1.0, *, like: Tensor) -> Tensor:
    """Where ``count`` equal parts of an axis stand that reach from 0 to ``reach``, on the device of ``like``."""
    return (torch.arange(count, device=like.device) + 0.5) * (reach / count)


def axis_features(places_N: Tensor) -> Tensor:
    """Places along an axis as (N, AXIS_FEATURES) smooth features, for attention."""
    return fourier_features(2 * places_N[:, None] - 1, AXIS_OCTAVES)


def frames_from_views(x_BLD: Tensor, frames: int, reach: float = 1.0) -> Tensor:
    """Linear interpolation from L views to F frames that reach to ``reach``: (B, L, D) -> (B, D, F).

    The first and last views hold to the ends of the window and beyond.
    """
    views = x_BLD.shape[1]
    at_F = (centres(frames, reach, like=x_BLD) * views - 0.5).clamp(0, views - 1)  # in views from the first
    weights_LF = fn.relu(1 - (at_F - torch.arange(views, device=x_BLD.device)[:, None]).abs())
    return x_BLD.transpose(1, 2) @ weights_LF.to(x_BLD.dtype)


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

    def forward(self, x_BCMF: Tensor, condition_BLD: Tensor, reach_MF: tuple[float, float] = (1.0, 1.0)) -> Tensor:
        _, channels, mels, frames = x_BCMF.shape
        weights = frames_from_views(self.project(condition_BLD), frames, reach_MF[1])  # (B, 2 C bands, F)
        if self.bands == 1:
            film = weights[:, :, None, :]
        else:
            height_M = centres(mels, reach_MF[0], like=x_BCMF)
            cosines = torch.cos(math.pi * height_M[:, None] * torch.arange(self.bands, device=x_BCMF.device))
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

    def forward(self, x_BCMF: Tensor, condition_BLD: Tensor, reach_MF: tuple[float, float] = (1.0, 1.0)) -> Tensor:
        h = fn.silu(self.film(self.norm1(self.conv1(x_BCMF)), condition_BLD, reach_MF))
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


class CrossAttention(nn.Module):
    """Every cell looks at the objects of all views, as a residual that starts at zero.

    Queries know where their cell stands on the mel axis and in time, keys when their picture was taken. One learned
    token, "nothing", is always there to be looked at, alone where every object is masked.
    """

    def __init__(self, channels: int, object_dim: int, heads: int = 4, head_width: int = 16):
        super().__init__()
        width = heads * head_width
        self.heads = heads
        self.norm = nn.GroupNorm(1, channels)
        self.query = nn.Conv2d(channels + 2 * AXIS_FEATURES, width, 1, bias=False)
        self.key_value = nn.Linear(object_dim + AXIS_FEATURES, 2 * width, bias=False)
        self.nothing_D = nn.Parameter(torch.randn(2 * width) * head_width**-0.5)  # its key and value
        self.out = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        x_BCMF: Tensor,
        objects_BLOD: Tensor,
        mask_BLO: Tensor,
        reach_MF: tuple[float, float] = (1.0, 1.0),
    ) -> Tensor:
        batch, _, mels, frames = x_BCMF.shape
        mel_CM = axis_features(centres(mels, reach_MF[0], like=x_BCMF)).T
        time_CF = axis_features(centres(frames, reach_MF[1], like=x_BCMF)).T
        where_CMF = torch.cat([mel_CM[:, :, None].expand(-1, -1, frames), time_CF[:, None].expand(-1, mels, -1)])
        cells = torch.cat([self.norm(x_BCMF), where_CMF.to(x_BCMF.dtype).expand(batch, -1, -1, -1)], dim=1)
        q = self.query(cells).flatten(2).transpose(1, 2)  # (B, M F, heads D)

        views, objects = mask_BLO.shape[1:]
        objects_BLOD = objects_BLOD.masked_fill(mask_BLO[..., None], 0)
        when_L1D = axis_features(centres(views, like=x_BCMF))[:, None].to(objects_BLOD.dtype)
        tokens = torch.cat([objects_BLOD, when_L1D.expand(batch, -1, objects, -1)], dim=3).flatten(1, 2)
        key_value = self.key_value(tokens)
        key_value = torch.cat([self.nothing_D.to(key_value.dtype).expand(batch, 1, -1), key_value], dim=1)
        seen_BT = fn.pad(~mask_BLO.flatten(1), (1, 0), value=True)  # "nothing" comes first

        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (q, *key_value.chunk(2, dim=2)))
        y = fn.scaled_dot_product_attention(q, k, v, attn_mask=seen_BT[:, None, None])  # (B, heads, M F, D)
        return x_BCMF + self.out(y.transpose(2, 3).flatten(1, 2).unflatten(2, (mels, frames)))


class TransformerLayer(nn.Module):
    """One layer over the L views (Vaswani et al. 2017), norms first (Xiong et al. 2020), residuals that start at zero.

    Queries and keys know when their picture was taken. ``blind_BL`` views are not looked at but look at the others; of
    every sample at least one must not be blind.
    """

    def __init__(self, width: int, heads: int = 4, head_width: int = 32):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.when = nn.Linear(AXIS_FEATURES, width, bias=False)
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)
        self.wide = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
        for last in (self.out, self.wide[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x_BLD: Tensor, blind_BL: Tensor) -> Tensor:
        when_LD = self.when(axis_features(centres(x_BLD.shape[1], like=x_BLD)).to(x_BLD.dtype))
        parts = self.qkv(self.norm1(x_BLD) + when_LD).chunk(3, dim=2)
        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in parts)
        y = fn.scaled_dot_product_attention(q, k, v, attn_mask=~blind_BL[:, None, None])  # (B, heads, L, D)
        x_BLD = x_BLD + self.out(y.transpose(1, 2).flatten(2))
        return x_BLD + self.wide(self.norm2(x_BLD))
