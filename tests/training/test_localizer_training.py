"""The localiser's training at toy size: targets that the peaks give back, losses by hand, resume, and many processes."""

import math

import numpy as np
import pytest
import torch

from binaural_core import InputError, cli
from binaural_core.data.catalog import DatasetConfig
from binaural_core.data.pictures import VariedConfig
from binaural_core.data.rendered import RenderedConfig
from binaural_core.models.localizer import Localizer, LocalizerConfig, Maps, peaks
from binaural_core.places import CONFIGS
from binaural_core.scene.casting import SceneConfig
from binaural_core.training import localizer
from binaural_core.training.distributed import World
from binaural_core.training.localizer import LocalizerTraining, PictureData, losses, matched, seen_clips, targets
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Draw

NAN = math.nan
MODEL = LocalizerConfig(width=4, side_px=64)
BOXES = torch.tensor(
    [
        [[0.1, 0.2, 0.3, 0.8], [0.62, 0.3, 0.72, 0.9], [NAN] * 4],
        [[-0.1, 0.0, 0.3, 1.0], [NAN] * 4, [NAN] * 4],
        [[NAN] * 4] * 3,
    ]
)


def one(folder, **run) -> LocalizerTraining:
    toy = {"epochs": 2, "batch_size": 4, "log_steps": 1, "checkpoint_steps": 3, "validate_epochs": 1}
    return LocalizerTraining(
        dataset=DatasetConfig(
            scenes={"train": 10, "val": 4},
            rendered=RenderedConfig(
                scene=SceneConfig(duration_s=1.0, h_fov_deg=(70.0, 110.0)), width_px=64, height_px=36
            ),
        ),
        model=MODEL,
        pictures_px=(64, 48),
        run=RunConfig(id="localizer", checkpoints=str(folder), precision="fp32", device="cpu", **(toy | run)),
    )


def perfect(truth) -> Maps:
    """The maps that a network without error would give."""
    return Maps(torch.where(truth.heat_BHW == 1, 30.0, -30.0), truth.shift_B2HW, truth.size_B2HW)


def test_peaks_of_the_targets_are_the_boxes():
    for (boxes, scores), true in zip(peaks(perfect(targets(BOXES, (36, 64))), MODEL), BOXES, strict=True):
        true = true[true.isfinite().all(dim=1)]
        order = boxes[:, 0].argsort()
        torch.testing.assert_close(boxes[order].float(), true, atol=1e-5, rtol=0)
        torch.testing.assert_close(scores.float(), torch.ones(len(true)))


def test_the_cells_around_a_middle_point_at_it():
    truth = targets(BOXES[:1, :1], (36, 64))
    heat = truth.heat_BHW[0]
    assert heat.argmax() == 18 * 64 + 12  # the middle (0.2, 0.5) of 64 x 36 cells lies at (12.8, 18.0)
    torch.testing.assert_close(truth.shift_B2HW[0, :, 18, 12], torch.tensor([0.3, -0.5]), atol=1e-5, rtol=0)
    torch.testing.assert_close(truth.shift_B2HW[0, :, 19, 11], torch.tensor([1.3, -1.5]), atol=1e-5, rtol=0)
    assert float(truth.weight_BHW[0, 18, 12]) == 1
    assert float(truth.weight_BHW[0, 0, 0]) == 0
    spread = 0.5 + 0.06 * 0.2 * 64
    assert float(heat[18, 13]) == pytest.approx(math.exp(-1 / (2 * spread**2)))
    assert truth.objects_B.tolist() == [1]


def test_where_objects_overlap_the_nearer_one_is_learned():
    pair = torch.tensor([[[0.2, 0.2, 0.4, 0.8], [0.25, 0.2, 0.45, 0.8]]])
    truth = targets(pair, (36, 64))
    assert float(truth.shift_B2HW[0, 0, 18, 19]) == pytest.approx(0.3 * 64 - 19.5, abs=1e-4)
    assert float(truth.shift_B2HW[0, 0, 18, 22]) == pytest.approx(0.35 * 64 - 22.5, abs=1e-4)


def test_the_losses_are_those_of_the_paper():
    truth = targets(BOXES[:1, :1], (2, 2))  # one object in the cell (1, 0): 0.4 cells from its left, 0 from its top
    maps = Maps(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2))
    heat, shift, size = losses(maps, truth)
    y = truth.heat_BHW[0].flatten()
    focal = [0.25 * math.log(0.5) if v == 1 else (1 - v) ** 4 * 0.25 * math.log(0.5) for v in y.tolist()]
    assert float(heat) == pytest.approx(-sum(focal), rel=1e-5)
    counted = truth.weight_BHW[0]
    off = (truth.shift_B2HW[0].abs().sum(0) * counted).sum() / counted.sum().clamp(min=1)
    assert float(shift) == pytest.approx(float(off), rel=1e-5)
    assert float(size) > 0


def test_a_perfect_network_has_no_loss_and_an_empty_picture_a_finite_one():
    for loss in losses(perfect(targets(BOXES, (36, 64))), targets(BOXES, (36, 64))):
        assert float(loss) == pytest.approx(0, abs=1e-6)
    nothing = targets(torch.full((1, 3, 4), NAN), (9, 16))
    heat, shift, size = losses(Maps(torch.zeros(1, 9, 16), torch.zeros(1, 2, 9, 16), torch.zeros(1, 2, 9, 16)), nothing)
    assert float(heat) == pytest.approx(-9 * 16 * 0.25 * math.log(0.5), rel=1e-5)
    assert float(shift) == float(size) == 0


def test_the_loss_of_a_batch_is_the_mean_of_its_pictures():
    """So that many processes, each with its share, take the step of one with all of it."""
    generator = torch.Generator().manual_seed(0)
    maps = Maps(*(torch.randn(shape, generator=generator) for shape in ((3, 9, 16), (3, 2, 9, 16), (3, 2, 9, 16))))
    together = torch.stack(losses(maps, targets(BOXES, (9, 16))))
    apart = [
        torch.stack(losses(Maps(*(m[i : i + 1] for m in maps)), targets(BOXES[i : i + 1], (9, 16)))) for i in range(3)
    ]
    torch.testing.assert_close(together, torch.stack(apart).mean(dim=0))


def test_pairs_are_the_nearest_on_the_whole():
    assert matched(np.array([0.5, 0.1, 0.9]), np.array([0.12, 0.45])).tolist() == pytest.approx([0.05, 0.02])
    assert matched(np.zeros(0), np.array([0.5])).tolist() == []


def test_a_share_of_the_scenes_has_its_sources_all_around(tmp_path):
    config = one(tmp_path).replace(**{"dataset.scenes": {"train": 40, "val": 2}, "all_around": 0.25})
    found = seen_clips(config, "train")
    assert len({clip.scene.seed for clip in found}) == 40
    reach_deg = [np.abs(c.scene.positions([0.0])[..., 0]).max() - c.scene.camera.h_fov_deg / 2 for c in found]
    assert max(reach_deg[:30]) < 0
    assert sum(reach > 0 for reach in reach_deg[30:]) >= 5
    assert len(seen_clips(config.replace(all_around=0.0), "train")) == 40


class Stop(Exception):
    pass


def test_training_leaves_its_files_and_resumes_to_the_last_digit(tmp_path, monkeypatch):
    _, unbroken = localizer.train(one(tmp_path / "a"), progress=False)
    names = {path.name for path in unbroken.folder.iterdir()}
    assert {"localizer_latest.pth", "localizer_best.pth", "config.yaml", "state_latest.pt"} <= names
    assert {"loss", "false_peaks", "missed"} <= set(unbroken.rows[-1])
    assert LocalizerTraining.load(unbroken.folder / "config.yaml") == one(tmp_path / "a")
    assert Localizer.from_folder(unbroken.folder).config == MODEL
    real = localizer.LocalizerStage.prepare

    def killed(self, batch, draw, step):
        if step == 7:
            raise Stop
        return real(self, batch, draw, step)

    monkeypatch.setattr(localizer.LocalizerStage, "prepare", killed)
    with pytest.raises(Stop):
        localizer.train(one(tmp_path / "b"), progress=False)
    monkeypatch.setattr(localizer.LocalizerStage, "prepare", real)
    _, resumed = localizer.train(one(tmp_path / "b"), progress=False)
    assert resumed.steps == unbroken.steps == 10
    assert resumed.rows == unbroken.rows


def test_it_learns_where_things_are(tmp_path):
    """A few pictures, learned by heart: every object is found, nothing else is, and each where it is."""
    still = VariedConfig(
        zoom=(1.0, 1.0), stretch=0.0, mirror=0.0, colour=0.0, blur=0.0, coding=0.0, noise=0.0, nothing=0.0
    )
    config = one(tmp_path).replace(varied=still, **{"model.width": 8})
    stage, data = localizer.LocalizerStage(config), PictureData(config, progress=False)
    batch = next(iter(data.training(0, 0)))
    optimizer = torch.optim.Adam(stage.model.parameters(), lr=5e-3)
    draw = Draw(0, 0, batch.indices)
    for step in range(150):
        loss = stage.loss(stage.prepare(batch, draw, step))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        scores = stage.validate(batch, draw)
    assert scores["missed"][0] == scores["false_peaks"] == 0
    assert scores["error_across"][0] < 0.005


def test_many_processes_share_every_batch(tmp_path):
    config = one(tmp_path)
    whole = PictureData(config.replace(**{"run.batch_size": 4}), progress=False)
    halves = [PictureData(config.replace(**{"run.batch_size": 2}), World(rank, 2), progress=False) for rank in (0, 1)]
    assert whole.batches_per_epoch == halves[0].batches_per_epoch == 5
    for batch, one_half, other in zip(whole.training(3, 1), *(half.training(3, 1) for half in halves), strict=True):
        assert batch.indices == one_half.indices + other.indices
    seen = [index for half in halves for batch in half.validation() for index in batch.indices]
    assert sorted(seen) == list(range(8))


def test_the_command_reaches_the_config(monkeypatch):
    taken = []

    def train(config, world):
        taken.append(config)
        raise InputError("seen", why="enough", fix="none")

    monkeypatch.setattr(localizer, "train", train)
    assert (
        cli.main(
            ["train", "localizer", "--dataset", "scenes", "--ckpt", "c", "--id", "n", "--num_epoch", "7", "--lr", "0.1"]
        )
        == 2
    )
    assert (
        cli.main(["train", "localizer", "--dataset", "realbinaural", "--data_root", "d", "--set", "model.width=8"]) == 2
    )
    shipped = LocalizerTraining.load(CONFIGS / "localizer.yaml")
    changes = {"run.checkpoints": "c", "run.id": "n", "run.epochs": 7, "lr": 0.1}
    assert taken[0] == shipped.replace(**changes)
    assert (taken[1].dataset.kind, taken[1].dataset.root, taken[1].model.width) == ("realbinaural", "d", 8)


@pytest.mark.parametrize("changes", [{"pictures_px": (250, 144)}, {"pictures_per_clip": 0}, {"all_around": 1.5}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(InputError):
        LocalizerTraining(**changes)
