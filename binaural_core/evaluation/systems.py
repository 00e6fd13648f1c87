"""What is compared: anything that makes both ears of a mono recording and its clip.

Systems by the name they have on the command line:

- ``mono``: the mono recording on both ears. What not trying gives.
- ``warp``: the seen position's delay and level on the mono, from the geometry of a sphere (`warp`). No learning.
- ``ours=FOLDER`` or ``ours:MODE[:SHOWN]=FOLDER``: a trained `Binauralizer`, stage 2 in that mode (``mono_phase``,
  ``bigvgan``, whatever the weights offer), shown ``both`` (all that the data set knows, the default), ``positions`` (no
  pixels), ``pixels`` (nothing told; the localiser finds the objects) or ``none``. Without FOLDER: the shipped weights.
- ``truth:MODE=FOLDER``: the true ears' mels through that stage 2: what a perfect stage 1 would leave to hear.
- ``mono2binaural=FOLDER``: the baseline of 2.5D Visual Sound, trained here (`binaural_core.baseline`).

``FOLDER+GENERATOR`` takes another BigVGAN generator's file than the folder's, ``+GENERATOR`` alone that one with the shipped
stage 1. ``LABEL@`` before any of them, the mono copy apart, names it in the tables.

A system with the attribute ``windowed = True`` makes one short window at a time, with its one picture; the protocol
``windows`` then cuts and joins for it (`windows`). All others make whole recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from binaural_core.audio import log_mel
from binaural_core.audio.io import resample
from binaural_core.baseline import Baseline
from binaural_core.checkpoint import digest
from binaural_core.data.eyes import Closed, Eyes, clip_eyes
from binaural_core.data.locating import Located
from binaural_core.data.sample import Clip, Sight
from binaural_core.errors import need
from binaural_core.evaluation.results import MONO
from binaural_core.evaluation.warp import Warp
from binaural_core.passage import seen_places
from binaural_core.pipeline import Binauralizer, weights_folder
from binaural_core.places import data_samples
from binaural_core.predicting import CONDITIONS, Condition

WEIGHTS = (
    "config.yaml",
    "unet_best.pth",
    "frame_best.pth",
    "mono2binaural_best.pth",
    "stage1/config.yaml",
    "stage1/unet_best.pth",
    "stage1/frame_best.pth",
    "stage2/config.json",
    "stage2/g_best",
    "localizer/config.yaml",
    "localizer/localizer_best.pth",
)


class System(Protocol):
    """Makes both ears."""

    def __call__(self, mono_N: np.ndarray, sample_rate_hz: int, clip: Clip) -> np.ndarray:
        """Both ears (2, N) of a clip's mono (N,) at its rate; the clip's pictures are there to be looked at."""
        ...


def mono_copy(mono_N: np.ndarray, sample_rate_hz: int, clip: Clip) -> np.ndarray:
    return np.stack([mono_N, mono_N])


@dataclass(frozen=True)
class Blindfold:
    """Eyes that know where the objects are, and see none of their pixels."""

    eyes: Eyes

    def sight(self, times_s: Sequence[float]) -> Sight:
        sight = self.eyes.sight(times_s)
        return replace(sight, crops_LOCHW=np.zeros_like(sight.crops_LOCHW))


@dataclass(frozen=True)
class Ours:
    """A trained `Binauralizer` in one mode of stage 2, shown one part of what there is."""

    binauralizer: Binauralizer
    stage2: str
    shown: Condition = "both"
    seed: int = 0
    steps: int | None = None

    def __call__(self, mono_N: np.ndarray, sample_rate_hz: int, clip: Clip) -> np.ndarray:
        own_hz = self.binauralizer.mel.sample_rate_hz
        lowered_N = resample(mono_N[None], sample_rate_hz, own_hz)
        settings = {"seed": self.seed, "steps": self.steps, "stage2": self.stage2}
        spans = self.binauralizer.spans(iter([lowered_N]), self.eyes(clip), **settings)
        wave_EN = np.concatenate([span.wave_EN for span in spans], axis=1)
        return fitted(resample(wave_EN, own_hz, sample_rate_hz), len(mono_N))

    def eyes(self, clip: Clip) -> Eyes:
        data, locate = self.binauralizer.data, self.binauralizer.locate
        if self.shown == "none":
            return Closed(data)
        if self.shown == "pixels":
            return clip_eyes(Located(clip, locate, blind=True), data)
        eyes = clip_eyes(clip, data, locate)
        return Blindfold(eyes) if self.shown == "positions" else eyes


@dataclass(frozen=True)
class Truth:
    """Stage 2 on the true mels of both ears, with the mono and the seen places where it takes them."""

    binauralizer: Binauralizer
    stage2: str

    @torch.no_grad()
    def __call__(self, mono_N: np.ndarray, sample_rate_hz: int, clip: Clip) -> np.ndarray:
        ours = self.binauralizer
        own_hz, hop = ours.mel.sample_rate_hz, ours.mel.hop_samples
        _, true_EN = clip.sound(0.0, clip.duration_s, own_hz)
        need(
            true_EN is not None,
            f"clip {clip.clip_id} has no binaural recording",
            why="its true mels are what this system starts from",
            fix="leave it out of the split",
        )
        frames = -(-true_EN.shape[1] // hop)
        true_EN, lowered_EN = (
            torch.from_numpy(fitted(wave_CN, frames * hop)).to(ours.device)
            for wave_CN in (true_EN, resample(mono_N[None], sample_rate_hz, own_hz))
        )
        seen = seen_places(clip_eyes(clip, ours.data, ours.locate), ours.mel, ours.data, 0, frames)
        wave_EN = ours.vocoders[self.stage2](log_mel(true_EN, ours.mel), lowered_EN[0], seen)
        return fitted(resample(wave_EN.float().cpu().numpy(), own_hz, sample_rate_hz), len(mono_N))


@dataclass(frozen=True)
class Reference25D:
    """`Baseline` as a system. It works in windows by itself: 0.63 s every 0.05 s, each with the picture at its middle."""

    baseline: Baseline

    def __call__(self, mono_N: np.ndarray, sample_rate_hz: int, clip: Clip) -> np.ndarray:
        return self.baseline(mono_N, sample_rate_hz, self.baseline.clip_eyes(clip))


@dataclass(frozen=True)
class Wanted:
    """One entry of ``--systems``."""

    name: str
    kind: str
    folder: str | None = None
    mode: str | None = None
    shown: Condition = "both"
    generator: str | None = None

    def files(self) -> dict[str, str]:
        """SHA-256 of every weight file it uses; a localiser that ships stands in where the folder has none."""
        if self.kind in (MONO, "warp"):
            return {}
        folder = weights_folder(self.folder)
        found = {name: digest(folder / name) for name in WEIGHTS if (folder / name).is_file()}
        shipped = data_samples() / "weights" / "localizer" / "localizer_best.pth"
        if "localizer/localizer_best.pth" not in found and shipped.is_file():
            found["shipped localizer"] = digest(shipped)
        if self.generator and Path(self.generator).is_file():
            found["generator"] = digest(Path(self.generator))
        return found


def wanted(entries: Sequence[str]) -> list[Wanted]:
    """Read the entries of ``--systems``. Raises InputError for what is unknown or named twice."""
    found = [_wanted(entry.strip()) for entry in entries if entry.strip()]
    need(len(found) > 0, "no system is named", why="nothing would be measured", fix="name some: mono,warp,ours")
    names = [one.name for one in found]
    found = [
        replace(one, name=f"{one.name} ({Path(one.folder).name})") if names.count(one.name) > 1 and one.folder else one
        for one in found
    ]
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    need(
        not twice,
        f"the systems name {', '.join(twice)} more than once",
        why="each has its rows under its name",
        fix="leave one out, or give folders of different names",
    )
    return found


def open_systems(
    entries: Sequence[Wanted], *, device: str = "cpu", seed: int = 0, steps: int | None = None
) -> dict[str, System]:
    """The systems, ready to be called. Raises InputError when weights are missing or do not offer a mode."""
    opened: dict[tuple[str | None, str | None], Binauralizer] = {}

    def ours(entry: Wanted) -> System:
        weights = (entry.folder, entry.generator)
        if weights not in opened:
            opened[weights] = Binauralizer.from_pretrained(entry.folder, device=device, vocoder=entry.generator)
        binauralizer = opened[weights]
        mode = entry.mode or binauralizer.default_stage2
        need(
            mode in binauralizer.vocoders,
            f"{entry.folder or 'the shipped weights'} offer no stage 2 named {mode!r}",
            why=f"they offer {', '.join(sorted(binauralizer.vocoders))}",
            fix="choose one of them, or train stage 2",
        )
        need(
            entry.shown != "pixels" or binauralizer.locate is not None,
            f"{entry.name} needs a localiser",
            why="where the objects are must be found in the pictures alone",
            fix="work in a clone of the repository, or train one: binaural train localizer",
        )
        return (
            Truth(binauralizer, mode) if entry.kind == "truth" else Ours(binauralizer, mode, entry.shown, seed, steps)
        )

    kinds: Mapping[str, Callable[[Wanted], System]] = {
        MONO: lambda entry: mono_copy,
        "warp": lambda entry: Warp(),
        "ours": ours,
        "truth": ours,
        "mono2binaural": lambda entry: Reference25D(Baseline.from_folder(entry.folder, device=device)),
    }
    return {entry.name: kinds[entry.kind](entry) for entry in entries}


def fitted(wave_EN: np.ndarray, samples: int) -> np.ndarray:
    """Cut, or filled up with zeros, to this length: what rounding of rates and hops leaves over."""
    return np.pad(wave_EN[:, :samples], ((0, 0), (0, max(samples - wave_EN.shape[1], 0))))


def _wanted(entry: str) -> Wanted:
    named, _, folder = entry.partition("=")
    label, _, name = named.rpartition("@")
    kind, *rest = name.split(":")
    need(
        kind in (MONO, "warp", "ours", "truth", "mono2binaural"),
        f"the system {entry!r} is not known",
        why="there are mono, warp, ours[:MODE[:SHOWN]][=FOLDER], truth[:MODE][=FOLDER] and mono2binaural=FOLDER",
        fix="check the spelling; systems are separated by commas",
    )
    most = {"ours": 2, "truth": 1}.get(kind, 0)
    need(
        len(rest) <= most and (len(rest) < 2 or rest[1] in CONDITIONS),
        f"the system {entry!r} cannot be read",
        why=f"only ours and truth have a mode of stage 2, and after it ours has one of {', '.join(CONDITIONS)}",
        fix="write for instance ours:mono_phase:pixels=FOLDER",
    )
    need(
        kind != "mono2binaural" or bool(folder),
        "mono2binaural has no folder",
        why="no weights of it ship",
        fix="write mono2binaural=FOLDER of `binaural train mono2binaural`",
    )
    need(
        not label if kind == MONO else label != MONO,
        f"the system {entry!r} has the label {label!r}",
        why="all others are compared with the mono copy, which is known by its name mono",
        fix="choose another label, or none",
    )
    folder, generator = _parts(folder) if kind in ("ours", "truth") else (folder, "")
    mode = rest[0] if rest and rest[0] else None
    shown = rest[1] if len(rest) == 2 else "both"
    return Wanted(label or name, kind, folder or None, mode, shown, generator or None)


def _parts(folder: str) -> tuple[str, str]:
    """``FOLDER+GENERATOR`` in its two parts; a plus may also stand in the name of a folder."""
    if "+" not in folder or Path(folder).is_dir():
        return folder, ""
    before, _, generator = folder.rpartition("+")
    return before, generator
