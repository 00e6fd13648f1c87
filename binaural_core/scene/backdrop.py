"""What stands behind the sources: a room seen from inside, a stage, or a meadow when there is no room.

Every pixel's ray from the camera is followed to the wall, floor or ceiling that it meets, so the perspective is the
camera's own: the horizon lies at half height and a wall 3 m ahead is drawn 3 m ahead.

Conventions: metres from the head, x ahead, y left, z up. Colours are float RGB in [0, 255] until the end.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from binaural_core.scene.geometry import Camera
from binaural_core.seeds import numpy_stream

EYE_M = 1.5  # the camera's height above the grass
FINE = 2  # rays per pixel and direction
WALLS = ((214, 203, 184), (178, 192, 190), (196, 178, 168), (160, 174, 196), (206, 206, 202), (188, 196, 164))
FLOORS = ((168, 120, 78), (136, 92, 60), (190, 152, 108), (112, 84, 66))
TILES = ((196, 188, 176), (150, 158, 164), (176, 140, 118))
CURTAINS = ((138, 34, 40), (40, 62, 104), (44, 92, 74), (96, 52, 104))


@dataclass(frozen=True)
class Hall:
    """The room around the head: how far each surface is from it, in metres."""

    ahead_m: float
    left_m: float
    right_m: float
    below_m: float
    above_m: float


@lru_cache(maxsize=512)  # 0.2 MB each at 320 x 180
def backdrop(hall: Hall | None, seed: int, camera: Camera, width_px: int, height_px: int) -> Image.Image:
    """The empty scene, RGB; colours and furnishing depend on ``seed`` alone. None is the open air."""
    x = (np.arange(width_px * FINE, dtype=np.float32) + 0.5) / (width_px * FINE)
    y = (np.arange(height_px * FINE, dtype=np.float32) + 0.5) / (height_px * FINE)
    half_width = float(np.tan(np.radians(camera.h_fov_deg) / 2))
    left, up = np.meshgrid((1 - 2 * x) * half_width, (1 - 2 * y) * half_width / camera.aspect)
    draw = numpy_stream(seed, "backdrop")
    colours = meadow(left, up, draw) if hall is None else room(hall, left, up, draw)
    colours = colours.reshape(height_px, FINE, width_px, FINE, 3).mean((1, 3))
    return Image.fromarray(np.clip(np.round(colours), 0, 255).astype(np.uint8), "RGB")


def room(hall: Hall, left: np.ndarray, up: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Colours (H, W, 3) of the rays (1, left, up) inside a shoebox."""
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.stack([
            np.full_like(left, hall.ahead_m),
            np.where(left > 0, hall.left_m / left, np.inf),
            np.where(left < 0, -hall.right_m / left, np.inf),
            np.where(up < 0, -hall.below_m / up, np.inf),
            np.where(up > 0, hall.above_m / up, np.inf),
        ])  # fmt: skip
    surface, t = distances.argmin(0), distances.min(0)
    ahead, y, z = t, t * left, t * up + hall.below_m  # z from the floor
    pixel_m = t * float(abs(left[0, 1] - left[0, 0]))
    height_m = hall.below_m + hall.above_m
    wall = pick(draw, WALLS) * np.float32(draw.uniform(0.9, 1.06))
    stage = draw.random() < 0.4
    colours = np.empty((*left.shape, 3), np.float32)

    def paint(index: int, picture) -> None:
        on = surface == index
        colours[on] = picture(ahead[on], y[on], z[on], pixel_m[on])

    folds, cloth, wood = draw.uniform(0.3, 0.45), pick(draw, CURTAINS), draw.random() < 0.65
    frames = wall_frames(hall, draw)
    paint(0, lambda ahead, y, z, px: curtain(y, z, cloth, folds) if stage else papered(y, z, wall, px, frames["ahead"]))
    paint(1, lambda ahead, y, z, px: papered(ahead, z, 0.92 * wall, px, frames["left"]))
    paint(2, lambda ahead, y, z, px: papered(ahead, z, 0.82 * wall, px, frames["right"]))
    tiles, floor, side = pick(draw, TILES), pick(draw, FLOORS), draw.uniform(0.4, 0.6)
    paint(
        3, lambda ahead, y, z, px: planks(y, ahead, floor, px) if stage or wood else checks(y, ahead, tiles, side, px)
    )
    paint(4, lambda ahead, y, z, px: lit_ceiling(ahead, y, 0.3 * wall + 0.7 * rgb(250, 248, 242), px))
    # corners are darker: less light reaches them
    gaps = [hall.ahead_m - ahead, hall.left_m - y, hall.right_m + y, z, height_m - z]
    for index, gap in enumerate(gaps):
        colours *= np.where(surface == index, 1.0, 1 - 0.22 * np.exp(-np.maximum(gap, 0) / 0.4))[..., None]
    return colours


def wall_frames(hall: Hall, draw: np.random.Generator) -> dict[str, list[tuple[float, float, float, float, bool]]]:
    """Windows and pictures for each wall: (middle along it, sill, width, height above the floor, is a window)."""
    tall = max(min(hall.below_m + hall.above_m - 1.5, 1.5), 0.5)
    width = hall.left_m + hall.right_m
    middle = (hall.left_m - hall.right_m) / 2
    spots = {
        "ahead": (middle - width / 2, width),
        "left": (0.6, hall.ahead_m - 0.6),
        "right": (0.6, hall.ahead_m - 0.6),
    }
    frames = {}
    for name, (start, length) in spots.items():
        window, count = draw.random() < 0.6, int(np.clip(length // 1.8, 1, 4))
        if draw.random() < 0.2:
            frames[name] = []
            continue
        pitch = length / count
        size = min(1.1, 0.6 * pitch)
        low = 1.0 if window else 1.35
        high = tall if window else min(0.6, tall)
        frames[name] = [(start + pitch * (i + 0.5), low, size, high, window) for i in range(count)]
    return frames


def papered(along: np.ndarray, z: np.ndarray, wall: np.ndarray, pixel_m: np.ndarray, frames) -> np.ndarray:
    """A wall with a skirting board, faint stripes, windows and pictures."""
    colours = wall * (1 + 0.025 * np.sin(along * 2 * np.pi / 0.5) * np.exp(-20 * pixel_m))[..., None]
    colours = blend(colours, 0.78 * wall, soft(0.9 - z, pixel_m))
    colours = blend(colours, 0.4 * wall + 140, soft(0.03 - np.abs(z - 0.9), pixel_m))
    colours = blend(colours, 0.5 * wall + 110, soft(0.12 - z, pixel_m))
    for middle, low, width, height, window in frames:
        u, v = (along - middle) / (width / 2), (z - low) / height
        aside = np.maximum(np.abs(along - middle) - width / 2, np.maximum(low - z, z - low - height))
        colours = blend(colours, rgb(240, 238, 230) if window else 0.32 * wall, soft(0.07 - aside, pixel_m))
        sky = rgb(150, 190, 224) + np.clip(v, 0, 1)[..., None] * rgb(-20, 4, 20)
        sky = blend(sky, rgb(126, 158, 108), soft(0.28 + 0.06 * np.sin(5 * u + middle) - v, pixel_m / height))
        waves = np.sin(3 * u + 7 * v + 5 * middle)[..., None], np.cos(4 * u - 5 * v + 3 * middle)[..., None]
        hues = 7 * middle + np.arange(3, dtype=np.float32) * 2
        art = 140 + 35 * np.sin(hues) + waves[0] * 28 * np.cos(hues) + waves[1] * 24 * np.cos(hues + 1)
        colours = blend(colours, sky if window else art, soft(-aside, pixel_m))
        if window:
            bars = np.minimum(np.abs(along - middle), np.abs(z - low - height / 2))
            colours = blend(colours, rgb(240, 238, 230), soft(0.025 - bars, pixel_m) * soft(-aside, pixel_m))
    return colours


def curtain(along: np.ndarray, z: np.ndarray, cloth: np.ndarray, folds_m: float) -> np.ndarray:
    """A theatre curtain; its folds lean a little."""
    fold = np.cos(2 * np.pi * (along + 0.04 * np.sin(1.7 * z)) / folds_m + 0.8 * np.sin(1.3 * along))
    light = 0.78 + 0.26 * fold + 0.1 * np.exp(-((along / 2.0) ** 2))
    return cloth * (light * (0.75 + 0.25 * np.clip(z / 1.2, 0, 1)))[..., None]


def planks(across: np.ndarray, along: np.ndarray, wood: np.ndarray, pixel_m: np.ndarray, width_m: float = 0.22):
    """Floor boards that run away from us."""
    board = np.floor(across / width_m)
    tone = 1 + 0.09 * np.sin(board * 12.9898) + 0.03 * np.sin(31 * across + 2.2 * np.sin(1.9 * along + board))
    seam = np.minimum(across - board * width_m, (board + 1) * width_m - across)
    dark = soft(0.008 - seam, pixel_m) * np.minimum(1, 0.016 / pixel_m)
    return wood * (tone * (1 - 0.45 * dark))[..., None]


def checks(across: np.ndarray, along: np.ndarray, tile: np.ndarray, side_m: float, pixel_m: np.ndarray) -> np.ndarray:
    """Tiles in two tones; far away they melt into one."""
    odd = (np.floor(across / side_m) + np.floor(along / side_m)) % 2
    contrast = np.exp(-2 * pixel_m * np.maximum(along, 1) / side_m)
    return tile * (1 + 0.16 * (odd - 0.5) * contrast)[..., None]


def lit_ceiling(ahead: np.ndarray, y: np.ndarray, paint: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
    """A plain ceiling with a row of round lamps."""
    nearest = np.maximum(np.round((ahead - 1.5) / 1.8), 0) * 1.8 + 1.5
    away = np.hypot(ahead - nearest, y)
    glow = 0.86 + 0.2 * np.exp(-away / 0.7)
    return blend(paint * glow[..., None], rgb(255, 252, 236), soft(0.16 - away, pixel_m))


def meadow(left: np.ndarray, up: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Colours (H, W, 3) of the rays (1, left, up) in the open: sky, hills, trees and grass."""
    pixel = float(abs(left[0, 1] - left[0, 0]))
    colours = rgb(196, 220, 236) + np.clip(up / 0.6, 0, 1)[..., None] * rgb(-76, -46, -4)
    for _ in range(4):
        cloud(colours, left, up, draw.uniform(-1, 1), draw.uniform(0.25, 0.5), draw.uniform(0.1, 0.22))
    for height, colour in ((0.13, (148, 176, 178)), (0.075, (120, 158, 128))):
        a, b, c = draw.uniform(0, 6.3, 3)
        along = left[0]
        ridge = 0.6 + 0.25 * np.sin(2.3 * along + a) + 0.2 * np.sin(5.1 * along + b) + 0.05 * np.sin(13 * along + c)
        band = near(up[:, 0], 0, 1.2 * height)
        colours[band] = blend(colours[band], rgb(*colour), soft((height * ridge).astype(np.float32) - up[band], pixel))
    for _ in range(draw.integers(4, 9)):
        leaves = rgb(62, 112, 66) * np.float32(draw.uniform(0.8, 1.15))
        tree(colours, left, up, draw.uniform(-1.1, 1.1), draw.uniform(0.05, 0.11), leaves, pixel)
    ground = up[:, 0] < 0
    ahead = EYE_M / -up[ground]
    across = ahead * left[ground]
    mown = 0.05 * np.tanh(4 * np.sin(np.pi * across / 0.9 + draw.uniform(0, 6))) * np.exp(-ahead / 14)
    tufts = 0.03 * np.sin(37 * across + 3 * np.sin(9 * ahead)) * np.sin(23 * ahead) * np.exp(-ahead / 3)
    grass = rgb(112, 158, 82) * (0.92 + mown + tufts + 0.12 * np.exp(-ahead / 6))[..., None]
    colours[ground] = blend(grass, rgb(142, 172, 118), 1 - np.exp(-ahead / 40))
    return colours


def cloud(colours: np.ndarray, left: np.ndarray, up: np.ndarray, x: float, z: float, width: float) -> None:
    """Three white puffs around (x, z)."""
    spot = np.ix_(near(up[:, 0], z, 0.45 * width), near(left[0], x, 2.1 * width))
    dx, dz = (left[spot] - x) / width, (up[spot] - z) / (0.3 * width)
    away = np.minimum(np.minimum(np.hypot(dx + 0.6, dz), np.hypot(dx, dz)), np.hypot(dx - 0.7, dz))
    colours[spot] = blend(colours[spot], rgb(250, 250, 250), 0.75 * np.clip(2.2 - 1.6 * away, 0, 1))


def tree(
    colours: np.ndarray, left: np.ndarray, up: np.ndarray, x: float, size: float, leaves: np.ndarray, pixel: float
):
    """A trunk with three round crowns, standing on the horizon."""
    spot = np.ix_(near(up[:, 0], size, 1.2 * size), near(left[0], x, 1.1 * size))
    dx, z = left[spot] - x, up[spot]
    trunk = soft(np.minimum(0.09 * size - np.abs(dx), size - z), pixel) * soft(z + 0.01, pixel)
    patch = blend(colours[spot], rgb(94, 74, 56), trunk)
    for aside, height, radius in ((0, 1.35, 0.62), (-0.4, 1.05, 0.45), (0.42, 1.0, 0.48)):
        reach = radius * size - np.hypot(dx - aside * size, z - height * size)
        light = 1 + 0.18 * np.clip((z - dx) / size - height, -1, 1)
        patch = blend(patch, leaves * light[..., None], soft(reach, pixel))
    colours[spot] = patch


def near(line: np.ndarray, middle: float, reach: float) -> np.ndarray:
    return np.flatnonzero(np.abs(line - middle) <= reach)


def pick(draw: np.random.Generator, colours) -> np.ndarray:
    return rgb(*colours[draw.integers(len(colours))])


def rgb(red: float, green: float, blue: float) -> np.ndarray:
    return np.array((red, green, blue), np.float32)


def blend(under: np.ndarray, over: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return under + (over - under) * amount[..., None]


def soft(inside_m: np.ndarray, pixel_m: np.ndarray | float) -> np.ndarray:
    """1 inside, 0 outside, over one pixel: an edge without stairs."""
    return np.clip(inside_m / pixel_m + 0.5, 0, 1)
