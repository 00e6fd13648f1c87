"""Every system trained with one budget on the same scenes, then measured on the same unseen ones: the honest table.

A `ContestConfig` names the trainings, each a shipped config with a few settings changed, the systems that are made of them,
and the tests they take. `train` gives every training the same data set and keeps what it cost; what is trained already is
kept, and a stopped training goes on. `run` measures all systems in all tests after that.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from binaural_core import checkpoint, predicting
from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig
from binaural_core.errors import InputError, need
from binaural_core.evaluation import comparing
from binaural_core.evaluation.clips import ClipsConfig
from binaural_core.evaluation.comparing import FACTS, TEXT, OnClip
from binaural_core.evaluation.results import Key, Results, machine, read_results
from binaural_core.evaluation.systems import wanted
from binaural_core.evaluation.wording import markdown_table
from binaural_core.places import config_file
from binaural_core.training import mono2binaural, stage1, stage2
from binaural_core.training.distributed import ALONE, World

KINDS = {  # kind of training -> its config, and the module that trains it
    "stage1": (stage1.Stage1Config, stage1),
    "stage2": (stage2.Stage2Config, stage2),
    "mono2binaural": (mono2binaural.Mono2BinauralTraining, mono2binaural),
}
LEADING = {
    "whole": ("ild_error_db", "itd_error_us", "azimuth_error_deg", "ipd_error_rad", "mel_l1", "stft_distance"),
    "windows": ("stft_distance", "env_distance", "stft_distance_normalized", "env_distance_normalized"),
}

BY_KIND = "ILD error in dB, ITD error in µs, by the kind of scene (of how many clips):"
PAIRED = "One less another on the same clips [95 % interval of the mean difference], * beyond chance:"


@dataclass(frozen=True, kw_only=True)
class Training(Config):
    """One training: a shipped config (or a path), and what is changed in it."""

    kind: Literal["stage1", "stage2", "mono2binaural"]
    config: str
    set: dict[str, Any] = field(default_factory=dict)
    begins_with: str | None = None
    """Of stage 2: the training whose vocoder it goes on from."""
    hears: str | None = None
    """Of stage 2: the training of stage 1 whose predicted mels it hears too."""
    about: str = ""
    """What it is, for the table."""

    @property
    def needs(self) -> set[str]:
        return {name for name in (self.begins_with, self.hears) if name}


@dataclass(frozen=True, kw_only=True)
class Test(Config):
    """One table: the data set's test split, with settings changed, by one protocol."""

    about: str = ""
    """What is heard in it, for the table."""
    protocol: Literal["whole", "windows"] = "whole"
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ContestConfig(Config):
    """Who is trained, on what, and measured how: `systems.yaml` is the README's table."""

    dataset: DatasetConfig = DatasetConfig()
    """Of all trainings, and of all tests where they change nothing."""
    trainings: dict[str, Training]
    systems: tuple[str, ...]
    """As ``binaural evaluate systems`` takes them; {trained} is the folder that holds the trainings."""
    tests: dict[str, Test]
    pairs: tuple[tuple[str, str], ...] = ()
    """Systems that are compared with one another, in tests of whole recordings."""

    def validate(self) -> None:
        unknown = {name for one in self.trainings.values() for name in one.needs} - self.trainings.keys()
        need(
            not unknown,
            f"the trainings {', '.join(sorted(unknown))} are not there",
            why="others go on from them or hear their mels",
            fix=f"name some of {', '.join(self.trainings)}",
        )
        for name, one in self.trainings.items():
            need(
                one.kind == "stage2" or not one.needs,
                f"the training {name} begins with or hears {', '.join(sorted(one.needs))}",
                why="only a vocoder goes on from another one and hears predicted mels",
                fix="leave it out, or give kind: stage2",
            )
        names = [one.name for one in wanted(self.systems)]
        strangers = sorted({name for pair in self.pairs for name in pair} - set(names))
        need(
            not strangers,
            f"the pairs name {', '.join(strangers)}",
            why=f"the systems are {', '.join(names)}",
            fix="check the spelling",
        )
        list(self.rounds())

    def rounds(self) -> Iterator[list[str]]:
        """The trainings by name, each after those that it needs."""
        done: set[str] = set()
        while len(done) < len(self.trainings):
            ready = [name for name, one in self.trainings.items() if name not in done and one.needs <= done]
            need(
                bool(ready),
                f"the trainings {', '.join(sorted(self.trainings.keys() - done))} wait for each other",
                why="none of them could be the first",
                fix="correct begins_with and hears",
            )
            yield ready
            done |= set(ready)

    def training(self, name: str, out: Path) -> Config:
        """The whole config of a training in the folder ``out``."""
        one = self.trainings[name]
        changes: dict[str, Any] = {"dataset": self.dataset, "run.checkpoints": str(trained(out)), "run.id": name}
        if one.begins_with:
            changes["start_from"] = str(trained(out) / one.begins_with)
        if one.hears:
            changes["mel_pred_dir"] = str(out / "mels" / one.hears)
        return KINDS[one.kind][0].load(config_file(one.config)).replace(**changes, **one.set)

    def test(self, name: str, out: Path) -> comparing.SystemsConfig:
        """What `comparing.run` is to do for a test in the folder ``out``."""
        one = self.tests[name]
        return comparing.SystemsConfig(
            clips=ClipsConfig(dataset=self.dataset.replace(**one.set)),
            systems=tuple(entry.replace("{trained}", str(trained(out))) for entry in self.systems),
            protocol=one.protocol,
            out=str(out / name),
        )


@dataclass(frozen=True, kw_only=True)
class Cost(Config):
    """What a training took, over all its sittings but those that were killed (SIGKILL, SIGTERM)."""

    updates: int = 0
    parameters: int = 0
    cpu_s: float = 0.0
    """Of all threads, and of the processes that read data."""
    wall_s: float = 0.0
    finished: bool = False
    made_from: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each training that it needs: the files of its weights, with their SHA-256."""


@dataclass(frozen=True)
class Contest:
    """What was spent, and what came out."""

    config: ContestConfig
    costs: dict[str, Cost]
    tests: dict[str, comparing.Compared]
    machine: str
    """What it was measured on."""

    def markdown(self) -> str:
        """The tables of the README: the budget, and the leading measures of every test."""
        parts = [f"Trained and measured on {self.machine}.", self.budget()]
        for name, found in self.tests.items():
            one, results = self.config.tests[name], found.results
            about = f"**{one.about or name}** " if results.rows else ""
            parts += [
                f"{about}{results.heading(median=False)}",
                markdown_table(results.leader_cells(LEADING[one.protocol])),
            ]
            if one.protocol == "whole":
                parts += [BY_KIND, markdown_table(by_kind(results))]
            if self.config.pairs and one.protocol == "whole":
                parts += [PAIRED, markdown_table(results.pair_cells(self.config.pairs, LEADING[one.protocol]))]
            if found.broken:
                parts.append(f"Not measured: {len(found.broken)}, named in {name}/summary.json.")
        return "\n\n".join(parts) + "\n"

    def keep(self, folder: str | Path) -> None:
        """``costs.json``, and of each test a small csv with the leading measures: all that `markdown` is computed from."""
        folder = Path(folder)
        costs = {name: cost.to_dict() for name, cost in self.costs.items()}
        broken = {name: found.broken for name, found in self.tests.items()}
        told = {"machine": self.machine, "trainings": costs, "broken": broken}
        checkpoint.save_json(folder / "costs.json", told)
        for name, found in self.tests.items():
            columns = (*TEXT, *FACTS, *LEADING[self.config.tests[name].protocol])
            Results(found.results.rows, columns, text=TEXT).write_csv(folder / f"{name}.csv")

    def budget(self) -> str:
        """What each training took."""
        lines = [["training", "what", "parameters", "updates", "CPU minutes"]]
        for name, cost in self.costs.items():
            size, minutes = f"{cost.parameters / 1e6:.2f} M", f"{cost.cpu_s / 60:.1f}"
            lines.append([name, self.config.trainings[name].about, size, f"{cost.updates:,}", minutes])
        return markdown_table(lines)


def run(
    config: ContestConfig,
    out: str | Path,
    world: World = ALONE,
    *,
    on_test: Callable[[str], OnClip | None] | None = None,
) -> Contest:
    """Train all, measure all. In many processes each takes its share; what is there already is kept.

    on_test : asked for each test by its name who is told of its clips.
    """
    out = Path(out)
    costs, tests = train(config, out, world), {}
    for name in config.tests:
        tests[name] = comparing.run(config.test(name, out), world, on_clip=on_test(name) if on_test else None)
    found = Contest(config, costs, tests, f"{machine()['processor']}, {os.cpu_count()} cores")
    if world.first:
        checkpoint.write_whole(
            out / "measures.md", lambda temporary: temporary.write_text(found.markdown(), encoding="utf-8")
        )
        checkpoint.write_whole(out / "config.yaml", config.save)
    return found


def by_kind(results: Results) -> list[list[str]]:
    """Rows of a table: systems down, one or several sources in the open or in a room across; mean level and time error."""
    kinds: dict[str, list[Key]] = {}
    for key, systems in results.by_key.items():
        row = next(iter(systems.values()))
        kinds.setdefault(f"{'one' if row['sources'] == 1 else 'several'}, {row['room']}", []).append(key)
    lines = [["system", *(f"{kind} ({len(kinds[kind])})" for kind in sorted(kinds))]]
    for system in results.systems:
        cells = []
        for kind in sorted(kinds):
            ild_db, itd_us = (
                np.nanmean(results.values(system, n, kinds[kind])) for n in ("ild_error_db", "itd_error_us")
            )
            cells.append(f"{ild_db:.2f}, {itd_us:.0f}")
        lines.append([system, *cells])
    return lines


def kept(config: ContestConfig, folder: str | Path) -> Contest:
    """What `Contest.keep` wrote. Raises InputError when a file is missing or broken."""
    folder = Path(folder)
    files = [folder / "costs.json", *(folder / f"{name}.csv" for name in config.tests)]
    missing = [file.name for file in files if not file.is_file()]
    need(
        not missing,
        f"{folder} has no {', '.join(missing)}",
        why="a contest that was kept has its costs and a csv of each test",
        fix="make them: binaural bench systems --keep FOLDER",
    )
    try:
        told = json.loads(files[0].read_text(encoding="utf-8"))
        costs = {name: Cost.from_dict(told["trainings"][name]) for name in config.trainings}
        measured_on = str(told["machine"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{files[0]} cannot be read",
            why=f"it holds the machine and the cost of every training ({type(error).__name__}: {error})",
            fix="make it again: binaural bench systems --keep FOLDER",
        ) from error
    tests = {
        name: comparing.Compared(read_results(folder / f"{name}.csv", TEXT), told.get("broken", {}).get(name, {}))
        for name in config.tests
    }
    for name, found in tests.items():
        strangers = {*TEXT, *FACTS, *LEADING[config.tests[name].protocol]} ^ set(found.results.columns)
        need(
            not strangers,
            f"{name}.csv in {folder} has other columns",
            why=f"only one of what is there and what is wanted has {', '.join(sorted(strangers)[:6])}",
            fix="make it again: binaural bench systems --keep FOLDER",
        )
    return Contest(config, costs, tests, measured_on)


def train(config: ContestConfig, out: str | Path, world: World = ALONE) -> dict[str, Cost]:
    """All trainings; in many processes each takes its share of those that wait for no other."""
    out = Path(out)
    for ready in config.rounds():
        for name in ready:
            refuse_stale(config, name, out)
        left = world.told([name for name in ready if not finished(config, name, out)])
        for heard in dict.fromkeys(config.trainings[name].hears for name in left if config.trainings[name].hears):
            predict(config, heard, out, world)
        for name in world.share(left):
            learn(config, name, out, progress=world.first)
        world.gathered(None)  # the next ones need these
    return {name: spent(out, name) for name in config.trainings}


def predict(config: ContestConfig, heard: str, out: Path, world: World = ALONE) -> None:
    """The mels that a training of stage 1 predicts for all training and validation clips; what is there is kept.

    Raises InputError when what is there came from other weights.
    """
    folder, weights = out / "mels" / heard, best_weights(out, heard)
    note = folder / "made_from.json"
    need(
        not note.is_file() or json.loads(note.read_text()) == weights,
        f"{folder} holds mels of other weights than {trained(out) / heard} has",
        why="it was trained on or again since, and a vocoder would hear two networks",
        fix=f"remove {folder}, and the vocoders that heard it",
    )
    if world.first:
        checkpoint.save_json(note, weights)
    source = predicting.PredictConfig(weights=str(trained(out) / heard), dataset=config.dataset)
    predicting.write(source, str(folder), world=world)


def refuse_stale(config: ContestConfig, name: str, out: Path) -> None:
    """Raises InputError when what a training began with has been trained on or again since."""
    was = spent(out, name).made_from
    stale = [needed for needed, weights in was.items() if best_weights(out, needed) != weights]
    need(
        not stale,
        f"{trained(out) / name} began with other weights of {', '.join(stale)}",
        why="those were trained on or again since, and the table would show two networks under one name",
        fix=f"remove {trained(out) / name}",
    )


def best_weights(out: Path, name: str) -> dict[str, str]:
    """The files of a training's best weights, with their SHA-256."""
    return {file.name: checkpoint.digest(file) for file in sorted((trained(out) / name).glob("*_best*"))}


def learn(config: ContestConfig, name: str, out: Path, *, progress: bool = True) -> None:
    """One training, from where it was, and its cost. Raises InputError when its folder holds another one."""
    before, began_s, cpu_began_s, done = spent(out, name), time.perf_counter(), cpu_seconds(), {}
    try:
        _, room = KINDS[config.trainings[name].kind]
        stage, result = room.train(config.training(name, out), progress=progress)
        parameters = sum(p.numel() for part in stage.averaged for p in stage.modules[part].parameters())
        made_from = {needed: best_weights(out, needed) for needed in sorted(config.trainings[name].needs)}
        done = {"updates": result.steps, "parameters": parameters, "finished": True, "made_from": made_from}
    finally:  # a training that is stopped has cost something too
        took = {
            "cpu_s": before.cpu_s + cpu_seconds() - cpu_began_s,
            "wall_s": before.wall_s + time.perf_counter() - began_s,
        }
        checkpoint.write_whole(cost_file(out, name), before.replace(**took, **done).save)


def finished(config: ContestConfig, name: str, out: Path) -> bool:
    """Whether that very training was completed there."""
    full = config.training(name, out)
    return spent(out, name).finished and type(full).load(cost_file(out, name).with_name("config.yaml")) == full


def spent(out: Path, name: str) -> Cost:
    """What a training has cost up to now."""
    file = cost_file(out, name)
    return Cost.load(file) if file.is_file() else Cost()


def trained(out: Path) -> Path:
    """The folder that holds the trainings."""
    return out / "trained"


def cost_file(out: Path, name: str) -> Path:
    return trained(out) / name / "cost.json"


def cpu_seconds() -> float:
    """Of this process and of those it started and saw end."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
