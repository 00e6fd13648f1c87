"""Systems side by side on the same clips, in one process or in many.

Two protocols. ``whole``: whole recordings at 22,050 Hz, every measure of `metrics.summary`, and the level error of each
third octave. ``windows``: that of 2.5D Visual Sound at 16 kHz (`windows`), for numbers beside published ones.

A row for each clip and system goes to ``measures.csv`` when it is measured, so a stopped run goes on where it was; the
settings, the weights' hashes among them, must be the same. What cannot be measured is named, and the others go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from binaural_core.checkpoint import save_json, write_whole
from binaural_core.config import Config
from binaural_core.errors import InputError, need
from binaural_core.evaluation.bands import ild_error_by_band_db, named_bands
from binaural_core.evaluation.clips import ClipsConfig, Listed, listed
from binaural_core.evaluation.journal import Journal, Row, fingerprint
from binaural_core.evaluation.results import Results, machine
from binaural_core.evaluation.systems import System, fitted, open_systems, wanted
from binaural_core.evaluation.windows import DISTANCES, distances, in_windows
from binaural_core.metrics.azimuth import AzimuthMatcher
from binaural_core.metrics.pairs import LENGTH_TOLERANCE
from binaural_core.metrics.summary import CUES, FIELD, FIELD_HZ, MELS, SPEECH, summarize
from binaural_core.scene.head import Head
from binaural_core.training.distributed import ALONE, World

RATE_HZ = 22_050
TEXT = ("clip", "system", "split", "cluster", "room", "motion")
FACTS = ("sources", "azimuth_deg", "duration_s")
KEY = ("split", "clip", "system")
OnClip = Callable[[int, int, str], None]  # (done, of how many, clip) in the first process


@dataclass(frozen=True, kw_only=True)
class SystemsConfig(Config):
    """Which systems, on which clips, measured how."""

    clips: ClipsConfig = ClipsConfig()
    systems: tuple[str, ...] = ("mono", "warp", "ours")
    protocol: Literal["whole", "windows"] = "whole"
    out: str | None = None
    """Folder of the table and the report."""
    speech: bool = False
    """PESQ, STOI and ESTOI too."""
    device: str = "auto"
    steps: int | None = None
    """Of ours' sampler; None: its own."""
    seed: int = 0


@dataclass(frozen=True)
class Compared:
    """What was measured."""

    results: Results
    broken: dict[str, str] = field(default_factory=dict)  # "clip, system" -> why

    @property
    def complete(self) -> bool:
        return bool(self.results.rows) and not self.broken

    def save(self, folder: str | Path) -> None:
        """``summary.json`` and ``measures.md`` beside ``measures.csv``."""
        folder = Path(folder)
        if not (folder / "measures.csv").is_file():
            self.results.write_csv(folder / "measures.csv")
        write_whole(folder / "measures.md", lambda t: t.write_text(self.results.markdown() + "\n", encoding="utf-8"))
        save_json(folder / "summary.json", self.results.summary() | {"broken": self.broken})


def run(config: SystemsConfig, world: World = ALONE, *, on_clip: OnClip | None = None) -> Compared:
    """All of it: open clips and systems, measure, write. Raises InputError for what a user can correct."""
    entries = wanted(config.systems)
    clips = listed(config.clips)
    device = world.device(config.device)
    systems = open_systems(entries, device=str(device), seed=config.seed, steps=config.steps)
    settings = config.to_dict()
    for passing in ("out", "device"):
        settings.pop(passing)
    settings["weights"] = {entry.name: entry.files() for entry in entries}
    matcher = _matcher(config)
    settings["azimuth"] = matcher is not None
    found = evaluate_systems(
        systems,
        clips,
        protocol=config.protocol,
        speech=config.speech,
        matcher=matcher,
        out=config.out,
        settings=settings,
        world=world,
        on_clip=on_clip,
    )
    if world.first and config.out:
        found.save(config.out)
    return found


def evaluate_systems(
    systems: Mapping[str, System],
    clips: Sequence[Listed],
    *,
    protocol: Literal["whole", "windows"] = "whole",
    speech: bool = False,
    matcher: AzimuthMatcher | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    world: World = ALONE,
    on_clip: OnClip | None = None,
) -> Compared:
    """Every system on every clip. In many processes each takes its share of the clips.

    settings : what must be the same for rows in ``out`` to be gone on with.   matcher : a head's cues, for azimuths.
    Raises InputError when ``out`` holds rows of other settings.
    """
    settings = dict(settings or {}) | {"systems": list(systems), "protocol": protocol}
    journal = Journal(out, TEXT, [*FACTS, *_columns(protocol, speech, matcher is not None)], KEY)
    done = world.told(journal.open(settings) if world.first else None)
    left = [one for one in clips if any((one.split, one.clip.clip_id, name) not in done for name in systems)]
    broken: dict[str, str] = {}
    made: list[Row] = []
    mine = world.share(left)
    for number, one in enumerate(mine, start=1):
        wanted_here = {n: s for n, s in systems.items() if (one.split, one.clip.clip_id, n) not in done}
        for name, row in measured(one, wanted_here, protocol, speech=speech, matcher=matcher):
            if isinstance(row, str):
                broken[f"{one.split}/{one.clip.clip_id}, {name}"] = row
            else:
                journal.append(row)
                made.append(row)
        if on_clip and world.first:
            ready = len(clips) - len(left) + min(number * world.size, len(left))
            on_clip(ready, len(clips), one.clip.clip_id)
    everybody = world.gathered((made, broken))
    rows = journal.read() if out is not None else [row for part, _ in everybody for row in part]
    order = {(one.split, one.clip.clip_id): at for at, one in enumerate(clips)}
    names = list(systems)
    rows = [row for row in rows if (row["split"], row["clip"]) in order]
    rows.sort(key=lambda row: (order[row["split"], row["clip"]], names.index(row["system"])))
    if world.first:
        journal.rewrite(rows)
    world.gathered(None)  # nobody reads before it is written
    why = {name: reason for _, part in everybody for name, reason in part.items()}
    told = {"settings": settings, "fingerprint": fingerprint(settings), "machine": machine(), "protocol": protocol}
    return Compared(Results(rows, journal.columns, told | {"processes": world.size}, text=TEXT), why)


def measured(
    one: Listed,
    systems: Mapping[str, System],
    protocol: Literal["whole", "windows"],
    *,
    speech: bool = False,
    matcher: AzimuthMatcher | None = None,
) -> Iterator[tuple[str, Row | str]]:
    """(system, its row) for a clip, or (system, the reason why there is none)."""
    try:
        mono_N, reference_EN = heard(one, protocol)
    except InputError as error:
        yield from ((name, str(error)) for name in systems)
        return
    known = {"split": one.split, "clip": one.clip.clip_id} | dataclasses.asdict(one.facts)
    rate_hz = rate_of(protocol)
    for name, system in systems.items():
        try:
            wave_EN = make(system, mono_N, one, protocol)
            if protocol == "windows":
                measures = distances(wave_EN, reference_EN, rate_hz)
            else:
                measures = summarize(wave_EN, reference_EN, rate_hz, speech=speech, matcher=matcher)
                measures |= ild_error_by_band_db(wave_EN, reference_EN, rate_hz)
        except InputError as error:
            yield name, str(error)
            continue
        yield name, known | {"system": name, "duration_s": len(mono_N) / rate_hz} | measures


def heard(one: Listed, protocol: str) -> tuple[np.ndarray, np.ndarray]:
    """(mono_N, reference_EN) of the whole clip. Raises InputError when there is no reference."""
    clip = one.clip
    mono_N, reference_EN = clip.sound(0.0, clip.duration_s, rate_of(protocol))
    if reference_EN is None:
        raise InputError(
            f"clip {clip.clip_id} has no binaural recording",
            why="there is nothing to compare with",
            fix="leave it out of the split",
        )
    return mono_N, reference_EN


@torch.no_grad()
def make(system: System, mono_N: np.ndarray, one: Listed, protocol: str) -> np.ndarray:
    """What a system makes of a clip, (2, N). Raises InputError when it is of another shape."""
    windowed = protocol == "windows" and getattr(system, "windowed", False)
    wave_EN = (in_windows if windowed else _whole)(system, mono_N, rate_of(protocol), one.clip)
    shape = np.shape(wave_EN)
    need(
        len(shape) == 2 and shape[0] == 2 and abs(shape[1] - len(mono_N)) <= LENGTH_TOLERANCE,
        f"a system made {shape} of {len(mono_N)} samples",
        why="it makes both ears of the same length",
        fix="return (2, N) at the rate of the mono",
    )
    return fitted(np.asarray(wave_EN, np.float32), len(mono_N))


def rate_of(protocol: str) -> int:
    return FIELD_HZ if protocol == "windows" else RATE_HZ


def _whole(system: System, mono_N: np.ndarray, sample_rate_hz: int, clip) -> np.ndarray:
    return system(mono_N, sample_rate_hz, clip)


def _columns(protocol: str, speech: bool, azimuth: bool) -> list[str]:
    if protocol == "windows":
        return list(DISTANCES)
    known = [f.__name__ for f in CUES] + ["azimuth_error_deg"] * azimuth
    known += [*(f.__name__ for f in (*MELS, *FIELD)), *(SPEECH if speech else ())]
    return [*known, *named_bands(RATE_HZ)]


def _matcher(config: SystemsConfig) -> AzimuthMatcher | None:
    """Where the head is known, which is where we rendered it."""
    if config.protocol != "whole" or config.clips.dataset.kind != "scenes":
        return None
    hrtf = config.clips.dataset.rendered.hrtf
    head = Head.from_sofa(hrtf) if hrtf else Head.kemar()
    return AzimuthMatcher(head.directions_D2, head.response_DEN, head.sample_rate_hz)
