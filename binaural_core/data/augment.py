"""Variations of a training window that keep sound and picture true to each other.

Each is a pure function; what is random comes from the generator given. Mirroring swaps the ears with the picture. A
picture that is cropped moves its image positions; directions in degrees stay, because neither head nor source moved.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from binaural_core.data.sample import Sample, Sight

WHOLE = (0.0, 0.0, 1.0, 1.0)
LUMA_3 = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def random_start_s(duration_s: float, window_s: float, sample_rate_hz: int, generator: np.random.Generator) -> float:
    """A start, on the sample grid, from which the window fits into the clip."""
    last = int((duration_s - window_s) * sample_rate_hz + 1e-6)
    return float(generator.integers(0, max(last, 0) + 1)) / sample_rate_hz


def random_region(most: float, generator: np.random.Generator) -> tuple[float, float, float, float]:
    """A part of the picture, (x, y, width, height) in [0, 1], with at most ``most`` of each side cut away."""
    width, height = 1.0 - most * generator.random(2)
    x, y = generator.random(2) * (1.0 - width, 1.0 - height)
    return float(x), float(y), float(width), float(height)


def random_colour(strength: float, generator: np.random.Generator) -> tuple[float, float, float]:
    """Factors of brightness, contrast and saturation, each in 1 +- ``strength``."""
    brightness, contrast, saturation = 1.0 + strength * generator.uniform(-1.0, 1.0, 3)
    return float(brightness), float(contrast), float(saturation)


def recolour(planes_P3N: np.ndarray, factors: tuple[float, float, float]) -> np.ndarray:
    """P pictures of N pixels in [0, 1] with brightness, contrast and saturation scaled; clipped to [0, 1].

    Contrast scales about the mean luma of all pictures, saturation about each pixel's own luma.
    """
    brightness, contrast, saturation = factors
    mean = float(LUMA_3 @ planes_P3N.mean(axis=2).mean(axis=0))
    to_grey = np.repeat(LUMA_3[None, :], 3, axis=0)
    matrix = brightness * contrast * (saturation * np.eye(3) + (1.0 - saturation) * to_grey)
    changed = matrix.astype(np.float32) @ planes_P3N
    changed += np.float32(brightness * (1.0 - contrast) * mean)
    return np.clip(changed, 0.0, 1.0, out=changed)


def mirror_sight(sight: Sight) -> Sight:
    """Left becomes right in the crops, the image positions and the azimuths."""
    image_positions = sight.image_positions_LO2.copy()
    image_positions[..., 0] = np.where(sight.mask_LO, image_positions[..., 0], 1.0 - image_positions[..., 0])
    positions = sight.positions_LO3.copy()
    positions[..., 0] = 0.0 - positions[..., 0]
    return replace(
        sight,
        crops_LOCHW=np.ascontiguousarray(sight.crops_LOCHW[..., ::-1]),
        image_positions_LO2=image_positions,
        positions_LO3=positions,
    )


def mirror(sample: Sample) -> Sample:
    """The window seen and heard in a mirror: the ears change places with everything that is seen."""
    ears = sample.binaural_EN
    return replace(
        sample,
        binaural_EN=None if ears is None else np.ascontiguousarray(ears[::-1]),
        sight=mirror_sight(sample.sight),
    )


def together(samples: Sequence[Sample], gains: Sequence[float]) -> Sample:
    """Several windows heard and seen at once: sounds add up, objects share the slots of the first window.

    Sound is linear, so scenes in the open add up to a scene. Objects for which no slot is left are heard but not seen.
    """
    first = samples[0]
    objects = first.sight.mask_LO.shape[1]
    filled = [
        (s, o) for s, sample in enumerate(samples) for o in range(objects) if not sample.sight.mask_LO[:, o].all()
    ]
    fields = {}
    for name in ("crops_LOCHW", "image_positions_LO2", "positions_LO3", "mask_LO"):
        slots = np.full_like(getattr(first.sight, name), np.nan if name == "positions_LO3" else 0)
        if name == "mask_LO":
            slots[:] = True
        for slot, (s, o) in enumerate(filled[:objects]):
            slots[:, slot] = getattr(samples[s].sight, name)[:, o]
        fields[name] = slots
    scaled = list(zip(samples, gains, strict=True))
    ears = None if first.binaural_EN is None else sum(np.float32(gain) * s.binaural_EN for s, gain in scaled)
    return replace(
        first, mono_N=sum(np.float32(gain) * s.mono_N for s, gain in scaled), binaural_EN=ears, sight=Sight(**fields)
    )
