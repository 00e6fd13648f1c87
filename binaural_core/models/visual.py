"""What is seen, as a context for the UNet: object crops and where they are -> one vector per video frame.

Every object becomes a vector of what it looks like (a small convolutional encoder, or a ResNet), where it stands in the
picture and in which direction and how far it is, where that is known. Several learned queries each gather one summary of
the objects of a frame, so that two sources at different places are not averaged into one between them. A frame in which
everything is masked gives a learned vector that means "nothing seen". Transformer layers over the frames are an option:
then a frame also knows the others, and one that shows nothing may take over what its neighbours show.

Conventions: as in `binaural_core.data.sample`; NaN = unknown, mask True = nothing there. A crop of zeros is no picture:
then only the positions count.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from binaural_core.config import Config
from binaural_core.errors import need
from binaural_core.models.blocks import TransformerLayer, fourier_features
from binaural_core.models.resnet import ResNet, fetch
from binaural_core.shapes import check

IMAGE_OCTAVES = (-1, 0, 1, 2)
AZIMUTH_HARMONICS = (1, 2, 3, 4)
PLACE_FEATURES = 2 + 2 * 2 * len(IMAGE_OCTAVES) + 1 + 2 * len(AZIMUTH_HARMONICS) + 3 + 2 + 1


@dataclass(frozen=True, kw_only=True)
class VisualConfig(Config):
    encoder: Literal["small", "resnet18", "resnet50"] = "small"  # the original's is resnet18
    width: int = 32  # channels of the small encoder's first layer, doubled at each of the others
    encoder_weights: str | None = None  # a public ResNet file, or "public" to fetch it; None: from chance
    frozen: bool = False  # the encoder keeps the weights that it starts with
    train_statistics: bool = False  # a ResNet's BatchNorm follows the batches
    object_dim: int = 128
    context_dim: int = 128  # must equal the UNet's; the original has 512
    pool: Literal["attention", "avg", "max"] = "attention"
    queries: int = 4  # summaries per frame with pool = attention
    temporal: int = 0  # transformer layers over the frames

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
        need(self.temporal >= 0, f"temporal={self.temporal}", why="it counts layers", fix="give 0 or more")
        need(
            self.encoder != "small" or (self.encoder_weights is None and not self.train_statistics),
            f"encoder=small with encoder_weights={self.encoder_weights!r}, train_statistics={self.train_statistics}",
            why="the small encoder has no public weights and no BatchNorm",
            fix='leave both out, or set encoder to "resnet18"',
        )
        need(
            not (self.frozen and self.train_statistics),
            "frozen with train_statistics",
            why="an encoder whose statistics change is not the one that was frozen",
            fix="choose one of them",
        )


@dataclass(frozen=True)
class Seen:
    """What the UNet is told of the pictures: L views, each as a whole and object by object.

    The context alone is enough for a UNet without cross-attention.
    """

    context_BLD: Tensor
    objects_BLOD: Tensor | None = None
    mask_BLO: Tensor | None = None  # True = nothing there

    def hidden_where(self, hidden_B: Tensor, null_D: Tensor) -> Self:
        """The same with some samples' sight hidden: their context is ``null_D`` and their objects are masked."""
        context_BLD = torch.where(hidden_B[:, None, None], null_D.to(self.context_BLD.dtype), self.context_BLD)
        mask_BLO = None if self.mask_BLO is None else self.mask_BLO | hidden_B[:, None, None]
        return dataclasses.replace(self, context_BLD=context_BLD, mask_BLO=mask_BLO)


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


class ResNetEncoder(nn.Module):
    """A ResNet's features, brought to D: (N, 3, H, W) -> (N, D), for crops of 224 x 224 or any other size."""

    def __init__(self, config: VisualConfig):
        super().__init__()
        self.net = ResNet(config.encoder, train_statistics=config.train_statistics)
        self.net.requires_grad_(not config.frozen)
        self.out = nn.Linear(self.net.width, config.object_dim)

    def forward(self, crops_NCHW: Tensor) -> Tensor:
        return self.out(self.net(crops_NCHW))


class VisualNet(nn.Module):
    """``net(crops_BLOCHW, image_positions_BLO2, positions_BLO3, mask_BLO) -> Seen``."""

    def __init__(self, config: VisualConfig):
        super().__init__()
        self.config = config
        width = config.object_dim
        if config.encoder == "small":
            self.encoder = SmallEncoder(config.width, width).requires_grad_(not config.frozen)
        else:
            self.encoder = ResNetEncoder(config)
        self.no_picture_D = nn.Parameter(torch.zeros(width))
        self.place = nn.Sequential(nn.Linear(PLACE_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        # No norm after this: it would bound how much more a source far to the side counts than one nearly ahead.
        self.object = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.queries_KD = nn.Parameter(torch.randn(config.queries, width) * width**-0.5)
        self.key = nn.Linear(width, width)
        summaries = config.queries if config.pool == "attention" else 1
        self.out = nn.Sequential(
            nn.Linear(summaries * width, width),
            nn.SiLU(),
            nn.Linear(width, config.context_dim),
        )
        self.null_D = nn.Parameter(torch.randn(config.context_dim))
        self.temporal = nn.ModuleList(TransformerLayer(config.context_dim) for _ in range(config.temporal))

    def load_encoder_weights(self) -> None:
        """Start the encoder with the public weights that the config names, if it names any.

        For new networks alone: weights that are saved after training hold the encoder's too.
        """
        wanted = self.config.encoder_weights
        if wanted is not None:
            self.encoder.net.load_public(fetch(self.config.encoder) if wanted == "public" else Path(wanted))

    def forward(
        self, crops_BLOCHW: Tensor, image_positions_BLO2: Tensor, positions_BLO3: Tensor, mask_BLO: Tensor
    ) -> Seen:
        """Context and objects of every video frame. Raises InputError when shapes contradict each other.

        Whatever a masked object's crop and positions hold, NaN included, it changes nothing, to the last bit.
        """
        sizes = check(crops_BLOCHW, "B L O 3 H W", "object crops")
        frame = f"{sizes['B']} {sizes['L']} {sizes['O']}"
        check(image_positions_BLO2, f"{frame} 2", "image positions")
        check(positions_BLO3, f"{frame} 3", "positions")
        check(mask_BLO, frame, "object mask")
        if sizes["L"] == 0 or sizes["O"] == 0:
            objects_BLOD = self.null_D.new_zeros(sizes["B"], max(sizes["L"], 1), 0, self.config.object_dim)
            context_BLD = self.nothing(*objects_BLOD.shape[:2])
            return Seen(context_BLD, objects_BLOD, mask_BLO.new_ones(objects_BLOD.shape[:3]))
        image_positions_BLO2, positions_BLO3 = (
            x.masked_fill(mask_BLO[..., None], torch.nan) for x in (image_positions_BLO2, positions_BLO3)
        )
        objects_BLOD = self.object(
            self._looks(crops_BLOCHW, mask_BLO) + self.place(place_features(image_positions_BLO2, positions_BLO3))
        )
        blind_BL = mask_BLO.all(dim=2)
        null_D = self.null_D.to(objects_BLOD.dtype)
        context_BLD = torch.where(blind_BL[..., None], null_D, self.out(self._pool(objects_BLOD, mask_BLO)))
        return Seen(self._over_time(context_BLD, blind_BL), objects_BLOD, mask_BLO)

    def nothing(self, batch: int, frames: int = 1) -> Tensor:
        """The context that means "nothing seen", (B, L, D)."""
        return self.null_D.expand(batch, frames, -1)

    def _over_time(self, context_BLD: Tensor, blind_BL: Tensor) -> Tensor:
        """Let the frames know each other. Where none shows anything, "nothing seen" stays what it is."""
        nowhere_B1 = blind_BL.all(dim=1, keepdim=True)
        known_BLD = context_BLD
        for layer in self.temporal:
            known_BLD = layer(known_BLD, blind_BL & ~nowhere_B1)
        return torch.where(nowhere_B1[..., None], context_BLD, known_BLD)

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


def mirror_sight(sight: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Left becomes right in the crops, the image positions and the azimuths."""
    crops_BLOCHW, image_positions_BLO2, positions_BLO3, mask_BLO = sight
    x, y = image_positions_BLO2.unbind(-1)
    azimuth, elevation, distance = positions_BLO3.unbind(-1)
    places = torch.stack([1 - x, y], dim=-1), torch.stack([-azimuth, elevation, distance], dim=-1)
    return crops_BLOCHW.flip(-1), *places, mask_BLO


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
