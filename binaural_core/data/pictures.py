"""Pictures with boxes around what sounds in them: what the localiser learns from.

A `Gallery` is gathered once, small, and held in memory; each time a picture is shown to the network it is `varied`: cut
out, mirrored, recoloured, blurred, coded as films are, and now and then replaced by one that shows nothing.

Conventions: pictures (3, H, W) float in [0, 1]; boxes (O, 4) in [0, 1] of the picture, NaN where there is none. A box is as
wide as the whole object: where the picture's left or right edge cuts it off it reaches beyond, so that its middle stays
where the sound is. Down it ends where the picture ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as fn
from PIL import Image
from torch import Tensor

from binaural_core.config import Config
from binaural_core.data.augment import random_colour, recolour
from binaural_core.data.sample import Clip
from binaural_core.errors import need
from binaural_core.scene.geometry import Camera
from binaural_core.scene.view import View

BLOCK = 8  # films are coded in blocks of this many pixels


@dataclass(frozen=True)
class Gallery:
    """N pictures of one size with the boxes in them."""

    pixels_NHW3: np.ndarray  # uint8
    boxes_NO4: np.ndarray  # float32, NaN where there is none
    clip_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.clip_ids)

    def batch(self, indices: Sequence[int]) -> PictureBatch:
        at = list(indices)
        pixels_BHW3 = torch.from_numpy(self.pixels_NHW3[at])
        return PictureBatch(
            tuple(self.clip_ids[i] for i in at),
            tuple(at),
            pixels_BHW3.permute(0, 3, 1, 2).float() / 255,
            torch.from_numpy(self.boxes_NO4[at]),
        )


@dataclass(frozen=True)
class PictureBatch:
    """B pictures as tensors on one device; ``indices`` key their random streams."""

    clip_ids: tuple[str, ...]
    indices: tuple[int, ...]
    pictures_B3HW: Tensor
    boxes_BO4: Tensor

    def __len__(self) -> int:
        return len(self.clip_ids)

    def to(self, device: str | torch.device) -> PictureBatch:
        return replace(self, pictures_B3HW=self.pictures_B3HW.to(device), boxes_BO4=self.boxes_BO4.to(device))


@dataclass(frozen=True, kw_only=True)
class VariedConfig(Config):
    """How much pictures are varied; zeros leave them as they are."""

    zoom: tuple[float, float] = (0.6, 1.2)
    """Part of the picture's width that is shown: below 1 a part of it, above 1 all of it with black around."""
    stretch: float = 0.1
    """The height is scaled by 1 +- this on top."""
    mirror: float = 0.5
    """Probability."""
    colour: float = 0.4
    """Brightness, contrast and saturation are each scaled by 1 +- this."""
    blur: float = 3.0
    """Up to this many times coarser."""
    coding: float = 0.15
    """Coarsest step in which block transforms are kept, as a part of full white."""
    noise: float = 0.04
    """Largest deviation of the camera's noise."""
    nothing: float = 0.06
    """Share of pictures replaced by clouds of noise and slopes of colour, in which there is nothing to find."""

    def validate(self) -> None:
        low, high = self.zoom
        need(0.1 <= low <= high <= 4, f"zoom={self.zoom}", why="it is a range of parts", fix="give such as (0.6, 1.2)")
        for name in ("stretch", "mirror", "colour", "coding", "noise", "nothing"):
            value = getattr(self, name)
            need(0 <= value <= 1, f"{name}={value:g}", why="it is a part of the whole", fix="give 0 to 1")
        need(0 <= self.blur <= 8, f"blur={self.blur:g}", why="nothing would be left to see", fix="give 0 to 8")


def gather(
    clips: Sequence[Clip],
    pictures_per_clip: int,
    size_px: tuple[int, int],
    *,
    h_fov_deg: float = 90.0,
    most: int = 6,
    on_clip: Callable[[], None] = lambda: None,
) -> Gallery:
    """Pictures of clips, evenly over the duration of each.

    size_px : width and height; pictures of another shape get black borders.   most : boxes kept in a picture.
    h_fov_deg : horizontal field of view of cameras that do not tell theirs.
    Pictures in which nobody looked for objects are left out.   Raises InputError when none is left.
    """
    wide, high = size_px
    pixels, boxes, names = [], [], []
    for clip in clips:
        for view in clip.look([(i + 0.5) / pictures_per_clip * clip.duration_s for i in range(pictures_per_clip)]):
            if not view.objects_known:
                continue
            part = min(wide / view.image_HW3.shape[1], high / view.image_HW3.shape[0])
            taken = [max(round(n * part), 1) for n in (view.image_HW3.shape[1], view.image_HW3.shape[0])]
            sheet = Image.new("RGB", size_px)
            sheet.paste(Image.fromarray(view.image_HW3).resize(taken, Image.Resampling.BILINEAR, reducing_gap=2.0))
            found = np.full((most, 4), np.nan, np.float32)
            whole = whole_boxes(view, h_fov_deg)[:most]
            found[: len(whole)] = whole * np.tile(np.array(taken) / size_px, 2)
            pixels.append(np.asarray(sheet))
            boxes.append(found)
            names.append(clip.clip_id)
        on_clip()
    need(
        len(pixels) > 0,
        f"no picture of {len(clips)} clips says where its objects are",
        why="the localiser learns from boxes",
        fix="use rendered scenes, or a data set with detections",
    )
    return Gallery(np.stack(pixels), np.stack(boxes), tuple(names))


def whole_boxes(view: View, h_fov_deg: float) -> np.ndarray:
    """The boxes (O, 4) of a view's objects with the part that the picture's left or right edge cuts off.

    Where an object's true direction is known, the sound is in the middle between the sides of its whole box. Objects that
    are away are left out. ``h_fov_deg`` is the camera's where the view does not say it.
    """
    boxes_O4 = view.boxes_O4[np.isfinite(view.boxes_O4).all(axis=1)]
    known_O3 = view.positions_O3[np.isfinite(view.boxes_O4).all(axis=1)]
    height, width = view.image_HW3.shape[:2]
    camera = Camera(h_fov_deg=view.h_fov_deg or h_fov_deg, aspect=min(max(width / height, 0.1), 10.0))
    x_O, _ = camera.image_position(known_O3[:, 0], known_O3[:, 1])
    x_O = np.where(np.isfinite(x_O), x_O, (boxes_O4[:, 0] + boxes_O4[:, 2]) / 2)
    half_O = np.maximum(x_O - boxes_O4[:, 0], boxes_O4[:, 2] - x_O)
    return np.stack([x_O - half_O, boxes_O4[:, 1], x_O + half_O, boxes_O4[:, 3]], axis=1).astype(np.float32)


def varied(
    picture_3HW: Tensor, boxes_O4: Tensor, config: VariedConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One picture and its boxes, varied by chance; objects whose middle leaves the picture leave the boxes."""
    chance = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
    if chance.random() < config.nothing:
        clouds_3HW = nothing_to_see(picture_3HW.shape[1], picture_3HW.shape[2], chance)
        return clouds_3HW.to(picture_3HW), torch.full_like(boxes_O4, torch.nan)
    wide = chance.uniform(*config.zoom)
    high = wide * (1 + config.stretch * chance.uniform(-1, 1))
    x, y = (chance.uniform(min(0, 1 - size), max(0, 1 - size)) for size in (wide, high))
    picture_3HW, boxes_O4 = cut_out(picture_3HW, boxes_O4, (x, y, wide, high))
    if chance.random() < config.mirror:
        picture_3HW, boxes_O4 = picture_3HW.flip(2), mirrored(boxes_O4)
    planes_13N = picture_3HW.flatten(1)[None].cpu().numpy()
    coloured = recolour(planes_13N, random_colour(config.colour, chance))
    picture_3HW = torch.from_numpy(coloured).to(picture_3HW).view_as(picture_3HW)
    if chance.random() < 0.5:
        picture_3HW = coarser(picture_3HW, 1 + chance.random() * max(config.blur - 1, 0))
    if chance.random() < 0.5:
        picture_3HW = coded(picture_3HW, config.coding * chance.random())
    noise = torch.from_numpy(chance.standard_normal(picture_3HW.shape, np.float32)).to(picture_3HW)
    return (picture_3HW + config.noise * chance.random() * noise).clamp(0, 1), boxes_O4


def cut_out(picture_3HW: Tensor, boxes_O4: Tensor, region: tuple[float, float, float, float]) -> tuple[Tensor, Tensor]:
    """The region (x, y, width, height) of a picture, scaled to the picture's size; black where it lies outside."""
    x, y, wide, high = region
    theta = torch.tensor([[[wide, 0, 2 * x + wide - 1], [0, high, 2 * y + high - 1]]])
    grid = fn.affine_grid(theta, [1, *picture_3HW.shape], align_corners=False).to(picture_3HW)
    cut_3HW = fn.grid_sample(picture_3HW[None], grid, align_corners=False)[0]
    moved_O4 = (boxes_O4 - boxes_O4.new_tensor([x, y, x, y])) / boxes_O4.new_tensor([wide, high, wide, high])
    middle_O2 = (moved_O4[:, :2] + moved_O4[:, 2:]) / 2
    inside_O = ((middle_O2 >= 0) & (middle_O2 < 1)).all(dim=1)
    moved_O4[:, 1::2] = moved_O4[:, 1::2].clamp(0, 1)
    return cut_3HW, moved_O4.masked_fill(~inside_O[:, None], torch.nan)


def mirrored(boxes_O4: Tensor) -> Tensor:
    """Left becomes right."""
    return torch.stack([1 - boxes_O4[:, 2], boxes_O4[:, 1], 1 - boxes_O4[:, 0], boxes_O4[:, 3]], dim=1)


def coarser(picture_3HW: Tensor, times: float) -> Tensor:
    """As a picture with fewer pixels looks when it is enlarged."""
    high, wide = picture_3HW.shape[1:]
    small = fn.interpolate(
        picture_3HW[None],
        size=(max(round(high / times), 1), max(round(wide / times), 1)),
        mode="bilinear",
        antialias=True,
    )
    return fn.interpolate(small, size=(high, wide), mode="bilinear")[0].clamp(0, 1)


def coded(picture_3HW: Tensor, step: float) -> Tensor:
    """What film coding leaves: the cosine waves of every 8 x 8 block, rounded to steps that are coarser for finer waves."""
    if step == 0:
        return picture_3HW
    high, wide = picture_3HW.shape[1:]
    waves = torch.arange(BLOCK)
    cosine_KN = torch.cos(torch.pi / BLOCK * waves[:, None] * (waves[None] + 0.5)) * (2 / BLOCK) ** 0.5
    cosine_KN[0] *= 0.5**0.5
    cosine_KN = cosine_KN.to(picture_3HW)
    padded = fn.pad(picture_3HW, (0, -wide % BLOCK, 0, -high % BLOCK), mode="replicate")
    blocks = padded.unflatten(1, (-1, BLOCK)).unflatten(3, (-1, BLOCK))  # (3, blocks down, 8, blocks across, 8)
    steps_KK = step * (1 + (waves[:, None] + waves[None]).to(picture_3HW) / 2)
    waves_of = torch.einsum("ki,cyixj,lj->cyxkl", cosine_KN, blocks, cosine_KN)
    rounded = (waves_of / steps_KK).round() * steps_KK
    again = torch.einsum("ki,cyxkl,lj->cyixj", cosine_KN, rounded, cosine_KN)
    return again.flatten(3, 4).flatten(1, 2)[:, :high, :wide].clamp(0, 1)


def nothing_to_see(high: int, wide: int, chance: np.random.Generator) -> Tensor:
    """Clouds of noise of a random grain over a slope between two colours, (3, H, W): no object is in it."""
    grain = chance.uniform(0.0, 2.5)  # 0: white noise; 2: as smooth as nature's pictures
    fy, fx = np.fft.fftfreq(high)[:, None], np.fft.rfftfreq(wide)
    fall = np.maximum(np.hypot(fy, fx), 1 / max(high, wide)) ** -grain
    clouds = np.fft.irfft2(np.fft.rfft2(chance.standard_normal((3, high, wide))) * fall, s=(high, wide))
    clouds /= clouds.std() + 1e-9
    clouds = chance.uniform(0, 0.3) * (chance.uniform(0, 1) * clouds + clouds.mean(axis=0))
    one, other = chance.random((2, 3, 1, 1))
    way_y, way_x = chance.uniform(-1, 1, 2)
    slope = way_y * np.linspace(-0.5, 0.5, high)[:, None] + way_x * np.linspace(-0.5, 0.5, wide) + 0.5
    return torch.from_numpy(np.clip(one + (other - one) * slope + clouds, 0, 1).astype(np.float32))
