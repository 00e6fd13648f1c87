"""What every measure says of silence, mono, one ear, very short sounds and other types, and what all refuse."""

import math

import numpy as np
import pytest
import torch

from binaural_core import metrics
from binaural_core.errors import InputError
from binaural_core.metrics.perceptual import PESQ_LOWEST
from binaural_core.seeds import numpy_stream

RATE_HZ = 16_000
LEVELS = ["stft_distance", "env_distance", "snr_db", "wave_l2"]
FIELD = [*LEVELS, "phase_distance", "amplitude_l2", "phase_l2", "multi_resolution_stft"]
CUES = ["itd_error_us", "ild_error_db", "ipd_error_rad", "iacc_error"]
SPEECH = ["pesq", "stoi", "estoi"]
LONG = ["amplitude_l2", "phase_l2", "multi_resolution_stft"]
ALL = [*FIELD, *CUES, *SPEECH]
NAN, LOWEST = math.nan, PESQ_LOWEST["wb"]


def noise(seed=0, samples=RATE_HZ):
    return 0.1 * numpy_stream(seed, "noise").standard_normal((2, samples))


WAVE = noise()
NOTHING, LEFT, RIGHT, MONO = 0 * WAVE, WAVE * [[1], [0]], WAVE * [[0], [1]], np.stack([WAVE.mean(axis=0)] * 2)


def measured(names, prediction, reference):
    return {name: getattr(metrics, name)(prediction, reference, RATE_HZ) for name in names}


def test_silence_against_silence():
    found = measured(ALL, NOTHING, NOTHING)
    for name in ("stft_distance", "env_distance", "snr_db", "wave_l2", "phase_distance", "amplitude_l2"):
        assert found.pop(name) == 0
    assert found.pop("multi_resolution_stft") == 0
    assert all(math.isnan(value) for value in found.values())  # phase_l2, cues, speech: nothing to be wrong about


def test_a_silent_prediction():
    found = measured(ALL, NOTHING, WAVE)
    assert found["wave_l2"] == pytest.approx((WAVE**2).mean())
    assert found["snr_db"] == pytest.approx(0)
    assert found["phase_distance"] == pytest.approx(math.pi / 2, abs=0.02)
    assert math.isnan(found["phase_l2"])
    assert 1 < found["multi_resolution_stft"] < 20
    mono = measured(CUES, MONO, WAVE)
    for name in CUES:
        assert found[name] == pytest.approx(mono[name], abs=1e-6)
    assert (found["pesq"], found["stoi"], found["estoi"]) == (LOWEST, 0.0, 0.0)


def test_stoi_of_what_is_unrelated_is_near_0():
    steady = np.ones_like(WAVE)
    assert abs(metrics.stoi(steady, WAVE, RATE_HZ)) < 0.1
    assert abs(metrics.estoi(steady, WAVE, RATE_HZ)) < 0.1


def test_a_silent_reference():
    found = measured(ALL, WAVE, NOTHING)
    for name in (*CUES, *SPEECH, "phase_l2"):
        assert math.isnan(found[name])
    assert found["wave_l2"] == pytest.approx((WAVE**2).mean())
    assert found["phase_distance"] == pytest.approx(math.pi / 2, abs=0.02)
    assert math.isfinite(found["multi_resolution_stft"])


def test_one_ear_of_the_prediction_is_silent():
    found, whole = measured(ALL, LEFT, WAVE), measured(ALL, NOTHING, WAVE)
    for name in ("stft_distance", "env_distance", "wave_l2"):  # half of what both silent ears cost
        assert found[name] == pytest.approx(whole[name] / 2, rel=0.05)
    assert found["itd_error_us"] == pytest.approx(whole["itd_error_us"])
    assert found["ipd_error_rad"] == pytest.approx(whole["ipd_error_rad"], abs=0.02)
    assert 50 < found["ild_error_db"] <= 102
    assert found["stoi"] == pytest.approx(0.5)
    assert found["estoi"] == pytest.approx(0.5)
    perfect = metrics.pesq(WAVE[0], WAVE[0], RATE_HZ)
    assert found["pesq"] == pytest.approx((perfect + LOWEST) / 2)


def test_one_ear_of_the_reference_is_silent():
    found = measured([*CUES, *SPEECH], WAVE, LEFT)
    assert math.isnan(found["itd_error_us"])
    assert math.isnan(found["ipd_error_rad"])
    assert 50 < found["ild_error_db"] <= 102
    assert found["iacc_error"] == pytest.approx(metrics.iacc_error(WAVE, NOTHING + RIGHT, RATE_HZ))
    assert found["stoi"] == pytest.approx(1)  # the ear that speaks is perfect
    assert found["pesq"] > 4.6
    assert metrics.ild_error_db(LEFT, LEFT, RATE_HZ) == 0
    assert metrics.ild_error_db(RIGHT, LEFT, RATE_HZ) > 100


def test_a_silent_stretch_of_one_ear_has_no_time_difference():
    """Half of the blocks have both ears: they alone count, although the others are louder."""
    turn = np.roll(WAVE[0], 5)
    both, alone = np.stack([WAVE[0], turn]), 10 * LEFT
    padded = np.concatenate([np.tile(both, 4)[:, : 9 * 1486], np.zeros((2, 1486)), np.tile(alone, 2)], axis=1)
    mono = np.stack([padded[0], padded[0]])
    assert metrics.itd_error_us(mono, padded, RATE_HZ) == pytest.approx(1e6 * 5 / RATE_HZ, abs=20)


def test_mono_against_mono_and_swapped_ears():
    for name, value in measured([*FIELD, *CUES], MONO, MONO).items():
        assert value == pytest.approx(0, abs=1e-9) or name == "snr_db"
    lagging = np.stack([WAVE[0], np.roll(WAVE[0], 4)])
    assert metrics.itd_error_us(lagging[::-1], lagging, RATE_HZ) == pytest.approx(500, abs=1)
    assert metrics.phase_distance(lagging[::-1], lagging, RATE_HZ) == pytest.approx(math.pi)
    assert metrics.phase_distance(MONO, lagging, RATE_HZ) == pytest.approx(math.pi / 2, abs=0.02)


@pytest.mark.parametrize("samples", [1, 2, 7, 300, 1024])
def test_sounds_shorter_than_a_window(samples):
    prediction, reference = noise(1, samples), noise(0, samples)
    for name in ("stft_distance", "env_distance", "snr_db", "wave_l2", "phase_distance"):
        assert math.isfinite(getattr(metrics, name)(prediction, reference, RATE_HZ))
        assert getattr(metrics, name)(reference, reference, RATE_HZ) == pytest.approx(0, abs=1e-12) or name == "snr_db"
    for name in CUES:
        value = getattr(metrics, name)(prediction, reference, RATE_HZ)
        assert math.isfinite(value) or (samples == 1 and name != "iacc_error")  # the window is 0 where it begins
    for name in SPEECH:
        assert math.isnan(getattr(metrics, name)(prediction, reference, RATE_HZ))
    for name in LONG:
        with pytest.raises(InputError, match=f"{samples} samples.*more than 1024"):
            getattr(metrics, name)(prediction, reference, RATE_HZ)
    if samples < 700:  # one mel window, at 22,050 Hz
        with pytest.raises(InputError):
            metrics.mel_pair(prediction, reference, RATE_HZ)


@pytest.mark.parametrize("name", [*FIELD, *CUES, "stoi"])
@pytest.mark.parametrize(
    "cast",
    [
        lambda w: w.astype(np.float64),
        lambda w: w.astype(np.float32)[:, ::-1][:, ::-1],
        lambda w: np.asfortranarray(w),
        lambda w: w.tolist(),
        lambda w: torch.from_numpy(w),
        lambda w: torch.from_numpy(w).half().requires_grad_(),
        lambda w: torch.from_numpy(w).bfloat16(),
    ],
    ids=["float64", "strided", "fortran", "list", "torch", "half", "bfloat16"],
)
def test_types(name, cast):
    on_a_grid = np.round(noise(2)[:, :8000] * 64).clip(-127, 127) / 128, np.round(noise(3)[:, :8000] * 64) / 128
    function = getattr(metrics, name)
    value = function(*(cast(wave) for wave in on_a_grid), RATE_HZ)
    assert type(value) is float
    assert value == function(*on_a_grid, RATE_HZ)


def test_the_inside_is_float64():
    """A quiet difference on a loud sound is not lost in rounding."""
    loud = noise() * 1e4
    assert metrics.wave_l2(loud + 1e-6, loud, RATE_HZ) == pytest.approx(1e-12, rel=1e-3)
    assert metrics.stft_distance(loud * (1 + 1e-9), loud, RATE_HZ) == pytest.approx(
        1e-18 * metrics.stft_distance(0 * loud, loud, RATE_HZ), rel=1e-5
    )
    assert metrics.multi_resolution_stft(loud * (1 + 1e-9), loud, RATE_HZ) == pytest.approx(2e-9, rel=1e-3)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "prediction, reference, rate_hz, says",
    [
        (noise()[:1], noise(), RATE_HZ, "1 channels, the reference 2"),
        (noise().T, noise().T, RATE_HZ, "transpose"),
        (noise()[None], noise()[None], RATE_HZ, "shape"),
        (noise() * np.nan, noise(), RATE_HZ, "prediction has NaN"),
        (noise(), noise() + np.inf, RATE_HZ, "reference has NaN"),
        (np.zeros((2, 0)), np.zeros((2, 0)), RATE_HZ, "shape"),
        (np.fft.fft(noise()), noise(), RATE_HZ, "complex128"),
        (torch.zeros(2, 99, dtype=torch.complex64), torch.zeros(2, 99), RATE_HZ, "complex64"),
        (noise(), (noise() * 32768).astype(np.int16), RATE_HZ, "divide 16-bit samples by 32768"),
        (noise(), np.full((2, RATE_HZ), 255, np.uint8), RATE_HZ, "uint8 samples up to 255"),
        ([[0.0, 1.0], [0.0]], noise(), RATE_HZ, "no array"),
        (["left.wav", "right.wav"], noise(), RATE_HZ, "real numbers"),
        (noise(), noise(), 22.05, "sample rate is 22.05"),
        (noise(), noise(), None, "sample rate is None"),
        (noise(), noise(), math.nan, "sample rate is nan"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_measure_takes(name, prediction, reference, rate_hz, says):
    with pytest.raises(InputError, match=says):
        getattr(metrics, name)(prediction, reference, rate_hz)


def test_pesq_has_two_bands():
    with pytest.raises(InputError, match="no band is called 'uwb'"):
        metrics.pesq(WAVE, WAVE, RATE_HZ, band="uwb")


def test_whole_numbers_within_full_scale_are_sound():
    click = np.zeros((2, 2000), int)
    click[:, 1000] = 1
    assert metrics.wave_l2(click, 0 * click, RATE_HZ) == pytest.approx(1 / 2000)


@pytest.mark.parametrize("name", CUES + ["phase_distance"])
def test_one_channel_has_no_cues(name):
    with pytest.raises(InputError, match="two ears"):
        getattr(metrics, name)(WAVE[0], WAVE[0], RATE_HZ)


def test_mels_that_cannot_be_compared():
    mel = np.zeros((2, 80, 3))
    for name in ("mel_l1", "mel_l2", "mel_rmse", "mel_cepstral_distortion_db", "mel_ild_error_db"):
        function = getattr(metrics, name)
        for prediction, says in ((mel[:, :, :2], "shape"), (mel + np.nan, "NaN"), (mel + 0j, "complex")):
            with pytest.raises(InputError, match=says):
                function(prediction, mel)
        with pytest.raises(InputError, match="not \\(E, M, F\\)"):
            function(mel[0], mel[0])
        with pytest.raises(InputError, match="shape"):
            function(mel[:, :, :0], mel[:, :, :0])
        assert type(function(torch.from_numpy(mel).half(), torch.from_numpy(mel) - 1)) is float
