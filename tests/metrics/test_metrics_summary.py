import math

import numpy as np
import pytest

from binaural_core import metrics
from binaural_core.audio import resample
from binaural_core.errors import InputError
from binaural_core.seeds import numpy_stream

RATE_HZ = 22_050


def pair_of_noises():
    generator = numpy_stream(0, "noise")
    reference = 0.1 * generator.standard_normal((2, 2 * RATE_HZ))
    return reference + 0.02 * generator.standard_normal(reference.shape), reference


def test_a_summary_holds_what_each_measure_says():
    prediction, reference = pair_of_noises()
    values = metrics.summarize(prediction, reference, RATE_HZ)
    assert list(values) == [name for name in metrics.MEASURES if name not in ("pesq", "stoi")]
    assert values["itd_error_us"] == metrics.itd_error_us(prediction, reference, RATE_HZ)
    assert values["mel_rmse"] == metrics.mel_rmse(*metrics.mel_pair(prediction, reference, RATE_HZ))
    at_16k = [resample(wave, RATE_HZ, 16_000) for wave in (prediction, reference)]
    for name in ("stft_distance", "env_distance", "snr_db", "phase_distance", "wave_l2", "multi_resolution_stft"):
        assert values[name] == getattr(metrics, name)(*at_16k, 16_000)
    with_speech = metrics.summarize(prediction, reference, RATE_HZ, speech=True)
    assert list(with_speech) == list(metrics.MEASURES)
    assert with_speech["stoi"] == metrics.stoi(prediction, reference, RATE_HZ)


def test_a_summary_of_silence_is_told_and_not_raised():
    silence = np.zeros((2, RATE_HZ))
    values = metrics.summarize(silence, silence, RATE_HZ)
    assert math.isnan(values["itd_error_us"])
    assert values["stft_distance"] == 0


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
