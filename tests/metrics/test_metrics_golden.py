"""Every measure of the field against public reference code (tests/golden/metrics/index.json says which)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core import metrics

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
CASES = {case["file"].removesuffix(".npz"): case for case in json.loads((GOLDEN / "index.json").read_text())["cases"]}
STEREO = [name for name, case in CASES.items() if case["kind"] == "stereo"]
SPEECH = CASES["speech16k_noisy_snr10"]["values"]


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return arrays["pred"], arrays["ref"], int(arrays["sr"])


@pytest.mark.parametrize("name", STEREO)
@pytest.mark.parametrize("measure", ["stft_distance", "env_distance", "snr_db"])
@pytest.mark.parametrize("kind", ["raw", "normalized"])
def test_field_measures(name, measure, kind):
    value = getattr(metrics, measure)(*load(name), normalized=kind == "normalized")
    assert value == pytest.approx(CASES[name]["values"][kind][measure], rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("name", STEREO)
def test_phase_distance(name):
    assert metrics.phase_distance(*load(name)) == pytest.approx(CASES[name]["values"]["raw"]["d_phase"], rel=1e-3)


@pytest.mark.parametrize("name", STEREO)
def test_multi_resolution_stft(name):
    expected = CASES[name]["values"]["mrstft_auraloss_raw"]
    assert metrics.multi_resolution_stft(*load(name)) == pytest.approx(expected, rel=1e-3)


def test_speech_measures():
    speech = load("speech16k_noisy_snr10")
    assert metrics.pesq(*speech) == pytest.approx(SPEECH["pesq_wb"], abs=0.01)
    assert metrics.pesq(*speech, band="nb") == pytest.approx(SPEECH["pesq_nb_at_8k_resampled"], abs=0.01)
    assert metrics.stoi(*speech) == pytest.approx(SPEECH["stoi"], abs=1e-4)
    assert metrics.stoi(*speech, extended=True) == pytest.approx(SPEECH["estoi"], abs=1e-4)
    assert metrics.multi_resolution_stft(*speech) == pytest.approx(SPEECH["mrstft_auraloss"], rel=1e-3)


@pytest.mark.parametrize(
    "measure", ["stft_distance", "phase_distance", "wave_l2", "itd_error_us", "multi_resolution_stft"]
)
def test_torch_in_a_plain_float_out(measure):
    prediction, reference, rate_hz = load("rand16k_close")
    value = getattr(metrics, measure)(
        torch.from_numpy(prediction).requires_grad_(), torch.from_numpy(reference), rate_hz
    )
    assert type(value) is float
    assert value == pytest.approx(getattr(metrics, measure)(prediction, reference, rate_hz))
