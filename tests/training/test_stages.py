"""Stage 1 through the loop, at toy size: files, resume, and what is hidden."""

import io

import numpy as np
import pytest
import soundfile
import torch

from binaural_core import InputError
from binaural_core.audio import MelConfig
from binaural_core.data.catalog import DatasetConfig, DatasetPart, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.loading import Windows
from binaural_core.data.rendered import RenderedConfig
from binaural_core.data.sample import Sample, Sight, collate
from binaural_core.data.scene_files import SceneFilesConfig, write_scenes
from binaural_core.models.diffbinaural import DiffBinauralConfig
from binaural_core.models.unet import UNetConfig
from binaural_core.models.visual import VisualConfig
from binaural_core.scene.casting import SceneConfig
from binaural_core.seeds import numpy_stream, stream
from binaural_core.training import stage1
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Draw

MEL = MelConfig()
RATE, HOP = MEL.sample_rate_hz, MEL.hop_samples
SCENES = DatasetConfig(
    scenes={"train": 4, "val": 2},
    rendered=RenderedConfig(scene=SceneConfig(duration_s=1.2, reverberant=0.0), width_px=96, height_px=54),
)
RUN = {
    "batch_size": 2,
    "log_steps": 1,
    "checkpoint_steps": 3,
    "validate_epochs": 1,
    "precision": "fp32",
    "device": "cpu",
}


def one(folder, ears: int = 2, **run) -> stage1.Stage1Config:
    return stage1.Stage1Config(
        dataset=SCENES,
        data=DataConfig(
            window_frames=32, frames_per_window=2, objects=2, crop_px=16, target="both" if ears == 2 else "left"
        ),
        model=DiffBinauralConfig(
            unet=UNetConfig(ears=ears, dim=8, mults=(1, 2), context_dim=16, condition_dim=16),
            visual=VisualConfig(width=4, object_dim=16, context_dim=16),
        ),
        run=RunConfig(id="one", checkpoints=str(folder), **(RUN | {"epochs": 3} | run)),
        hide_pixels=0.3,
        gain_db=(-6.0, 6.0),
    )


class Stop(Exception):
    pass


def test_stage1_leaves_the_documented_files_and_resumes_to_the_last_digit(tmp_path, monkeypatch):
    _, unbroken = stage1.train(one(tmp_path / "a"), progress=False)
    names = {p.name for p in unbroken.folder.iterdir()}
    assert {"unet_latest.pth", "frame_latest.pth", "unet_best.pth", "frame_best.pth", "config.yaml"} <= names
    assert {"state_latest.pt", "training_history.json", "runs"} <= names
    assert stage1.Stage1Config.load(unbroken.folder / "config.yaml") == one(tmp_path / "a")
    assert {"mel_l1", "mel_l2", "mel_ild_error_db"} <= set(unbroken.rows[-1])

    real = stage1.Stage1.prepare

    def killed(self, batch, draw, step):
        if step == 4:
            raise Stop
        return real(self, batch, draw, step)

    monkeypatch.setattr(stage1.Stage1, "prepare", killed)
    with pytest.raises(Stop):
        stage1.train(one(tmp_path / "b"), progress=False)
    monkeypatch.setattr(stage1.Stage1, "prepare", real)
    _, resumed = stage1.train(one(tmp_path / "b"), progress=False)
    assert resumed.rows == unbroken.rows


def test_one_ear_can_be_the_target(tmp_path):
    _, result = stage1.train(one(tmp_path, ears=1, epochs=1), progress=False)
    assert result.steps == 2
    with pytest.raises(InputError, match="the network makes 1 ears but the target is 'both'"):
        one(tmp_path, ears=1).replace(**{"data.target": "both"})


def batch(count: int = 2, reference: bool = True):
    draw = numpy_stream(0, "batch")
    shape = (2, 2)
    sight = Sight(
        np.ones((*shape, 3, 16, 16), np.float32),
        np.full((*shape, 2), 0.5, np.float32),
        np.zeros((*shape, 3), np.float32),
        np.zeros(shape, bool),
    )
    ears = [0.1 * draw.standard_normal((2, 32 * HOP)).astype(np.float32) for _ in range(count)]
    return collate([Sample(f"c{i}", 0.0, e.mean(0), e if reference else None, sight, i) for i, e in enumerate(ears)])


def test_a_gain_moves_mono_and_ears_by_one_sum(tmp_path):
    config = one(tmp_path).replace(gain_db=(6.0, 6.0))
    plain = stage1.Stage1(config.replace(gain_db=(0.0, 0.0))).prepare(batch(), Draw(0, 0, (0, 1)), 0)
    louder = stage1.Stage1(config).prepare(batch(), Draw(0, 0, (0, 1)), 0)
    step = 6.0 / (20 / np.log(10)) / 7.25  # in unit scale
    assert float((louder.mono_B1MF - plain.mono_B1MF).median()) == pytest.approx(step, abs=1e-4)
    assert float((louder.clean_BEMF - plain.clean_BEMF).median()) == pytest.approx(step, abs=1e-4)


def test_a_filter_moves_mono_and_ears_alike_and_smoothly(tmp_path):
    curves = stage1.random_filters([stream(0, "f", i) for i in range(400)], 6.0, 80)[:, 0, :, 0] * stage1.DB_PER_NEPER
    assert float(curves.std()) == pytest.approx(6.0, rel=0.1)
    assert float(curves.diff(dim=1).abs().max()) < 6.0
    config = one(tmp_path).replace(gain_db=(0.0, 0.0))
    plain = stage1.Stage1(config).prepare(batch(), Draw(0, 0, (0, 1)), 0)
    filtered = stage1.Stage1(config.replace(filter_db=3.0)).prepare(batch(), Draw(0, 0, (0, 1)), 0)
    moved_mono, moved_ears = filtered.mono_B1MF - plain.mono_B1MF, filtered.clean_BEMF - plain.clean_BEMF
    assert float(moved_mono.abs().max()) > 0.01
    torch.testing.assert_close(moved_mono.expand_as(moved_ears), moved_ears, atol=1e-5, rtol=0)


def test_what_is_hidden_is_hidden_from_whole_samples():
    sight = batch(40).sight
    draws = [stream(0, "hidden", i) for i in range(40)]
    crops, image_positions, positions, mask = stage1.hide(sight, draws, pixels=0.25, positions=0.25)
    blank = (crops == 0).flatten(1).all(1)
    unknown = torch.isnan(positions).flatten(1).all(1)
    assert 3 <= int(blank.sum()) <= 18
    assert 3 <= int(unknown.sum()) <= 18
    assert not (blank & unknown).any()
    assert torch.equal(unknown, torch.isnan(image_positions).flatten(1).all(1))
    assert torch.equal(mask, sight[3])


def test_a_clip_without_a_reference_is_refused():
    with pytest.raises(InputError, match="c0 has no binaural recording"):
        stage1.mels(batch(reference=False), MEL)


def test_tensorboard_shows_both_ears_beside_the_truth_and_plays_them_in_stereo(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stage1.train(one(tmp_path, epochs=1), progress=False)
    events = EventAccumulator(str(tmp_path / "one" / "runs"), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    assert events.Tags()["images"] == ["mels"]
    assert {"predicted", "true"} == set(events.Tags()["audio"])
    assert {"train/stage1.total", "train/learning_rate.unet", "validate/mel_l2"} <= set(events.Tags()["scalars"])
    (sound,) = events.Audio("predicted")
    wave_NE, rate = soundfile.read(io.BytesIO(sound.encoded_audio_string))
    assert wave_NE.shape == (32 * HOP, 2)
    assert rate == RATE
    assert np.abs(wave_NE).max() > 1e-3


def test_a_mix_takes_its_parts_whole_or_by_their_shares(tmp_path):
    other = str(tmp_path / "d")
    parts = [DatasetPart(kind="scenes"), DatasetPart(kind="fairplay", root=other)]
    mix = SCENES.replace(kind="mix", parts=parts)
    assert [(m.kind, m.root) for m in mix.members] == [("scenes", None), ("fairplay", other)]
    twice = SCENES.replace(kind="mix", parts=[DatasetPart(kind="scenes")] * 2)
    assert len(open_clips(twice, "train", DataConfig())) == 8
    assert len(stage1.windows(one(tmp_path).replace(dataset=twice), "train")) == 8
    shared = twice.replace(parts=[DatasetPart(kind="scenes", share=3.0), DatasetPart(kind="scenes", share=1.0)])
    windows = stage1.windows(one(tmp_path).replace(dataset=shared), "train")
    assert [windows._starts[i + 1] - windows._starts[i] for i in (0, 1)] == [6, 2]
    assert isinstance(stage1.windows(one(tmp_path).replace(dataset=shared), "val"), Windows)
    with pytest.raises(InputError, match="some parts of the mix have a share"):
        SCENES.replace(kind="mix", parts=[DatasetPart(share=1.0), DatasetPart()])


def test_where_a_data_set_knows_no_objects_training_finds_them(tmp_path):
    """A recorded set without its sidecar: crops and directions come from the localiser, unless it is switched off."""
    root = tmp_path / "d"
    plan = {"layout": "fairplay", "split": "train", "count": 1, "seed": 3}
    write_scenes(SceneFilesConfig(out=str(root), rendered=SCENES.rendered.replace(width_px=192, height_px=108), **plan))
    (root / "places.csv").unlink()
    config = one(tmp_path).replace(dataset=DatasetConfig(kind="fairplay", root=str(root)))
    found = stage1.windows(config, "train").draw(0, 0).sight
    grid = stage1.windows(config.replace(locate=False), "train").draw(0, 0).sight
    assert not np.isnan(found.positions_LO3[~found.mask_LO][:, 0]).any()
    assert np.isnan(grid.positions_LO3[:, 0, 0]).all()  # the whole picture has no direction


def test_public_weights_of_the_encoder_are_where_training_begins(tmp_path):
    from binaural_core.models.resnet import ResNet

    torch.manual_seed(3)
    public = ResNet("resnet18", classes=1000)
    torch.save(public.state_dict(), tmp_path / "resnet18.pth")
    changes = {"model.visual.encoder": "resnet18", "model.visual.encoder_weights": str(tmp_path / "resnet18.pth")}
    stage = stage1.Stage1(one(tmp_path).replace(**changes))
    weights = stage.model.frame.state_dict()
    assert torch.equal(weights["encoder.net.conv1.weight"], public.state_dict()["conv1.weight"])


def test_a_resumed_run_that_finds_its_objects_equals_the_unbroken_one(tmp_path, monkeypatch):
    """What the localiser finds in a picture does not depend on which pictures it saw before."""
    root = tmp_path / "d"
    rendered = SCENES.rendered.replace(width_px=160, height_px=90)
    for split, count in (("train", 4), ("val", 1)):
        write_scenes(
            SceneFilesConfig(out=str(root), layout="fairplay", split=split, count=count, seed=3, rendered=rendered)
        )
    (root / "places.csv").unlink()
    dataset = DatasetConfig(kind="fairplay", root=str(root))
    unbroken = stage1.train(one(tmp_path / "a").replace(dataset=dataset), progress=False)[1].rows
    loss = stage1.Stage1.loss
    steps = iter(range(100))

    def killed(self, work):
        if next(steps) == 3:
            raise Stop
        return loss(self, work)

    monkeypatch.setattr(stage1.Stage1, "loss", killed)
    with pytest.raises(Stop):
        stage1.train(one(tmp_path / "b").replace(dataset=dataset), progress=False)
    monkeypatch.setattr(stage1.Stage1, "loss", loss)
    assert stage1.train(one(tmp_path / "b").replace(dataset=dataset), progress=False)[1].rows == unbroken
