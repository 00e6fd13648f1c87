"""Recipes side by side: the same network, the same windows, the same updates; only how it learns and samples differs.

`compare` trains stage 1 once for each contender and seed. After so many updates it draws the test windows with the
contender's own sampler, and at the end with others too, each window several times from noises of its own. Windows are cut
once and kept in memory, since rendering would take longer than learning.

Measures of one way to sample, in natural-log mel units unless said otherwise; K draws of every window:

- ``mel_l1``, ``ild_error_db``: what one draw is off, as everywhere.
- ``mean_l1``: what the mean of the K draws is off; a wrong mean does not average out.
- ``spread``: deviation of the draws about their mean. ``spread_ratio`` holds it against what it should be: where the truth
  is as one more draw, the mean of K is off by spread² (K + 1) / K in square, and the ratio is 1. Below, the draws are too
  sure of themselves; above, noisier than the truth is uncertain; it ends at sqrt(K + 1), where the draws' noise is all that
  is wrong with their mean. (Fortin et al. 2014, J. Hydrometeorology 15.)
- ``mean_off``, ``spread_over_reference``: the same network drawn with far more evaluations is the reference for a *solver*,
  whatever the network has learned: how far the mean is from the reference's, and the spread over its spread.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio.io import is_silent
from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.config import Config
from binaural_core.data.sample import Batch, Sample, collate
from binaural_core.diffusion.recipe import RecipeConfig, build
from binaural_core.diffusion.silence import keep_silence
from binaural_core.errors import need
from binaural_core.metrics import mel_ild_error_db
from binaural_core.seeds import numpy_stream
from binaural_core.training.distributed import ALONE, World
from binaural_core.training.loop import fit
from binaural_core.training.stage import Draw, Shown
from binaural_core.training.stage1 import Stage1, Stage1Config, mels, windows

SOLVERS = {
    "midpoint": "midpoint",
    "euler": "Euler",
    "ddim": "DDIM",
    "dpmpp_2m": "DPM-Solver++ 2M",
    "heun": "Heun",
    "ddpm": "DDPM",
}
AT_ONCE = 16  # test windows
OnJob = Callable[[int, int, str], None]  # (done, of how many, contender and seed) in the first process


@dataclass(frozen=True, kw_only=True)
class Sampling(Config):
    """A way to sample from what a contender has learned."""

    solver: Literal["midpoint", "euler", "ddim", "dpmpp_2m", "heun", "ddpm"]
    steps: int
    grid: Literal["trailing", "leading", "linspace", "log_sigma"] = "trailing"  # of diffusion; a bridge has even steps
    sigma_high: float = 80.0  # where log_sigma begins

    @property
    def evaluations(self) -> int:
        """How often the network is asked."""
        return {"midpoint": 2 * self.steps, "heun": 2 * self.steps - 1}.get(self.solver, self.steps)

    @property
    def way(self) -> str:
        return SOLVERS[self.solver] + (f" from σ = {self.sigma_high:g}" if self.grid == "log_sigma" else "")

    def of(self, recipe: RecipeConfig) -> RecipeConfig:
        """The recipe, sampled this way. Raises InputError when it has no such solver."""
        if recipe.name == "bridge":
            return recipe.replace(**{"bridge.solver": self.solver, "bridge.steps": self.steps})
        changed = {"sampler": self.solver, "grid": self.grid, "steps": self.steps, "sigma_high": self.sigma_high}
        return recipe.replace(**{f"diffusion.{name}": value for name, value in changed.items()})


@dataclass(frozen=True, kw_only=True)
class Contender(Config):
    """A recipe and the ways it is sampled: its own first; the one with most evaluations is the others' reference."""

    recipe: RecipeConfig
    samplings: tuple[Sampling, ...]

    def validate(self) -> None:
        need(
            bool(self.samplings),
            f"the contender {self.recipe.name} has no samplings",
            why="without sampling there is nothing to measure",
            fix="name at least its own",
        )
        for sampling in self.samplings:
            sampling.of(self.recipe)

    @property
    def reference(self) -> Sampling:
        return max(self.samplings, key=lambda sampling: sampling.evaluations)


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig(Config):
    """What is compared: `recipes.yaml` is the measurement of the course."""

    stage: Stage1Config
    """Network, data and optimizer of all; its recipe and seed are overwritten. Scenes: splits train and test."""
    contenders: dict[str, Contender]
    updates: tuple[int, ...] = (100, 200, 400, 800)
    """After how many updates of the weights is measured."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """First weights, order of the windows and noise of each training; the windows stay the same."""
    draws: int = 4
    """K, how often each test window is drawn."""

    def validate(self) -> None:
        need(
            bool(self.contenders) and bool(self.seeds),
            "there are no contenders or no seeds",
            why="nothing would be trained",
            fix="name at least one of each",
        )
        need(
            bool(self.updates) and self.updates[0] > 0 and list(self.updates) == sorted(set(self.updates)),
            f"updates={self.updates}",
            why="one training is measured on its way",
            fix="give rising numbers above zero, such as (100, 200, 400, 800)",
        )
        need(self.draws >= 2, f"draws={self.draws}", why="one draw has no spread", fix="give 2 or more")


@dataclass(frozen=True, kw_only=True)
class Row(Config):
    """What was measured of one training, after so many updates, with one way to sample (units: above)."""

    contender: str
    seed: int
    updates: int
    sampling: Sampling
    mel_l1: float
    ild_error_db: float
    mean_l1: float
    spread: float
    spread_ratio: float
    mean_off: float | None = None
    spread_over_reference: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison(Config):
    """Everything measured, and of what; `save` and `load` keep it as JSON."""

    config: ComparisonConfig
    rows: tuple[Row, ...]
    mono_copy: dict[str, float]
    """mel_l1 and ild_error_db of the mono at both ears."""
    parameters: int
    seconds: float
    command: str = ""
    """What made it."""

    def over_updates(self, measure: str) -> dict[str, tuple[list[int], np.ndarray]]:
        """By contender, sampled its own way: updates, and the measure (seeds, updates)."""
        config, curves = self.config, {}
        for name, contender in config.contenders.items():
            own = contender.samplings[0]
            curves[f"{name}, {own.evaluations} evaluations"] = (
                list(config.updates),
                np.array([[self.value(measure, name, s, n, own) for n in config.updates] for s in config.seeds]),
            )
        return curves

    def over_evaluations(self, measure: str) -> dict[str, tuple[list[int], np.ndarray]]:
        """By contender and way to sample, at the end of training: evaluations, and the measure (seeds, evaluations)."""
        config, curves = self.config, {}
        for name, contender in config.contenders.items():
            for way in dict.fromkeys(sampling.way for sampling in contender.samplings):
                asked = sorted((s for s in contender.samplings if s.way == way), key=lambda s: s.evaluations)
                values_SX = [[self.value(measure, name, seed, None, s) for s in asked] for seed in config.seeds]
                curves[f"{name}, {way}"] = ([s.evaluations for s in asked], np.array(values_SX))
        return curves

    def value(self, measure: str, contender: str, seed: int, updates: int | None, sampling: Sampling) -> float:
        """One number; ``updates`` None: at the end."""
        wanted = (contender, seed, updates or self.config.updates[-1], sampling)
        found = [row for row in self.rows if (row.contender, row.seed, row.updates, row.sampling) == wanted]
        need(
            len(found) == 1,
            f"{contender}, seed {seed}, {wanted[2]} updates, {sampling.way} is there {len(found)} times",
            why="each is measured once",
            fix="measure again",
        )
        return getattr(found[0], measure)

    def means(self, contender: str, sampling: Sampling) -> dict[str, float]:
        """At the end of training, means over the seeds of all measures that there are."""
        rows = [
            row.to_dict()
            for row in self.rows
            if (row.contender, row.updates, row.sampling) == (contender, self.config.updates[-1], sampling)
        ]
        need(
            bool(rows),
            f"{contender} was not sampled by {sampling.way} with {sampling.evaluations} evaluations",
            why="only what is listed in its config was measured",
            fix="choose one of its samplings",
        )
        measured = [name for name, value in rows[0].items() if isinstance(value, float)]
        return {name: float(np.mean([row[name] for row in rows])) for name in measured}


def compare(config: ComparisonConfig, world: World = ALONE, *, on_job: OnJob | None = None) -> Comparison:
    """Train and measure all contenders with all seeds; in many processes each takes its share of the trainings."""
    began = time.perf_counter()
    training, held_out = kept_windows(config, "train"), kept_windows(config, "test")
    jobs = [(name, seed) for name in config.contenders for seed in config.seeds]
    mine, rows, parameters = world.share(jobs), [], 0
    for number, (name, seed) in enumerate(mine, start=1):
        found, parameters = learn(config, name, seed, training, held_out)
        rows += found
        if on_job and world.first:
            on_job(min(number * world.size, len(jobs)), len(jobs), f"{name}, seed {seed}")
    everybody = [row for part in world.gathered(rows) for row in part]
    ordered = sorted(everybody, key=lambda row: jobs.index((row.contender, row.seed)))
    return Comparison(
        config=config,
        rows=tuple(ordered),
        mono_copy=mono_copy(held_out, config.stage),
        parameters=parameters,
        seconds=time.perf_counter() - began,
    )


def said(found: Comparison) -> str:
    """A markdown table of the end of training: means over the seeds."""
    head = "| recipe | sampled by | evaluations | mel L1 (ln) | ILD error (dB) | mean L1 (ln) | spread (ln) | spread ratio |"
    lines = [head, "|---|---|" + "---:|" * 6]
    for name, contender in found.config.contenders.items():
        for sampling in contender.samplings:
            m = found.means(name, sampling)
            numbers = f"{m['mel_l1']:.3f} | {m['ild_error_db']:.2f} | {m['mean_l1']:.3f} | {m['spread']:.3f}"
            lines.append(f"| {name} | {sampling.way} | {sampling.evaluations} | {numbers} | {m['spread_ratio']:.2f} |")
    copy = found.mono_copy
    lines.append(f"| mono copy | | 0 | {copy['mel_l1']:.3f} | {copy['ild_error_db']:.2f} | | | |")
    return "\n".join(lines)


def learn(
    config: ComparisonConfig, name: str, seed: int, training: Sequence[Sample], held_out: Sequence[Sample]
) -> tuple[list[Row], int]:
    """One training: its rows, and how many parameters the network has."""
    contender, between = config.contenders[name], math.gcd(*config.updates)
    with tempfile.TemporaryDirectory() as folder:
        changes = {"model.recipe": contender.recipe, "run.seed": seed, "run.id": "run", "run.checkpoints": folder}
        config_of_all = config.stage.replace(**changes)
        stage = Judged(config_of_all, contender, config.draws)
        run = config_of_all.run
        data = Kept(training, held_out, run.batch_size, seed, between)
        rows = []
        for updates in config.updates:  # a run that goes on with more epochs is one run
            if updates == config.updates[-1]:
                stage.samplings = contender.samplings
            epochs = updates // between
            longer = run.replace(epochs=epochs, validate_epochs=epochs, keep_epochs=0)
            scores = fit(stage, data, longer, tree=config_of_all.to_dict(), progress=False).rows[-1]
            rows += [_row(scores, name, seed, updates, number, s) for number, s in enumerate(stage.samplings)]
    return rows, sum(p.numel() for p in stage.model.parameters())


def _row(scores: dict, name: str, seed: int, updates: int, number: int, sampling: Sampling) -> Row:
    """The measures of one way to sample out of a row of the log; variances become deviations here, after averaging."""
    found = {key.split("/")[1]: value for key, value in scores.items() if key.startswith(f"{number}/")}
    variance, called_for, reference = (
        found.pop(key, None) for key in ("variance", "variance_called_for", "reference_variance")
    )
    found["spread"], found["spread_ratio"] = math.sqrt(variance), math.sqrt(variance / called_for)
    if reference is not None:
        found["spread_over_reference"] = math.sqrt(variance / reference)
    return Row(contender=name, seed=seed, updates=updates, sampling=sampling, **found)


class Judged(Stage1):
    """Stage 1 whose validation draws each window several times, in several ways."""

    def __init__(self, config: Stage1Config, contender: Contender, draws: int):
        super().__init__(config)
        self.contender, self.draws = contender, draws
        self.samplings: tuple[Sampling, ...] = contender.samplings[:1]
        self.best_by = "0/mel_l1"

    def validate(self, batch: Batch, draw: Draw) -> dict[str, float]:
        """Means over windows and cells by number of the way and measure, as ``0/mel_l1``."""
        mono_B1MF, true_BEMF = (to_unit(mel) for mel in mels(batch, self.config.mel))
        true_BEMF = from_unit(true_BEMF)
        network = self.model.network(mono_B1MF, self.model.look(*batch.sight))
        made: dict[Sampling, Tensor] = {}  # K draws of every window
        for sampling in self.samplings:
            recipe, drawn = build(sampling.of(self.contender.recipe)), []
            for k in range(self.draws):
                noise_BEMF = torch.stack([torch.randn(true_BEMF.shape[1:], generator=g) for g in draw(f"draw {k}")])
                unit_BEMF = recipe.sample(network, mono_B1MF, noise_BEMF=noise_BEMF.to(mono_B1MF))
                drawn.append(from_unit(keep_silence(unit_BEMF, mono_B1MF).float()))
            made[sampling] = torch.stack(drawn)
        scores = {}
        for number, sampling in enumerate(self.samplings):
            measured = judge(made[sampling], true_BEMF)
            if len(self.samplings) > 1 and sampling != self.contender.reference:
                measured |= against(made[sampling], made[self.contender.reference])
            scores |= {f"{number}/{name}": value for name, value in measured.items()}
        return scores

    def show(self, batch: Batch, draw: Draw) -> Shown:
        return Shown()


class Kept:
    """Windows in memory as `stage.Data`: the training windows in one random order after another, without end."""

    def __init__(
        self, training: Sequence[Sample], held_out: Sequence[Sample], batch_size: int, seed: int, batches_per_epoch: int
    ):
        self.kept, self.held_out, self.batch_size, self.seed = training, held_out, batch_size, seed
        self.batches_per_epoch = batches_per_epoch

    def training(self, epoch: int, start_batch: int) -> Iterator[Batch]:
        for number in range(start_batch, self.batches_per_epoch):
            first = (epoch * self.batches_per_epoch + number) * self.batch_size
            yield collate([self._window(place) for place in range(first, first + self.batch_size)])

    def _window(self, place: int) -> Sample:
        """The window at a place of the endless order; the place keys its noise."""
        turn, number = divmod(place, len(self.kept))
        order = numpy_stream(self.seed, "order", turn).permutation(len(self.kept))
        return replace(self.kept[int(order[number])], index=place)

    def validation(self) -> Iterator[Batch]:
        for first in range(0, len(self.held_out), AT_ONCE):
            yield collate(self.held_out[first : first + AT_ONCE])


def kept_windows(config: ComparisonConfig, split: str) -> list[Sample]:
    """All windows of a split that sound, as an epoch has them."""
    listed = windows(config.stage, split)
    cut = [listed.draw(index, 0) for index in range(len(listed))]
    return [window for window in cut if window is not None and not is_silent(window.mono_N)]


def mono_copy(held_out: Sequence[Sample], config: Stage1Config) -> dict[str, float]:
    """Errors of the mono at both ears: what learning nothing gives."""
    mono_B1MF, true_BEMF = (from_unit(to_unit(mel)) for mel in mels(collate(held_out), config.mel))
    measured = judge(mono_B1MF.expand_as(true_BEMF).expand(2, *true_BEMF.shape), true_BEMF)
    return {name: measured[name] for name in ("mel_l1", "ild_error_db")}


def judge(made_KBEMF: Tensor, true_BEMF: Tensor) -> dict[str, float]:
    """K draws of each window against the truth: errors of a draw and of the mean, the variance, and what it should be."""
    draws = len(made_KBEMF)
    error_BEMF = made_KBEMF.mean(dim=0) - true_BEMF
    levels_db = [mel_ild_error_db(m, t) for drawn in made_KBEMF for m, t in zip(drawn, true_BEMF, strict=True)]
    return {
        "mel_l1": float((made_KBEMF - true_BEMF).abs().mean()),
        "ild_error_db": float(np.mean(levels_db)),
        "mean_l1": float(error_BEMF.abs().mean()),
        "variance": float(made_KBEMF.var(dim=0).mean()),
        "variance_called_for": float(error_BEMF.square().mean()) * draws / (draws + 1),  # Fortin et al. 2014
    }


def against(made_KBEMF: Tensor, reference_KBEMF: Tensor) -> dict[str, float]:
    """Draws of a solver against those of a finer one from the same noises."""
    return {
        "mean_off": float((made_KBEMF.mean(dim=0) - reference_KBEMF.mean(dim=0)).abs().mean()),
        "reference_variance": float(reference_KBEMF.var(dim=0).mean()),
    }
