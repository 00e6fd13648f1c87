"""What is seen, as a context for the UNet: object crops and where they are -> one vector per video frame.

Every object becomes a vector of what it looks like (a small convolutional encoder), where it stands in the picture
and in which direction and how far it is, where that is known. Several learned queries each gather one summary of the
objects of a frame, so that two sources at different places are not averaged into one between them. A frame in which
everything is masked gives a learned vector that means "nothing seen".

Conventions: as in `binaural_core.data.sample`; NaN = unknown, mask True = nothing there. A crop of zeros is no picture:
then only the positions count.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from binaural_core.config import Config
from binaural_core.errors import need
from binaural_core.models.blocks import fourier_features
from binaural_core.shapes import check

IMAGE_OCTAVES = (-1, 0, 1, 2)
AZIMUTH_HARMONICS = (1, 2, 3, 4)
PLACE_FEATURES = 2 + 2 * 2 * len(IMAGE_OCTAVES) + 1 + 2 * len(AZIMUTH_HARMONICS) + 3 + 2 + 1


@dataclass(frozen=True, kw_only=True)
class VisualConfig(Config):
    encoder: Literal["small"] = "small"
    width: int = 32  # channels of the encoder's first layer, doubled at each of the others
    object_dim: int = 128
    context_dim: int = 128  # must equal the UNet's; the original has 512
    pool: Literal["attention", "avg", "max"] = "attention"
    queries: int = 4  # summaries per frame with pool = attention

    def validate(self) -> None:
        for name in ("object_dim", "context_dim", "queries"):
            value = getattr(self, name)
            need(value >= 1, f"{name}={value}", why="it counts features", fix="give 1 or more")
        need(
            self.width >= 4 and self.width % 4 == 0,
            f"width={self.width}",
            why="group norm takes channels by four",
            fix="give a multiple of 4",
        )


class SmallEncoder(nn.Module):
    """Three strided convolutions: (N, 3, H, W) -> (N, D), for crops of 64 x 64 or so.

    The features are pooled with three weights, 1, x and y, so that where something is inside the crop is not lost.
    """

    def __init__(self, width: int, features: int):
        super().__init__()
        channels = [3, width, 2 * width, 4 * width]
        self.layers = nn.Sequential()
        for inputs, outputs in pairwise(channels):
            kernel, stride = (5, 4) if inputs == 3 else (3, 2)
            self.layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2))
            self.layers.append(nn.GroupNorm(outputs // 4, outputs))
            self.layers.append(nn.SiLU())
        self.out = nn.Linear(3 * channels[-1], features)

    def forward(self, crops_NCHW: Tensor) -> Tensor:
        features_NCHW = self.layers(crops_NCHW)
        x, y = (torch.linspace(-1, 1, n, device=crops_NCHW.device) for n in reversed(features_NCHW.shape[2:]))
        weights = torch.stack([torch.ones(len(y), len(x)).to(x), x.expand(len(y), -1), y[:, None].expand(-1, len(x))])
        return self.out(torch.einsum("nchw,khw->nck", features_NCHW, weights).flatten(1) / (len(x) * len(y)))


class VisualNet(nn.Module):
    """``net(crops_BLOCHW, image_positions_BLO2, positions_BLO3, mask_BLO) -> context_BLD``."""

    def __init__(self, config: VisualConfig):
        super().__init__()
        self.config = config
        width = config.object_dim
        self.encoder = SmallEncoder(config.width, width)
        self.no_picture_D = nn.Parameter(torch.zeros(width))
        self.place = nn.Sequential(nn.Linear(PLACE_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.object = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.LayerNorm(width)
        )
        self.queries_KD = nn.Parameter(torch.randn(config.queries, width) * width**-0.5)
        self.key = nn.Linear(width, width)
        summaries = config.queries if config.pool == "attention" else 1
        self.out = nn.Sequential(
            nn.Linear(summaries * width, width),
            nn.SiLU(),
            nn.Linear(width, config.context_dim),
            nn.LayerNorm(config.context_dim),
        )
        self.null_D = nn.Parameter(torch.randn(config.context_dim))

    def forward(
        self, crops_BLOCHW: Tensor, image_positions_BLO2: Tensor, positions_BLO3: Tensor, mask_BLO: Tensor
    ) -> Tensor:
        """One context per video frame. Raises InputError when shapes contradict each other."""
        sizes = check(crops_BLOCHW, "B L O 3 H W", "object crops")
        frame = f"{sizes['B']} {sizes['L']} {sizes['O']}"
        check(image_positions_BLO2, f"{frame} 2", "image positions")
        check(positions_BLO3, f"{frame} 3", "positions")
        check(mask_BLO, frame, "object mask")
        if sizes["L"] == 0 or sizes["O"] == 0:
            return self.nothing(sizes["B"], max(sizes["L"], 1))
        objects_BLOD = self.object(
            self._looks(crops_BLOCHW, mask_BLO) + self.place(place_features(image_positions_BLO2, positions_BLO3))
        )
        context_BLD = self.out(self._pool(objects_BLOD, mask_BLO))
        return torch.where(mask_BLO.all(dim=2)[..., None], self.null_D.to(context_BLD.dtype), context_BLD)

    def nothing(self, batch: int, frames: int = 1) -> Tensor:
        """The context that means "nothing seen", (B, L, D)."""
        return self.null_D.expand(batch, frames, -1)

    def _looks(self, crops_BLOCHW: Tensor, mask_BLO: Tensor) -> Tensor:
        """Features of each crop; only those that hold a picture go through the encoder."""
        pictured_BLO = ~mask_BLO & (crops_BLOCHW != 0).flatten(3).any(dim=3)
        looks_BLOD = self.no_picture_D.expand(*mask_BLO.shape, -1)
        if not pictured_BLO.any():
            return looks_BLOD
        encoded_ND = self.encoder(crops_BLOCHW[pictured_BLO])
        return looks_BLOD.to(encoded_ND.dtype).index_put(pictured_BLO.nonzero(as_tuple=True), encoded_ND)

    def _pool(self, objects_BLOD: Tensor, mask_BLO: Tensor) -> Tensor:
        """Summaries over a frame's objects. What a frame without objects gives is replaced afterwards."""
        there_BLO1 = ~mask_BLO[..., None]
        if self.config.pool == "max":
            return objects_BLOD.masked_fill(~there_BLO1, -1e4).amax(dim=2)
        if self.config.pool == "avg":
            return (objects_BLOD * there_BLO1).sum(dim=2) / there_BLO1.sum(dim=2).clamp(min=1)
        match_BLOK = fn.linear(self.key(objects_BLOD), self.queries_KD).float()
        weights_BLOK = match_BLOK.masked_fill(~there_BLO1, -1e4).softmax(dim=2)
        return torch.einsum("blok,blod->blkd", weights_BLOK, objects_BLOD.float()).flatten(2)


def place_features(image_positions_BLO2: Tensor, positions_BLO3: Tensor) -> Tensor:
    """Where an object is, in the picture and around the head, as smooth features with a flag for what is known."""
    image, image_known = _known(image_positions_BLO2)
    azimuth, azimuth_known = _known(positions_BLO3[..., 0:1])
    elevation, _ = _known(positions_BLO3[..., 1:2])
    distance_m, distance_known = _known(positions_BLO3[..., 2:3])
    azimuth, elevation = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    turns = azimuth * torch.tensor(AZIMUTH_HARMONICS, dtype=azimuth.dtype, device=azimuth.device)
    lateral = torch.cat([azimuth.sin() * elevation.cos(), azimuth.cos() * elevation.cos(), elevation.sin()], dim=-1)
    closeness = torch.cat([torch.log(distance_m.clamp(min=0.1)), 1 / distance_m.clamp(min=0.25)], dim=-1)
    centred = 2 * image - 1
    parts = [
        torch.cat([centred, fourier_features(centred, IMAGE_OCTAVES)], dim=-1) * image_known,
        image_known,
        torch.cat([turns.sin(), turns.cos(), lateral], dim=-1) * azimuth_known,
        azimuth_known,
        closeness * distance_known,
    ]
    return torch.cat(parts, dim=-1)


def _known(x: Tensor) -> tuple[Tensor, Tensor]:
    """(x with zeros for NaN, 1 where all of the last axis is known else 0)."""
    known = torch.isfinite(x).all(dim=-1, keepdim=True)
    return torch.where(known, x, 0.0), known.to(x.dtype)
