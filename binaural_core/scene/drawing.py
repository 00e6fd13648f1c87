"""Little pictures of what sounds: players with their instruments, a talker, a singer, a loudspeaker.

Each picture is drawn once, large, with Pillow, and scaled down to where it is needed. A drawing speaks metres: x to the
right, y up, the feet at y = 0. The sound comes from the middle of the picture's width, at `sound_m` above the feet, so
that the middle of a box around the picture points exactly at the sound.

`KINDS` maps a label to its drawing; a label nobody has drawn yet is a loudspeaker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from binaural_core.seeds import numpy_stream

PIXELS_PER_M = 192
FINE = 2  # drawn this much larger, then averaged down: Pillow's shapes have hard edges
WIDTH_M, HEIGHT_M = 3.0, 2.25
RIM = 4

Colour = tuple[int, int, int]
Point = tuple[float, float]

CAST = 12
SKINS = ((244, 208, 178), (226, 178, 140), (190, 136, 98), (140, 92, 62), (96, 62, 44))
HAIRS = ((38, 30, 28), (84, 54, 34), (150, 100, 52), (206, 164, 92), (126, 126, 130), (120, 46, 30))
SHIRTS = ((62, 92, 140), (156, 64, 66), (72, 122, 92), (232, 226, 212), (96, 78, 128), (52, 56, 66), (196, 142, 62))
WOODS = ((152, 84, 40), (176, 104, 48), (130, 64, 36), (190, 128, 66))
GOWNS = ((190, 52, 84), (36, 112, 128), (116, 62, 140), (204, 112, 46))
BRASS, SILVER, WHITE, BLACK = (222, 176, 66), (202, 208, 216), (246, 244, 238), (32, 32, 36)


@dataclass(frozen=True)
class Look:
    """The colours of one player and their instrument."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    wood: Colour
    long_hair: bool

    @classmethod
    def of(cls, seed: int, index: int) -> "Look":
        """One of a cast of players, so that a picture drawn once serves many scenes."""
        return cls.player(int(numpy_stream(seed, "player", index).integers(CAST)))

    @classmethod
    def player(cls, number: int) -> "Look":
        draw = numpy_stream(number, "look")

        def one(colours: Sequence[Colour]) -> Colour:
            return colours[draw.integers(len(colours))]

        trousers = one(((44, 46, 56), (72, 66, 62), (48, 58, 82)))
        return cls(one(SKINS), one(HAIRS), one(SHIRTS), trousers, one(WOODS), bool(draw.random() < 0.5))


@dataclass(frozen=True)
class Sprite:
    """One picture with the metres it stands for.

    levels : the picture and halves of it (see `halves`).
    half_width_m, up_m, down_m : how far its tight box reaches to both sides, up and down from the sound's point.
    feet_m : how far the feet lie below the sound's point.
    """

    levels: tuple[Image.Image, ...]
    half_width_m: float
    up_m: float
    down_m: float
    feet_m: float


class Pen:
    """Draws in metres on a transparent sheet, the middle of its lower edge being (0, 0)."""

    def __init__(self) -> None:
        self.scale = PIXELS_PER_M * FINE
        self.sheet = Image.new("RGBA", (round(WIDTH_M * self.scale), round(HEIGHT_M * self.scale)))
        self.draw = ImageDraw.Draw(self.sheet)

    def at(self, point: Point) -> Point:
        return (point[0] + WIDTH_M / 2) * self.scale, (HEIGHT_M - point[1]) * self.scale

    def area(self, points: Sequence[Point], colour: Colour) -> None:
        self.draw.polygon([self.at(p) for p in points], fill=(*colour, 255))

    def oval(self, middle: Point, rx: float, ry: float, colour: Colour, tilt_deg: float = 0.0) -> None:
        turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        self.area(placed(np.stack([rx * np.cos(turn), ry * np.sin(turn)], 1), middle, tilt_deg), colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        pixels = [self.at(p) for p in points]
        self.draw.line(pixels, fill=(*colour, 255), width=max(round(width * self.scale), 1), joint="curve")
        radius = width * self.scale / 2
        for x, y in (pixels[0], pixels[-1]):
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour, 255))

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour, radius: float = 0.0) -> None:
        (left, top), (right, bottom) = self.at((x1, y2)), self.at((x2, y1))
        self.draw.rounded_rectangle((left, top, right, bottom), radius * self.scale, fill=(*colour, 255))

    def sprite(self, sound_m: float, size: float) -> Sprite:
        """The sheet so far, ``size`` times as large as it was drawn; ``sound_m`` as drawn."""
        left, top, right, bottom = self.sheet.getchannel("A").getbbox()
        picture = self.sheet.crop((left, top, right, bottom)).reduce(FINE)
        metre = size / self.scale
        up_m = size * (HEIGHT_M - sound_m) - top * metre
        down_m = bottom * metre - size * (HEIGHT_M - sound_m)
        return Sprite(halves(picture), (right - left) / 2 * metre, up_m, down_m, size * sound_m)


def halves(picture: Image.Image) -> tuple[Image.Image, ...]:
    """A picture and its halves down to a few pixels, each with a transparent rim of `RIM` pixels."""
    levels = []
    while not levels or min(picture.size) > 8:
        rimmed = Image.new("RGBA", (picture.width + 2 * RIM, picture.height + 2 * RIM))
        rimmed.paste(picture, (RIM, RIM))
        levels.append(rimmed)
        picture = picture.reduce(2)
    return tuple(levels)


def placed(points_P2: np.ndarray, middle: Point, tilt_deg: float) -> list[Point]:
    """Points turned counter-clockwise by ``tilt_deg`` and moved to ``middle``."""
    c, s = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    turned = points_P2 @ np.array([[c, s], [-s, c]]) + middle
    return [(float(x), float(y)) for x, y in turned]


def tint(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter (towards white) above."""
    if factor <= 1:
        return tuple(round(c * factor) for c in colour)
    return tuple(round(c + (255 - c) * (factor - 1)) for c in colour)


def smooth(points: Sequence[Point], steps: int = 10) -> np.ndarray:
    """A closed Catmull-Rom curve through the points."""
    p0 = np.asarray(points, float)
    before, after, beyond = np.roll(p0, 1, 0), np.roll(p0, -1, 0), np.roll(p0, -2, 0)
    u = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 2 * p0 + (after - before) * u + (2 * before - 5 * p0 + 4 * after - beyond) * u**2
    curve = 0.5 * (curve + (3 * p0 - before - 3 * after + beyond) * u**3)
    return curve.transpose(1, 0, 2).reshape(-1, 2)


# -- people ---------------------------------------------------------------------------------------------------------


def head(pen: Pen, look: Look, x: float, y: float, *, mouth: float = 0.0) -> None:
    """A head around (x, y); ``mouth`` is the height of an open mouth in metres."""
    if look.long_hair:
        pen.box(x - 0.145, y - 0.2, x + 0.145, y + 0.08, look.hair, 0.07)
    pen.line([(x, y - 0.06), (x, y - 0.19)], 0.1, tint(look.skin, 0.88))
    pen.oval((x, y + 0.03), 0.14, 0.14, look.hair)
    pen.oval((x, y - 0.01), 0.12, 0.145, look.skin)
    pen.area(
        [(x - 0.13, y + 0.03), (x - 0.1, y + 0.14), (x + 0.1, y + 0.14), (x + 0.13, y + 0.03), (x, y + 0.09)], look.hair
    )
    for side in (-1, 1):
        pen.oval((x + side * 0.048, y - 0.005), 0.014, 0.019, BLACK)
    if mouth:
        pen.oval((x, y - 0.085), 0.032, mouth / 2, (122, 40, 44))
    else:
        pen.line([(x - 0.03, y - 0.08), (x, y - 0.088), (x + 0.03, y - 0.08)], 0.012, tint(look.skin, 0.6))


def standing(pen: Pen, look: Look, *, mouth: float = 0.0) -> None:
    """A person on their feet, 1.78 m tall, without arms."""
    for side in (-1, 1):
        pen.line([(side * 0.1, 0.88), (side * 0.12, 0.06)], 0.16, look.trousers)
        pen.box(side * 0.13 - 0.1, 0.0, side * 0.13 + 0.1, 0.085, tint(look.trousers, 0.5), 0.035)
    torso(pen, look, 0.84, 1.43)
    head(pen, look, 0, 1.61, mouth=mouth)


def seated(pen: Pen, look: Look) -> None:
    """A person on a stool, knees towards us, without arms."""
    pen.box(-0.24, 0.42, 0.24, 0.5, (92, 70, 54), 0.03)
    for side in (-1, 1):
        pen.line([(side * 0.17, 0.42), (side * 0.2, 0.02)], 0.05, (72, 54, 42))
    torso(pen, look, 0.48, 1.08)
    for side in (-1, 1):
        pen.line([(side * 0.1, 0.54), (side * 0.27, 0.5), (side * 0.27, 0.08)], 0.16, look.trousers)
        pen.box(side * 0.28 - 0.1, 0.0, side * 0.28 + 0.1, 0.085, tint(look.trousers, 0.5), 0.035)
    head(pen, look, 0, 1.26)


def torso(pen: Pen, look: Look, hip: float, shoulder: float) -> None:
    pen.box(-0.24, shoulder - 0.22, 0.24, shoulder + 0.02, look.shirt, 0.1)
    pen.area([(-0.24, shoulder - 0.1), (0.24, shoulder - 0.1), (0.2, hip), (-0.2, hip)], look.shirt)
    pen.area([(0.08, shoulder - 0.05), (0.24, shoulder - 0.1), (0.2, hip), (0.12, hip)], tint(look.shirt, 0.88))
    pen.area([(-0.07, shoulder + 0.02), (0.07, shoulder + 0.02), (0, shoulder - 0.1)], tint(look.skin, 0.88))


def arm(pen: Pen, look: Look, *points: Point) -> None:
    """Shoulder, elbow, hand."""
    pen.line(points, 0.115, tint(look.shirt, 0.8))
    pen.oval(points[-1], 0.065, 0.065, look.skin)


# -- instruments ----------------------------------------------------------------------------------------------------


def waisted(length: float, upper: float, waist: float, lower: float) -> np.ndarray:
    """The outline of a violin, cello or guitar along +x, its body's middle at 0; half-widths given."""
    half = [(-0.5, 0.0), (-0.47, 0.7 * lower), (-0.3, lower), (-0.1, 0.9 * waist + 0.1 * lower), (0.05, waist)]
    half += [(0.2, 0.2 * waist + 0.8 * upper), (0.33, upper), (0.46, 0.7 * upper), (0.5, 0.0)]
    other = [(x, -y) for x, y in reversed(half[1:-1])]
    return smooth([(x * length, y) for x, y in half + other])


def strings(
    pen: Pen, middle: Point, tilt_deg: float, wood: Colour, body: float, widths: Point, neck: float, hole: bool
):
    """A violin, cello or guitar; ``widths`` are the half-widths of its lower part and waist, ``neck`` its length."""
    lower, waist = widths
    outline = waisted(body, 0.82 * lower, waist, lower)
    pen.area(placed(outline * 1.05, middle, tilt_deg), tint(wood, 0.45))
    pen.area(placed(outline, middle, tilt_deg), wood)
    pen.area(placed(outline * [0.86, 0.72] + [0, 0.1 * lower], middle, tilt_deg), tint(wood, 1.18))
    end = body / 2 + neck

    def bar(x1: float, x2: float, half: float, colour: Colour, y: float = 0.0) -> None:
        corners = np.array([(x1, y - half), (x2, y - half), (x2, y + half), (x1, y + half)])
        pen.area(placed(corners, middle, tilt_deg), colour)

    if hole:
        (spot,) = placed(np.array([[0.1 * body, 0.0]]), middle, tilt_deg)
        pen.oval(spot, 0.42 * lower, 0.42 * lower, tint(wood, 0.35))
    else:
        for side in (-1, 1):
            bar(-0.16 * body, 0.1 * body, 0.035 * lower, tint(wood, 0.25), side * 0.52 * waist)
    bar(0.08 * body, end, 0.13 * lower, tint(wood, 0.35))
    bar(-0.28 * body, end, 0.025 * lower, (236, 226, 200))
    bar(-0.32 * body, -0.28 * body, 0.34 * lower, tint(wood, 0.3))
    bar(end, end + 0.22 * neck, 0.22 * lower, tint(wood, 0.6))


def violin(pen: Pen, look: Look) -> float:
    standing(pen, look)
    arm(pen, look, (0.2, 1.37), (0.42, 1.12), (0.62, 1.4))
    strings(pen, (0.26, 1.43), 2, look.wood, 0.44, (0.135, 0.08), 0.3, hole=False)
    arm(pen, look, (-0.2, 1.37), (-0.46, 1.16), (-0.2, 1.22))
    pen.line([(-0.22, 1.2), (0.52, 1.72)], 0.024, (70, 42, 28))
    pen.line([(-0.2, 1.185), (0.53, 1.7)], 0.01, WHITE)
    pen.oval((0.62, 1.42), 0.05, 0.06, look.skin)
    return 1.43


def cello(pen: Pen, look: Look) -> float:
    seated(pen, look)
    pen.line([(-0.02, 0.2), (-0.04, 0.0)], 0.024, SILVER)
    strings(pen, (0.02, 0.56), 78, look.wood, 0.78, (0.25, 0.155), 0.46, hole=False)
    arm(pen, look, (0.2, 1.02), (0.42, 0.9), (0.15, 1.1))
    arm(pen, look, (-0.2, 1.02), (-0.44, 0.78), (-0.36, 0.5))
    pen.line([(-0.44, 0.48), (0.46, 0.54)], 0.026, (70, 42, 28))
    return 0.7


def guitar(pen: Pen, look: Look) -> float:
    standing(pen, look)
    arm(pen, look, (0.2, 1.37), (0.44, 1.1), (0.62, 1.26))
    strings(pen, (-0.14, 1.03), 18, tint(look.wood, 1.25), 0.56, (0.225, 0.14), 0.5, hole=True)
    arm(pen, look, (-0.2, 1.37), (-0.42, 1.18), (-0.14, 1.06))
    pen.oval((0.5, 1.24), 0.055, 0.06, look.skin)
    return 1.06


def flute(pen: Pen, look: Look) -> float:
    standing(pen, look)
    pen.line([(-0.1, 1.545), (0.74, 1.47)], 0.058, tint(SILVER, 0.6))
    pen.line([(-0.1, 1.55), (0.74, 1.475)], 0.04, SILVER)
    for step in range(7):
        pen.oval((0.22 + 0.07 * step, 1.528 - 0.0063 * step), 0.022, 0.026, WHITE)
    arm(pen, look, (0.2, 1.37), (0.4, 1.14), (0.34, 1.46))
    arm(pen, look, (-0.2, 1.37), (-0.02, 1.12), (0.56, 1.43))
    return 1.5


def trumpet(pen: Pen, look: Look) -> float:
    standing(pen, look)
    arm(pen, look, (0.2, 1.37), (0.46, 1.18), (0.34, 1.44))
    for offset, colour in ((0.0, tint(BRASS, 0.6)), (0.012, BRASS)):
        pen.line([(0.04, 1.52 + offset), (0.62, 1.52 + offset)], 0.05, colour)
        pen.line([(0.2, 1.42 + offset), (0.5, 1.42 + offset)], 0.045, colour)
        pen.area([(0.5, 1.55), (0.82, 1.7 - offset), (0.82, 1.34 + offset), (0.5, 1.49)], colour)
        for x in (0.27, 0.34, 0.41):
            pen.line([(x, 1.4 + offset), (x, 1.6 + offset)], 0.042, colour)
    pen.oval((0.82, 1.52), 0.045, 0.18, tint(BRASS, 1.4))
    pen.oval((0.82, 1.52), 0.028, 0.13, tint(BRASS, 0.5))
    arm(pen, look, (-0.2, 1.37), (-0.3, 1.14), (0.25, 1.4))
    return 1.52


def piano(pen: Pen, look: Look) -> float:
    body = (34, 33, 38) if sum(look.wood) < 330 else tint(look.wood, 0.45)
    pen.box(-1.24, 0.44, -0.86, 0.52, (84, 64, 50), 0.03)
    for x in (-1.18, -0.92):
        pen.line([(x, 0.44), (x, 0.02)], 0.05, (66, 50, 40))
    pen.line([(-1.04, 0.58), (-0.7, 0.54), (-0.68, 0.07)], 0.16, look.trousers)
    pen.box(-0.76, 0.0, -0.52, 0.085, tint(look.trousers, 0.5), 0.035)
    pen.line([(-1.06, 0.62), (-1.03, 1.02)], 0.3, look.shirt)
    pen.line([(-1.0, 1.1), (-0.99, 1.2)], 0.1, tint(look.skin, 0.88))
    pen.oval((-1.0, 1.32), 0.145, 0.15, look.hair)
    pen.oval((-0.95, 1.29), 0.105, 0.135, look.skin)
    pen.oval((-0.89, 1.3), 0.013, 0.018, BLACK)
    if look.long_hair:
        pen.box(-1.15, 1.06, -0.98, 1.34, look.hair, 0.06)
    # the raised lid, the strings' golden glow under it, the case, keys, legs
    pen.area([(-0.42, 1.02), (1.02, 1.02), (0.92, 1.66), (0.2, 1.84), (-0.5, 1.86)], tint(body, 0.75))
    pen.area([(-0.36, 1.02), (0.96, 1.02), (0.87, 1.61), (0.18, 1.78), (-0.44, 1.8)], tint(body, 1.25))
    pen.area([(-0.3, 0.98), (0.98, 0.98), (0.84, 1.1), (-0.3, 1.1)], tint(BRASS, 0.75))
    pen.line([(0.5, 1.0), (0.42, 1.5)], 0.03, tint(body, 1.5))
    pen.box(-0.5, 0.7, 1.24, 1.02, body, 0.12)
    pen.box(-0.5, 0.96, 1.22, 1.03, tint(body, 1.3), 0.03)
    pen.box(-0.66, 0.68, -0.36, 0.8, body, 0.02)
    pen.box(-0.68, 0.8, -0.38, 0.86, WHITE, 0.0)
    for x in (-0.64, -0.575, -0.51, -0.445):
        pen.box(x, 0.82, x + 0.03, 0.86, BLACK)
    for x in (-0.4, 0.3, 1.06):
        pen.area([(x - 0.06, 0.72), (x + 0.08, 0.72), (x + 0.045, 0.03), (x - 0.025, 0.03)], tint(body, 0.85))
        pen.oval((x + 0.01, 0.03), 0.045, 0.03, tint(BRASS, 0.8))
    arm(pen, look, (-1.02, 1.02), (-0.86, 0.78), (-0.58, 0.88))
    return 1.0


def marimba(pen: Pen, look: Look) -> float:
    standing(pen, look)
    arm(pen, look, (-0.2, 1.37), (-0.4, 1.12), (-0.3, 1.0))
    arm(pen, look, (0.2, 1.37), (0.42, 1.12), (0.32, 1.02))
    for x in (-0.82, 0.74):
        pen.line([(x, 0.82), (x, 0.02)], 0.06, (74, 60, 52))
    pen.line([(-0.82, 0.25), (0.74, 0.25)], 0.035, (74, 60, 52))
    pipes = 15
    for i in range(pipes):
        x, bottom = -0.84 + 1.66 * i / (pipes - 1), 0.32 + 0.3 * i / (pipes - 1)
        pen.line([(x, 0.8), (x, bottom)], 0.075, tint(BRASS, 0.8))
        pen.line([(x - 0.015, 0.8), (x - 0.015, bottom)], 0.02, tint(BRASS, 1.4))
    for i in range(pipes):
        x, up = -0.84 + 1.66 * i / (pipes - 1), 0.16 - 0.07 * i / (pipes - 1)
        pen.box(x - 0.05, 0.84 - up / 2, x + 0.05, 0.86 + up, tint((168, 72, 44), 0.92 + 0.16 * (i % 2)), 0.015)
    for hand, tip in (((-0.3, 1.0), (-0.12, 0.95)), ((0.32, 1.02), (0.16, 0.97))):
        pen.line([hand, tip], 0.022, (232, 212, 172))
        pen.oval(tip, 0.05, 0.05, (52, 92, 156))
    return 0.9


def drum(pen: Pen, look: Look) -> float:
    shell = max(look.shirt, (60, 60, 60), key=lambda c: max(c) - min(c))
    pen.line([(-0.62, 1.3), (-0.68, 0.0)], 0.025, SILVER)
    pen.line([(0.66, 1.42), (0.72, 0.0)], 0.025, SILVER)
    torso(pen, look, 0.6, 1.2)
    head(pen, look, 0, 1.38)
    arm(pen, look, (-0.2, 1.14), (-0.42, 0.94), (-0.3, 1.06))
    arm(pen, look, (0.2, 1.14), (0.44, 0.96), (0.36, 1.14))
    for x, y, rx, height in ((-0.6, 0.62, 0.21, 0.2), (0.58, 0.56, 0.25, 0.42)):
        for leg in (-0.7, 0.7):
            pen.line([(x, y - height), (x + leg * rx, 0.01)], 0.025, SILVER)
        pen.box(x - rx, y - height, x + rx, y, shell, 0.02)
        pen.oval((x, y - height), rx, 0.05, tint(shell, 0.7))
        pen.oval((x, y), rx, 0.055, SILVER)
        pen.oval((x, y), rx * 0.9, 0.042, WHITE)
    for x in (-0.21, 0.21):
        pen.box(x - 0.17, 0.62, x + 0.17, 0.84, tint(shell, 0.92), 0.03)
        pen.oval((x, 0.84), 0.17, 0.05, SILVER)
        pen.oval((x, 0.84), 0.15, 0.037, WHITE)
    pen.oval((0, 0.34), 0.37, 0.34, tint(shell, 0.6))
    pen.oval((0, 0.34), 0.335, 0.305, WHITE)
    pen.oval((0, 0.34), 0.16, 0.145, shell)
    for x, y, tilt in ((-0.62, 1.3, 8), (0.66, 1.42, -10)):
        pen.oval((x, y), 0.3, 0.05, tint(BRASS, 0.75), tilt)
        pen.oval((x, y + 0.012), 0.28, 0.036, BRASS, tilt)
    pen.line([(-0.3, 1.06), (-0.46, 0.7)], 0.026, (232, 206, 160))
    pen.line([(0.36, 1.14), (0.18, 0.92)], 0.026, (232, 206, 160))
    return 0.72


def singer(pen: Pen, look: Look) -> float:
    dress = GOWNS[(look.shirt[0] // 4 + look.hair[1]) % len(GOWNS)]
    gown = Look(look.skin, look.hair, dress, look.trousers, look.wood, look.long_hair)
    standing(pen, gown, mouth=0.075)
    pen.area([(-0.2, 0.95), (0.2, 0.95), (0.4, 0.1), (0.2, 0.06), (0, 0.09), (-0.2, 0.06), (-0.4, 0.1)], dress)
    pen.area([(0.06, 0.95), (0.2, 0.95), (0.4, 0.1), (0.22, 0.07)], tint(dress, 0.85))
    arm(pen, gown, (-0.2, 1.37), (-0.44, 1.16), (-0.62, 1.36))
    arm(pen, gown, (0.2, 1.37), (0.44, 1.16), (0.62, 1.36))
    pen.line([(0, 0.02), (0, 1.4)], 0.026, (60, 62, 68))
    pen.box(-0.16, 0.0, 0.16, 0.03, (60, 62, 68), 0.015)
    pen.oval((0, 1.43), 0.042, 0.052, (66, 68, 74))
    pen.oval((0.01, 1.44), 0.022, 0.03, (132, 134, 140))
    return 1.52


def speaker(pen: Pen, look: Look) -> float:
    standing(pen, look, mouth=0.04)
    arm(pen, look, (-0.2, 1.37), (-0.48, 1.2), (-0.5, 1.52))
    arm(pen, look, (0.2, 1.37), (0.38, 1.12), (0.3, 1.06))
    wood = tint(look.wood, 0.8)
    pen.area([(-0.24, 0.96), (0.24, 0.96), (0.18, 0.08), (-0.18, 0.08)], wood)
    pen.area([(-0.17, 0.86), (0.17, 0.86), (0.135, 0.2), (-0.135, 0.2)], tint(wood, 1.2))
    pen.area([(-0.36, 0.95), (0.36, 0.95), (0.31, 1.07), (-0.31, 1.07)], tint(wood, 0.7))
    pen.area([(-0.15, 0.98), (0.15, 0.98), (0.13, 1.05), (-0.13, 1.05)], WHITE)
    pen.box(-0.28, 0.0, 0.28, 0.1, tint(wood, 0.7), 0.02)
    pen.line([(0.22, 1.05), (0.15, 1.26)], 0.02, (60, 62, 68))
    pen.oval((0.145, 1.28), 0.03, 0.04, (60, 62, 68))
    return 1.52


def loudspeaker(pen: Pen, look: Look) -> float:
    for x in (-0.22, 0.22):
        pen.line([(0, 0.5), (x, 0.02)], 0.035, (60, 60, 66))
    pen.line([(0, 0.78), (0, 0.3)], 0.05, (60, 60, 66))
    pen.box(-0.22, 0.76, 0.22, 1.42, tint(look.wood, 0.7), 0.03)
    pen.box(-0.19, 0.79, 0.19, 1.39, (46, 46, 52), 0.02)
    for y, radius in ((0.97, 0.155), (1.26, 0.08)):
        pen.oval((0, y), radius, radius, (24, 24, 28))
        pen.oval((0, y), radius * 0.84, radius * 0.84, (84, 86, 94))
        pen.oval((0, y), radius * 0.36, radius * 0.36, (34, 34, 38))
    return 1.05


KINDS: dict[str, Callable[[Pen, Look], float]] = {
    "cello": cello,
    "drum": drum,
    "flute": flute,
    "guitar": guitar,
    "loudspeaker": loudspeaker,
    "marimba": marimba,
    "piano": piano,
    "singer": singer,
    "speaker": speaker,
    "trumpet": trumpet,
    "violin": violin,
}


SIZES = {"piano": 0.72, "drum": 0.85, "marimba": 0.85}
"""Wide instruments are small ones of their kind, so that more of them fits into the picture."""


@lru_cache(maxsize=256)
def sprite(label: str, look: Look) -> Sprite:
    """The picture of a kind of source; drawn once for each kind and look."""
    pen = Pen()
    return pen.sprite(KINDS.get(label, loudspeaker)(pen, look), SIZES.get(label, 1.0))
