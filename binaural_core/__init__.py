"""binaural_core: binaural sound from a mono recording and its video.

>>> import binaural_core as bc                                                             # doctest: +SKIP
>>> bc.Binauralizer.from_pretrained().binauralize(wave_N, 22050, video="clip.mp4").save("out.wav")  # doctest: +SKIP

Rooms, from the ground up: `audio`, `scene`, `data`; `diffusion`, `models`, `metrics`; `training`, `pipeline`,
`evaluation`; `widgets`, `exercises`, `cli`. They load when first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from binaural_core.errors import InputError
    from binaural_core.pipeline import Binaural, Binauralizer

__version__ = "0.1.0"
_HOMES = {"Binauralizer": "pipeline", "Binaural": "pipeline", "InputError": "errors"}
_ROOMS = (
    "audio",
    "scene",
    "data",
    "diffusion",
    "models",
    "metrics",
    "training",
    "pipeline",
    "evaluation",
    "figures",
    "notebooks",
    "widgets",
    "exercises",
)
__all__ = ["Binaural", "Binauralizer", "InputError", "__version__"]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
