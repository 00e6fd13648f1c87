import math

import numpy as np
import pytest

from binaural_core import metrics
from binaural_core.audio import resample
from binaural_core.errors import InputError
from binaural_core.scene.head import Head
from binaural_core.seeds import numpy_stream

RATE_HZ = 22_050


def pair_of_noises():
    generator = numpy_stream(0, "noise")
    reference = 0.1 * generator.standard_normal((2, 2 * RATE_HZ))
    return reference + 0.02 * generator.standard_normal(reference.shape), reference


def test_a_summary_holds_what_each_measure_says():
    prediction, reference = pair_of_noises()
    values = metrics.summarize(prediction, reference, RATE_HZ)
    speech = ("pesq", "pesq_left", "pesq_right", "pesq_narrow", "stoi", "estoi")
    assert list(values) == [name for name in metrics.MEASURES if name not in (*speech, "azimuth_error_deg")]
    assert values["itd_error_us"] == metrics.itd_error_us(prediction, reference, RATE_HZ)
    assert values["mel_rmse"] == metrics.mel_rmse(*metrics.mel_pair(prediction, reference, RATE_HZ))
    at_16k = [resample(wave, RATE_HZ, 16_000) for wave in (prediction, reference)]
    for name in ("stft_distance", "env_distance", "snr_db", "phase_distance", "wave_l2", "multi_resolution_stft"):
        assert values[name] == getattr(metrics, name)(*at_16k, 16_000)
    with_speech = metrics.summarize(prediction, reference, RATE_HZ, speech=True)
    assert list(with_speech) == [*values, *speech]
    for name in ("pesq", "stoi", "estoi"):
        assert with_speech[name] == getattr(metrics, name)(prediction, reference, RATE_HZ)
    assert with_speech["pesq_left"] == metrics.pesq(prediction[0], reference[0], RATE_HZ)
    assert with_speech["pesq_right"] == metrics.pesq(prediction[1], reference[1], RATE_HZ)
    assert with_speech["pesq_narrow"] == metrics.pesq(prediction, reference, RATE_HZ, band="nb")
    one_ear = metrics.summarize(prediction, reference * [[0], [1]], RATE_HZ, speech=True)
    assert math.isnan(one_ear["pesq_left"])
    assert one_ear["pesq"] == one_ear["pesq_right"]
    head = Head.kemar()
    matcher = metrics.AzimuthMatcher(head.directions_D2, head.response_DEN, head.sample_rate_hz)
    with_azimuth = metrics.summarize(prediction, reference, RATE_HZ, speech=True, matcher=matcher)
    assert list(with_azimuth) == list(metrics.MEASURES)
    assert with_azimuth["azimuth_error_deg"] == metrics.azimuth_error_deg(prediction, reference, RATE_HZ, matcher)


def test_a_summary_of_silence_is_told_and_not_raised():
    silence = np.zeros((2, RATE_HZ))
    values = metrics.summarize(silence, silence, RATE_HZ)
    assert math.isnan(values["itd_error_us"])
    assert values["stft_distance"] == 0


def test_a_summary_of_a_short_sound_has_what_can_be_measured():
    prediction, reference = (wave[:, :600] for wave in pair_of_noises())
    values = metrics.summarize(prediction, reference, RATE_HZ, speech=True)
    for name in ("mel_l1", "amplitude_l2", "multi_resolution_stft", "pesq", "stoi", "estoi"):
        assert math.isnan(values[name])
    for name in ("itd_error_us", "stft_distance", "wave_l2", "phase_distance"):
        assert math.isfinite(values[name])
    with pytest.raises(InputError, match="two ears"):
        metrics.summarize(prediction[0], reference[0], RATE_HZ)


def test_a_table_of_intervals():
    interval = metrics.Interval(7.04, 6.5, 8.96, 20, 0)
    lonely = metrics.Interval(3.0, math.nan, math.nan, 1, 0)
    rows = {"ours": {"itd_error_us": interval, "snr_db": lonely, "no measure of ours": 1.0}}
    assert metrics.table(rows).splitlines()[2:] == [
        "| ITD error ↓ | µs   | 7.0 [6.5, 9.0] |",
        "| SNR ↑       | dB   |           3.00 |",
    ]


def test_a_table_is_markdown_that_reads_as_text():
    rows = {
        "mono copy": {"itd_error_us": 434.04, "snr_db": 3.0, "ild_error_db": math.nan},
        "ours": {"itd_error_us": 7.0, "snr_db": 12.345, "ild_error_db": 0.5, "stoi": 0.9},
    }
    assert metrics.table(rows).splitlines() == [
        "| measure     | unit | mono copy |  ours |",
        "| ----------- | ---- | --------: | ----: |",
        "| ITD error ↓ | µs   |     434.0 |   7.0 |",
        "| ILD error ↓ | dB   |         – |  0.50 |",
        "| SNR ↑       | dB   |      3.00 | 12.35 |",
        "| STOI ↑      |      |         – | 0.900 |",
    ]
    with pytest.raises(InputError, match="nothing to tabulate"):
        metrics.table({})
