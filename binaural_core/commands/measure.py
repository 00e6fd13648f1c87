"""Commands that measure: folders of predictions, systems and stage 1 on a split, speed, recipes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from binaural_core.commands.options import dataset_of, load_config, say, settings
from binaural_core.errors import need


@dataclass(kw_only=True)
class EvaluateAudio:
    """Measure a folder of binaural sound files against their references. Exit status 2 when something is missing or broken."""

    pred_dir: str
    gt_dir: str
    """Files belong together by their names; suffix and folders between may differ, and x_left with x_right are one x."""
    out: str | None = None
    """Folder for measures.csv (gone on with when it is there), summary.json, measures.md and report.html."""
    speech: bool = False
    """PESQ and STOI too."""
    common: bool = False
    """Measure pairs of different length over what both have, instead of naming them as broken."""
    mono: bool = True
    """Measure a copy of the reference's mono too, for what a prediction is better than."""
    sample_rate_hz: int = 22_050
    """Both sides are brought to it."""

    def run(self) -> int:
        from binaural_core.evaluation import evaluate_audio
        from binaural_core.evaluation.listening import of_folders
        from binaural_core.evaluation.report import write_report

        found = evaluate_audio(
            self.pred_dir,
            self.gt_dir,
            sample_rate_hz=self.sample_rate_hz,
            speech=self.speech,
            common=self.common,
            mono=self.mono,
            out=self.out,
            on_file=progress("files"),
        )
        if self.out:
            found.save(self.out)
            listen = of_folders(self.pred_dir, self.gt_dir, self.sample_rate_hz)
            write_report(Path(self.out) / "report.html", found.results, found.broken, listen=listen)
        return told(found)


@dataclass(kw_only=True)
class EvaluateStage1:
    """Measure stage 1's mels on a split, by what it is shown, beside the mono copy's."""

    weights: str | None = None
    """Folder of a trained stage 1; the shipped one when left out, "demo" for the demo's."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set; scenes when neither this nor --config says."""
    data_root: str | None = None
    split: str = "test"
    few: int | None = None
    """So many clips only, for a quick look."""
    conditions: str = "none,positions,pixels,both"
    """What it is shown, separated by commas."""
    config: str | None = None
    """YAML file of a training, whose data set is taken; a path, or a shipped one."""
    steps: int | None = None
    """Of the sampler."""
    seed: int = 0
    set: tuple[str, ...] = ()
    """Settings of the data set, such as scenes_seed=1."""
    out: str | None = None
    """Folder for measures.csv and summary.json."""
    num_gpus: int = 1
    """Processes, each with its share of the clips."""

    def run(self) -> None:
        from binaural_core.predicting import PredictConfig
        from binaural_core.training.distributed import launch

        dataset = dataset_of(self.config, self.dataset, self.data_root, self.set)
        config = PredictConfig(
            weights=self.weights,
            dataset=dataset,
            device=self.device,
            steps=self.steps,
            seed=self.seed,
            few=self.few,
        )
        conditions = tuple(name.strip() for name in self.conditions.split(","))
        found = launch(_measure_stage1, config, self.split, conditions, processes=self.num_gpus)
        if found is None:
            return  # the first process of torchrun reports
        if self.out:
            found.save(self.out)
        print(found.said())


@dataclass(kw_only=True)
class EvaluateMels:
    """Measure a folder of predicted mel files against true ones. Exit status 2 when something is missing or broken."""

    pred_dir: str
    gt_dir: str
    out: str | None = None
    """Folder for measures.csv (gone on with when it is there), summary.json and measures.md."""

    def run(self) -> int:
        from binaural_core.evaluation import evaluate_mels

        found = evaluate_mels(self.pred_dir, self.gt_dir, out=self.out, on_file=progress("files"))
        if self.out:
            found.save(self.out)
        status = told(found)
        print(", ".join(f"{name} {value:.4f}" for name, value in found.mean.items()), f"({len(found.rows)} files)")
        return status


@dataclass(kw_only=True)
class EvaluateSystems:
    """Measure systems side by side on a split, with intervals, and write a report that can be listened to.

    Stopped, it goes on where it was. Exit status 2 when a clip could not be measured.
    """

    out: str
    """Folder for measures.csv, summary.json, measures.md and report.html."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set; scenes when neither this nor --config says."""
    data_root: str | None = None
    split: str = "test"
    """Separated by commas; of FAIR-Play also split2/test or new_splits/split3/test."""
    few: int | None = None
    """So many clips of each split only."""
    subset: str | None = None
    """A file with one clip a line, or names that must all hold: one_source, several_sources, room, open, still, moving."""
    systems: str = "mono,warp,ours"
    """mono, warp, ours[:MODE[:SHOWN]][=FOLDER], truth[:MODE][=FOLDER], mono2binaural=FOLDER; separated by commas.
    FOLDER+GENERATOR takes another vocoder's file, NAME@ before an entry gives it that name."""
    protocol: Literal["whole", "windows"] = "whole"
    """All measures of whole clips at 22,050 Hz, or 2.5D Visual Sound's distances at 16 kHz, for published numbers."""
    config: str | None = None
    """YAML file of a training, whose data set is taken; a path, or a shipped one."""
    set: tuple[str, ...] = ()
    """Settings of the data set, such as scenes_seed=1."""
    steps: int | None = None
    """Of ours' sampler."""
    seed: int = 0
    speech: bool = False
    """PESQ, STOI and ESTOI too."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    num_gpus: int = 1
    """Processes, each with its share of the clips."""

    def run(self) -> int | None:
        from binaural_core.evaluation.clips import ClipsConfig
        from binaural_core.evaluation.comparing import SystemsConfig
        from binaural_core.evaluation.listening import of_systems
        from binaural_core.evaluation.report import write_report
        from binaural_core.evaluation.wording import not_measured
        from binaural_core.training.distributed import launch

        dataset = dataset_of(self.config, self.dataset, self.data_root, self.set)
        splits = tuple(name.strip() for name in self.split.split(",") if name.strip())
        config = SystemsConfig(
            clips=ClipsConfig(dataset=dataset, splits=splits, few=self.few, subset=self.subset),
            systems=tuple(self.systems.split(",")),
            protocol=self.protocol,
            out=self.out,
            speech=self.speech,
            device=self.device,
            steps=self.steps,
            seed=self.seed,
        )
        found = launch(_measure_systems, config, processes=self.num_gpus)
        if found is None:
            return None  # the first process of torchrun reports
        report = write_report(Path(self.out) / "report.html", found.results, found.broken, listen=of_systems(config))
        for line in not_measured(found.broken):
            print(line, file=sys.stderr)
        print(f"{found.results.markdown()}\n\nThe report, to be opened in a browser: {report}")
        return 0 if found.complete else 2


@dataclass(kw_only=True)
class EvaluateLocalizer:
    """How well the localiser finds what sounds, in films of unseen rendered scenes with nothing told."""

    weights: str | None = None
    """Folder that holds localizer/; the shipped one when left out."""
    scenes: int = 60
    """How many films."""
    width_px: int = 320
    h_fov_deg: float = 90.0
    seed: int = 77
    out: str | None = None
    """Folder for measures.md."""

    def run(self) -> None:
        from binaural_core import localizing
        from binaural_core.models.localizer import open_localizer

        localizer = open_localizer(Path(self.weights) if self.weights else None)
        need(
            localizer is not None,
            "there is no localiser",
            why="none ships without a clone of the repository",
            fix="name the folder of a training, or work in a clone",
        )
        found = localizing.measure(
            localizer,
            scenes=self.scenes,
            seed=self.seed,
            width_px=self.width_px,
            h_fov_deg=self.h_fov_deg,
            on_film=lambda n, of: say(n, of, ""),
        )
        if self.out:
            localizing.save(found, self.out)
        print(localizing.table(found))


@dataclass(kw_only=True)
class BenchScenes:
    """How fast scenes are rendered on this machine, sound and pictures apart."""

    scenes: int = 16
    seed: int = 0

    def run(self) -> None:
        from binaural_core.places import data_samples
        from binaural_core.scene.bench import measure_scenes
        from binaural_core.scene.casting import find_dry_sounds

        measured = measure_scenes(find_dry_sounds(data_samples() / "dry" / "train"), scenes=self.scenes, seed=self.seed)
        for name, value in measured.items():
            print(f"{name:28s} {value:8.1f}")


@dataclass(kw_only=True)
class BenchVocoder:
    """How fast BigVGAN is on this machine in every way it can be computed, in one run, and how exact."""

    vocoders: tuple[str, ...] = ("bigvgan_base_22khz_80band.json", "bigvgan_v2_22khz_80band_256x.json")
    """Configs in the public JSON format; paths, or shipped ones."""
    seconds: tuple[float, ...] = (2.0, 5.0)
    """Of sound."""
    threads: tuple[int, ...] = (1, 2)
    batches: tuple[int, ...] = (1,)
    repeats: int = 5
    """Medians of so many."""
    device: Literal["cpu", "cuda"] = "cpu"
    out: str | None = None
    """Folder for measures.md."""

    def run(self) -> None:
        from binaural_core.checkpoint import write_whole
        from binaural_core.models.kernels import bench

        found = bench.measure(
            self.vocoders,
            seconds=self.seconds,
            threads=self.threads,
            batches=self.batches,
            repeats=self.repeats,
            device=self.device,
        )
        if self.out:
            write_whole(Path(self.out) / "measures.md", lambda temporary: temporary.write_text(found.table() + "\n"))
        print(found.table())


@dataclass(kw_only=True)
class BenchRecipes:
    """Train the original's recipe and ours alike, and measure both against updates and evaluations of the network."""

    out: str
    """JSON file that gets the measures."""
    config: str = "recipes.yaml"
    """YAML file of a ComparisonConfig; a path, or a shipped one."""
    set: tuple[str, ...] = ()
    """Single settings, such as updates=[50,100] seeds=[0]."""
    processes: int = 2
    """How many trainings run side by side."""

    def run(self) -> None:
        from binaural_core.training.comparison import ComparisonConfig, said
        from binaural_core.training.distributed import launch

        config = load_config(ComparisonConfig, self.config).replace(**settings(self.set))
        found = launch(_compare_recipes, config, processes=self.processes)
        if found is None:
            return  # the first process of torchrun reports
        given = "".join(f' --set "{setting}"' for setting in self.set)
        found = found.replace(
            command=f"binaural bench recipes --config {self.config}{given} --out {Path(self.out).name}"
        )
        found.save(self.out)
        print(said(found))


@dataclass(kw_only=True)
class BenchSystems:
    """Train every system with one budget on the same scenes, then measure all on unseen ones: the README's table.

    What is trained or measured already is kept. Exit status 2 when a clip could not be measured.
    """

    out: str
    """Folder for the trainings, for measures.md, and of each test measures.csv, summary.json and report.html."""
    config: str = "systems.yaml"
    """YAML file of a ContestConfig; a path, or a shipped one."""
    set: tuple[str, ...] = ()
    """Single settings, such as "dataset.scenes={train: 100, val: 8, test: 8}"."""
    processes: int = 2
    """How many trainings run side by side."""
    keep: str | None = None
    """Folder for costs.json and a small csv of each test, from which the tables can be computed again."""

    def run(self) -> int | None:
        from binaural_core.contest import ContestConfig
        from binaural_core.evaluation.listening import of_systems
        from binaural_core.evaluation.report import write_report
        from binaural_core.training.distributed import launch

        config = load_config(ContestConfig, self.config).replace(**settings(self.set))
        found = launch(_bench_systems, config, self.out, processes=self.processes)
        if found is None:
            return None  # the first process of torchrun reports
        for name, test in found.tests.items():
            listen = of_systems(config.test(name, Path(self.out)))
            write_report(Path(self.out) / name / "report.html", test.results, test.broken, listen=listen)
        if self.keep:
            found.keep(self.keep)
        print(f"{found.markdown()}\nReports, to be opened in a browser: {self.out}/*/report.html")
        return 0 if all(test.complete for test in found.tests.values()) else 2


def _measure_stage1(config, split: str, conditions: tuple[str, ...], world):
    """What each process of `EvaluateStage1` does."""
    from binaural_core import predicting

    return predicting.measure(config, split, conditions, world, on_clip=say)


def _measure_systems(config, world):
    """What each process of `EvaluateSystems` does."""
    from binaural_core.evaluation import comparing

    return comparing.run(config, world, on_clip=progress("clips") if world.first else None)


def progress(unit: str):
    """A bar with the time left: ``(done, of how many, …)`` as calls come in. What was done before counts as ready."""
    from tqdm import tqdm

    began, bars = time.time(), []

    def show(done: int, total: int, *_) -> None:
        if not bars:
            bars.append(tqdm(total=total, unit=unit, initial=done - 1))
            bars[0].start_t = began  # the first one took its time too
        bars[0].update(done - bars[0].n)
        if done >= total:
            bars[0].close()

    return show


def told(found) -> int:
    """Print what was found in two folders; the exit status."""
    from binaural_core.evaluation.folders import listed

    for line in listed(found):
        print(line, file=sys.stderr)
    if found.rows:
        print(found.results.markdown())
    return 0 if found.complete else 2


def _bench_systems(config, out: str, world):
    """What each process of `BenchSystems` does."""
    from binaural_core import contest

    return contest.run(config, out, world, on_test=lambda name: progress("clips") if world.first else None)


def _compare_recipes(config, world):
    """What each process of `BenchRecipes` does."""
    from binaural_core.training import comparison

    return comparison.compare(config, world, on_job=say)
