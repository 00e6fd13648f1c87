import json
from pathlib import Path

import numpy as np
import pytest
import torch

import binaural_core as bc
from binaural_core.audio import LOG_FLOOR, MelConfig, log_mel, mel_filters
from binaural_core.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "bigvgan" / "mel"


@pytest.mark.parametrize("name, f_max_hz", [("null", None), ("8000", 8000.0)])
def test_log_mel_is_bigvgans(name, f_max_hz):
    golden, tolerance = np.load(GOLDEN / "mel.npz"), json.loads((GOLDEN / "index.json").read_text())
    mel = MelConfig(f_max_hz=f_max_hz)
    expected = golden[f"mel_fmax_{name}"]
    for wave in (golden["wav"], torch.from_numpy(golden["wav"])):
        computed = log_mel(wave, mel)
        assert computed.dtype == torch.float32
        np.testing.assert_allclose(computed.numpy(), expected, rtol=0, atol=tolerance["files"]["mel.npz"]["atol"])
    np.testing.assert_allclose(mel_filters(mel).sum(dim=1), golden[f"basis_sum_{name}"], rtol=1e-5)
    if f_max_hz is None:
        np.testing.assert_allclose(mel_filters(mel)[40], golden["basis_row40_null"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("samples, frames", [(1024, 4), (1279, 4), (1280, 5), (22_050, 86)])
def test_one_frame_per_whole_hop(samples, frames):
    assert log_mel(torch.zeros(3, samples)).shape == (3, 80, frames)


def test_other_configs_change_bands_and_frames():
    mel = MelConfig(sample_rate_hz=16_000, n_fft=512, win_samples=400, hop_samples=160, n_mels=40, f_min_hz=50.0)
    assert log_mel(torch.randn(1, 16_000), mel).shape == (1, 40, 100)
    assert mel_filters(mel).shape == (40, 257)


def test_silence_lies_at_the_floor_that_bigvgan_hears():
    lowest = log_mel(torch.zeros(1, 4096)).min().item()
    assert lowest == pytest.approx(LOG_FLOOR, abs=1e-5)
    assert pytest.approx(-11.512925) == LOG_FLOOR


def test_filters_are_made_once_per_config_and_can_be_trained_through():
    mel = MelConfig(n_mels=33)
    with torch.inference_mode():
        first = mel_filters(mel)
    assert mel_filters(MelConfig(n_mels=33)) is first
    wave = torch.randn(1, 4096, requires_grad=True)
    log_mel(wave, mel).sum().backward()
    assert wave.grad.abs().sum() > 0


def test_mixed_precision_leaves_the_mel_exact():
    wave = 0.1 * torch.randn(1, 4096, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(log_mel(wave), log_mel(wave.clone()), rtol=0, atol=0)
        mixed = log_mel(wave)
    torch.testing.assert_close(mixed, log_mel(wave), rtol=0, atol=0)


def test_a_backward_view_is_a_wave_too():
    wave = np.random.default_rng(0).standard_normal((2, 4096)).astype(np.float32)
    torch.testing.assert_close(log_mel(wave[::-1]), log_mel(wave).flip(0))


@pytest.mark.parametrize(
    "wave, says",
    [
        (torch.zeros(1, 1023), "1023 samples"),
        (torch.full((1, 4096), float("nan")), "NaN"),
        (torch.full((1, 4096), float("inf")), "infinite"),
        (torch.zeros(4096), "shape"),
    ],
)
def test_waves_that_have_no_mel(wave, says):
    with pytest.raises(InputError, match=says):
        log_mel(wave)


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"f_max_hz": 12_000.0}, "f_max_hz=12000 is above half"),
        ({"f_min_hz": 11_025.0}, "f_min_hz=11025"),
        ({"f_min_hz": -1.0}, "f_min_hz=-1"),
        ({"win_samples": 2048}, "win_samples=2048"),
        ({"hop_samples": 255}, "odd"),
        ({"n_mels": 0}, "not above 0"),
        ({"sample_rate_hz": "fast"}, "sample_rate_hz"),
    ],
)
def test_configs_that_contradict_themselves(fields, says):
    with pytest.raises(InputError, match=says):
        MelConfig(**fields)


def test_the_public_names():
    assert bc.audio.log_mel(np.zeros((2, 2048), np.float32), bc.audio.MelConfig()).shape == (2, 80, 8)
