"""The baseline over whole recordings: any rate and length, files, and eyes for what a user has."""

import numpy as np
import pytest
import soundfile
import torch

from binaural_core import InputError, checkpoint
from binaural_core.audio import resample
from binaural_core.baseline import Baseline, resampled
from binaural_core.data.config import DataConfig
from binaural_core.data.rendered import RenderedConfig, clips
from binaural_core.models.mono2binaural import Mono2Binaural, Mono2BinauralConfig
from binaural_core.scene.casting import SceneConfig
from binaural_core.seeds import first_weights, numpy_stream
from binaural_core.training.mono2binaural import Mono2BinauralTraining

SEES = {
    "frame": {"objects": 1, "whole_frame": "always"},
    "positions": {"objects": 2, "whole_frame": "never"},
    "both": {"objects": 3, "whole_frame": "always"},
}


def settings(sight: str = "frame") -> Mono2BinauralTraining:
    return Mono2BinauralTraining(
        data=DataConfig(window_frames=63, frames_per_window=1, crop_px=32, crop_width_px=64, **SEES[sight]),
        model=Mono2BinauralConfig(
            width=4, encoder="small", encoder_width=4, picture_px=(64, 32), sight=sight, places_dim=8
        ),
    )


def built(sight: str = "frame", *, gain: float = 0.5) -> Baseline:
    """A baseline whose mask is ``gain`` everywhere: the difference is the sum of the ears, times it."""
    config = settings(sight)
    with first_weights(0):
        net = Mono2Binaural(config.model)
    torch.nn.init.zeros_(net.unet.out.weight)
    with torch.no_grad():
        net.unet.out.bias.copy_(torch.logit(torch.tensor([(1 + gain) / 2, 0.5])))
    return Baseline(net, config.data)


def noise(samples: int, rate_hz: int, to_hz: float = 6000.0) -> np.ndarray:
    """Noise that ends far below half of 16 kHz, and rises and falls with its duration."""
    spectrum = np.fft.rfft(0.1 * numpy_stream(0, "noise").standard_normal(samples))
    spectrum[np.fft.rfftfreq(samples, 1 / rate_hz) > to_hz] = 0
    return (np.fft.irfft(spectrum, samples) * np.hanning(samples)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 48_000, 8000])
@pytest.mark.parametrize("seconds", [0.1, 0.63, 1.31])
def test_a_constant_mask_is_a_constant_gain_of_each_ear(rate_hz, seconds):
    mono = noise(round(seconds * rate_hz), rate_hz, min(6000.0, 0.35 * rate_hz))
    made = built().binauralize(mono, rate_hz)
    assert made.shape == (2, len(mono))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.sum(axis=0), 2 * mono, atol=1e-6)
    np.testing.assert_allclose(made[0], 1.5 * mono, atol=2e-3 * np.abs(mono).max())
    np.testing.assert_allclose(made[1], 0.5 * mono, atol=2e-3 * np.abs(mono).max())


def test_a_mask_of_zeros_is_the_mono_copy_and_silence_stays_silent():
    mono = 0.1 * numpy_stream(0, "mono").standard_normal(30_000).astype(np.float32)
    np.testing.assert_array_equal(built(gain=0.0)(mono, 22_050, built().eyes(2.0)), [mono, mono])
    made = built().binauralize(np.zeros(30_000, np.float32), 22_050)
    assert np.abs(made).max() == 0


@pytest.mark.parametrize("samples", [1, 2, 13, 5001])
def test_no_sample_is_lost_where_both_ways_are_rounded(samples):
    mono = np.full(samples, 0.1, np.float32)
    for rate_hz in (22_050, 48_000):
        made = built().binauralize(mono, rate_hz)
        assert made.shape == (2, samples)
        np.testing.assert_allclose(made.mean(axis=0), mono, atol=1e-6)


def test_above_the_networks_band_both_ears_are_the_mono():
    rate_hz = 44_100
    high = (0.1 * np.sin(2 * np.pi * 12_000 / rate_hz * np.arange(rate_hz)) * np.hanning(rate_hz)).astype(np.float32)
    np.testing.assert_allclose(built().binauralize(high, rate_hz), [high, high], atol=1e-5)


@pytest.mark.parametrize("from_hz, to_hz", [(22_050, 16_000), (16_000, 22_050), (48_000, 16_000), (16_000, 16_000)])
def test_pieces_at_another_rate_are_those_of_the_whole(from_hz, to_hz):
    wave = numpy_stream(0, "rate").standard_normal(30_001).astype(np.float32)
    pieces = [wave[at : at + 4321] for at in range(0, len(wave), 4321)]
    made = np.concatenate(list(resampled(iter(pieces), from_hz, to_hz)))
    whole = resample(wave, from_hz, to_hz)
    assert abs(len(made) - len(whole)) <= 1
    count = min(len(made), len(whole))
    np.testing.assert_allclose(made[:count], whole[:count], atol=1e-5)


def test_a_folder_is_read_and_what_it_makes_does_not_depend_on_the_blocks(tmp_path):
    config = settings()
    folder = tmp_path / "m2b"
    folder.mkdir()
    with first_weights(0):
        net = Mono2Binaural(config.model)
    torch.nn.init.normal_(net.unet.out.weight, std=5.0)
    config.save(folder / "config.yaml")
    checkpoint.save(folder / "mono2binaural_best.pth", net.state_dict())
    baseline = Baseline.from_folder(folder)
    assert baseline.data == config.data
    scenes = RenderedConfig(scene=SceneConfig(duration_s=1.0, reverberant=0.0), width_px=64, height_px=36)
    (clip,) = clips("val", 1, config=scenes)
    mono = clip.sound(0.0, 1.0, 22_050)[0]
    eyes = baseline.clip_eyes(clip)
    whole = baseline(mono, 22_050, eyes)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3
    blocks = (mono[at : at + 777] for at in range(0, len(mono), 777))
    np.testing.assert_allclose(np.concatenate(list(baseline.spans(blocks, 22_050, eyes)), axis=1), whole, atol=1e-6)
    with pytest.raises(InputError, match=r"config\.yaml is not there"):
        Baseline.from_folder(tmp_path)


def test_a_file_becomes_a_file(tmp_path):
    mono = noise(40_000, 22_050)
    soundfile.write(tmp_path / "mono.wav", mono, 22_050)
    out = built().convert(tmp_path / "mono.wav", tmp_path / "out.wav")
    made, rate_hz = soundfile.read(out, always_2d=True)
    assert (made.shape, rate_hz) == ((40_000, 2), 22_050)
    np.testing.assert_allclose(made[:, 0], 1.5 * mono, atol=2e-3 * np.abs(mono).max() + 2 / 32_768)


def test_eyes_hold_what_the_network_was_trained_with():
    frames = np.zeros((4, 36, 64, 3), np.uint8)
    frames[..., :32, 0] = 255
    place = np.array([30.0, 0.0, 2.0])
    with pytest.raises(InputError, match="positions were given to a network that sees the whole picture alone"):
        built().eyes(1.0, positions=place)
    seen = built("positions").eyes(1.0, positions=place).sight([0.5])
    assert seen.positions_LO3[0, 0].tolist() == place.tolist()
    assert seen.mask_LO.tolist() == [[False, True]]
    moving = np.stack([[place], [place + 10]])
    seen = built("both").eyes(1.0, frames=frames, positions=moving).sight([0.1, 0.5])
    assert seen.crops_LOCHW.shape == (2, 3, 3, 32, 64)
    red = seen.crops_LOCHW[0, 0, 0]
    assert red[:, :30].min() > 1 > 0 > red[:, 34:].max()
    assert seen.positions_LO3[:, 1].tolist() == moving[:, 0].tolist()
    assert np.isnan(seen.positions_LO3[:, 0]).all()
    assert seen.mask_LO.tolist() == [[False, False, True]] * 2


def test_what_is_no_mono_is_refused():
    baseline = built()
    for wrong in (np.zeros((2, 100), np.float32), np.zeros(0, np.float32), np.full(100, np.nan, np.float32)):
        with pytest.raises(InputError, match="the mono has shape"):
            baseline(wrong, 22_050, baseline.eyes(1.0))
