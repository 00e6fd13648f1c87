"""Several processes against one, on the CPU: the same data, the same steps, one writer, and a death that ends the job."""

import os
import signal
import time

import pytest
import torch
from lines import Line, train

from binaural_core import checkpoint
from binaural_core.data.catalog import DatasetConfig
from binaural_core.data.config import DataConfig
from binaural_core.data.rendered import RenderedConfig
from binaural_core.errors import InputError
from binaural_core.models.diffbinaural import DiffBinauralConfig
from binaural_core.models.unet import UNetConfig
from binaural_core.models.visual import VisualConfig
from binaural_core.scene.casting import SceneConfig
from binaural_core.training import stage1
from binaural_core.training.distributed import ALONE, World, launch
from binaural_core.training.run import RunConfig


def learn(folder, world):
    """What each process trained on and wrote, from all of them."""
    stage = Line(poison_at={6} if world.rank == 1 else ())
    result = train(folder, stage, world, count=16, epochs=4)
    everybody = world.gathered({"seen": stage.seen, "exported": stage.exported, "skipped": result.skipped})
    weights = {name: module.state_dict() for name, module in stage.modules.items()}
    return {"result": result, "all": everybody, "weights": world.gathered(weights)}


class Mortal(Line):
    """One of its processes dies before a step."""

    def __init__(self, rank, dies_at):
        super().__init__()
        self.rank, self.dies_at = rank, dies_at

    def prepare(self, batch, draw, step):
        if self.rank == 1 and step == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().prepare(batch, draw, step)


def live(folder, dies_at, world):
    return train(folder, Mortal(world.rank, dies_at), world, count=16, epochs=4).rows


def mistake(world):
    if world.rank == 1:
        raise InputError("the second process was given soup", why="it eats numbers", fix="give it numbers")
    time.sleep(60)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return launch(learn, str(folder), processes=2) | {"folder": folder / "line"}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One process with the joint batch."""
    folder = tmp_path_factory.mktemp("one")
    stage = Line(poison_at={6})
    return {"result": train(folder, stage, batch_size=4, count=16, epochs=4), "stage": stage, "folder": folder / "line"}


def test_two_processes_take_the_steps_of_one_with_the_joint_batch(one, two):
    for name, module in one["stage"].modules.items():
        for rank in (0, 1):
            for key, value in module.state_dict().items():
                torch.testing.assert_close(two["weights"][rank][name][key], value, atol=1e-5, rtol=1e-5)
    rows = [r["first.total"] for r in one["result"].rows if r["kind"] == "train" and "first.total" in r]
    also = [r["first.total"] for r in two["result"].rows if r["kind"] == "train" and "first.total" in r]
    assert len(rows) == 15
    assert also == pytest.approx(rows, abs=1e-5)
    scores = [[r["error"] for r in which["result"].rows if r["kind"] == "validate"] for which in (one, two)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)


def test_every_sample_is_seen_once_in_an_epoch(two):
    for epoch in range(4):
        seen = [i for process in two["all"] for batch in dict.fromkeys(process["seen"][epoch * 4 :][:4]) for i in batch]
        assert sorted(seen) == list(range(16))


def test_a_step_is_skipped_by_all_when_one_process_meets_nan(two):
    assert [process["skipped"] for process in two["all"]] == [1, 1]


def test_only_the_first_process_writes(two):
    assert {"latest", "best"} <= set(two["all"][0]["exported"])
    assert two["all"][1]["exported"] == []
    assert len(list((two["folder"] / "runs").iterdir())) == 1


def small_stage1(folder, **run) -> stage1.Stage1Config:
    scene = SceneConfig(duration_s=1.2, reverberant=0.0)
    return stage1.Stage1Config(
        dataset=DatasetConfig(
            scenes={"train": 8, "val": 3}, rendered=RenderedConfig(scene=scene, width_px=96, height_px=54)
        ),
        data=DataConfig(window_frames=32, frames_per_window=2, objects=2, crop_px=16),
        model=DiffBinauralConfig(
            unet=UNetConfig(dim=8, mults=(1, 2), context_dim=16, condition_dim=16),
            visual=VisualConfig(width=4, object_dim=16, context_dim=16),
        ),
        run=RunConfig(id="one", checkpoints=str(folder), epochs=2, log_steps=1, precision="fp32", device="cpu", **run),
        lr_unet=1e-3,
        hide_pixels=0.6,  # in some batches of one process nobody is pictured, and the encoder has no gradient
    )


def test_stage_1_in_two_processes_equals_one_with_the_joint_batch(tmp_path):
    two = launch(stage1.run, small_stage1(tmp_path / "two", batch_size=1), processes=2)
    one = stage1.run(small_stage1(tmp_path / "one", batch_size=2))
    assert (one.steps, two.steps) == (8, 8)
    losses = [[row["stage1.total"] for row in found.rows if row["kind"] == "train"] for found in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    a, b = (checkpoint.load(tmp_path / which / "one" / "state_latest.pt") for which in ("one", "two"))
    for index, moments in a["optimizers"]["stage1"]["state"].items():
        gradients = b["optimizers"]["stage1"]["state"][index]["exp_avg"]  # their mean over the last steps
        torch.testing.assert_close(gradients, moments["exp_avg"], atol=1e-5, rtol=0)
    for name, weights in a["weights"].items():
        for key, value in weights.items():  # Adam makes steps of one size from gradients of any size
            torch.testing.assert_close(b["weights"][name][key], value, atol=1e-4, rtol=0)


def test_a_killed_process_ends_the_job_with_a_message_and_the_job_resumes(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    began = time.perf_counter()
    with pytest.raises(InputError, match=r"process 1 of 2 was killed by SIGKILL.*start the same command again"):
        launch(live, str(tmp_path), 10, processes=2)
    assert time.perf_counter() - began < 60, "the job waited for the dead"
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint.load(tmp_path / "line" / "state_latest.pt")["step"] == 9
    rows = launch(live, str(tmp_path), -1, processes=2)
    unbroken = train(tmp_path / "unbroken", batch_size=4, count=16, epochs=4).rows
    assert [r["step"] for r in rows] == [r["step"] for r in unbroken]
    assert rows[-1]["error"] == pytest.approx(unbroken[-1]["error"], abs=1e-5)


def test_a_mistake_in_one_process_is_told_in_the_parents_words():
    said = r"the second process was given soup\. It eats numbers\. To fix: give it numbers"
    with pytest.raises(InputError, match=said):
        launch(mistake, processes=2)


def test_alone_there_is_nobody_to_ask():
    assert ALONE.first
    assert ALONE.share([1, 2, 3]) == [1, 2, 3]
    assert ALONE.gathered("x") == ["x"]
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert launch(lambda word, world: (word, world), "here", processes=1) == ("here", ALONE)


def test_shares_are_disjoint_and_whole():
    shares = [World(rank, 3).share(range(10)) for rank in range(3)]
    assert sorted(i for share in shares for i in share) == list(range(10))
