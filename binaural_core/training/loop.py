"""One training loop for both stages, to be read from top to bottom.

A `Stage` says what is trained: its modules, and its players, each with an optimizer and a loss. Stage 1 has one player;
stage 2 has two, the discriminators and the generator. The loop does the rest: batches, learning rates, skipped steps,
averaged weights, validation, checkpoints, resume.

Everything random is keyed by (seed, purpose, epoch, sample), so a run that was stopped at any moment and started again
draws what the unbroken run would have drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from binaural_core import checkpoint
from binaural_core.config import Config
from binaural_core.data.sample import Batch
from binaural_core.errors import InputError, need
from binaural_core.places import pick_device
from binaural_core.seeds import stream
from binaural_core.training.ema import Ema, swapped
from binaural_core.training.log import Log
from binaural_core.training.stabilizer import Stabilizer


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """How long, how fast, how often. Beside the stage's own config in ``config.yaml``."""

    id: str = "stage1"
    checkpoints: str = "checkpoints"  # the run's folder is {checkpoints}/{id}
    seed: int = 0
    epochs: int = 1000
    batch_size: int = 8
    warmup_steps: int = 0
    decay_factor: float = 0.94  # the learning rate is multiplied by this ...
    decay_epochs: int = 100  # ... every so many epochs (0: never)
    decay_per_step: float = 1.0
    cool_down: bool = False  # half a cosine from the full learning rate to zero over the whole run
    ema_decay: float = 0.999
    validate_epochs: int = 10
    checkpoint_steps: int = 1000
    keep_epochs: int = 100  # weights kept for good every so many epochs (0: never)
    log_steps: int = 50
    precision: str = "auto"  # fp32, bf16, or auto: bf16 where the device computes in it
    patience: int = 10  # steps that may be skipped in a row for NaN or infinity
    workers: int = 0
    device: str = "auto"

    def validate(self) -> None:
        need(
            min(self.epochs, self.batch_size, self.log_steps, self.validate_epochs, self.checkpoint_steps) > 0,
            f"epochs={self.epochs}, batch_size={self.batch_size}, log_steps={self.log_steps}, "
            f"validate_epochs={self.validate_epochs} or checkpoint_steps={self.checkpoint_steps} is out of range",
            why="a training needs at least one of each",
            fix="give numbers above zero",
        )
        need(
            self.precision in ("auto", "fp32", "bf16"),
            f"precision is {self.precision!r}",
            why="known are auto, fp32 and bf16",
            fix="choose one of them",
        )

    @property
    def folder(self) -> Path:
        return Path(self.checkpoints) / self.id

    def autocast(self, device: torch.device):
        """The context the forward pass runs in."""
        if device.type == "cuda":
            has_bf16 = torch.cuda.is_bf16_supported()
        else:
            has_bf16 = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        wanted = self.precision == "bf16" or (self.precision == "auto" and has_bf16)
        return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


@dataclass(frozen=True)
class Draw:
    """Hands out one generator per sample of a batch: ``draw("noise")``."""

    seed: int
    epoch: int
    indices: Sequence[int]

    def __call__(self, purpose: str) -> list[torch.Generator]:
        return [stream(self.seed, purpose, self.epoch, index) for index in self.indices]


@dataclass(frozen=True)
class Player:
    """One optimizer and the loss it lowers; ``loss(work)`` returns named scalars, 'total' the one to lower."""

    name: str
    groups: list[dict[str, Any]]  # AdamW parameter groups with their own "lr"
    loss: Callable[[Any], dict[str, Tensor]]
    clip_norm: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    from_step: int = 0  # sits out until then


class Stage(Protocol):
    """What differs between the stages."""

    modules: Mapping[str, nn.Module]  # everything that has weights
    averaged: Sequence[str]  # the modules whose moving average is validated and kept as the best
    players: Sequence[Player]  # in the order they move
    best_by: str  # the validation measure that decides, lower is better

    def prepare(self, batch: Batch, draw: Draw, step: int) -> Any:
        """Everything the players' losses share: mels, drawn noise, the generator's output."""

    def validate(self, batch: Batch, draw: Draw) -> dict[str, float]: ...

    def export(self, folder: Path, tag: str, weights: Mapping[str, dict[str, Tensor]], state: State) -> list[Path]:
        """Write weight files a user loads; ``tag`` is 'latest', 'best' or the epoch in six digits."""


class Data(Protocol):
    """Batches by epoch; the same epoch gives the same batches, from any of them on."""

    batches_per_epoch: int

    def training(self, epoch: int, start_batch: int) -> Iterable[Batch]: ...

    def validation(self) -> Iterable[Batch]: ...


@dataclass
class Result:
    folder: Path
    steps: int
    best: float | None
    skipped: int
    data_wait_share: float  # of the time, spent waiting for batches
    rows: list[dict[str, Any]] = field(repr=False, default_factory=list)


def learning_rate_factor(run: RunConfig, step: int, epoch: int, total_steps: int) -> float:
    """What every learning rate is multiplied by at this step."""
    factor = run.decay_per_step**step
    if run.decay_epochs:
        factor *= run.decay_factor ** (epoch // run.decay_epochs)
    if run.cool_down:
        factor *= 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * step / total_steps))))
    return factor * min(1.0, (step + 1) / run.warmup_steps) if run.warmup_steps else factor


def fit(stage: Stage, data: Data, run: RunConfig, *, tree: dict[str, Any], progress: bool = True) -> Result:
    """Train ``stage`` on ``data`` as ``run`` says, from where ``run.folder`` left off.

    ``tree`` is the whole config as plain data; it travels in ``config.yaml`` and in every state. Raises InputError when
    the folder holds a run of another config, or when too many steps in a row are not finite.
    """
    device = pick_device(run.device)
    for module in stage.modules.values():
        module.to(device).train()
    optimizers = {
        p.name: torch.optim.AdamW(p.groups, betas=p.betas, weight_decay=p.weight_decay) for p in stage.players
    }
    base_rates = {name: [g["lr"] for g in o.param_groups] for name, o in optimizers.items()}
    ema = Ema({name: stage.modules[name] for name in stage.averaged}, run.ema_decay)
    stabilizer = Stabilizer(run.patience)
    sums = Sums()
    state = State(stage, optimizers, ema, stabilizer, sums, tree, run.folder)
    state.resume(device)
    log = Log(run.folder, from_step=state.step)
    total_steps = run.epochs * data.batches_per_epoch
    waited, began = 0.0, time.perf_counter()
    bar = tqdm(total=total_steps, initial=state.step, desc=run.id, disable=not progress, unit="step", mininterval=1.0)

    for epoch in range(state.step // data.batches_per_epoch, run.epochs):
        batches = iter(data.training(epoch, state.step % data.batches_per_epoch))
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - asked
            if batch is None:
                break
            factor = learning_rate_factor(run, state.step, epoch, total_steps)
            with run.autocast(device):
                work = stage.prepare(batch.to(device), Draw(run.seed, epoch, batch.indices), state.step)
            for player in stage.players:
                if state.step < player.from_step:
                    continue
                with run.autocast(device):
                    losses = player.loss(work)
                if not stabilizer.sound(losses, batch.clip_ids, state.step):
                    break
                optimizer = optimizers[player.name]
                optimizer.zero_grad(set_to_none=True)
                losses["total"].backward()
                parameters = [p for g in optimizer.param_groups for p in g["params"]]
                norm = nn.utils.clip_grad_norm_(parameters, player.clip_norm)
                if not stabilizer.sound({f"gradient of {player.name}": norm}, batch.clip_ids, state.step):
                    break
                for group, rate in zip(optimizer.param_groups, base_rates[player.name], strict=True):
                    group["lr"] = rate * factor
                optimizer.step()
                sums.add({f"{player.name}.{k}": float(v.detach()) for k, v in losses.items()})
                sums.add({f"{player.name}.gradient_norm": float(norm)})
            else:
                stabilizer.step_done()
                ema.update(stage.modules)
            state.step += 1
            bar.update()
            if state.step % run.log_steps == 0:
                row = log.write("train", state.step, {**sums.means(), "learning_rate_factor": factor})
                bar.set_postfix({k.split(".")[0]: f"{v:.3f}" for k, v in row.items() if k.endswith(".total")})
            if (
                state.step % run.checkpoint_steps == 0 and state.step % data.batches_per_epoch
            ):  # an epoch's end saves anyway
                state.save(log)
        last = epoch + 1 == run.epochs
        if last or (epoch + 1) % run.validate_epochs == 0:
            scores = validate(stage, data, ema, run, device)
            log.write("validate", state.step, scores)
            if state.best is None or scores[stage.best_by] < state.best:
                state.best = scores[stage.best_by]
                stage.export(run.folder, "best", state.weights() | ema.average, state)
        if run.keep_epochs and (epoch + 1) % run.keep_epochs == 0:
            state.kept |= {file.name for file in stage.export(run.folder, f"{epoch + 1:06d}", state.weights(), state)}
        state.save(log)

    bar.close()
    log.close()
    share = waited / max(time.perf_counter() - began, 1e-9)
    return Result(run.folder, state.step, state.best, stabilizer.skipped, share, log.rows)


@torch.no_grad()
def validate(stage: Stage, data: Data, ema: Ema, run: RunConfig, device: torch.device) -> dict[str, float]:
    """Mean measures of the averaged weights over the validation batches, each sample with noise of its own."""
    sums = Sums()
    for module in stage.modules.values():
        module.eval()
    with swapped(stage.modules, ema), run.autocast(device):
        for batch in data.validation():
            sums.add(stage.validate(batch.to(device), Draw(run.seed, -1, batch.indices)), weight=len(batch))
    for module in stage.modules.values():
        module.train()
    scores = sums.means()
    need(
        stage.best_by in scores,
        "there is nothing to validate on",
        why="the validation split gave no batch, so no best weights can be chosen",
        fix="name a validation split with at least one clip",
    )
    return scores


class Sums:
    """Running means by name."""

    def __init__(self) -> None:
        self.totals: dict[str, tuple[float, float]] = {}

    def add(self, values: dict[str, float], weight: float = 1.0) -> None:
        for name, value in values.items():
            total, count = self.totals.get(name, (0.0, 0.0))
            self.totals[name] = (total + weight * value, count + weight)

    def means(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: total / count for name, (total, count) in self.totals.items()}
        self.totals = {}
        return means


@dataclass
class State:
    """What a run needs to go on; one file, ``state_latest.pt``, written last.

    The file holds everything, so it alone decides: when a run was killed between the weight files and the state, the
    previous state holds, and the weight files are written again from it (their hashes say whether they belong to it).
    """

    stage: Stage
    optimizers: dict[str, torch.optim.Optimizer]
    ema: Ema
    stabilizer: Stabilizer
    sums: Sums  # losses since the last row of the log
    tree: dict[str, Any]
    folder: Path
    step: int = 0
    best: float | None = None
    hashes: dict[str, str] = field(default_factory=dict)  # of the weight files that belong to the state on disk
    kept: set[str] = field(default_factory=set)  # names of weight files kept for good

    @property
    def path(self) -> Path:
        return self.folder / "state_latest.pt"

    def weights(self) -> dict[str, dict[str, Tensor]]:
        return {name: module.state_dict() for name, module in self.stage.modules.items()}

    def save(self, log: Log) -> None:
        files = self.stage.export(self.folder, "latest", self.weights(), self)
        hashes = {file.name: checkpoint.digest(file) for file in files}
        log.save()
        checkpoint.save(
            self.path,
            {
                "format": checkpoint.FORMAT_VERSION,
                "config": self.tree,
                "step": self.step,
                "best": self.best,
                "skipped": self.stabilizer.skipped,
                "sums": self.sums.totals,
                "weights": self.weights(),
                "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
                "ema": self.ema.state_dict(),
                "hashes": hashes,
                "kept": sorted(self.kept),
            },
        )
        for name in self.hashes.keys() - hashes.keys() - self.kept:
            (self.folder / name).unlink(missing_ok=True)
        self.hashes = hashes

    def resume(self, device: torch.device) -> None:
        """Go on from the folder's state, if there is one. Raises InputError when it belongs to another config."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.path.is_file():
            return
        state = checkpoint.load(self.path, device=device)
        changed = sorted(differences(state["config"], self.tree))
        if changed:
            raise InputError(
                f"{self.folder} holds a run of another config ({', '.join(changed[:5])} differ)",
                why="going on with other settings would give neither run",
                fix="give this run another id, or remove that folder to begin again",
            )
        for name, module in self.stage.modules.items():
            checkpoint.load_into(module, state["weights"][name], name=name)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.ema.load_state_dict(state["ema"])
        self.step, self.best, self.stabilizer.skipped = state["step"], state["best"], state["skipped"]
        self.sums.totals = state["sums"]
        self.hashes, self.kept = state["hashes"], set(state["kept"])
        files = {name: self.folder / name for name in self.hashes}
        if any(not f.is_file() or checkpoint.digest(f) != self.hashes[n] for n, f in files.items()):
            self.stage.export(self.folder, "latest", self.weights(), self)


# A run may be resumed with more epochs, other logging, another device, other workers, or its data in another folder.
MAY_CHANGE = {"run.epochs", "run.log_steps", "run.checkpoint_steps", "run.validate_epochs", "run.keep_epochs"}
MAY_CHANGE |= {"dataset.root", "run.workers", "run.device", "run.checkpoints", "run.patience"}


def differences(old: Any, new: Any, path: str = "") -> set[str]:
    """Dotted names of the settings that differ and may not."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = old.keys() | new.keys()
        return set().union(*(differences(old.get(n), new.get(n), f"{path}.{n}".lstrip(".")) for n in names))
    return set() if old == new or path in MAY_CHANGE else {path}
