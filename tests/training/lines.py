"""A stage small enough to know the answer, and its data; importable by the processes that tests start."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from binaural_core import checkpoint
from binaural_core.seeds import numpy_stream, stream
from binaural_core.training.distributed import ALONE
from binaural_core.training.loop import fit
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Player, Shown


@dataclass
class Numbers:
    """A batch of numbers with what the loop asks of a batch."""

    x: torch.Tensor
    indices: tuple[int, ...]
    clip_ids: tuple[str, ...]

    def to(self, device):
        return self

    def __len__(self):
        return len(self.indices)


@dataclass
class Work:
    x: torch.Tensor
    y: torch.Tensor
    step: int
    watched: dict


class Line:
    """Learns y = 3 x from noisy points; two players, the second from step 4 on."""

    best_by, averaged = "error", ("net",)

    def __init__(self, poison_at=()):
        torch.manual_seed(0)
        self.modules = {"net": nn.Linear(1, 1), "other": nn.Linear(1, 1)}
        self.poison_at, self.exported, self.seen = poison_at, [], []
        self.players = (
            Player("first", [{"params": list(self.modules["net"].parameters()), "lr": 0.05}], self.loss, 5.0),
            Player(
                "second",
                [{"params": list(self.modules["other"].parameters()), "lr": 0.05}],
                lambda work: {"total": self.modules["other"](self.modules["net"](work.x)).square().mean()},
                5.0,
                from_step=4,
            ),
        )

    def inputs(self, batch):
        return {"x": batch.x}

    def prepare(self, batch, draw, step):
        self.seen.append(tuple(batch.indices))
        noise = torch.stack([torch.randn(1, generator=g) for g in draw("noise")])
        return Work(batch.x, 3 * batch.x + 0.1 * noise, step, {})

    def loss(self, work):
        bad = torch.nan if work.step in self.poison_at else 0.0
        return {"total": (self.modules["net"](work.x) - work.y).square().mean() + bad}

    def validate(self, batch, draw):
        return {"error": float((self.modules["net"](batch.x) - 3 * batch.x).abs().mean())}

    def show(self, batch, draw):
        return Shown()

    def export(self, folder, tag, weights, state):
        self.exported.append(tag)
        return [checkpoint.save(folder / f"{name}_{tag}.pth", values) for name, values in weights.items()]


class Points:
    """``count`` points an epoch in a random order; each process has its part of every batch."""

    def __init__(self, batch=2, world=ALONE, count=10):
        self.batch, self.world, self.count = batch * world.size, world, count
        self.batches_per_epoch = count // self.batch

    def training(self, epoch, start_batch):
        order = numpy_stream(1, "order", epoch).permutation(self.count)
        for b in range(start_batch, self.batches_per_epoch):
            whole = order[b * self.batch : (b + 1) * self.batch]
            index = tuple(int(i) for i in np.array_split(whole, self.world.size)[self.world.rank])
            x = torch.stack([torch.randn(1, generator=stream(1, "x", epoch, i)) for i in index])
            yield Numbers(x, index, tuple(f"clip{i}" for i in index))

    def validation(self):
        for at in self.world.share(range(0, 8, 2)):
            yield Numbers(torch.linspace(-1, 1, 8)[at : at + 2, None], (at, at + 1), ("v", "v"))


def run(folder, **changes):
    settings = {"log_steps": 1, "checkpoint_steps": 3, "validate_epochs": 2, "precision": "fp32", "device": "cpu"}
    settings |= {"epochs": 8, "batch_size": 2}
    return RunConfig(checkpoints=str(folder), id="line", **(settings | changes))


def train(folder, stage=None, world=ALONE, count=10, **changes):
    config = run(folder, **changes)
    data = Points(config.batch_size, world, count)
    return fit(stage or Line(), data, config, tree={"run": config.to_dict()}, world=world, progress=False)
