"""What the shipped weights can do, on sounds and scenes that no training saw."""

import numpy as np
import pytest
import torch

from binaural_core.audio import log_mel
from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.data import fair_play
from binaural_core.data.catalog import DatasetConfig
from binaural_core.data.loading import cut
from binaural_core.data.rendered import RenderedClip, RenderedConfig
from binaural_core.data.sample import collate
from binaural_core.pipeline import Binauralizer
from binaural_core.places import CONFIGS, data_samples
from binaural_core.predicting import CONDITIONS, MONO_COPY, PredictConfig, measure
from binaural_core.scene.geometry import Camera
from binaural_core.scene.plan import Scene, Source
from binaural_core.seeds import stream
from binaural_core.training.stage1 import Stage1Config, mels

AZIMUTHS_DEG = np.linspace(60, -60, 9)


@pytest.fixture(scope="module")
def binauralizer() -> Binauralizer:
    return Binauralizer.from_pretrained()


def broadband_ild_db(mel_EMF: np.ndarray) -> float:
    left, right = np.exp(2 * mel_EMF.astype(float)).sum(axis=(1, 2))
    return float(10 * np.log10(left / right))


@pytest.mark.parametrize("sound", ["guitar_river", "speaker_kettle", "violin_train_ride"])
def test_a_source_that_moves_through_the_picture_moves_the_level_difference(binauralizer, sound):
    """Nine places within 60 degrees, all else equal: from the left louder to the right louder, near what the HRTF gives."""
    label, made_db, true_db = sound.split("_")[0], [], []
    for azimuth_deg in AZIMUTHS_DEG:
        source = Source.still(f"dry/test/{sound}.flac", float(azimuth_deg), label=label)
        scene = Scene(sources=(source,), duration_s=2.0, camera=Camera(h_fov_deg=130.0), seed=5)
        clip = RenderedClip("moved", scene, RenderedConfig())
        batch = collate([cut(clip, 0.5, binauralizer.data, binauralizer.mel)])
        mono_B1MF, ears_BEMF = mels(batch, binauralizer.mel)
        noise_BEMF = torch.randn(ears_BEMF.shape, generator=stream(0, "noise"))
        made_BEMF = binauralizer.stage1.sample(to_unit(mono_B1MF), batch.sight, noise_BEMF=noise_BEMF)
        made_db.append(broadband_ild_db(from_unit(made_BEMF)[0].numpy()))
        true_db.append(broadband_ild_db(ears_BEMF[0].numpy()))
    assert (np.diff(made_db) < 0).all(), np.round(made_db, 1)
    assert made_db[0] > 3 > -3 > made_db[-1]
    assert np.abs(np.subtract(made_db, true_db)).mean() < 1.5, (np.round(made_db, 1), np.round(true_db, 1))


def test_seeing_helps_by_itself_and_nothing_is_worse_than_the_mono_copy():
    dataset = Stage1Config.load(CONFIGS / "shipped_stage1.yaml").dataset
    found = measure(PredictConfig(dataset=dataset, device="cpu", few=12), "test", CONDITIONS).mean
    l1, ild_db = ({name: means[key] for name, means in found.items()} for key in ("mel_l1", "mel_ild_error_db"))
    for name in CONDITIONS:
        assert l1[name] < l1[MONO_COPY]
        assert ild_db[name] < ild_db[MONO_COPY] + 1e-3  # nothing seen: no ear is preferred, as in the copy
    for name in ("positions", "pixels", "both"):
        assert l1[name] < 0.9 * l1["none"]
        assert ild_db[name] < 0.75 * ild_db["none"]


def test_in_rooms_and_with_several_sources_it_is_no_worse_than_the_mono_copy():
    scenes = DatasetConfig(scenes={"test": 8}, rendered=RenderedConfig(width_px=192, height_px=108))
    found = measure(PredictConfig(dataset=scenes, device="cpu"), "test", ("both",)).mean
    assert found["both"]["mel_l1"] < found[MONO_COPY]["mel_l1"]
    assert found["both"]["mel_ild_error_db"] < 1.05 * found[MONO_COPY]["mel_ild_error_db"]


def test_the_vocoder_makes_sound_of_true_mels_and_keeps_the_level_difference(binauralizer):
    """Each ear alone, on recordings that no training heard: rough, but the right bands at the right levels."""
    vocoder = binauralizer.vocoders["bigvgan"]
    off, levels = [], []
    for clip in fair_play.clips(data_samples() / "fair_play", "test"):
        _, true_EN = clip.sound(0.0, 2.0, 22_050)
        true_EN = torch.from_numpy(true_EN)
        mel_EMF = log_mel(true_EN, vocoder.mel)
        made_EMF = log_mel(vocoder(mel_EMF, None, None), vocoder.mel)
        off.append(float((made_EMF - mel_EMF[..., : made_EMF.shape[-1]]).abs().mean()))
        levels.append(abs(broadband_ild_db(made_EMF.numpy()) - broadband_ild_db(mel_EMF.numpy())))
    assert np.mean(off) < 0.7
    assert np.mean(levels) < 1.3
