"""The training loop, on a stage small enough to know the answer."""

import json
import logging

import numpy as np
import pytest
import torch
from lines import Line, train
from torch import nn

from binaural_core import checkpoint
from binaural_core.errors import InputError
from binaural_core.training.distributed import ALONE
from binaural_core.training.ema import Ema, swapped
from binaural_core.training.log import add_stereo
from binaural_core.training.run import RunConfig, learning_rate_factor
from binaural_core.training.stabilizer import Stabilizer, culprits
from binaural_core.training.state import Sums, differences


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
        result = train(tmp_path, stage := Line(poison_at={2}), epochs=1)
    assert result.skipped == 1
    assert "step 2 skipped: total is not finite (clips clip" in caplog.text
    assert all(torch.isfinite(p).all() for p in stage.modules["net"].parameters())


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


def test_what_is_not_finite_is_named_with_its_clip(tmp_path, caplog):
    class Poisoned(Line):
        def inputs(self, batch):
            return {"x": batch.x.masked_fill(torch.tensor([[i == 7] for i in batch.indices]), torch.inf)}

    with caplog.at_level(logging.WARNING):
        result = train(tmp_path, Poisoned(), epochs=3)
    assert result.skipped == 3  # once in every epoch
    assert caplog.text.count("x is not finite (clips clip7)") == 3


def test_a_gradient_that_is_not_finite_is_named_by_its_parameter(tmp_path, caplog):
    class Steep(Line):
        def loss(self, work):
            out = super().loss(work)
            root = (self.modules["net"].bias * 0).sqrt().sum()  # 0 with a gradient of infinity times 0
            return {"total": out["total"] + (root if work.step == 1 else 0)}

    with caplog.at_level(logging.WARNING):
        result = train(tmp_path, Steep(), epochs=1)
    assert "step 1 skipped: the gradient of net.bias is not finite" in caplog.text
    assert result.skipped == 1
    assert torch.isfinite(checkpoint.load(tmp_path / "line" / "net_latest.pth")["bias"]).all()


def test_a_spike_is_written_down_and_the_step_is_taken(tmp_path, caplog):
    class Spiky(Line):
        def loss(self, work):
            return {"total": super().loss(work)["total"] * (1000 if work.step == 30 else 1)}

    with caplog.at_level(logging.WARNING):
        result = train(tmp_path, Spiky(), epochs=8)
    spikes = [row for row in result.rows if row["kind"] == "spike"]
    assert [row["step"] for row in spikes] == [31]
    assert result.spikes == 1
    assert result.skipped == 0
    assert "step 30: the loss of first is" in caplog.text


def test_what_is_usual_takes_some_losses_to_be_known_and_spikes_leave_it_alone():
    stabilizer = Stabilizer(patience=3, spike=4.0)
    assert not any(stabilizer.spiked("p", 1.0 if i else 100.0, [], i) for i in range(20))
    stabilizer = Stabilizer(patience=3, spike=4.0)
    assert not any(stabilizer.spiked("p", 1.0, [], i) for i in range(20))
    assert stabilizer.spiked("p", 4.1, [], 20)
    assert stabilizer.usual["p"] == (pytest.approx(1.0), 20)
    assert not stabilizer.spiked("p", 3.9, [], 21)


def test_culprits_are_the_clips_of_the_broken_rows():
    value = torch.zeros(3, 2)
    value[1, 0] = torch.nan
    assert culprits(value, ["a", "b", "c"]) == ["b"]
    assert culprits(value.sum(dim=1), ["a", "b", "c"]) == ["b"]
    assert culprits(value.sum(), ["a", "b", "a"]) == ["a", "b"]


def test_accumulated_batches_give_the_step_of_one_large_batch(tmp_path):
    large = train(tmp_path / "a", batch_size=4, count=16, epochs=6)
    small = train(tmp_path / "b", batch_size=2, accumulate=2, count=16, epochs=6)
    assert large.steps == small.steps == 24
    for name in ("net", "other"):
        a, b = (checkpoint.load(tmp_path / x / "line" / f"{name}_latest.pth")["weight"] for x in "ab")
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_a_run_goes_on_with_smaller_batches_only_if_a_step_sees_as_many_samples(tmp_path):
    train(tmp_path, batch_size=4, count=16, epochs=2)
    assert train(tmp_path, batch_size=2, accumulate=2, count=16, epochs=4).steps == 16
    with pytest.raises(InputError, match="samples per step, 4 then and 2 now"):
        train(tmp_path, batch_size=2, count=16, epochs=4)


def test_a_player_that_rests_gets_no_gradient_and_wakes_up_again(tmp_path):
    stage = Line()
    train(tmp_path, stage, epochs=2)
    assert all(p.requires_grad for module in stage.modules.values() for p in module.parameters())
    alone = Line()
    alone.players = alone.players[:1]
    train(tmp_path / "alone", alone, epochs=2)  # the second player's loss goes through the first's network
    a, b = (checkpoint.load(tmp_path / x / "line" / "net_latest.pth")["weight"] for x in ("", "alone"))
    assert torch.equal(a, b)


def test_what_is_logged_of_accumulated_batches_is_their_mean(tmp_path):
    large = train(tmp_path / "a", batch_size=4, count=16, epochs=2).rows
    small = train(tmp_path / "b", batch_size=2, accumulate=2, count=16, epochs=2).rows
    losses = [[row["first.total"] for row in rows if row["kind"] == "train"] for rows in (large, small)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_validation_that_is_not_finite_is_never_the_best(tmp_path):
    class Blind(Line):
        seen_validations = 0

        def validate(self, batch, draw):
            self.seen_validations += 1
            return {"error": float("nan")} if self.seen_validations == 1 else super().validate(batch, draw)

    result = train(tmp_path, Blind(), epochs=8)
    scores = [row["error"] for row in result.rows if row["kind"] == "validate"]
    assert scores[0] is None
    assert result.best == min(scores[1:])


def test_tensorboard_keeps_the_last_saved_step_after_a_resume(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, epochs=2)
    train(tmp_path, epochs=4)
    events = EventAccumulator(str(tmp_path / "line" / "runs"))
    events.Reload()
    assert [event.step for event in events.Scalars("validate/error")] == [10, 20]
    assert [event.step for event in events.Scalars("train/first.total")] == list(range(1, 21))


def test_learning_rates_are_logged(tmp_path):
    rows = train(tmp_path, epochs=1, warmup_steps=5).rows
    assert [row["learning_rate.first"] for row in rows if row["kind"] == "train"] == pytest.approx(
        [0.01, 0.02, 0.03, 0.04, 0.05]
    )


def test_a_measure_that_is_not_defined_for_all_brings_its_own_weight():
    sums = Sums()
    sums.add({"a": 1.0, "b": (4.0, 1.0)}, weight=3)
    sums.add({"a": 2.0, "b": (2.0, 2.0)}, weight=1)
    assert sums.means(ALONE) == {"a": pytest.approx(1.25), "b": pytest.approx(8 / 3)}


def test_while_a_player_moves_the_others_parameters_ask_for_no_gradient(tmp_path):
    """Else they would be computed for nothing, and the engine of many processes would wait for them."""

    class Watched(Line):
        asked = frozenset()

        def loss(self, work):
            other = [p.requires_grad for p in self.modules["other"].parameters()]
            self.asked |= {(*other, *(p.requires_grad for p in self.modules["net"].parameters()))}
            return super().loss(work)

    stage = Watched()
    train(tmp_path, stage, epochs=1)
    assert stage.asked == {(False, False, True, True)}


def test_sounds_for_tensorboard_have_both_channels():
    from types import SimpleNamespace

    written = []
    board = SimpleNamespace(file_writer=SimpleNamespace(add_summary=lambda summary, step: written.append(summary)))
    add_stereo(board, "ears", np.zeros((2, 100)), 22_050, 7)
    (value,) = written[0].value
    assert (value.tag, value.audio.num_channels, value.audio.length_frames) == ("ears", 2, 100)
