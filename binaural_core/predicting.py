"""Stage 1 over whole data sets, in one process or in many: its mels measured, or written for stage 2.

What it is shown can be chosen: ``none`` (nothing), ``positions`` (where the objects are, no pixels), ``pixels`` (pictures
alone; where the objects are is found by the localiser), ``both`` (all that the data set knows). The difference between
these rows is what seeing is worth.
"""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.checkpoint import save_json, write_whole
from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.loading import cut
from binaural_core.data.locating import Located
from binaural_core.data.sample import Batch, Clip, collate
from binaural_core.errors import InputError, need
from binaural_core.figures import mel_centres_hz
from binaural_core.metrics import mel_ild_error_db, mel_l1, mel_l2, mel_rmse
from binaural_core.pipeline import Binauralizer, window_starts_s
from binaural_core.seeds import stream
from binaural_core.training.distributed import ALONE, World
from binaural_core.training.stage1 import mels

Condition = Literal["none", "positions", "pixels", "both"]
CONDITIONS: tuple[Condition, ...] = ("none", "positions", "pixels", "both")
MONO_COPY = "mono copy"
MEASURES = {"mel_rmse": mel_rmse, "mel_l1": mel_l1, "mel_l2": mel_l2, "mel_ild_error_db": mel_ild_error_db}
AT_ONCE = 8  # windows
OnClip = Callable[[int, int, str], None]  # (done, of how many, clip) in the first process


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """Whose mels, of which recordings."""

    weights: str | None = None  # folder of a trained stage 1; None: as `Binauralizer.from_pretrained`
    dataset: DatasetConfig = DatasetConfig()
    device: str = "auto"
    steps: int | None = None  # of the sampler
    seed: int = 0
    few: int | None = None  # so many clips, evenly over the split; None: all


@dataclass(frozen=True)
class Measured:
    """Measures of stage 1's mels by condition and clip; ``bands`` is the mel L1 of each band by condition."""

    rows: dict[str, dict[str, dict[str, float]]]
    bands: dict[str, np.ndarray]
    centres_hz: np.ndarray
    broken: dict[str, str]

    @property
    def mean(self) -> dict[str, dict[str, float]]:
        """By condition; clips for which a measure is not defined are left out of it."""
        return {
            condition: {name: float(np.nanmean([row[name] for row in rows.values()])) for name in MEASURES}
            for condition, rows in self.rows.items()
        }

    def table(self) -> str:
        """A markdown table of the means."""
        head = "| shown | mel L1 (ln) | mel RMSE (ln) | mel L2 | ILD error (dB) |\n|---|---:|---:|---:|---:|"
        lines = [
            f"| {condition} | {m['mel_l1']:.3f} | {m['mel_rmse']:.3f} | {m['mel_l2']:.3f} | {m['mel_ild_error_db']:.2f} |"
            for condition, m in self.mean.items()
        ]
        return "\n".join([head, *lines])

    def said(self) -> str:
        """Both tables, and over how many clips."""
        return f"Mean over {len(self.rows[MONO_COPY])} clips; less is better.\n\n{self.table()}\n\n{self.band_table()}"

    def band_table(self, groups: int = 8) -> str:
        """The mel L1 in groups of neighbouring bands."""
        parts = np.array_split(np.arange(len(self.centres_hz)), groups)
        head = "| mel L1, bands around (Hz) | " + " | ".join(f"{self.centres_hz[p].mean():.0f}" for p in parts) + " |"
        lines = [
            f"| {condition} | " + " | ".join(f"{band_M[p].mean():.3f}" for p in parts) + " |"
            for condition, band_M in self.bands.items()
        ]
        return "\n".join([head, "|---|" + "---:|" * groups, *lines])

    def save(self, folder: str | Path) -> None:
        """``measures.csv``, a line for every condition and clip, ``summary.json``, and both tables in ``measures.md``."""
        folder = Path(folder)

        def write(temporary: Path) -> None:
            with open(temporary, "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["shown", "clip", *MEASURES])
                for condition, rows in self.rows.items():
                    writer.writerows([condition, clip, *(row[n] for n in MEASURES)] for clip, row in rows.items())

        write_whole(folder / "measures.csv", write)
        write_whole(folder / "measures.md", lambda temporary: temporary.write_text(self.said() + "\n"))
        bands = {condition: [float(x) for x in band_M] for condition, band_M in self.bands.items()}
        centres = [float(x) for x in self.centres_hz]
        summary = {"mean": self.mean, "clips": len(self.rows[MONO_COPY]), "broken": self.broken}
        save_json(folder / "summary.json", summary | {"mel_l1_by_band": bands, "band_centres_hz": centres})


def measure(
    config: PredictConfig,
    split: str = "test",
    conditions: tuple[Condition, ...] = ("both",),
    world: World = ALONE,
    *,
    on_clip: OnClip | None = None,
) -> Measured:
    """Mel errors of every clip of a split, averaged over windows that cover it, beside those of the mono copy.

    In many processes each takes its share of the clips. Raises InputError when no clip can be measured.
    """
    binauralizer = Binauralizer.from_pretrained(config.weights, device=world.device(config.device))
    _check(conditions, binauralizer)
    clips = chosen(open_clips(config.dataset, split, binauralizer.data), config.few)
    rows: dict[str, dict[str, tuple[dict[str, float], list[float]]]] = {name: {} for name in (MONO_COPY, *conditions)}
    broken: dict[str, str] = {}
    mine = world.share(clips)
    for number, clip in enumerate(mine, start=1):
        try:
            for name, windows in _measured(clip, binauralizer, conditions, config).items():
                rows[name][clip.clip_id] = windows
        except InputError as error:
            broken[clip.clip_id] = str(error)
            warnings.warn(f"clip {clip.clip_id} is left out: {error}", stacklevel=2)
        if on_clip and world.first:
            on_clip(min(number * world.size, len(clips)), len(clips), clip.clip_id)
    everybody = world.gathered((rows, broken))
    order = [clip.clip_id for clip in clips]
    together = {name: {k: v for part, _ in everybody for k, v in part[name].items()} for name in rows}
    need(
        bool(together[MONO_COPY]),
        f"none of {len(clips)} clips could be measured",
        why=next((reason for _, part in everybody for reason in part.values()), "the split is empty"),
        fix="check the data set's folder, and that its clips are longer than a window",
    )
    ordered = {name: {k: found[k] for k in order if k in found} for name, found in together.items()}
    return Measured(
        {name: {k: measures for k, (measures, _) in found.items()} for name, found in ordered.items()},
        {name: np.mean([bands for _, bands in found.values()], axis=0) for name, found in ordered.items()},
        mel_centres_hz(binauralizer.mel),
        {clip: reason for _, part in everybody for clip, reason in part.items()},
    )


def write(
    config: PredictConfig,
    out: str,
    splits: tuple[str, ...] = ("train", "val"),
    world: World = ALONE,
    *,
    on_clip: OnClip | None = None,
) -> dict[str, int]:
    """Stage 1's mels of all windows of whole splits, as `data.mel_pairs` describes; returns how many were written of each.

    What is there already is kept, so a stopped run goes on where it was. In many processes each takes its share.
    """
    binauralizer = Binauralizer.from_pretrained(config.weights, device=world.device(config.device))
    written = {}
    for split in splits:
        clips = chosen(open_clips(config.dataset, split, binauralizer.data), config.few)
        mine = world.share(clips)

        def report(done: int, total: int, clip: Clip, every: int = len(clips)) -> None:
            if on_clip and world.first:
                on_clip(min(done * world.size, every), every, clip.clip_id)

        count = binauralizer.write_mels(mine, out, split, seed=config.seed, steps=config.steps, on_clip=report)
        written[split] = sum(world.gathered(count))
    return written


def chosen(clips: list[Clip], few: int | None) -> list[Clip]:
    """``few`` of the clips, evenly over the list."""
    need(few is None or few > 0, f"few={few}", why="nothing would be left", fix="give 1 or more")
    if few is None or few >= len(clips):
        return clips
    return [clips[int(i)] for i in np.linspace(0, len(clips) - 1, few)]


def shown(batch: Batch, condition: Condition) -> Batch:
    """The batch with what the condition hides taken away."""
    if condition == "none":
        return replace(batch, crops_BLOCHW=batch.crops_BLOCHW * 0, mask_BLO=torch.ones_like(batch.mask_BLO))
    return replace(batch, crops_BLOCHW=batch.crops_BLOCHW * 0) if condition == "positions" else batch


def _check(conditions: tuple[str, ...], binauralizer: Binauralizer) -> None:
    unknown = [name for name in conditions if name not in CONDITIONS]
    need(
        not unknown and len(conditions) > 0,
        f"the conditions are {', '.join(conditions) or 'none at all'}",
        why=f"known are {', '.join(CONDITIONS)}",
        fix="choose some of them",
    )
    need(
        "pixels" not in conditions or binauralizer.locate is not None,
        "the condition pixels needs a localiser",
        why="where the objects are must be found in the pictures alone, and there are no weights for that",
        fix="work in a clone of the repository (its data_samples hold some), or train one: binaural train localizer",
    )


def _measured(
    clip: Clip, binauralizer: Binauralizer, conditions: tuple[Condition, ...], config: PredictConfig
) -> dict[str, tuple[dict[str, float], list[float]]]:
    """Measures and mel L1 by band of one clip, means over its windows, for the mono copy and every condition."""
    found: dict[str, list[tuple[dict[str, float], np.ndarray]]] = {}
    for starts_s in _in_groups(clip, binauralizer):
        seen = {"as known": clip, "by sight": clip}
        if binauralizer.locate is not None:
            seen["as known"] = Located(clip, binauralizer.locate)
            seen["by sight"] = Located(clip, binauralizer.locate, blind=True)
        wanted = {"by sight" if name == "pixels" else "as known" for name in conditions}
        batches = {
            way: collate([cut(seen[way], s, binauralizer.data, binauralizer.mel) for s in starts_s]).to(
                binauralizer.device
            )
            for way in wanted
        }
        batch = next(iter(batches.values()))
        mono_B1MF, true_BEMF = (to_unit(mel) for mel in mels(batch, binauralizer.mel))
        true_BEMF = from_unit(true_BEMF)
        noise_BEMF = torch.stack(
            [
                torch.randn(true_BEMF.shape[1:], generator=stream(config.seed, "measure", clip.clip_id, s))
                for s in starts_s
            ]
        ).to(mono_B1MF)
        _note(found, MONO_COPY, from_unit(mono_B1MF).expand_as(true_BEMF), true_BEMF)
        for name in conditions:
            sight = shown(batches["by sight" if name == "pixels" else "as known"], name).sight
            unit_BEMF = binauralizer.stage1.sample(mono_B1MF, sight, noise_BEMF=noise_BEMF, steps=config.steps)
            _note(found, name, from_unit(unit_BEMF.float()), true_BEMF)
    return {name: _mean_over_windows(windows) for name, windows in found.items()}


def _in_groups(clip: Clip, binauralizer: Binauralizer) -> Iterator[list[float]]:
    """The starts of windows that cover the clip, a few at a time."""
    mel, frames = binauralizer.mel, binauralizer.data.window_frames
    starts = window_starts_s(clip.duration_s, frames * mel.hop_samples / mel.sample_rate_hz)
    need(
        bool(starts),
        f"clip {clip.clip_id} lasts {clip.duration_s:.2f} s",
        why=f"a window takes {frames} mel frames",
        fix="leave it out of the list",
    )
    for first in range(0, len(starts), AT_ONCE):
        yield starts[first : first + AT_ONCE]


def _note(found: dict[str, list[Any]], name: str, made_BEMF: Tensor, true_BEMF: Tensor) -> None:
    for made_EMF, true_EMF in zip(made_BEMF.cpu().numpy(), true_BEMF.cpu().numpy(), strict=True):
        measures = {measure: function(made_EMF, true_EMF) for measure, function in MEASURES.items()}
        found.setdefault(name, []).append((measures, np.abs(made_EMF - true_EMF).mean(axis=(0, 2))))


def _mean_over_windows(windows: list[tuple[dict[str, float], np.ndarray]]) -> tuple[dict[str, float], list[float]]:
    means = {}
    for name in MEASURES:
        values = [measures[name] for measures, _ in windows if math.isfinite(measures[name])]
        means[name] = sum(values) / len(values) if values else math.nan
    return means, [float(x) for x in np.mean([bands for _, bands in windows], axis=0)]
