"""The cues against sounds whose cues are known exactly."""

import numpy as np
import pytest
import torch

from binaural_core.audio import (
    band_centres_hz,
    cross_spectrum,
    iacc,
    ild_bands,
    ild_db,
    ipd_rad,
    itd_blocks,
    itd_us,
)
from binaural_core.audio.interaural import spectra
from binaural_core.errors import InputError
from binaural_core.seeds import numpy_stream

RATE_HZ = 22_050


def delayed_noise(delay_us, sample_rate_hz=RATE_HZ, seconds=2.0, seed=0):
    """White noise, the right ear ``delay_us`` later than the left (exactly, on a circle)."""
    samples = int(sample_rate_hz * seconds)
    left = numpy_stream(seed, "noise").standard_normal(samples)
    spectrum = np.fft.rfft(left) * np.exp(-2j * np.pi * np.fft.rfftfreq(samples, 1 / sample_rate_hz) * delay_us * 1e-6)
    return 0.1 * np.stack([left, np.fft.irfft(spectrum, samples)])


@pytest.mark.parametrize("sample_rate_hz", [16_000, 22_050, 48_000])
@pytest.mark.parametrize("delay_us", [-877.3, -301.0, -16.0, 0.0, 7.7, 45.35, 433.1, 900.0])
def test_itd_of_a_fractional_delay(delay_us, sample_rate_hz):
    wave = delayed_noise(delay_us, sample_rate_hz)
    assert itd_us(wave, sample_rate_hz) == pytest.approx(delay_us, abs=1.0)
    assert itd_us((1e-4 * wave).astype(np.float32), sample_rate_hz) == pytest.approx(delay_us, abs=1.0)


@pytest.mark.parametrize("frequency_hz, off_us", [(200.0, 60), (437.0, 12), (900.0, 3)])
def test_itd_of_a_soft_tone(frequency_hz, off_us):
    times_s = np.arange(RATE_HZ) / RATE_HZ
    wave = 1e-3 * np.stack([np.sin(2 * np.pi * frequency_hz * (times_s - late_s)) for late_s in (0, 250e-6)])
    assert itd_us(wave.astype(np.float32), RATE_HZ) == pytest.approx(250, abs=off_us)


def test_itd_does_not_leave_one_millisecond():
    assert abs(itd_us(delayed_noise(1400.0), RATE_HZ)) <= 1000


def test_only_low_notes_decide_the_itd():
    low, high = delayed_noise(200.0, seed=1), 10 * delayed_noise(-600.0, seed=2)
    spectrum = np.fft.rfft(high)
    spectrum[:, np.fft.rfftfreq(high.shape[1], 1 / RATE_HZ) < 2000] = 0
    assert itd_us(low + np.fft.irfft(spectrum, high.shape[1]), RATE_HZ) == pytest.approx(200, abs=5)


def test_quiet_frames_do_not_decide_the_itd():
    loud, soft = delayed_noise(300.0, seed=1), delayed_noise(-500.0, seed=2, seconds=6.0)
    wave = np.concatenate([loud, 0.01 * soft], axis=1)  # 40 dB under the loudest
    assert itd_us(wave, RATE_HZ) == pytest.approx(300, abs=2)


@pytest.mark.parametrize("under_db, active", [(29.5, True), (30.5, False)])
def test_frames_within_30_db_of_the_loudest_are_active(under_db, active):
    tone = np.sin(2 * np.pi * 1000 * np.arange(8192) / RATE_HZ) * [[1], [1]]
    wave = np.concatenate([tone, 10 ** (-under_db / 20) * tone], axis=1)
    assert spectra(wave, RATE_HZ).active_F[[0, -1]].tolist() == [True, active]


def test_blocks_follow_a_source_that_moves():
    wave = np.concatenate([delayed_noise(300.0, seed=1), delayed_noise(-500.0, seed=2)], axis=1)
    itd_us_T, energy_T = itd_blocks(wave, RATE_HZ)
    frames = 1 + (wave.shape[1] - 2048) // 1024
    assert len(itd_us_T) == len(energy_T) == -(-frames // 8)
    np.testing.assert_allclose(itd_us_T[[0, 1, 2, 3, 4, -4, -3, -2, -1]], [300] * 5 + [-500] * 4, atol=3)


def test_the_caller_may_say_which_frames_are_active():
    wave = np.concatenate([delayed_noise(300.0, seed=1), delayed_noise(-500.0, seed=2)], axis=1)
    frames = 1 + (wave.shape[1] - 2048) // 1024
    _, energy_T = itd_blocks(wave, RATE_HZ, active_F=np.arange(frames) < 8)
    assert (energy_T > 0).tolist() == [True] + [False] * (len(energy_T) - 1)


@pytest.mark.parametrize("gain_db", [-13.0, 0.0, 6.0])
def test_ild_of_a_gain(gain_db):
    wave = delayed_noise(0.0) * np.array([[10 ** (gain_db / 20)], [1.0]])
    assert ild_db(wave, RATE_HZ) == pytest.approx(gain_db)
    ild_db_GT, level_db_GT = ild_bands(wave, RATE_HZ)
    assert ild_db_GT.shape == level_db_GT.shape == (19, 6)
    np.testing.assert_allclose(ild_db_GT, gain_db, atol=1e-9)


def test_ild_of_a_band_is_its_own():
    times_s = np.arange(RATE_HZ) / RATE_HZ
    low, high = np.sin(2 * np.pi * 500 * times_s), np.sin(2 * np.pi * 4000 * times_s)
    ild_db_GT, level_db_GT = ild_bands(np.stack([2 * low + high, low + 4 * high]), RATE_HZ)
    centres_hz = band_centres_hz(RATE_HZ)
    at_500, at_4000 = (int(np.abs(centres_hz - f).argmin()) for f in (500, 4000))
    np.testing.assert_allclose(ild_db_GT[at_500], 20 * np.log10(2), atol=0.01)
    np.testing.assert_allclose(ild_db_GT[at_4000], -20 * np.log10(4), atol=0.01)
    assert set(level_db_GT[:, 0].argsort()[-2:]) == {at_500, at_4000}


def test_bands_reach_from_125_hz_to_8_khz_under_half_the_rate():
    assert band_centres_hz(RATE_HZ)[[0, 9, -1]].tolist() == pytest.approx([125, 1000, 8000])
    assert band_centres_hz(16_000)[-1] == pytest.approx(6349.6, abs=0.1)


def test_ild_stays_finite_when_one_ear_is_silent():
    wave = delayed_noise(0.0)
    wave[1] = 0
    assert ild_db(wave, RATE_HZ) == pytest.approx(100)
    assert np.isfinite(ild_bands(wave, RATE_HZ)[0]).all()


def test_ipd_of_a_tone():
    times_s = np.arange(RATE_HZ) / RATE_HZ
    wave = np.stack([np.sin(2 * np.pi * 500 * times_s), np.sin(2 * np.pi * 500 * times_s - 1.1)])
    cross_KF, frequencies_hz_K = cross_spectrum(wave, RATE_HZ)
    assert frequencies_hz_K[0] >= 100
    assert frequencies_hz_K[-1] <= 1500
    loudest = np.abs(cross_KF[:, 4]).argmax()
    assert frequencies_hz_K[loudest] == pytest.approx(500, abs=6)
    np.testing.assert_allclose(ipd_rad(wave, RATE_HZ)[loudest], 1.1, atol=1e-3)


def test_iacc_of_points_and_of_diffuse_sound():
    assert iacc(delayed_noise(0.0), RATE_HZ) == pytest.approx(1)
    assert iacc(delayed_noise(333.0) * [[3.0], [1.0]], RATE_HZ) == pytest.approx(1, abs=2e-3)
    apart = np.stack([delayed_noise(0.0, seed=1)[0], delayed_noise(0.0, seed=2)[0]])
    assert iacc(apart, RATE_HZ) < 0.05
    half = np.stack([apart[0], (apart[0] + apart[1]) / np.sqrt(2)])
    assert iacc(half, RATE_HZ) == pytest.approx(np.sqrt(0.5), abs=0.02)


def test_iacc_hears_only_below_1500_hz_and_within_a_millisecond():
    high = np.fft.rfft(np.stack([delayed_noise(0.0, seed=1)[0], delayed_noise(0.0, seed=2)[0]]))
    high[:, np.fft.rfftfreq(2 * RATE_HZ, 1 / RATE_HZ) < 4000] = 0
    assert iacc(delayed_noise(0.0, seed=3) + np.fft.irfft(high, 2 * RATE_HZ), RATE_HZ) > 0.99
    assert iacc(delayed_noise(3000.0), RATE_HZ) < 0.2


@pytest.mark.parametrize("measure", [itd_us, ild_db, iacc])
def test_swapped_ears_mirror_the_cues(measure):
    wave = delayed_noise(250.0) * np.array([[2.0], [1.0]])
    sign = 1 if measure is iacc else -1
    assert measure(wave[::-1], RATE_HZ) == pytest.approx(sign * measure(wave, RATE_HZ), abs=1e-6)


def test_silence_has_no_direction():
    silence = np.zeros((2, RATE_HZ))
    assert itd_us(silence, RATE_HZ) == ild_db(silence, RATE_HZ) == 0
    assert iacc(silence, RATE_HZ) == 1
    assert not itd_blocks(silence, RATE_HZ)[0].any()
    assert not ild_bands(silence, RATE_HZ)[0].any()
    assert not ipd_rad(silence, RATE_HZ).any()
    assert iacc(np.stack([delayed_noise(0.0)[0], np.zeros(2 * RATE_HZ)]), RATE_HZ) == 0


def test_torch_and_short_waves_are_welcome():
    wave = delayed_noise(100.0)
    assert itd_us(torch.from_numpy(wave).requires_grad_(), RATE_HZ) == itd_us(wave, RATE_HZ)
    coarse = torch.from_numpy(wave).bfloat16()
    assert itd_us(coarse, RATE_HZ) == itd_us(coarse.double().numpy(), RATE_HZ)
    assert np.isfinite([itd_us(wave[:, :5], RATE_HZ), ild_db(wave[:, :5], RATE_HZ), iacc(wave[:, :5], RATE_HZ)]).all()


@pytest.mark.parametrize(
    "wave, says",
    [
        (np.zeros(100), "shape"),
        (np.zeros((3, 100)), "shape"),
        (np.zeros((2, 0)), "no samples"),
        ([[0.0], [np.nan]], "NaN"),
        (np.zeros((2, 100), complex), "complex128"),
        (["left.wav", "right.wav"], "values"),
        (None, "object"),
    ],
)
def test_what_is_not_two_ears(wave, says):
    with pytest.raises(InputError, match=says):
        itd_us(wave, RATE_HZ)


@pytest.mark.parametrize("rate_hz", [0, 22.05, -22_050, None, np.nan, np.inf])
def test_what_is_no_rate(rate_hz):
    for cue in (itd_us, itd_blocks, ild_bands, cross_spectrum, iacc):
        with pytest.raises(InputError, match="sample rate"):
            cue(delayed_noise(0.0), rate_hz)
