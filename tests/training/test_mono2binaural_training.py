"""The baseline's training at toy size: what it is compared with, resume, mirrored windows, and settings that fit together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from binaural_core import InputError, cli
from binaural_core.data import augment
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.crops import IMAGENET_DEVIATION_3, IMAGENET_MEAN_3
from binaural_core.data.loading import cut
from binaural_core.data.rendered import RenderedConfig
from binaural_core.data.sample import collate
from binaural_core.models.mono2binaural import Mono2Binaural, Mono2BinauralConfig
from binaural_core.places import CONFIGS
from binaural_core.scene.casting import SceneConfig
from binaural_core.training import mono2binaural
from binaural_core.training.mono2binaural import Mono2BinauralStage, Mono2BinauralTraining
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Draw
from binaural_core.training.stage1 import WindowData

SEES = {
    "frame": {"objects": 1, "whole_frame": "always"},
    "positions": {"objects": 2, "whole_frame": "never"},
    "both": {"objects": 3, "whole_frame": "always"},
}


def one(folder, sight: str = "frame", **run) -> Mono2BinauralTraining:
    toy = {"epochs": 2, "batch_size": 2, "log_steps": 1, "checkpoint_steps": 1, "validate_epochs": 2}
    return Mono2BinauralTraining(
        dataset=DatasetConfig(
            scenes={"train": 6, "val": 2},
            rendered=RenderedConfig(scene=SceneConfig(duration_s=1.0, reverberant=0.0), width_px=64, height_px=36),
        ),
        data=DataConfig(window_frames=63, frames_per_window=1, crop_px=32, crop_width_px=64, **SEES[sight]),
        model=Mono2BinauralConfig(
            width=4, encoder="small", encoder_width=4, picture_px=(64, 32), sight=sight, places_dim=8
        ),
        run=RunConfig(id="m2b", checkpoints=str(folder), precision="fp32", device="cpu", **(toy | run)),
        lr_audio=0.01,
    )


def a_batch(config: Mono2BinauralTraining):
    data = WindowData(config)
    return next(iter(data.validation()))


class Stop(Exception):
    pass


def test_training_leaves_its_files_and_resumes_to_the_last_digit(tmp_path, monkeypatch):
    _, unbroken = mono2binaural.train(one(tmp_path / "a"), progress=False)
    names = {path.name for path in unbroken.folder.iterdir()}
    assert {"mono2binaural_latest.pth", "mono2binaural_best.pth", "config.yaml", "state_latest.pt", "runs"} <= names
    assert {"difference_mse", "mono_copy_mse", "part_of_mono_copy"} <= set(unbroken.rows[-1])
    assert Mono2BinauralTraining.load(unbroken.folder / "config.yaml") == one(tmp_path / "a")
    assert Mono2Binaural.from_folder(unbroken.folder).config == one(tmp_path).model
    real = Mono2BinauralStage.prepare

    def killed(self, batch, draw, step):
        if step == 4 and draw.epoch >= 0:
            raise Stop
        return real(self, batch, draw, step)

    monkeypatch.setattr(Mono2BinauralStage, "prepare", killed)
    with pytest.raises(Stop):
        mono2binaural.train(one(tmp_path / "b"), progress=False)
    monkeypatch.setattr(Mono2BinauralStage, "prepare", real)
    _, resumed = mono2binaural.train(one(tmp_path / "b"), progress=False)
    assert resumed.steps == unbroken.steps == 6
    assert resumed.rows == unbroken.rows
    ends = [Mono2Binaural.from_folder(tmp_path / way / "m2b", "latest").state_dict() for way in ("a", "b")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("sight", SEES)
def test_the_loss_of_one_batch_falls_whatever_it_sees(tmp_path, sight):
    stage = Mono2BinauralStage(one(tmp_path, sight))
    batch = a_batch(stage.config)
    draw = Draw(0, 0, batch.indices)
    optimizer, losses = torch.optim.Adam(stage.model.parameters(), lr=0.01), []
    for step in range(25):
        loss = stage.loss(stage.prepare(batch, draw, step))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("sight", SEES)
def test_every_weight_learns_at_the_rate_of_its_part(tmp_path, sight):
    stage = Mono2BinauralStage(one(tmp_path, sight))
    rates = {id(p): group["lr"] for group in stage.players[0].groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in stage.players[0].groups)
    for name, parameter in stage.model.named_parameters():
        assert rates.pop(id(parameter)) == (1e-4 if name.startswith("picture.encoder") else 0.01), name
    assert not rates


def test_a_mask_of_zeros_is_a_part_of_one_of_the_mono_copy(tmp_path):
    stage = Mono2BinauralStage(one(tmp_path))
    torch.nn.init.zeros_(stage.model.unet.out.weight)
    torch.nn.init.zeros_(stage.model.unet.out.bias)
    batch = a_batch(stage.config)
    with torch.no_grad():
        scores = stage.validate(batch, Draw(0, -1, batch.indices))
    part, weight = scores["part_of_mono_copy"]
    assert part == pytest.approx(1.0)
    assert scores["difference_mse"] == pytest.approx(scores["mono_copy_mse"])
    assert weight == pytest.approx(len(batch) * scores["mono_copy_mse"])
    assert scores["mono_copy_mse"] > 0.1


def test_sum_and_difference_are_those_of_the_ears_at_one_level(tmp_path):
    stage = Mono2BinauralStage(one(tmp_path))
    batch = a_batch(stage.config)
    work = stage.prepare(batch, Draw(0, 0, batch.indices), 0)
    left, right = (torch.complex(*stage.model.spectrum(batch.binaural_BEN[:, ear]).unbind(1)) for ear in (0, 1))
    whole, difference = (torch.complex(*x.unbind(1)) for x in (work.sum_B2KF, work.difference_B2KF))
    gain = 0.1 / batch.binaural_BEN.mean(1).square().mean(1).sqrt()[:, None, None]
    torch.testing.assert_close(whole, gain * (left + right), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(difference, (gain * (left - right))[:, :-1], atol=1e-3, rtol=1e-4)
    louder = replace(batch, mono_BN=4 * batch.mono_BN, binaural_BEN=4 * batch.binaural_BEN)
    again = stage.prepare(louder, Draw(0, 0, batch.indices), 0)
    torch.testing.assert_close(again.difference_B2KF, work.difference_B2KF, atol=1e-4, rtol=1e-4)


def test_in_a_mirror_picture_and_difference_turn_round(tmp_path):
    config = one(tmp_path)
    stage, clip = Mono2BinauralStage(config), open_clips(config.dataset, "val", config.data)[0]
    sample = cut(clip, 0.1, config.data, config.mel)
    both = collate([sample, augment.mirror(sample)])
    work = stage.prepare(both, Draw(0, 0, (0, 1)), 0)
    torch.testing.assert_close(work.difference_B2KF[1], -work.difference_B2KF[0])
    torch.testing.assert_close(work.sum_B2KF[1], work.sum_B2KF[0])
    assert torch.equal(both.crops_BLOCHW[1], both.crops_BLOCHW[0].flip(-1))
    assert both.crops_BLOCHW.shape[2:] == (1, 3, 32, 64)


def test_the_picture_is_the_whole_one_at_the_middle_of_the_window(tmp_path):
    config = one(tmp_path)
    clip = open_clips(config.dataset, "train", config.data)[0]
    times = []

    class Watched:
        clip_id, duration_s, sound = clip.clip_id, clip.duration_s, clip.sound

        def look(self, times_s):
            times.extend(times_s)
            return clip.look(times_s)

    sample = cut(Watched(), 0.2, config.data, config.mel)
    assert times == [pytest.approx(0.2 + 0.315)]
    assert sample.mono_N.shape == (10_080,)
    picture = clip.look(times)[0].image_HW3.astype(float).mean(axis=(0, 1)) / 255
    seen = sample.sight.crops_LOCHW[0, 0].mean(axis=(1, 2)) * IMAGENET_DEVIATION_3 + IMAGENET_MEAN_3
    np.testing.assert_allclose(seen, picture, atol=0.02)


def test_a_clip_without_a_reference_is_refused(tmp_path):
    stage = Mono2BinauralStage(one(tmp_path))
    batch = a_batch(stage.config)
    with pytest.raises(InputError, match="has no binaural recording"):
        stage.prepare(replace(batch, binaural_BEN=None), Draw(0, 0, batch.indices), 0)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"data.window_frames": 95}, "window_frames=95"),
        ({"data.frames_per_window": 3}, "frames_per_window=3"),
        ({"data.target": "left"}, "target=left"),
        ({"data.whole_frame": "fallback"}, "whole_frame=fallback"),
        ({"model.sight": "positions"}, "whole_frame=always"),
        ({"model.sight": "both"}, "objects=1"),
        ({"data.crop_width_px": None}, "picture_px"),
        ({"data.together": 2}, "together=2"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        one(tmp_path).replace(**changes)


def test_the_command_reaches_the_config(monkeypatch):
    taken = []

    def train(config, world):
        taken.append(config)
        raise InputError("seen", why="enough", fix="none")

    monkeypatch.setattr(mono2binaural, "train", train)
    flags = ["--ckpt", "c", "--id", "n", "--num_epoch", "7", "--lr_audio", "0.1", "--batch_size_per_gpu", "3"]
    assert cli.main(["train", "mono2binaural", *flags]) == 2
    assert cli.main(["train", "mono2binaural", "--dataset", "fairplay", "--data_root", "d"]) == 2
    shipped = Mono2BinauralTraining.load(CONFIGS / "mono2binaural.yaml")
    changes = {"run.checkpoints": "c", "run.id": "n", "run.epochs": 7, "lr_audio": 0.1, "run.batch_size": 3}
    assert taken[0] == shipped.replace(**changes)
    original = Mono2BinauralTraining.load(CONFIGS / "original_mono2binaural.yaml")
    assert taken[1] == original.replace(**{"dataset.kind": "fairplay", "dataset.root": "d"})
    assert original.model == Mono2BinauralConfig(encoder_weights="public", train_statistics=True)
