"""Where in a picture something sounds: a heat map with a peak on every source, and a box around each peak.

There are no anchors and no list of kinds. The network paints one map over the picture, in cells of 4 x 4 pixels, whose
peaks are the middles of objects, and beside it, in every cell, how far the middle lies from the cell and how large the
object is ("objects as points", Zhou et al. 2019, 1904.07850). A peak's height is the confidence.

Conventions: pictures are RGB in [0, 1]; boxes (x1, y1, x2, y2) are in [0, 1] of the picture, y down. A box is that of the
whole object, so it may reach beyond the picture's edge: its middle is where the sound comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as fn
import yaml
from PIL import Image
from torch import Tensor, nn

from binaural_core import checkpoint
from binaural_core.config import Config
from binaural_core.errors import InputError, need
from binaural_core.places import data_samples
from binaural_core.shapes import check

CELL_PX = 4
COARSEST_PX = 16  # sides of pictures are multiples of it
AT_ONCE = 16
RARE = -4.0  # first logit of the heat map: nearly every cell holds no object's middle
LARGEST = 6.0  # ln of the widest box in cells
SAME = 0.6  # two peaks whose boxes overlap by more than this part of their union are one object


@dataclass(frozen=True, kw_only=True)
class LocalizerConfig(Config):
    width: int = 28
    """Channels at the finest level; two and three times as many at the coarser ones."""
    side_px: int = 256
    """The longer side of the pictures that the network sees."""
    confidence: float = 0.3
    """Peaks lower than this are no objects."""
    most: int = 6
    """Objects in a picture at most, the most confident first."""

    def validate(self) -> None:
        need(
            self.width >= 4 and self.width % 4 == 0,
            f"width={self.width}",
            why="group norm takes channels by four",
            fix="give a multiple of 4",
        )
        need(
            self.side_px >= COARSEST_PX and self.side_px % COARSEST_PX == 0,
            f"side_px={self.side_px}",
            why=f"the coarsest cells are {COARSEST_PX} pixels wide",
            fix=f"give a multiple of {COARSEST_PX}, such as 256",
        )
        need(
            0 < self.confidence < 1 and self.most >= 1,
            f"confidence={self.confidence:g} or most={self.most}",
            why="a confidence lies between 0 and 1, and at least one object is looked for",
            fix="give numbers such as 0.3 and 6",
        )


class Maps(NamedTuple):
    """What the network says of every cell: the logit of "here is a middle", how far the middle is, how large it is."""

    heat_BHW: Tensor
    shift_B2HW: Tensor  # from the cell's centre to the object's middle, in cells, x and y
    size_B2HW: Tensor  # ln of width and height in cells


class Block(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(channels // 4, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(channels // 4, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return fn.silu(x + self.layers(x))


def _coarser(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(outputs // 4, outputs),
        nn.SiLU(),
    )


class Localizer(nn.Module):
    """``net(pictures_B3HW) -> Maps``, and `locate` from pictures of any size to boxes with scores."""

    def __init__(self, config: LocalizerConfig = LocalizerConfig()):
        super().__init__()
        self.config = config
        fine, middle, coarse = (k * config.width for k in (1, 2, 3))
        self.stem = _coarser(3, fine, 7, CELL_PX)
        self.fine = Block(fine)
        self.to_middle = _coarser(fine, middle, 3, 2)
        self.middle = Block(middle)
        self.to_coarse = _coarser(middle, coarse, 3, 2)
        self.coarse = nn.Sequential(Block(coarse), Block(coarse))
        self.up_middle, self.joined_middle = nn.Conv2d(coarse, middle, 1), Block(middle)
        self.up_fine, self.joined_fine = nn.Conv2d(middle, fine, 1), Block(fine)
        self.out = nn.Conv2d(fine, 5, 1)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(torch.tensor([RARE, 0.0, 0.0, 2.0, 2.0]))

    @classmethod
    def from_folder(cls, folder: str | Path) -> Localizer:
        """The network that a training left in ``folder``: config.yaml and localizer_best.pth. Raises InputError."""
        path = Path(folder) / "config.yaml"
        need(path.is_file(), f"{path} is not there", why="it says how the network is built", fix="restore it")
        tree = yaml.safe_load(path.read_text())
        if not isinstance(tree, dict) or "model" not in tree:
            raise InputError(
                f"{path} is not the config of a localiser", why="it lacks model", fix="name the folder of a training"
            )
        net = cls(LocalizerConfig.from_dict(tree["model"]))
        checkpoint.load_into(net, checkpoint.load(Path(folder) / "localizer_best.pth"), name="localizer_best.pth")
        return net.eval()

    def forward(self, pictures_B3HW: Tensor) -> Maps:
        """Heights and widths must be multiples of 16."""
        check(pictures_B3HW, "B 3 H W", "pictures")
        fine = self.fine(self.stem(2 * pictures_B3HW - 1))
        middle = self.middle(self.to_middle(fine))
        coarse = self.coarse(self.to_coarse(middle))
        middle = self.joined_middle(middle + _doubled(self.up_middle(coarse)))
        fine = self.joined_fine(fine + _doubled(self.up_fine(middle)))
        heat_B1HW, shift_B2HW, size_B2HW = self.out(fine).split((1, 2, 2), dim=1)
        return Maps(heat_B1HW[:, 0], shift_B2HW, size_B2HW.clamp(max=LARGEST))

    @torch.no_grad()
    def locate(self, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes (O, 4) and scores (O,), best first, of every picture (uint8 RGB of any size); O = 0 where nothing is seen."""
        device = self.out.weight.device
        at_once = (
            1 if device.type == "cpu" else AT_ONCE
        )  # on a CPU a picture's last bits depend on who else is in its batch
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for at, image_HW3 in enumerate(images):
            by_shape.setdefault(image_HW3.shape, []).append(at)
        for alike in by_shape.values():
            for first in range(0, len(alike), at_once):
                some = alike[first : first + at_once]
                fitted = [fitted_in(images[at], self.config.side_px) for at in some]
                maps = self(torch.stack([picture for picture, _ in fitted]).to(device))
                for at, (boxes, scores), (_, part) in zip(some, peaks(maps, self.config), fitted, strict=True):
                    found[at] = (boxes.cpu().numpy() / np.tile(part, 2), scores.cpu().numpy())
        return [found[at] for at in range(len(images))]


def _doubled(x: Tensor) -> Tensor:
    return fn.interpolate(x, scale_factor=2.0, mode="nearest")


def fitted_in(image_HW3: np.ndarray, side_px: int) -> tuple[Tensor, np.ndarray]:
    """A picture (3, H, W) in [0, 1] whose longer side is ``side_px``, padded with black to the network's multiples.

    Also the part (x, y) of the result that it takes.
    """
    height, width = image_HW3.shape[:2]
    scale = side_px / max(height, width)
    wide, high = max(round(width * scale), 1), max(round(height * scale), 1)
    resized = np.asarray(Image.fromarray(image_HW3).resize((wide, high), Image.Resampling.BILINEAR, reducing_gap=2.0))
    padded_wide, padded_high = (-(-n // COARSEST_PX) * COARSEST_PX for n in (wide, high))
    picture_3HW = torch.zeros(3, padded_high, padded_wide)
    picture_3HW[:, :high, :wide] = torch.from_numpy(resized.copy()).permute(2, 0, 1) / 255
    return picture_3HW, np.array([wide / padded_wide, high / padded_high], np.float32)


def peaks(maps: Maps, config: LocalizerConfig) -> list[tuple[Tensor, Tensor]]:
    """Boxes (O, 4) and scores (O,) of each picture: the cells that are no lower than their eight neighbours.

    Two peaks that say the same box are one object.
    """
    heat_BHW = maps.heat_BHW.float().sigmoid()
    highest_BHW = fn.max_pool2d(heat_BHW, 3, stride=1, padding=1)  # Zhou et al. 2019, sec. 3, "from points to boxes"
    score_BHW = heat_BHW * (heat_BHW == highest_BHW) * (heat_BHW >= config.confidence)
    high, wide = heat_BHW.shape[1:]
    cells = heat_BHW.new_tensor([wide, high])
    result = []
    for score_HW, shift_2HW, size_2HW in zip(score_BHW, maps.shift_B2HW.float(), maps.size_B2HW.float(), strict=True):
        at_O = score_HW.flatten().argsort(descending=True, stable=True)[: int((score_HW > 0).sum())]
        cell_O2 = torch.stack([at_O % wide, at_O // wide], dim=1) + 0.5
        middle_O2 = (cell_O2 + shift_2HW.flatten(1)[:, at_O].T) / cells  # the same: cell and offset
        half_O2 = size_2HW.flatten(1)[:, at_O].T.exp() / cells / 2
        boxes_O4 = torch.cat([middle_O2 - half_O2, middle_O2 + half_O2], dim=1)
        kept = different(boxes_O4)[: config.most]
        result.append((boxes_O4[kept], score_HW.flatten()[at_O][kept]))
    return result


def different(boxes_O4: Tensor) -> list[int]:
    """Which boxes are left when each that overlaps an earlier one by more than `SAME` of their union goes."""
    area_O = (boxes_O4[:, 2:] - boxes_O4[:, :2]).prod(dim=1)
    low_OO2 = torch.maximum(boxes_O4[:, None, :2], boxes_O4[None, :, :2])
    high_OO2 = torch.minimum(boxes_O4[:, None, 2:], boxes_O4[None, :, 2:])
    shared_OO = (high_OO2 - low_OO2).clamp(min=0).prod(dim=2)
    alike_OO = shared_OO > SAME * (area_O[:, None] + area_O[None] - shared_OO)
    kept: list[int] = []
    for o in range(len(boxes_O4)):
        if not alike_OO[o, kept].any():
            kept.append(o)
    return kept


def open_localizer(folder: Path | None = None) -> Localizer | None:
    """The localiser in ``folder/localizer``, else the shipped one; None where neither is there."""
    if folder is not None and (folder / "localizer" / "localizer_best.pth").is_file():
        return Localizer.from_folder(folder / "localizer")
    try:
        return Localizer.from_folder(data_samples() / "weights" / "localizer")
    except InputError:  # a package without its clone: pictures are covered by a grid
        return None
