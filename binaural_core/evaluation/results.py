"""From rows to what they say: means, medians, intervals, differences from the mono copy, by kind of clip.

Everything here is computed from the rows of ``measures.csv`` alone. Intervals are 95 % bootstrap intervals of the mean
(`metrics.intervals`); clips of one cluster (one dry sound, one video) are drawn together, and with fewer than five of them
no interval is given. A measure that is not defined for
a clip is NaN there: it is left out of means and counted.
"""

from __future__ import annotations

import csv
import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from binaural_core.checkpoint import write_whole
from binaural_core.errors import InputError
from binaural_core.evaluation.bands import PREFIX
from binaural_core.evaluation.journal import cell_of, number_of
from binaural_core.evaluation.wording import KNOWN, LEADING, label, markdown_table, number, quantity, said, signed
from binaural_core.metrics.intervals import Interval, bootstrap_interval, difference_interval

MONO = "mono"  # the system that all others are compared with
SECTORS_DEG = (0.0, 15.0, 45.0, 75.0, 180.1)  # off straight ahead
FEWEST = 5  # units to draw from: an interval of fewer would look surer than it is
Key = tuple[str, str]  # (split, clip)


@dataclass(frozen=True)
class Results:
    """Rows (one for each clip and system) with their columns, and what is to be told of the run in ``summary.json``."""

    rows: list[dict[str, Any]]
    columns: tuple[str, ...]
    told: Mapping[str, Any] = field(default_factory=dict)
    text: tuple[str, ...] = ("clip", "system", "split")

    @cached_property
    def systems(self) -> list[str]:
        return list(dict.fromkeys(row["system"] for row in self.rows))

    @cached_property
    def measures(self) -> list[str]:
        """Those that are known, in the order of `KNOWN`."""
        return [name for name in KNOWN if name in self.columns]

    @cached_property
    def bands(self) -> list[str]:
        return [name for name in self.columns if name.startswith(PREFIX)]

    @cached_property
    def by_key(self) -> dict[Key, dict[str, dict[str, Any]]]:
        """(split, clip) -> system -> row."""
        found: dict[Key, dict[str, dict[str, Any]]] = {}
        for row in self.rows:
            found.setdefault((row.get("split", ""), row["clip"]), {})[row["system"]] = row
        return found

    def values(self, system: str, measure: str, keys: Iterable[Key] | None = None) -> np.ndarray:
        """The measure of every clip that the system has, NaN where it is not defined."""
        keys = self.by_key if keys is None else keys
        return np.array([self.by_key[k][system][measure] for k in keys if system in self.by_key[k]], np.float64)

    def clusters(self, keys: Iterable[Key], system: str) -> list[str] | None:
        """What each clip is drawn together with, where the rows say it."""
        if "cluster" not in self.columns:
            return None
        return [self.by_key[k][system]["cluster"] or "/".join(k) for k in keys if system in self.by_key[k]]

    def interval(self, system: str, measure: str, keys: Iterable[Key] | None = None) -> Interval:
        """The mean over clips, and where it may lie."""
        keys = list(self.by_key if keys is None else keys)
        return _sure(bootstrap_interval, self.clusters(keys, system), self.values(system, measure, keys))

    @cached_property
    def statistics(self) -> dict[str, dict[str, Interval]]:
        """System -> measure -> mean with its interval."""
        return {system: {name: self.interval(system, name) for name in self.measures} for system in self.systems}

    @cached_property
    def medians(self) -> dict[str, dict[str, float]]:
        return {s: {name: _median(self.values(s, name)) for name in self.measures} for s in self.systems}

    def differences(self, keys: Iterable[Key] | None = None, measures: Sequence[str] | None = None):
        """System -> measure -> system less mono copy, the same clips (paired); nothing where there is no mono copy."""
        others = [system for system in self.systems if system != MONO and MONO in self.systems]
        found = {system: self.difference(system, MONO, keys, measures) for system in others}
        return {system: intervals for system, intervals in found.items() if intervals}

    def difference(
        self, system: str, other: str, keys: Iterable[Key] | None = None, measures: Sequence[str] | None = None
    ) -> dict[str, Interval]:
        """Measure -> system less other, over the clips that both have (paired); empty where there is none."""
        keys = self.by_key if keys is None else keys
        both = [k for k in keys if {system, other} <= self.by_key[k].keys()]
        clusters = self.clusters(both, system)
        return {
            name: _sure(difference_interval, clusters, self.values(system, name, both), self.values(other, name, both))
            for name in (measures or self.measures if both else ())
        }

    @cached_property
    def kinds(self) -> dict[str, dict[str, list[Key]]]:
        """How clips may be told apart -> kind -> its clips; only what tells at least two kinds apart."""
        ways: dict[str, dict[str, list[Key]]] = {}
        for key, systems in self.by_key.items():
            for way, kind in _kinds(next(iter(systems.values()))):
                ways.setdefault(way, {}).setdefault(kind, []).append(key)
        return {way: dict(sorted(kinds.items())) for way, kinds in ways.items() if len(kinds) > 1}

    @cached_property
    def leading(self) -> list[str]:
        """The few measures by which kinds are compared."""
        return [name for name in LEADING if name in self.measures][:4]

    def spread(self) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
        """Way -> system -> measure: how far the means of the kinds lie apart (deviation, lowest, highest)."""
        found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
        for way, kinds in self.kinds.items():
            for system in self.systems:
                for name in self.leading:
                    means = [_mean(self.values(system, name, keys)) for keys in kinds.values()]
                    means = [mean for mean in means if math.isfinite(mean)]
                    if len(means) > 1:
                        found.setdefault(way, {}).setdefault(system, {})[name] = {
                            "deviation": float(np.std(means, ddof=1)),
                            "lowest": min(means),
                            "highest": max(means),
                        }
        return found

    def summary(self) -> dict[str, Any]:
        """All of it as plain data; what is not defined is null."""
        systems = {
            system: {name: _told(interval, self.medians[system][name]) for name, interval in found.items()}
            for system, found in self.statistics.items()
        }
        differences = {s: {n: _told(i) for n, i in found.items()} for s, found in self.differences().items()}
        by_kind = {
            way: {
                kind: {
                    "clips": len(keys),
                    "mean": {
                        s: {n: _finite(_mean(self.values(s, n, keys))) for n in self.leading} for s in self.systems
                    },
                    "less_mono": {
                        s: {n: _told(i) for n, i in found.items()}
                        for s, found in self.differences(keys, self.leading).items()
                    },
                }
                for kind, keys in kinds.items()
            }
            for way, kinds in self.kinds.items()
        }
        bands = {s: {b: _finite(_mean(self.values(s, b))) for b in self.bands} for s in self.systems}
        return {
            **self.told,
            "clips": len(self.by_key),
            "systems": systems,
            "less_mono": differences,
            "by_kind": by_kind,
            "spread": self.spread(),
            "ild_error_db_by_band": bands,
        }

    def markdown(self) -> str:
        """The tables, to be read as plain text."""
        if not self.rows:
            return "Nothing was measured."
        parts = [self.heading(), markdown_table(self.cells())]
        if less := self.difference_cells():
            parts += [DIFFERENCES, markdown_table(less)]
        for way in self.kinds:
            parts += [f"By {way}:", markdown_table(self.kind_cells(way))]
        return "\n\n".join(part for part in parts if part)

    def heading(self, *, median: bool = True) -> str:
        """Over what the means are, and how a cell is read."""
        counts = {system: sum(system in systems for systems in self.by_key.values()) for system in self.systems}
        if len(set(counts.values())) > 1:
            over = "Not all systems have all clips: " + ", ".join(f"{s} {n}" for s, n in counts.items())
        else:
            over = f"{len(self.by_key)} clips"
        drawn = {row.get("cluster") or row["clip"] for row in self.rows}
        units = f" ({len(drawn)} sounds or videos are what is drawn)" if len(drawn) < len(self.by_key) else ""
        sure = f" [95 % bootstrap interval{units}]" if len(drawn) >= FEWEST else " (of too few for an interval)"
        beside = " ¦ median" if median else ", * where it differs from the mono copy's beyond chance"
        return f"{over}. Mean{sure}{beside}; ↓ less is better, ↑ more is better."

    def cells(self) -> list[list[str]]:
        """Rows of the main table, the head first: measures down, systems across."""
        lines = [["measure", "unit", *self.systems, "not defined"]]
        for name in self.measures:
            nan = max(self.statistics[s][name].left_out for s in self.systems)
            if all(not math.isfinite(self.statistics[s][name].value) for s in self.systems):
                continue
            digits = KNOWN[name].digits
            numbers = [
                f"{said(self.statistics[s][name], digits)} ¦ {number(self.medians[s][name], digits)}"
                for s in self.systems
            ]
            lines.append([label(name), KNOWN[name].unit, *numbers, str(nan)])
        return lines

    def leader_cells(self, measures: Sequence[str]) -> list[list[str]]:
        """Rows of a table of a few measures: systems down, each mean with its interval, * beyond chance of the mono copy."""
        measures = [name for name in measures if name in self.measures]
        less = self.differences(measures=measures)
        lines = [["system", *(label(name) + (f" ({unit})" if (unit := KNOWN[name].unit) else "") for name in measures)]]
        for system in self.systems:
            cells = []
            for name in measures:
                beyond = system in less and signed(less[system][name], KNOWN[name].digits).endswith("*")
                cells.append(said(self.statistics[system][name], KNOWN[name].digits) + " *" * beyond)
            lines.append([system, *cells])
        return lines

    def pair_cells(self, pairs: Sequence[tuple[str, str]], measures: Sequence[str]) -> list[list[str]]:
        """Rows of a table of a few measures: one system less another, the same clips; * beyond chance."""
        measures = [name for name in measures if name in self.measures]
        lines = [["system", "less", *(quantity(name) for name in measures)]]
        for system, other in pairs:
            less = self.difference(system, other, measures=measures)
            cells = (signed(less[name], KNOWN[name].digits) if less else "–" for name in measures)  # none has both
            lines.append([system, other, *cells])
        return lines

    def difference_cells(self) -> list[list[str]]:
        """Rows of the table of differences from the mono copy; empty without one."""
        found = self.differences()
        if not found:
            return []
        lines = [["measure", "unit", *found]]
        for name in self.measures:
            intervals = [found[s][name] for s in found]
            if any(math.isfinite(i.value) for i in intervals):
                lines.append([label(name), KNOWN[name].unit, *(signed(i, KNOWN[name].digits) for i in intervals)])
        return lines

    def kind_cells(self, way: str) -> list[list[str]]:
        """Rows of the table of one way to tell clips apart: mean, and in brackets what it is less the mono copy's."""
        lines = [[way, "clips", "measure", *self.systems]]
        for kind, keys in self.kinds[way].items():
            less = self.differences(keys, self.leading)
            for name in self.leading:
                digits = KNOWN[name].digits
                cells = [number(_mean(self.values(s, name, keys)), digits) for s in self.systems]
                cells = [
                    cell + (f" ({signed(less[s][name], digits)})" if s in less else "")
                    for s, cell in zip(self.systems, cells, strict=True)
                ]
                lines.append([kind, str(len(keys)), label(name), *cells])
        return lines

    def write_csv(self, path: str | Path) -> None:
        def write(temporary: Path) -> None:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(self.columns)
                writer.writerows([cell_of(row.get(name, "")) for name in self.columns] for row in self.rows)

        write_whole(path, write)


def read_results(file: str | Path, text: tuple[str, ...]) -> Results:
    """What `Results.write_csv` wrote; ``text`` names the columns that are no numbers. Raises InputError when it is broken."""
    try:
        with open(file, newline="", encoding="utf-8") as opened:
            columns, *lines = list(csv.reader(opened)) or [[]]
        rows = [
            {name: cell if name in text else number_of(cell) for name, cell in zip(columns, line, strict=True)}
            for line in lines
        ]
    except ValueError as error:
        raise InputError(f"{file} cannot be read", why=str(error), fix="measure again") from error
    return Results(rows, tuple(columns), text=text)


DIFFERENCES = (
    "Less the mono copy, the same clips [95 % interval of the mean difference]; * where 0 lies outside, so that the two"
    " differ beyond chance:"
)


def machine() -> dict[str, Any]:
    """On what it was measured."""
    found = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _kinds(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(way to tell apart, kind) of a row, as far as it is known."""
    found = [(way, row[way]) for way in ("split", "subset", "room", "motion") if row.get(way)]
    sources = row.get("sources", math.nan)
    if math.isfinite(sources):
        found.append(("sources", f"{sources:.0f}"))
    if (sector := sector_of(row)) is not None:
        found.append(("azimuth", sector))
    return found


def sector_of(row: Mapping[str, Any]) -> str | None:
    """How far off straight ahead the main source is, as one of four sectors; None where it is not known."""
    azimuth_deg = abs(row.get("azimuth_deg", math.nan))
    for low, high in pairwise(SECTORS_DEG):
        if low <= azimuth_deg < high:
            return f"{low:02.0f} to {min(high, 180):.0f}°"
    return None


def _sure(interval_of: Callable[..., Interval], clusters: Sequence[str] | None, *values_n: np.ndarray) -> Interval:
    """The interval; without bounds where it would be drawn from fewer than `FEWEST` clips or clusters."""
    interval = interval_of(*values_n, clusters=clusters)
    drawn = interval.count if clusters is None else min(len(set(clusters)), interval.count)
    return interval if drawn >= FEWEST else interval._replace(low=math.nan, high=math.nan)


def _told(interval: Interval, median: float | None = None) -> dict[str, Any]:
    found = {
        "mean": _finite(interval.value),
        "low": _finite(interval.low),
        "high": _finite(interval.high),
        "count": interval.count,
        "nan": interval.left_out,
    }
    return found if median is None else {**found, "median": _finite(median)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _mean(values_n: np.ndarray) -> float:
    finite_n = values_n[np.isfinite(values_n)]
    return float(finite_n.mean()) if len(finite_n) else math.nan


def _median(values_n: np.ndarray) -> float:
    finite_n = values_n[np.isfinite(values_n)]
    return float(np.median(finite_n)) if len(finite_n) else math.nan
