"""Measures against cases that can be worked out by hand, and what all of them refuse."""

import math

import numpy as np
import pytest
import scipy.signal

from binaural_core import metrics
from binaural_core.errors import InputError
from binaural_core.seeds import numpy_stream

RATE_HZ = 16_000
WAVES = ["stft_distance", "env_distance", "snr_db", "phase_distance", "wave_l2", "amplitude_l2", "phase_l2"]
WAVES += ["multi_resolution_stft", "itd_error_us", "ild_error_db", "ipd_error_rad", "iacc_error"]


def noise(seed=0, seconds=1.0):
    return 0.1 * numpy_stream(seed, "noise").standard_normal((2, int(RATE_HZ * seconds)))


@pytest.mark.parametrize("measure", [name for name in WAVES if name != "snr_db"])
def test_a_perfect_copy_is_at_no_distance(measure):
    assert getattr(metrics, measure)(noise(), noise(), RATE_HZ) == pytest.approx(0, abs=1e-6)


def test_stft_and_waves_scale_with_the_square_and_envelopes_do_not():
    silence, wave = np.zeros((2, RATE_HZ)), noise()
    for measure, power in ((metrics.stft_distance, 2), (metrics.wave_l2, 2), (metrics.env_distance, 1)):
        assert measure(silence, 3 * wave, RATE_HZ) == pytest.approx(3**power * measure(silence, wave, RATE_HZ))
    assert metrics.wave_l2(silence, wave, RATE_HZ) == pytest.approx((wave**2).mean())


def test_ears_are_summed_in_the_field_measures():
    left_only = noise() * [[1.0], [0.0]]
    both = np.stack([left_only[0], left_only[0]])
    silence = np.zeros((2, RATE_HZ))
    for measure in (metrics.stft_distance, metrics.env_distance):
        assert measure(silence, both, RATE_HZ) == pytest.approx(2 * measure(silence, left_only, RATE_HZ))


def test_a_mono_copy_has_the_phase_of_chance_and_swapped_ears_the_opposite():
    reference = noise(seconds=3.0)
    mono = np.stack([reference.mean(axis=0)] * 2)
    assert metrics.phase_distance(mono, reference, RATE_HZ) == pytest.approx(math.pi / 2, abs=0.02)
    assert metrics.phase_distance(reference[::-1], reference, RATE_HZ) == pytest.approx(math.pi, abs=1e-9)


def test_snr_of_a_perfect_copy_is_finite():
    wave = noise()
    assert metrics.snr_db(wave, wave, RATE_HZ) == pytest.approx(10 * math.log10((wave**2).mean() / 1e-4 + 1))


def speech_stft(wave_N, rate_hz):
    """40 ms Hann, 10 ms hop, 2,048 points, centred with mirrored ends: by scipy, unscaled."""
    win, hop = rate_hz // 25, rate_hz // 100
    window = np.pad(scipy.signal.get_window("hann", win), ((2048 - win) // 2, 2048 - win - (2048 - win) // 2))
    padded_N = np.pad(wave_N, 1024, mode="reflect")
    starts = range(0, len(padded_N) - 2047, hop)
    return np.stack([np.fft.rfft(padded_N[at : at + 2048] * window) for at in starts], axis=1)


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_amplitude_and_phase_of_neural_binaural_speech(rate_hz):
    prediction, reference = noise(1), noise(0) * np.linspace(0.5, 0, RATE_HZ)  # much of it under the threshold
    predicted, true = (np.stack([speech_stft(ear, rate_hz) for ear in wave]) for wave in (prediction, reference))
    amplitude = np.abs(np.abs(predicted) - np.abs(true)).mean()
    assert metrics.amplitude_l2(prediction, reference, rate_hz) == pytest.approx(amplitude)

    energies = [np.abs(s.real) + np.abs(s.imag) for s in (predicted, true)]
    heard = (energies[0] > 0.2 * energies[1].mean()) & (energies[1] > 0.2 * energies[1].mean())
    difference = np.angle(predicted[heard]) - np.angle(true[heard])
    phase = np.abs((difference + np.pi) % (2 * np.pi) - np.pi).mean()
    assert metrics.phase_l2(prediction, reference, rate_hz) == pytest.approx(phase)
    assert 0.05 < 1 - heard.mean() < 0.5  # the threshold decides something here
    assert math.isnan(metrics.phase_l2(np.zeros_like(reference), reference, rate_hz))


def test_mel_measures_of_known_differences():
    reference = numpy_stream(0, "mel").standard_normal((2, 80, 20))
    above = reference + 0.5
    above[:, :, ::2] -= 1.0
    assert metrics.mel_l1(above, reference) == pytest.approx(0.5)
    assert metrics.mel_l2(above, reference) == pytest.approx(0.25)
    assert metrics.mel_rmse(above, reference, RATE_HZ) == pytest.approx(0.5)
    assert metrics.mel_cepstral_distortion_db(above, reference) == pytest.approx(0, abs=1e-9)  # level is c_0


@pytest.mark.parametrize("order, counts", [(1, True), (13, True), (14, False)])
def test_mel_cepstral_distortion_of_one_cepstrum(order, counts):
    cosine_M = np.sqrt(2 / 80) * np.cos(np.pi * order * (np.arange(80) + 0.5) / 80)
    reference = numpy_stream(0, "mel").standard_normal((2, 80, 20))
    distortion = metrics.mel_cepstral_distortion_db(reference + 0.3 * cosine_M[:, None], reference)
    assert distortion == pytest.approx(10 / math.log(10) * math.sqrt(2) * 0.3 if counts else 0, abs=1e-9)


def test_mel_cepstral_distortion_is_the_rms_in_db_times_a_constant():
    """Of a difference that 13 cepstra describe wholly: sqrt(M / 2) times its RMS over bands, in dB."""
    weight_13 = numpy_stream(1, "cepstra").standard_normal(13)
    cosine_M13 = np.cos(np.pi * np.arange(1, 14) * (np.arange(80)[:, None] + 0.5) / 80)
    off_M = cosine_M13 @ weight_13
    rms_db = 20 / math.log(10) * math.sqrt((off_M**2).mean())
    reference = numpy_stream(0, "mel").standard_normal((2, 80, 20))
    distortion = metrics.mel_cepstral_distortion_db(reference + off_M[:, None], reference)
    assert distortion == pytest.approx(math.sqrt(40) * rms_db)


def test_mels_of_two_waves_at_another_rate():
    predicted, true = metrics.mel_pair(noise(1, 2.0), noise(0, 2.0), RATE_HZ)
    assert predicted.shape == true.shape == (2, 80, 172)
    assert metrics.mel_rmse(predicted, true) > 0.1


@pytest.mark.parametrize("measure", WAVES)
def test_lengths_may_differ_by_a_hop_and_no_more(measure):
    function = getattr(metrics, measure)
    longer, reference = noise(1), noise()[:, :-256]
    assert function(longer, reference, RATE_HZ) == function(longer[:, :-256], reference, RATE_HZ)
    with pytest.raises(InputError, match="16000 samples, the reference 15743"):
        function(longer, reference[:, :-1], RATE_HZ)


def test_the_level_error_of_mels_is_that_of_bands_and_blocks_that_are_heard():
    """One ear 6 dB louder than it should be, in the first half of the time: 3 dB over all; unheard bands do not count."""
    true_EMF = np.full((2, 4, 64), -2.0)
    true_EMF[:, 3] = -2.0 - 60 / (20 / math.log(10))  # 60 dB under the others: not heard beside them
    made_EMF = true_EMF.copy()
    made_EMF[0, :, :32] += 6 / (20 / math.log(10))
    made_EMF[0, 3] += 5.0
    assert metrics.mel_ild_error_db(made_EMF, true_EMF) == pytest.approx(3.0)
    both_louder = true_EMF + 0.7
    assert metrics.mel_ild_error_db(both_louder, true_EMF) == pytest.approx(0.0, abs=1e-9)
    assert math.isnan(metrics.mel_ild_error_db(true_EMF, np.full((2, 4, 64), math.log(1e-5))))
    with pytest.raises(InputError, match="not of two ears"):
        metrics.mel_ild_error_db(true_EMF[:1], true_EMF[:1])
