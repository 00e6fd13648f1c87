"""Cue errors of predictions that are wrong by a known amount."""

import math

import numpy as np
import pytest

from binaural_core import metrics
from binaural_core.seeds import numpy_stream

RATE_HZ = 22_050
CUES = [metrics.itd_error_us, metrics.ild_error_db, metrics.ipd_error_rad, metrics.iacc_error]


def noise(delay_us=0.0, seconds=2.0, seed=0):
    samples = int(RATE_HZ * seconds)
    left = numpy_stream(seed, "noise").standard_normal(samples)
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(samples, 1 / RATE_HZ) * delay_us * 1e-6)
    return 0.1 * np.stack([left, np.fft.irfft(np.fft.rfft(left) * turn, samples)])


@pytest.mark.parametrize("predicted_us, true_us", [(0, 300), (300, -300), (250.5, 261.0)])
def test_itd_error(predicted_us, true_us):
    error = metrics.itd_error_us(noise(predicted_us), noise(true_us), RATE_HZ)
    assert error == pytest.approx(abs(predicted_us - true_us), abs=1)


def test_itd_error_does_not_cancel_over_time():
    both_ways = np.concatenate([noise(300, seed=1), noise(-300, seed=2)], axis=1)
    still = np.concatenate([noise(0, seed=1), noise(0, seed=2)], axis=1)
    assert metrics.itd_error_us(still, both_ways, RATE_HZ) == pytest.approx(300, abs=5)


def test_itd_error_weighs_blocks_by_the_references_energy():
    loud, soft = noise(300, seconds=4, seed=1), 0.1 * noise(-100, seconds=4, seed=2)
    reference = np.concatenate([loud, soft], axis=1)
    prediction = np.concatenate([noise(0, seconds=4, seed=1), 10 * noise(0, seconds=4, seed=2)], axis=1)
    expected = (300 + 0.01 * 100) / 1.01  # 20 dB apart
    assert metrics.itd_error_us(prediction, reference, RATE_HZ) == pytest.approx(expected, abs=3)


def test_itd_error_listens_only_while_the_reference_sounds():
    reference = np.concatenate([noise(300, seed=1), 0.01 * noise(-300, seed=2)], axis=1)
    prediction = np.concatenate([0.01 * noise(300, seed=1), noise(-300, seed=2)], axis=1)
    assert metrics.itd_error_us(prediction, reference, RATE_HZ) == pytest.approx(0, abs=12)


@pytest.mark.parametrize("predicted_db, true_db", [(0, 6), (-4, 3), (2, 2)])
def test_ild_error(predicted_db, true_db):
    prediction, reference = (noise() * [[10 ** (db / 20)], [1.0]] for db in (predicted_db, true_db))
    assert metrics.ild_error_db(prediction, reference, RATE_HZ) == pytest.approx(abs(predicted_db - true_db), abs=1e-9)


def test_ild_error_does_not_cancel_over_bands():
    spectrum = np.fft.rfft(noise())
    low_K = np.fft.rfftfreq(2 * RATE_HZ, 1 / RATE_HZ) < 1000 * 2 ** (-1 / 6)
    tilted = np.fft.irfft(spectrum * np.stack([np.where(low_K, 2.0, 0.5), np.ones(len(low_K))]), 2 * RATE_HZ)
    assert metrics.ild_error_db(tilted, noise(), RATE_HZ) == pytest.approx(20 * math.log10(2), abs=0.15)


def test_ild_error_leaves_out_what_is_50_db_down():
    times_s = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = np.stack([np.sin(2 * np.pi * 1000 * times_s)] * 2)
    hiss = noise() * 1e-3
    left_hiss = hiss * [[10.0], [1.0]]
    assert metrics.ild_error_db(tone + left_hiss, tone + hiss, RATE_HZ) < 1.0
    assert metrics.ild_error_db(left_hiss, hiss, RATE_HZ) == pytest.approx(20)


def test_ipd_error_is_wrapped_and_weighted():
    times_s = np.arange(2 * RATE_HZ) / RATE_HZ

    def tones(loud_rad, soft_rad):
        left, right = (
            np.sin(2 * np.pi * 500 * times_s + a) + 0.1 * np.sin(2 * np.pi * 1200 * times_s + b)
            for a, b in ((0, 0), (-loud_rad, -soft_rad))
        )
        return np.stack([left, right])

    assert metrics.ipd_error_rad(tones(3.0, 0), tones(-3.0, 0), RATE_HZ) == pytest.approx(
        (2 * math.pi - 6) / 1.01, abs=2e-3
    )
    assert metrics.ipd_error_rad(tones(0, 1.0), tones(0, 0), RATE_HZ) == pytest.approx(0.01 / 1.01, abs=2e-3)


def test_iacc_error():
    other = np.stack([noise(seed=0)[0], noise(seed=1)[0]])
    assert metrics.iacc_error(noise(), other, RATE_HZ) == pytest.approx(1, abs=0.06)
    assert metrics.iacc_error(noise(), noise(300), RATE_HZ) < 2e-3


def test_ears_in_opposite_phase_are_not_coherent():
    assert metrics.iacc_error(noise() * [[1], [-1]], noise(), RATE_HZ) == pytest.approx(0.78, abs=0.1)
    slow = np.sin(2 * np.pi * 20 * np.arange(2 * RATE_HZ) / RATE_HZ) * [[1], [-1]]  # never in step within 1 ms
    assert metrics.iacc_error(slow, noise(), RATE_HZ) == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("cue", CUES)
def test_mirrored_pairs_are_equally_wrong(cue):
    prediction, reference = noise(100) * [[2.0], [1.0]], noise(-250)
    assert cue(prediction[::-1], reference[::-1], RATE_HZ) == pytest.approx(
        cue(prediction, reference, RATE_HZ), abs=1e-6
    )


@pytest.mark.parametrize("cue", CUES)
def test_silence_is_wrong_by_the_whole_cue_and_cannot_be_a_reference(cue):
    reference, silence = noise(300) * [[2.0], [1.0]], np.zeros((2, 2 * RATE_HZ))
    mono = np.stack([reference.mean(axis=0)] * 2)
    assert cue(silence, reference, RATE_HZ) == pytest.approx(cue(mono, reference, RATE_HZ), abs=1e-6)
    assert math.isnan(cue(reference, silence, RATE_HZ))
