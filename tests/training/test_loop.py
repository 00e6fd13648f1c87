"""The training loop, on a stage small enough to know the answer."""

import json
import logging
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from binaural_core import checkpoint
from binaural_core.errors import InputError
from binaural_core.seeds import stream
from binaural_core.training.ema import Ema, swapped
from binaural_core.training.loop import fit
from binaural_core.training.run import RunConfig, learning_rate_factor
from binaural_core.training.stage import Player, Shown
from binaural_core.training.state import differences


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
        self.poison_at, self.exported = poison_at, []
        self.players = (
            Player("first", [{"params": list(self.modules["net"].parameters()), "lr": 0.05}], self.loss, 5.0),
            Player(
                "second",
                [{"params": list(self.modules["other"].parameters()), "lr": 0.05}],
                lambda work: {"total": self.modules["other"](work.x).square().mean()},
                5.0,
                from_step=4,
            ),
        )

    def inputs(self, batch):
        return {"x": batch.x}

    def prepare(self, batch, draw, step):
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
    batches_per_epoch = 5

    def training(self, epoch, start_batch):
        for b in range(start_batch, self.batches_per_epoch):
            index = tuple(range(b * 2, b * 2 + 2))
            x = torch.stack([torch.randn(1, generator=stream(1, "x", epoch, i)) for i in index])
            yield Numbers(x, index, tuple(f"clip{i}" for i in index))

    def validation(self):
        yield Numbers(torch.linspace(-1, 1, 8)[:, None], tuple(range(8)), ("v",) * 8)


def run(folder, **changes):
    settings = {"log_steps": 1, "checkpoint_steps": 3, "validate_epochs": 2, "precision": "fp32", "device": "cpu"}
    return RunConfig(checkpoints=str(folder), id="line", **(settings | {"epochs": 8} | changes))


def train(folder, stage=None, **changes):
    config = run(folder, **changes)
    return fit(stage or Line(), Points(), config, tree={"run": config.to_dict()}, progress=False)


class Stop(Exception):
    pass


def test_it_learns_and_leaves_the_documented_files(tmp_path):
    result = train(tmp_path, epochs=60, keep_epochs=30)
    assert result.best < 0.05
    folder = tmp_path / "line"
    names = {p.name for p in folder.iterdir() if p.is_file()}
    assert {"net_latest.pth", "net_best.pth", "net_000030.pth", "state_latest.pt"} <= names
    assert {"training_history.json"} <= names
    assert (folder / "runs").is_dir()
    rows = json.loads((folder / "training_history.json").read_text())["rows"]
    assert rows[-1]["kind"] == "validate"
    assert rows[-1]["error"] < rows[5 * 2]["error"] / 3  # the first validation comes after two epochs


@pytest.mark.parametrize("log_steps", [1, 4])
@pytest.mark.parametrize("stop_at", [1, 3, 7, 15, 39])
def test_a_run_stopped_at_any_step_and_resumed_equals_the_unbroken_run(tmp_path, stop_at, log_steps):
    unbroken = train(tmp_path / "a", log_steps=log_steps).rows

    class Killed(Line):
        def loss(self, work):
            if work.step == stop_at:
                raise Stop
            return super().loss(work)

    with pytest.raises(Stop):
        train(tmp_path / "b", Killed(), log_steps=log_steps)
    resumed = train(tmp_path / "b", log_steps=log_steps).rows
    assert resumed == unbroken  # to the last digit
    a, b = (checkpoint.load(tmp_path / x / "line" / "net_best.pth") for x in "ab")
    assert torch.equal(a["weight"], b["weight"])


def test_weights_of_a_killed_save_are_written_again(tmp_path):
    train(tmp_path, epochs=4)
    weights = tmp_path / "line" / "net_latest.pth"
    right = checkpoint.load(weights)["weight"]
    checkpoint.save(weights, {"weight": right + 1, "bias": torch.zeros(1)})  # a pair that the state does not know
    train(tmp_path, epochs=4)
    assert torch.equal(checkpoint.load(weights)["weight"], right)


def test_another_config_is_refused_but_more_epochs_are_not(tmp_path):
    train(tmp_path, epochs=2)
    with pytest.raises(InputError, match=r"run of another config \(run.seed differ\)"):
        train(tmp_path, epochs=2, seed=1)
    assert train(tmp_path, epochs=3).steps == 15


def test_a_step_with_nan_is_named_skipped_and_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        result = train(tmp_path, Line(poison_at={2}), epochs=1)
    assert result.skipped == 1
    assert "step 2 skipped: total is not finite (clips clip4, clip5)" in caplog.text
    assert all(torch.isfinite(p).all() for p in Line().modules["net"].parameters())


def test_too_many_skipped_steps_in_a_row_stop_the_training(tmp_path):
    with pytest.raises(InputError, match="training stopped at step 4: something was not finite 3 steps in a row"):
        train(tmp_path, Line(poison_at={2, 3, 4, 5}), patience=3)


def test_a_player_sits_out_until_its_step(tmp_path):
    rows = train(tmp_path, epochs=1).rows
    assert ["second.total" in row for row in rows if row["kind"] == "train"] == [False] * 4 + [True]


def test_learning_rate_warms_up_decays_and_cools_down():
    config = RunConfig(warmup_steps=10, decay_factor=0.5, decay_epochs=2)
    assert learning_rate_factor(config, 0, 0, 100) == pytest.approx(0.1)
    assert learning_rate_factor(config, 50, 5, 100) == pytest.approx(0.25)
    cooling = RunConfig(cool_down=True, decay_epochs=0)
    assert learning_rate_factor(cooling, 50, 0, 100) == pytest.approx(0.5)
    falling = RunConfig(decay_per_step=0.9, decay_epochs=0)
    assert learning_rate_factor(falling, 2, 0, 9) == pytest.approx(0.81)


def test_the_average_follows_the_weights_and_is_lent_only_for_a_while():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 0.0)
    ema = Ema({"net": net}, decay=0.5)
    nn.init.constant_(net.weight, 1.0)
    ema.update({"net": net})  # decay min(.5, 2/11)
    assert float(ema.average["net"]["weight"]) == pytest.approx(1 - 2 / 11)
    with swapped({"net": net}, ema):
        assert net.weight.item() == pytest.approx(1 - 2 / 11)
    assert net.weight.item() == 1.0


def test_differences_name_the_setting():
    assert differences({"model": {"dim": 1}, "run": {"epochs": 1}}, {"model": {"dim": 2}, "run": {"epochs": 2}}) == {
        "model.dim"
    }
