"""One gain for everything compared; levels that can be read off with a ruler."""

import numpy as np
import pytest

from binaural_core.audio.listening import FLOOR_DB, MAX_GAIN_DB, shared_gain_db, spectrogram_db
from binaural_core.errors import InputError

RATE_HZ = 16_000


def sine(frequency_hz: float, amplitude: float, seconds: float = 1.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)


def test_gain_brings_the_loudest_sample_of_all_versions_and_ears_to_one_db_below_full_scale():
    quiet, loud = np.full((2, 4), 0.1), np.array([[0.2, 0.0], [0.1, -0.5]])
    assert shared_gain_db({"a": quiet, "b": loud}) == pytest.approx(20 * np.log10(1 / 0.5) - 1)
    assert shared_gain_db({"b": loud}) == shared_gain_db({"b": loud, "a": quiet})


def test_gain_lowers_what_would_clip():
    assert shared_gain_db({"a": np.full((2, 4), 2.0)}) == pytest.approx(-20 * np.log10(2) - 1)


def test_gain_of_near_silence_is_bounded_and_of_silence_is_none():
    assert shared_gain_db({"a": np.full((2, 4), 1e-6)}) == MAX_GAIN_DB
    assert shared_gain_db({"a": np.zeros((2, 4))}) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gain_refuses_what_is_not_a_number(bad):
    with pytest.raises(InputError, match="'b' holds NaN or infinity"):
        shared_gain_db({"a": np.ones((2, 4)), "b": np.array([[0.0, bad], [0.0, 0.0]])})


def test_gain_needs_a_version():
    with pytest.raises(InputError, match="no version"):
        shared_gain_db({})


@pytest.mark.parametrize("amplitude", [1.0, 0.1])
def test_a_sine_reads_its_level_in_its_bin(amplitude):
    level_CKF, frequencies_hz, _ = spectrogram_db(sine(1000, amplitude)[None], RATE_HZ)
    row = int(np.argmin(abs(frequencies_hz - 1000)))
    assert frequencies_hz[row] == 1000
    assert level_CKF[0, row, 5:-5] == pytest.approx(20 * np.log10(amplitude), abs=1e-4)
    assert level_CKF[0, row + 3, 5:-5].max() < -100


def test_ears_keep_their_level_difference():
    left = sine(1000, 0.4)
    level_CKF, *_ = spectrogram_db(np.stack([left, left / 2]), RATE_HZ)
    loud = level_CKF[0] > -60
    assert (level_CKF[0] - level_CKF[1])[loud] == pytest.approx(20 * np.log10(2), abs=1e-3)


def test_a_click_is_seen_at_its_time():
    wave = np.zeros((1, RATE_HZ))
    wave[0, 63 * 128] = 1.0
    level_CKF, _, times_s = spectrogram_db(wave, RATE_HZ)
    assert times_s[level_CKF[0].mean(0).argmax()] == 63 * 128 / RATE_HZ


def test_fewer_frames_keep_the_mean_power_and_lose_no_click():
    wave = np.random.default_rng(0).normal(0, 0.1, (2, RATE_HZ))
    fine_CKF, _, fine_s = spectrogram_db(wave, RATE_HZ)
    coarse_CKF, _, coarse_s = spectrogram_db(wave, RATE_HZ, max_frames=25)
    assert len(fine_s) == 126
    assert len(coarse_s) == 21
    assert (10 ** (coarse_CKF / 10)).mean(-1) == pytest.approx((10 ** (fine_CKF / 10)).mean(-1), rel=1e-4)
    assert coarse_s[0] == pytest.approx(fine_s[:6].mean())
    wave[:] = 0
    wave[0, 8192 + 64] = 1.0
    assert spectrogram_db(wave, RATE_HZ, max_frames=10)[0][0].max() > -60


def test_silence_is_the_floor_and_the_shortest_wave_has_a_frame():
    level_CKF, frequencies_hz, times_s = spectrogram_db(np.zeros((2, 1)), RATE_HZ)
    assert level_CKF.shape == (2, len(frequencies_hz), len(times_s)) == (2, 257, 1)
    assert (level_CKF == FLOOR_DB).all()
