"""What validation measures of stage 2, and what TensorBoard shows."""

import numpy as np
import pytest
import torch
from tiny_vocoder import HOP, RATE, SCENES, batch_of, config_in, sampled

from binaural_core.audio import read_audio
from binaural_core.data.catalog import open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.mel_pairs import CONTEXT_FRAMES
from binaural_core.data.recording import RecordingClip
from binaural_core.places import data_samples
from binaural_core.seeds import stream
from binaural_core.training import segments, stage2
from binaural_core.training.stage import Draw


class Parrot(torch.nn.Module):
    """A generator that knows what was recorded; from predicted mels it is silent in the right ear."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def forward(self, mel_BMF):
        wave_BEN = self.batch.wave_BEN.clone()
        if self.batch.predicted_BEMF is not None and torch.equal(mel_BMF, self.batch.predicted_BEMF.flatten(0, 1)):
            wave_BEN[:, 1] = 0.01 * torch.randn(wave_BEN[:, 1].shape, generator=stream(0, "hiss"))
        return wave_BEN.flatten(0, 1)[:, None]


@pytest.fixture(scope="module")
def speech_EN():
    sound_N = read_audio(data_samples() / "dry" / "val" / "speaker_map.flac", sample_rate_hz=RATE).mono_N
    frames = 120 + 2 * CONTEXT_FRAMES
    return np.stack([sound_N[: frames * HOP], 0.5 * sound_N[: frames * HOP]])


def test_validation_measures_what_is_made_from_true_and_from_predicted_mels(tmp_path, speech_EN):
    batch = batch_of(speech_EN, np.full((2, 80, 120), -5.0, np.float32), index=7)
    stage = stage2.Stage2(config_in(tmp_path), 4, speech=frozenset({7}))
    stage.generator = Parrot(batch)
    scores = stage.validate(batch, Draw(0, -1, (7,)))
    assert scores["mel_l1"] == 0
    assert scores["multi_resolution_stft"] == pytest.approx((0.0, 1), abs=1e-4)
    for ear in ("left", "right"):
        assert scores[f"pesq_{ear}"] == (pytest.approx(4.644, abs=0.01), 1)
    assert scores["pesq_left_from_predicted"] == (pytest.approx(4.644, abs=0.01), 1)
    assert scores["pesq_right_from_predicted"][0] < 2
    assert scores["mel_l1_from_predicted"] > 0.5
    assert scores["multi_resolution_stft_from_predicted"][0] > 0.3
    stage.speech = frozenset()
    assert not any("pesq" in name for name in stage.validate(batch, Draw(0, -1, (7,))))


def test_pesq_is_kept_to_some_clips_of_speech(tmp_path):
    config = config_in(tmp_path, validation_speech=True, pesq_clips=1)
    assert segments.SegmentData(config).speech == {0}
    assert segments.SegmentData(config.replace(validation_speech=False)).speech == frozenset()
    labels = {"speaker": True, "person_talking": True, "Talking on the phone": True, "speaker+drum": False, "": False}
    for label, said in (labels | {"running water": False, "loudspeaker": False}).items():
        assert segments.is_speech(RecordingClip(clip_id="a", video_id="a", label=label)) is said, label
    clips = open_clips(SCENES.replace(scenes={"val": 12}), "val", DataConfig(frames_per_window=0))
    for clip in clips:
        assert segments.is_speech(clip) == all(s.label == "speaker" for s in clip.scene.sources)
    assert 0 < sum(map(segments.is_speech, clips)) < 12


def test_short_segments_are_not_judged_by_pesq(tmp_path, speech_EN):
    batch = batch_of(speech_EN[:, : (20 + 2 * CONTEXT_FRAMES) * HOP])
    stage = stage2.Stage2(config_in(tmp_path), 4, speech=frozenset({0}))
    assert not any("pesq" in name for name in stage.validate(batch, Draw(0, -1, (0,))))


def test_validation_segments_may_be_longer_than_training_ones(tmp_path):
    data = segments.SegmentData(config_in(tmp_path, validation_frames=90))
    assert next(iter(data.validation())).wave_BEN.shape[-1] == 90 * HOP
    assert next(iter(data.training(0, 0))).wave_BEN.shape[-1] == 24 * HOP


def test_tensorboard_shows_and_plays_what_was_made_from_both_kinds_of_mels(tmp_path, recordings):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stage2.train(sampled(tmp_path, recordings, epochs=1), progress=False)
    events = EventAccumulator(str(tmp_path / "two" / "runs"), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    assert events.Tags()["images"] == ["mels"]
    made = {"recorded", "generated from true mels", "generated from predicted mels"}
    assert {name.replace("_", " ") for name in events.Tags()["audio"]} == made
    scalars = set(events.Tags()["scalars"])
    assert {"validate/mel_l1", "validate/mel_l1_from_predicted", "validate/multi_resolution_stft"} <= scalars
