"""Folders of predictions against folders of references: measures per file and their means.

Names are matched; what has no partner is listed, never passed over in silence.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from binaural_core.audio import read_audio
from binaural_core.checkpoint import save_json, write_whole
from binaural_core.errors import InputError, need
from binaural_core.metrics import mel_l1, mel_l2, mel_rmse
from binaural_core.metrics.summary import summarize


@dataclass(frozen=True)
class Report:
    """Measures by file, files without a partner, and files that could not be measured with the reason."""

    rows: dict[str, dict[str, float]]
    only_predicted: list[str]
    only_reference: list[str]
    broken: dict[str, str]

    @property
    def mean(self) -> dict[str, float]:
        names = next(iter(self.rows.values()))
        return {name: float(np.nanmean([row[name] for row in self.rows.values()])) for name in names}

    def save(self, folder: str | Path) -> None:
        """``measures.csv``, one line per file, and ``summary.json``."""
        folder, names = Path(folder), list(next(iter(self.rows.values())))

        def write(temporary: Path) -> None:
            with open(temporary, "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["file", *names])
                writer.writerows([name, *(row[n] for n in names)] for name, row in self.rows.items())

        write_whole(folder / "measures.csv", write)
        unmatched = {"only_predicted": self.only_predicted, "only_reference": self.only_reference}
        save_json(
            folder / "summary.json", {"mean": self.mean, "files": len(self.rows), "broken": self.broken} | unmatched
        )


def evaluate_audio(
    pred_dir: str | Path,
    gt_dir: str | Path,
    *,
    sample_rate_hz: int = 22_050,
    speech: bool = False,
    on_file: Callable[[int, int], None] | None = None,
) -> Report:
    """Every standard measure of wav files that stand in both folders under one name.

    Raises InputError when a folder is missing or no name matches.
    """

    def measure(predicted: Path, true: Path) -> dict[str, float]:
        waves = [read_audio(path, sample_rate_hz=sample_rate_hz, channels=2).wave_CN for path in (predicted, true)]
        return summarize(*waves, sample_rate_hz, speech=speech)

    return _matched(pred_dir, gt_dir, "*.wav", measure, on_file)


def evaluate_mels(
    pred_dir: str | Path, gt_dir: str | Path, *, on_file: Callable[[int, int], None] | None = None
) -> Report:
    """Mel RMSE, L1 and L2 (natural log) of mel files (.npy) that stand in both folders under one name, at any depth."""

    def measure(predicted: Path, true: Path) -> dict[str, float]:
        mels = [np.load(path, allow_pickle=False)[None] for path in (predicted, true)]
        return {"mel_rmse": mel_rmse(*mels), "mel_l1": mel_l1(*mels), "mel_l2": mel_l2(*mels)}

    return _matched(pred_dir, gt_dir, "*.npy", measure, on_file)


def _matched(
    pred_dir: str | Path,
    gt_dir: str | Path,
    pattern: str,
    measure: Callable[[Path, Path], dict[str, float]],
    on_file: Callable[[int, int], None] | None,
) -> Report:
    folders = [Path(pred_dir), Path(gt_dir)]
    for folder in folders:
        need(folder.is_dir(), f"the folder {folder} is not there", why="its files are compared", fix="check the path")
    found = [{str(path.relative_to(folder)): path for path in sorted(folder.rglob(pattern))} for folder in folders]
    both = [name for name in found[0] if name in found[1]]
    need(
        bool(both),
        f"no {pattern} file stands in both {folders[0]} and {folders[1]}",
        why=f"{len(found[0])} and {len(found[1])} files were found, and none share a name",
        fix="name predictions as their references",
    )
    rows, broken = {}, {}
    for number, name in enumerate(both, start=1):
        try:
            rows[name] = measure(found[0][name], found[1][name])
        except (InputError, ValueError, OSError) as error:
            broken[name] = str(error)
        if on_file:
            on_file(number, len(both))
    need(
        bool(rows),
        f"none of {len(both)} pairs could be measured",
        why=f"the first said: {next(iter(broken.values()), '')}",
        fix="look at those files",
    )
    alone = [sorted(found[i].keys() - found[1 - i].keys()) for i in (0, 1)]
    return Report(rows, alone[0], alone[1], broken)
