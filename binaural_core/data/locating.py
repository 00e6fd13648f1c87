"""Objects in pictures that came without boxes: a localiser looks where nobody has looked.

What looks is a function, ``locate(images) -> [(boxes, scores), …]``, so this room knows no network. `Located` wraps a
clip, `Finder` anything that shows views at times. What is known of a picture's objects stays; ``blind`` drops it first.

Pictures that are asked for together are judged together. Where nothing is found in any of them they stay as they were,
and `crops` covers them with its grid; where something is found in some, the others show that it is away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from binaural_core.data.sample import Clip
from binaural_core.scene.view import View

Found = tuple[np.ndarray, np.ndarray]  # boxes (O, 4) in [0, 1], scores (O,) in [0, 1]
Locate = Callable[[Sequence[np.ndarray]], list[Found]]
Look = Callable[[Sequence[float]], list[View]]

LABEL = "object"
REMEMBERED = 256  # pictures whose objects are kept: windows overlap, and a span asks for its windows' pictures again


@dataclass(frozen=True, eq=False)
class Finder:
    """``look(times_s)``, with objects found by ``locate`` in the pictures in which nobody looked for them."""

    look: Look
    locate: Locate
    blind: bool = False
    remembered: dict[bytes, Found] = field(default_factory=dict, repr=False)

    def __call__(self, times_s: Sequence[float]) -> list[View]:
        views = self.look(times_s)
        if self.blind:
            views = [View(view.image_HW3, h_fov_deg=view.h_fov_deg) for view in views]
        unknown = [at for at, view in enumerate(views) if not view.objects_known]
        found = dict(zip(unknown, self._found([views[at].image_HW3 for at in unknown]), strict=True))
        if any(len(scores) for _, scores in found.values()):
            for at, (boxes_O4, scores_O) in found.items():
                views[at] = filled(views[at], boxes_O4, scores_O)
        return views

    def _found(self, images: Sequence[np.ndarray]) -> list[Found]:
        """What is in each picture; a picture seen before is remembered, by its pixels."""
        keys = [_key(image_HW3) for image_HW3 in images]
        here = {key: self.remembered.pop(key) for key in dict.fromkeys(keys) if key in self.remembered}
        new = {key: image_HW3 for key, image_HW3 in zip(keys, images, strict=True) if key not in here}
        if new:
            here |= zip(new, self.locate(list(new.values())), strict=True)
        self.remembered.update(here)  # the latest stand last
        for key in list(self.remembered)[:-REMEMBERED]:
            del self.remembered[key]
        return [here[key] for key in keys]


@dataclass(frozen=True, eq=False)
class Located:
    """A `Clip` whose objects are found in its pictures wherever the clip does not know them (``blind``: everywhere)."""

    clip: Clip
    locate: Locate
    blind: bool = False
    _finder: Finder = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_finder", Finder(self.clip.look, self.locate, self.blind))

    @property
    def clip_id(self) -> str:
        return self.clip.clip_id

    @property
    def duration_s(self) -> float:
        return self.clip.duration_s

    def sound(self, start_s: float, duration_s: float, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray | None]:
        return self.clip.sound(start_s, duration_s, sample_rate_hz)

    def look(self, times_s: Sequence[float]) -> list[View]:
        return self._finder(times_s)


def filled(view: View, boxes_O4: np.ndarray, scores_O: np.ndarray) -> View:
    """The view with these objects; where they are the camera says, so their directions are unknown here."""
    return replace(
        view,
        boxes_O4=np.asarray(boxes_O4, np.float32),
        positions_O3=np.full((len(scores_O), 3), np.nan, np.float32),
        scores_O=np.asarray(scores_O, np.float32),
        labels=(LABEL,) * len(scores_O),
        objects_known=True,
    )


def _key(image_HW3: np.ndarray) -> bytes:
    pixels = np.ascontiguousarray(image_HW3)
    return hashlib.blake2b(pixels.data, digest_size=16, salt=repr(pixels.shape)[:16].encode()).digest()
