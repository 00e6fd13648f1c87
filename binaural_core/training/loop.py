"""One training loop for both stages, to be read from top to bottom.

A `Stage` says what is trained: its modules, and its players, each with an optimizer and a loss. Stage 1 has one player;
stage 2 has two, the discriminators and the generator. The loop does the rest: batches, learning rates, skipped steps,
averaged weights, validation, checkpoints, resume.

Everything random is keyed by (seed, purpose, epoch, sample), so a run that was stopped at any moment and started again
draws what the unbroken run would have drawn, and so do many processes (`distributed`), each with its share of a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from binaural_core.errors import need
from binaural_core.training.distributed import ALONE, World
from binaural_core.training.ema import Ema, swapped
from binaural_core.training.log import Log
from binaural_core.training.run import RunConfig, learning_rate_factor
from binaural_core.training.stabilizer import Stabilizer, first_broken_gradient
from binaural_core.training.stage import Data, Draw, Player, Stage
from binaural_core.training.state import State, Sums, begin_with


@dataclass
class Result:
    folder: Path
    steps: int
    best: float | None
    skipped: int
    spikes: int
    data_wait_share: float  # of the time, spent waiting for batches
    steps_per_s: float
    rows: list[dict[str, Any]] = field(repr=False, default_factory=list)


def fit(
    stage: Stage,
    data: Data,
    run: RunConfig,
    *,
    tree: dict[str, Any],
    world: World = ALONE,
    progress: bool = True,
) -> Result:
    """Train ``stage`` on ``data`` as ``run`` says, from where ``run.folder`` left off.

    ``tree`` is the whole config as plain data; it travels in ``config.yaml`` and in every state. Raises InputError when
    the folder holds a run of another config, or when too many steps in a row are not finite.
    """
    device = world.device(run.device)
    for module in stage.modules.values():
        module.to(device).train()
    optimizers = {
        p.name: torch.optim.AdamW(p.groups, betas=p.betas, weight_decay=p.weight_decay) for p in stage.players
    }
    base_rates = {name: [g["lr"] for g in o.param_groups] for name, o in optimizers.items()}
    ema = Ema({name: stage.modules[name] for name in stage.averaged}, run.ema_decay)
    stabilizer = Stabilizer(run.patience, run.spike)
    sums = Sums()
    samples_per_step = run.batch_size * run.accumulate * world.size
    state = State(stage, optimizers, ema, stabilizer, sums, tree, run.folder, world, samples_per_step)
    for player in stage.players:
        if player.moments:
            begin_with(optimizers[player.name], player.moments(), player.name)
    state.resume(device)
    log = Log(run.folder, from_step=state.step, writes=world.first)
    losses_of = {player.name: world.parallel(LossModule(player)) for player in stage.players}
    steps_per_epoch = data.batches_per_epoch // run.accumulate
    need(
        steps_per_epoch > 0,
        f"an epoch has {data.batches_per_epoch} batches, and {run.accumulate} make one step",
        why="no step would ever be taken",
        fix="lower accumulate or the batch size, or add clips",
    )
    total_steps, first_step = run.epochs * steps_per_epoch, state.step
    waited, began = 0.0, time.perf_counter()
    bar = tqdm(
        total=total_steps,
        initial=state.step,
        desc=run.id,
        disable=not (progress and world.first),
        unit="step",
        mininterval=1.0,
    )

    for epoch in range(state.step // steps_per_epoch, run.epochs):
        step_of_epoch = state.step % steps_per_epoch
        batches = iter(data.training(epoch, step_of_epoch * run.accumulate))
        for _ in range(step_of_epoch, steps_per_epoch):
            asked = time.perf_counter()
            parts = list(islice(batches, run.accumulate))
            waited += time.perf_counter() - asked
            clips = [clip for part in parts for clip in part.clip_ids]
            factor = learning_rate_factor(run, state.step, epoch, total_steps)
            taken = agreed(world, [stabilizer.sound(stage.inputs(part), part.clip_ids, state.step) for part in parts])
            works: dict[int, Any] = {}  # what the players share
            for player in stage.players if taken else ():
                if state.step < player.from_step:
                    continue
                optimizer = optimizers[player.name]
                optimizer.zero_grad(set_to_none=True)
                said: dict[str, float] = {}  # the losses, means over the parts
                for number, part in enumerate(parts):
                    draw = Draw(run.seed, epoch, part.indices)
                    with run.autocast(device):
                        work = works.get(number) or stage.prepare(part.to(device), draw, state.step)
                    if len(parts) == 1:  # several would have to be kept in memory: each player computes its own
                        works[number] = work
                    last = number + 1 == len(parts)
                    with alone(player, stage.players), world.apart(losses_of[player.name], not last):
                        with run.autocast(device):
                            losses = losses_of[player.name](work)
                        sound = stabilizer.sound({**work.watched, **losses}, part.clip_ids, state.step)
                        taken = agreed(world, [sound])
                        if not taken:
                            break
                        (losses["total"] / len(parts)).backward()
                    for name, loss in losses.items():
                        name = f"{player.name}.{name}"
                        said[name] = said.get(name, 0.0) + float(loss.detach()) / len(parts)
                if not taken:
                    break
                norms = {name: gradient_norm(together) for name, together in player.clipped.items()}
                broken = [norm for norm in norms.values() if not torch.isfinite(norm)]
                if broken:  # in all processes, since they share their gradients
                    name = first_broken_gradient(stage.modules) or f"all of {player.name} together"
                    taken = stabilizer.sound({f"the gradient of {name}": broken[0]}, clips, state.step)
                    break
                for name, together in player.clipped.items():
                    nn.utils.clip_grads_with_norm_(together, player.clip_norm_at(state.step), norms[name])
                for group, rate in zip(optimizer.param_groups, base_rates[player.name], strict=True):
                    group["lr"] = rate * factor
                optimizer.step()
                sums.add(said | {f"{player.name}.{name}": float(norm) for name, norm in norms.items()})
                if stabilizer.spiked(player.name, said[f"{player.name}.total"], clips, state.step):
                    log.write("spike", state.step + 1, said)
            if taken:
                stabilizer.step_done()
                ema.update(stage.modules)
            else:
                stabilizer.skip(state.step, clips)
            state.step += 1
            bar.update()
            if state.step % run.log_steps == 0:
                rates = {
                    f"learning_rate.{group.get('name', name)}": group["lr"]
                    for name, optimizer in optimizers.items()
                    for group in optimizer.param_groups
                }
                row = log.write("train", state.step, sums.means(world) | rates)
                bar.set_postfix({k.split(".")[0]: f"{v:.3f}" for k, v in row.items() if k.endswith(".total")})
            epoch_ends = state.step % steps_per_epoch == 0
            if state.step % run.checkpoint_steps == 0 and not epoch_ends:  # an epoch's end saves anyway
                state.save(log)
        last_epoch = epoch + 1 == run.epochs
        if last_epoch or (epoch + 1) % run.validate_epochs == 0:
            scores = validate(stage, data, ema, run, device, world, log, state.step)
            log.write("validate", state.step, scores)
            score = scores[stage.best_by]
            if math.isfinite(score) and (state.best is None or score < state.best):
                state.best = score
                state.export("best", state.weights() | ema.average)
        if run.keep_epochs and (epoch + 1) % run.keep_epochs == 0:
            state.kept |= {file.name for file in state.export(f"{epoch + 1:06d}", state.weights())}
        state.save(log)

    bar.close()
    log.close()
    seconds = max(time.perf_counter() - began, 1e-9)
    share, speed = waited / seconds, (state.step - first_step) / seconds
    return Result(run.folder, state.step, state.best, stabilizer.skipped, stabilizer.spikes, share, speed, log.rows)


@torch.no_grad()
def validate(
    stage: Stage,
    data: Data,
    ema: Ema,
    run: RunConfig,
    device: torch.device,
    world: World,
    log: Log,
    step: int,
) -> dict[str, float]:
    """Mean measures of the averaged weights over the validation batches, each sample with noise of its own.

    The first batch is shown in TensorBoard.
    """
    sums = Sums()
    for name in stage.averaged:
        world.same(ema.average[name])  # statistics that each process gathered for itself
    for module in stage.modules.values():
        module.eval()
    with swapped(stage.modules, ema), run.autocast(device):
        for number, batch in enumerate(data.validation()):
            draw = Draw(run.seed, -1, batch.indices)
            sums.add(stage.validate(batch.to(device), draw), weight=len(batch))
            if number == 0 and world.first:
                log.show(stage.show(batch.to(device), draw), step)
    for module in stage.modules.values():
        module.train()
    scores = sums.means(world)
    need(
        stage.best_by in scores,
        "there is nothing to validate on",
        why="the validation split gave no batch, so no best weights can be chosen",
        fix="name a validation split with at least one clip",
    )
    return scores


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def agreed(world: World, sound: list[bool]) -> bool:
    """Whether everything is sound in all processes: a step is taken by all or by none."""
    return not world.any(not all(sound))


class LossModule(nn.Module):
    """A player's loss as a module, which is what PyTorch's engine can run in many processes."""

    def __init__(self, player: Player):
        super().__init__()
        self.player = player
        self.trained = nn.ParameterList(player.parameters)

    def forward(self, work: Any) -> dict[str, Tensor]:
        return self.player.loss(work)


@contextmanager
def alone(player: Player, players: Sequence[Player]) -> Iterator[None]:
    """Inside the ``with`` block only this player's parameters get gradients: the others are not to move."""
    resting = [p for other in players if other is not player for p in other.parameters]
    for parameter in resting:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in resting:
            parameter.requires_grad_(True)
