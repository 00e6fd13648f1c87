"""Stage 2 without parameters: levels from the mels, phase from the mono, delay from the seen position."""

import numpy as np
import pytest
import torch

from binaural_core.audio import MelConfig, itd_us, log_mel, spherical_head_itd_s
from binaural_core.audio.interaural import ild_db
from binaural_core.models.mono_phase import apply_gains, mel_gains, mono_phase, seen_delay_s
from binaural_core.seeds import stream

MEL = MelConfig()
RATE = MEL.sample_rate_hz


def noise(seconds: float = 1.5) -> torch.Tensor:
    return 0.1 * torch.randn(int(seconds * RATE) // MEL.hop_samples * MEL.hop_samples, generator=stream(0, "mono"))


def test_gains_of_one_return_the_mono_wave():
    mono_N = noise()
    gains = torch.ones(2, 513, len(mono_N) // MEL.hop_samples)
    wave_EN = apply_gains(mono_N, gains, None, MEL)
    torch.testing.assert_close(wave_EN, mono_N.expand(2, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("left, right", [(2.0, 0.5), (0.25, 1.5)])
def test_a_flat_gain_is_read_off_the_mels(left, right):
    mono_N = noise()
    mono_MF = log_mel(mono_N[None], MEL)[0]
    ears_EMF = log_mel(torch.stack([left * mono_N, right * mono_N]), MEL)
    gains_EKF = mel_gains(ears_EMF, mono_MF, MEL)
    expected = torch.tensor([left, right])[:, None, None].expand_as(gains_EKF)
    torch.testing.assert_close(gains_EKF[:, 2:], expected[:, 2:], rtol=0.02, atol=0)
    assert gains_EKF.shape == (2, 513, mono_MF.shape[1])


@pytest.mark.parametrize("delay_us", [-600, -200, 0, 350])
def test_the_far_ear_alone_is_delayed(delay_us):
    mono_N = noise()
    frames = len(mono_N) // MEL.hop_samples
    delay_F = torch.full((frames,), delay_us * 1e-6)
    wave_EN = apply_gains(mono_N, torch.ones(2, 513, frames), delay_F, MEL)
    near = 0 if delay_us >= 0 else 1
    torch.testing.assert_close(wave_EN[near], mono_N, atol=1e-5, rtol=0)
    assert itd_us(wave_EN, RATE) == pytest.approx(delay_us, abs=8)


def test_a_source_on_the_left_is_louder_and_earlier_on_the_left():
    mono_N = noise()
    ears_EMF = log_mel(torch.stack([1.6 * mono_N, 0.4 * mono_N]), MEL)
    positions = np.array([[[60.0, 0.0, 1.0]]], np.float32)
    wave_EN = mono_phase(ears_EMF, mono_N, positions, np.zeros((1, 1), bool), MEL)
    assert ild_db(wave_EN, RATE) == pytest.approx(20 * np.log10(4), abs=0.3)
    assert itd_us(wave_EN, RATE) == pytest.approx(1e6 * spherical_head_itd_s(60.0), abs=15)


def test_delays_of_seen_sources():
    one = np.array([[[90.0, 0, 1]], [[-90.0, 0, 1]]], np.float32)  # two pictures, one object
    delay_F = seen_delay_s(one, np.zeros((2, 1), bool), 8)
    assert delay_F[0] == pytest.approx(spherical_head_itd_s(90.0), rel=1e-5)
    assert delay_F[-1] == pytest.approx(-spherical_head_itd_s(90.0), rel=1e-5)
    assert np.all(np.diff(delay_F) <= 0)
    two = np.array([[[90.0, 0, 1], [-90.0, 0, 1]]], np.float32)
    assert np.allclose(seen_delay_s(two, np.zeros((1, 2), bool), 4), 0, atol=1e-9)
    hidden = np.array([[False, True]])
    assert seen_delay_s(two, hidden, 4)[0] == pytest.approx(spherical_head_itd_s(90.0), rel=1e-5)
    assert not seen_delay_s(two, np.ones((1, 2), bool), 4).any()
    assert not seen_delay_s(np.full((1, 1, 3), np.nan), np.zeros((1, 1), bool), 4).any()


def test_silence_in_silence_out():
    mono_N = torch.zeros(RATE // MEL.hop_samples * MEL.hop_samples)
    ears_EMF = torch.full((2, 80, len(mono_N) // MEL.hop_samples), -3.0)
    wave_EN = mono_phase(ears_EMF, mono_N, None, None, MEL)
    assert not wave_EN.any()
