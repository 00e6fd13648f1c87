"""What a run needs to go on where it was: one file, ``state_latest.pt``, written last."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from binaural_core import checkpoint
from binaural_core.errors import InputError, need
from binaural_core.training.distributed import World
from binaural_core.training.ema import Ema
from binaural_core.training.log import Log
from binaural_core.training.stabilizer import Stabilizer
from binaural_core.training.stage import Stage


class Sums:
    """Running means by name."""

    def __init__(self) -> None:
        self.totals: dict[str, tuple[float, float]] = {}

    def add(self, values: dict[str, float | tuple[float, float]], weight: float = 1.0) -> None:
        """Each value counts ``weight``, or what stands beside it: (value, weight of its own)."""
        for name, value in values.items():
            value, own = value if isinstance(value, tuple) else (value, weight)
            total, count = self.totals.get(name, (0.0, 0.0))
            self.totals[name] = (total + own * value, count + own)

    def gather(self, world: World) -> None:
        """Bring what all processes have to the first one."""
        if world.size == 1:
            return
        everybody, self.totals = world.gathered(self.totals), {}
        for totals in everybody if world.first else ():
            for name, (total, count) in totals.items():
                mine = self.totals.get(name, (0.0, 0.0))
                self.totals[name] = (mine[0] + total, mine[1] + count)

    def means(self, world: World) -> dict[str, float]:
        """The means over all processes since the last call, in every process."""
        self.gather(world)
        means = {name: total / count for name, (total, count) in self.totals.items()}
        self.totals = {}
        return world.told(means)


@dataclass
class State:
    """Where a run is.

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
    world: World
    samples_per_step: int
    step: int = 0
    best: float | None = None
    hashes: dict[str, str] = field(default_factory=dict)  # of the weight files that belong to the state on disk
    kept: set[str] = field(default_factory=set)  # names of weight files kept for good

    @property
    def path(self) -> Path:
        return self.folder / "state_latest.pt"

    def weights(self) -> dict[str, dict[str, Tensor]]:
        return {name: module.state_dict() for name, module in self.stage.modules.items()}

    def export(self, tag: str, weights: dict[str, dict[str, Tensor]]) -> list[Path]:
        """The weight files a user loads; the first process writes them."""
        return self.stage.export(self.folder, tag, weights, self) if self.world.first else []

    def save(self, log: Log) -> None:
        self.sums.gather(self.world)
        if not self.world.first:
            return
        files = self.export("latest", self.weights())
        hashes = {file.name: checkpoint.digest(file) for file in files}
        log.save()
        checkpoint.save(
            self.path,
            {
                "format": checkpoint.FORMAT_VERSION,
                "config": self.tree,
                "samples_per_step": self.samples_per_step,
                "step": self.step,
                "best": self.best,
                "stabilizer": self.stabilizer.state_dict(),
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
        # The first process reads: another machine need not see its disk.
        found = self.world.told(checkpoint.load(self.path) if self.world.first and self.path.is_file() else None)
        if found is None:
            return
        old, new = (tree.get("recordings") for tree in (found["config"], self.tree))
        if old is not None and new is not None and old != new:
            raise InputError(
                f"{self.folder} holds a run on other recordings ({', '.join(_moves(old, new))})",
                why="its epochs, its order and its best score are of those",
                fix="put the recordings and mels back, or give this run another id and let it begin with that one's weights"
                " (--stage1_checkpoint_path)",
            )
        if _is_linear(self.tree) and _is_linear(found["config"]):
            old, new = (tree["run"]["epochs"] for tree in (found["config"], self.tree))
            need(
                old == new,
                f"{self.folder} holds a run of {old} epochs with the linear schedule, and now there are {new}",
                why="the share of predicted mels is 0.8 epoch / epochs: it would jump to that of another schedule",
                fix=f"keep {old} epochs, or begin anew with schedule=piecewise, which does not ask how many there are",
            )
        changed = sorted(differences(found["config"], self.tree))
        if found["samples_per_step"] != self.samples_per_step:
            changed.append(f"samples per step, {found['samples_per_step']} then and {self.samples_per_step} now,")
        if changed:
            raise InputError(
                f"{self.folder} holds a run of another config ({', '.join(changed[:5])} differ)",
                why="going on with other settings would give neither run",
                fix="give this run another id, or remove that folder to begin again",
            )
        for name, module in self.stage.modules.items():
            checkpoint.load_into(module, found["weights"][name], name=name)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(found["optimizers"][name])
        self.ema.load_state_dict(found["ema"])
        self.stabilizer.load_state_dict(found["stabilizer"])
        self.step, self.best = found["step"], found["best"]
        self.sums.totals = found["sums"] if self.world.first else {}
        self.hashes, self.kept = found["hashes"], set(found["kept"])
        files = {name: self.folder / name for name in self.hashes}
        if self.world.first and any(
            not f.is_file() or checkpoint.digest(f) != self.hashes[n] for n, f in files.items()
        ):
            self.export("latest", self.weights())


# A run may be resumed with more epochs, other logging, another device, other workers, or its data in another folder; and in
# more processes with smaller batches, as long as a step sees as many samples.
MAY_CHANGE = {"run.epochs", "run.log_steps", "run.checkpoint_steps", "run.validate_epochs", "run.keep_epochs"}
MAY_CHANGE |= {"dataset.root", "run.workers", "run.device", "run.checkpoints", "run.patience", "run.spike"}
MAY_CHANGE |= {"run.batch_size", "run.accumulate"}
MAY_CHANGE |= {"start_from"}  # read at a run's beginning alone
MAY_CHANGE |= {"recordings"}  # compared apart: earlier states do not say them
MAY_MOVE = {"audio_dir", "mel_pred_dir", "mel_pred_left_dir", "mel_pred_right_dir"}  # the same data in another folder
MAY_MOVE |= {f"mel_{ear}_{split}_dir" for ear in ("left", "right") for split in ("train", "val")}


def differences(old: Any, new: Any, path: str = "") -> set[str]:
    """Dotted names of the settings that differ and may not."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = old.keys() | new.keys()
        return set().union(*(differences(old.get(n), new.get(n), f"{path}.{n}".lstrip(".")) for n in names))
    same = old == new or path in MAY_CHANGE or (path in MAY_MOVE and None not in (old, new))
    return set() if same else {path}


def _is_linear(tree: dict[str, Any]) -> bool:
    return bool(tree.get("use_scheduled_sampling")) and tree.get("schedule") == "linear"


def _moves(old: dict[str, str], new: dict[str, str]) -> list[str]:
    return [f"{split}: {old[split]} then, {new[split]} now" for split in old if old[split] != new[split]]


def begin_with(optimizer: torch.optim.Optimizer, moments: dict[int, Any], name: str) -> None:
    """Give a new AdamW the moments of an earlier one, parameter by parameter in their order; its settings stay its own.

    moments : AdamW's state by index; empty where it never took a step. Raises InputError when they belong to other
    parameters.
    """
    if not moments:
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    fits = len(moments) == len(parameters) and all(
        moments[i]["exp_avg"].shape == p.shape for i, p in enumerate(parameters) if i in moments
    )
    need(
        fits,
        f"the optimizer of {name} was kept for other parameters ({len(moments)}, here {len(parameters)})",
        why="its moments belong to the networks that it trained",
        fix="start from a checkpoint of the same vocoder config and discriminators, or from the generator file alone",
    )
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
