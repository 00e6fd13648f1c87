"""Stage 1 over a data set: what it is shown, what is measured, one process and several."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from binaural_core import InputError, predicting
from binaural_core.audio import MelConfig, log_mel
from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.loading import cut
from binaural_core.data.rendered import RenderedConfig
from binaural_core.data.sample import collate
from binaural_core.metrics import mel_ild_error_db, mel_l1
from binaural_core.models.diffbinaural import DiffBinauralConfig
from binaural_core.models.unet import UNetConfig
from binaural_core.models.visual import VisualConfig
from binaural_core.predicting import MONO_COPY, PredictConfig, chosen, measure, shown, write
from binaural_core.scene.casting import SceneConfig
from binaural_core.training import stage1
from binaural_core.training.distributed import launch

SCENES = DatasetConfig(
    scenes={"test": 3},
    rendered=RenderedConfig(scene=SceneConfig(duration_s=1.2, reverberant=0.0), width_px=96, height_px=54),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PredictConfig:
    """An untrained network whose last layer is not zero, so that what it is shown matters."""
    folder = tmp_path_factory.mktemp("weights")
    settings = stage1.Stage1Config(
        data=DataConfig(window_frames=32, frames_per_window=2, objects=2, crop_px=16),
        model=DiffBinauralConfig(
            unet=UNetConfig(dim=8, mults=(1, 2), context_dim=16, condition_dim=16),
            visual=VisualConfig(width=4, object_dim=16, context_dim=16),
        ),
    )
    stage = stage1.Stage1(settings)
    with torch.no_grad():
        torch.nn.init.normal_(stage.model.unet.out.weight, generator=torch.Generator().manual_seed(1))
    weights = {name: module.state_dict() for name, module in stage.modules.items()}
    stage.export(folder / "stage1", "best", weights, None)
    return PredictConfig(weights=str(folder), dataset=SCENES, device="cpu", steps=1)


@pytest.fixture(scope="module")
def measured(config):
    return measure(config, "test", predicting.CONDITIONS)


def test_the_mono_copy_is_measured_window_by_window(measured):
    clip = open_clips(SCENES, "test", DataConfig())[0]
    data, errors = DataConfig(window_frames=32, frames_per_window=0), []
    for start_s in (0.0, 0.37, 0.74, 0.82):
        sample = cut(clip, start_s, data, MelConfig())
        mono_EMF, true_EMF = (
            from_unit(to_unit(log_mel(torch.from_numpy(wave), MelConfig())))
            for wave in (np.stack([sample.mono_N] * 2), sample.binaural_EN)
        )
        errors.append((mel_l1(mono_EMF, true_EMF), mel_ild_error_db(mono_EMF, true_EMF)))
    row = measured.rows[MONO_COPY][clip.clip_id]
    assert (row["mel_l1"], row["mel_ild_error_db"]) == pytest.approx(tuple(np.mean(errors, axis=0)), rel=1e-5)


def test_every_condition_shows_something_else(measured):
    assert list(measured.rows) == [MONO_COPY, *predicting.CONDITIONS]
    clip = next(iter(measured.rows[MONO_COPY]))
    values = [measured.rows[name][clip]["mel_l1"] for name in predicting.CONDITIONS]
    assert len(set(values)) == 4
    for name, rows in measured.rows.items():
        assert measured.bands[name].mean() == pytest.approx(np.mean([row["mel_l1"] for row in rows.values()]), rel=1e-4)


def test_what_a_condition_hides_is_gone():
    clip = open_clips(SCENES, "test", DataConfig())[0]
    batch = collate([cut(clip, 0.0, DataConfig(window_frames=32), MelConfig())])
    assert shown(batch, "none").mask_BLO.all()
    positions = shown(batch, "positions")
    assert not positions.crops_BLOCHW.any()
    assert torch.equal(positions.mask_BLO, batch.mask_BLO)
    assert shown(batch, "both") is batch
    assert shown(batch, "pixels") is batch  # its places come from the localiser


def test_pixels_alone_never_see_what_the_data_set_knows(config, monkeypatch):
    """With a localiser that finds nothing, pixels show the grid; wrong true positions cannot change that row."""
    from binaural_core.data import rendered
    from binaural_core.pipeline import Binauralizer

    def nothing(self, images):
        return [(np.zeros((0, 4)), np.zeros(0)) for _ in images]

    monkeypatch.setattr("binaural_core.models.localizer.Localizer.locate", nothing)
    assert Binauralizer.from_pretrained(config.weights).locate is not None
    before = measure(config.replace(few=1), "test", ("pixels", "both"))
    look = rendered.RenderedClip.look
    monkeypatch.setattr(
        rendered.RenderedClip,
        "look",
        lambda self, times: [replace(view, positions_O3=view.positions_O3 * -1) for view in look(self, times)],
    )
    after = measure(config.replace(few=1), "test", ("pixels", "both"))
    assert after.rows["pixels"] == before.rows["pixels"]
    assert after.rows["both"] != before.rows["both"]


def test_it_is_saved_and_told(measured, tmp_path):
    measured.save(tmp_path)
    lines = (tmp_path / "measures.csv").read_text().splitlines()
    assert lines[0] == "shown,clip,mel_rmse,mel_l1,mel_l2,mel_ild_error_db"
    assert len(lines) == 1 + 5 * 3
    summary = json.loads((tmp_path / "summary.json").read_text())
    column = [float(line.split(",")[3]) for line in lines if line.startswith("both")]
    assert summary["mean"]["both"]["mel_l1"] == pytest.approx(np.mean(column))
    assert len(summary["mel_l1_by_band"]["both"]) == 80
    assert measured.table().count("\n") == 6
    said = (tmp_path / "measures.md").read_text()
    assert measured.table() in said
    assert measured.band_table() in said
    assert said.startswith("Mean over 3 clips")


def test_few_are_taken_evenly():
    assert chosen(list(range(10)), 3) == [0, 4, 9]
    assert chosen(list(range(3)), 5) == [0, 1, 2]
    with pytest.raises(InputError, match="few=0"):
        chosen([1], 0)


def test_a_broken_clip_is_named_and_the_others_are_measured(config, monkeypatch):
    from binaural_core.data.rendered import RenderedClip

    sound = RenderedClip.sound

    def broken(self, *arguments):
        if self.clip_id.endswith("1"):
            raise InputError("the file is torn", why="a storm", fix="sew it")
        return sound(self, *arguments)

    monkeypatch.setattr(RenderedClip, "sound", broken)
    with pytest.warns(UserWarning, match="is left out: the file is torn"):
        found = measure(config, "test", ("none",))
    assert len(found.rows["none"]) == 2
    assert list(found.broken) == ["test_0_000001"]


def test_unknown_conditions_are_refused(config):
    with pytest.raises(InputError, match="Known are none, positions, pixels, both"):
        measure(config, "test", ("smell",))


def both_jobs(config, out, world):
    return measure(config, "test", ("both",), world), write(config, out, ("test",), world)


def test_two_processes_share_the_clips_and_find_the_same(config, measured, tmp_path):
    found, written = launch(both_jobs, config, str(tmp_path / "two"), processes=2)
    assert list(found.rows["both"]) == list(measured.rows["both"])
    for clip, row in found.rows["both"].items():
        assert row == pytest.approx(measured.rows["both"][clip], rel=1e-4)
    assert written == write(config, str(tmp_path / "one"), ("test",)) == {"test": 12}
    files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*.npy")) for n in ("one", "two")]
    assert files[0] == files[1]
    assert len(files[0]) == 24
    for name in files[0]:
        np.testing.assert_allclose(np.load(tmp_path / "one" / name), np.load(tmp_path / "two" / name), atol=1e-4)
    assert write(config, str(tmp_path / "two"), ("test",)) == {"test": 0}  # all there already
