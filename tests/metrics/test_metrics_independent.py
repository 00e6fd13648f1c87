"""Every measure against its formula, written a second time in plain float64, on pairs as they come up in practice."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soxr
import torch

from binaural_core import metrics
from binaural_core.metrics import perceptual
from binaural_core.seeds import numpy_stream

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
PAIRS = ["noises", "scaled", "swapped", "mono", "delayed", "kemar", "quantised"]


def delayed(wave_CN, samples):
    turn_K = np.exp(-2j * np.pi * np.fft.rfftfreq(wave_CN.shape[1]) * samples)
    return np.fft.irfft(np.fft.rfft(wave_CN) * turn_K, wave_CN.shape[1])


@cache
def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return arrays["pred"].astype(float), arrays["ref"].astype(float), int(arrays["sr"])


@cache
def example(name):
    """(prediction, reference, rate): different each time."""
    draw = numpy_stream(5, name).standard_normal
    reference = 0.2 * scipy.signal.lfilter([1], [1, -0.9], draw((2, 13_333)))
    predictions = {
        "noises": lambda: 0.1 * draw((2, 13_333)),
        "scaled": lambda: reference * [[0.7], [1.4]],
        "swapped": lambda: reference[::-1],
        "mono": lambda: np.stack([reference.mean(axis=0)] * 2),
        "delayed": lambda: np.stack([reference[0], delayed(reference, 3.37)[1]]),
        "quantised": lambda: np.round(reference * 64) / 64,
    }
    if name == "kemar":
        return golden("speech16k_kemar_az60_vs_az30")
    return predictions[name](), reference, 16_000


def dft_frames(wave_N, window_w, n_fft, hop, pad):
    """(K, F) of every frame, by a matrix: window centred in n_fft points."""
    before = (n_fft - len(window_w)) // 2
    padded_N = np.pad(wave_N, n_fft // 2, mode=pad)
    starts = np.arange(0, len(padded_N) - n_fft + 1, hop)
    frames_Fw = np.stack([padded_N[at + before : at + before + len(window_w)] for at in starts])
    turn_wK = np.exp(-2j * np.pi * np.outer(np.arange(len(window_w)) + before, np.arange(n_fft // 2 + 1)) / n_fft)
    return ((frames_Fw * window_w) @ turn_wK).T


def hann(length):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def field(wave_N):
    return dft_frames(wave_N, hann(400), 512, 160, "constant")


@pytest.mark.parametrize("name", PAIRS)
def test_waves_and_envelopes(name):
    prediction, reference, rate_hz = example(name)
    assert metrics.wave_l2(prediction, reference, rate_hz) == pytest.approx(np.mean((prediction - reference) ** 2))

    def envelope(wave_N):
        spectrum = np.fft.fft(wave_N)
        k = np.fft.fftfreq(len(wave_N))
        return np.abs(np.fft.ifft(spectrum * np.where(k > 0, 2, np.where((k == 0) | (k == -0.5), 1, 0))))

    peaks = np.abs(prediction).max(), np.abs(reference).max()
    for scale, normalized in (((1, 1), False), (peaks, True)):
        p, r = prediction / scale[0], reference / scale[1]
        rms = sum(np.sqrt(np.mean((envelope(a) - envelope(b)) ** 2)) for a, b in zip(p, r, strict=True))
        assert metrics.env_distance(prediction, reference, rate_hz, normalized=normalized) == pytest.approx(rms)
        snr = 10 * np.log10((np.mean(r**2) + 1e-4) / (np.mean((p - r) ** 2) + 1e-4))
        assert metrics.snr_db(prediction, reference, rate_hz, normalized=normalized) == pytest.approx(snr)


@pytest.mark.parametrize("name", PAIRS)
def test_field_spectra(name):
    prediction, reference, rate_hz = example(name)
    off = [field(p) - field(r) for p, r in zip(prediction, reference, strict=True)]
    distance = sum(0.5 * (np.mean(o.real**2) + np.mean(o.imag**2)) for o in off)
    assert metrics.stft_distance(prediction, reference, rate_hz) == pytest.approx(distance, rel=1e-9)
    magnitude = sum(np.mean(np.abs(o) ** 2) for o in off)  # "Mag" of later papers
    assert 2 * metrics.stft_distance(prediction, reference, rate_hz) == pytest.approx(magnitude, rel=1e-9)
    if name in ("mono", "swapped"):
        expected = {"mono": math.pi / 2, "swapped": math.pi}[name]
        assert metrics.phase_distance(prediction, reference, rate_hz) == pytest.approx(expected, abs=0.03)
        return
    sides = [field(wave[0] - wave[1]) for wave in (prediction, reference)]
    wrapped = np.abs((np.angle(sides[0]) - np.angle(sides[1]) + np.pi) % (2 * np.pi) - np.pi)
    assert metrics.phase_distance(prediction, reference, rate_hz) == pytest.approx(wrapped.mean(), rel=1e-3)


@pytest.mark.parametrize("name", PAIRS)
def test_multi_resolution(name):
    prediction, reference, rate_hz = example(name)
    total = 0
    for n_fft, hop, win in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        magnitude = [
            np.sqrt(np.maximum(np.abs([dft_frames(ear, hann(win), n_fft, hop, "reflect") for ear in wave]) ** 2, 1e-8))
            for wave in (prediction, reference)
        ]
        off = magnitude[1] - magnitude[0]
        total += np.sqrt((off**2).sum()) / np.sqrt((magnitude[1] ** 2).sum())
        total += np.mean(np.abs(np.log(magnitude[0]) - np.log(magnitude[1])))
    assert metrics.multi_resolution_stft(prediction, reference, rate_hz) == pytest.approx(total / 3, rel=1e-7)


# The cues: another code for the frames of CONTRACTS (2,048 samples at 22,050 Hz, hop half, blocks of 8).


def frames(wave_EN, rate_hz):
    hop = round(1024 / 22_050 * rate_hz)
    starts = range(0, wave_EN.shape[1] - 2 * hop + 1, hop)
    window = hann(2 * hop)
    spectrum_FEK = np.stack([np.fft.rfft(wave_EN[:, at : at + 2 * hop] * window) for at in starts])
    energy_F = np.array([((wave_EN[:, at : at + 2 * hop] * window) ** 2).sum() for at in starts])
    return spectrum_FEK, np.fft.rfftfreq(2 * hop, 1 / rate_hz), energy_F


def cue_itd_us(wave_EN, rate_hz, active_F):
    spectrum_FEK, hz_K, _ = frames(wave_EN, rate_hz)
    low_K = (hz_K >= 100) & (hz_K <= 1500)
    cross_FK = (spectrum_FEK[:, 0] * spectrum_FEK[:, 1].conj())[:, low_K]
    phat_FK = cross_FK / np.maximum(np.abs(cross_FK), 1e-300) * active_F[:, None]
    tau_s = np.arange(-1000, 1000.5, 0.5) * 1e-6
    look_KA = np.exp(-2j * np.pi * np.outer(hz_K[low_K], tau_s))
    found = [(phat_FK[at : at + 8].sum(axis=0) @ look_KA).real.argmax() for at in range(0, len(phat_FK), 8)]
    return 1e6 * tau_s[found]


@pytest.mark.parametrize("name", ["scaled", "delayed", "kemar", "mono"])
def test_time_differences(name):
    prediction, reference, rate_hz = example(name)
    _, _, energy_F = frames(reference, rate_hz)
    active_F = energy_F > energy_F.max() / 1000
    off = np.abs(cue_itd_us(prediction, rate_hz, active_F) - cue_itd_us(reference, rate_hz, active_F))
    weight = np.array([(energy_F * active_F)[at : at + 8].sum() for at in range(0, len(energy_F), 8)])
    expected = (off * weight).sum() / weight.sum()
    assert metrics.itd_error_us(prediction, reference, rate_hz) == pytest.approx(expected, abs=0.6)
    if name == "kemar":
        assert expected == pytest.approx(607.9 - 286.4, abs=8)  # of the head at 60 and 30 degrees


@pytest.mark.parametrize("name", PAIRS)
def test_level_differences(name):
    prediction, reference, rate_hz = example(name)
    levels, ilds = [], []
    for wave in (prediction, reference):
        spectrum_FEK, hz_K, _ = frames(wave, rate_hz)
        energy = []
        for centre_hz in 1000 * 2.0 ** (np.arange(-9, 9) / 3):  # 125 to 6,350 Hz fit under 8 kHz
            inside_K = (hz_K >= centre_hz * 2 ** (-1 / 6)) & (hz_K < centre_hz * 2 ** (1 / 6))
            power_FE = (np.abs(spectrum_FEK[:, :, inside_K]) ** 2).sum(axis=2)
            energy.append([power_FE[at : at + 8].sum(axis=0) for at in range(0, len(power_FE), 8)])
        energy_GTE = np.array(energy)
        ilds.append(10 * np.log10(energy_GTE[..., 0] / energy_GTE[..., 1]))
        levels.append(10 * np.log10(energy_GTE.sum(axis=2)))
    heard = levels[1] > levels[1].max() - 50
    expected = np.abs(ilds[0] - ilds[1])[heard].mean()
    assert metrics.ild_error_db(prediction, reference, rate_hz) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", PAIRS)
def test_phase_differences_and_coherence(name):
    prediction, reference, rate_hz = example(name)
    cross = []
    for wave in (prediction, reference):
        spectrum_FEK, hz_K, _ = frames(wave, rate_hz)
        cross.append((spectrum_FEK[:, 0] * spectrum_FEK[:, 1].conj())[:, (hz_K >= 100) & (hz_K <= 1500)])
    off = np.abs((np.angle(cross[0]) - np.angle(cross[1]) + np.pi) % (2 * np.pi) - np.pi)
    expected = (off * np.abs(cross[1])).sum() / np.abs(cross[1]).sum()
    assert metrics.ipd_error_rad(prediction, reference, rate_hz) == pytest.approx(expected, rel=1e-6, abs=1e-9)

    def coherence(wave):
        sections = scipy.signal.butter(4, 1500, fs=rate_hz, output="sos")
        fine = scipy.signal.resample_poly(scipy.signal.sosfiltfilt(sections, wave, axis=1, padtype=None), 8, 1, axis=1)
        left, right = fine / np.sqrt((fine**2).sum(axis=1, keepdims=True))
        lags = range(-rate_hz * 8 // 1000, rate_hz * 8 // 1000 + 1)
        size = len(left)
        return max(left[max(0, d) : size + min(0, d)] @ right[max(0, -d) : size - max(0, d)] for d in lags)

    expected = abs(coherence(prediction) - coherence(reference))
    assert metrics.iacc_error(prediction, reference, rate_hz) == pytest.approx(expected, abs=2e-3)


# The models of listeners: what the packages say when they are called directly.


def stereo_speech():
    """Two ears that are wrong in different ways, and are not alike."""
    noisy, clean, rate_hz = golden("speech16k_noisy_snr10")
    late = np.roll(clean, 9) * 0.5
    return np.stack([noisy, 0.7 * late + 0.1 * noisy]), np.stack([clean, late]), rate_hz


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 48_000])
def test_pesq_is_the_package_on_each_ear_after_resampling(rate_hz):
    from pesq import pesq

    waves = [soxr.resample(wave.T, 16_000, rate_hz, "VHQ").T for wave in stereo_speech()[:2]]
    for band, band_hz in (("wb", 16_000), ("nb", 8_000)):
        at_band = [soxr.resample(wave.T, rate_hz, band_hz, "VHQ").T if rate_hz != band_hz else wave for wave in waves]
        expected = [pesq(band_hz, at_band[1][ear], at_band[0][ear], band) for ear in (0, 1)]
        assert abs(expected[0] - expected[1]) > 0.1
        assert metrics.pesq(*waves, rate_hz, band=band) == pytest.approx(sum(expected) / 2, abs=1e-6)
        for up, down in {16_000: [(1, 1)], 22_050: [(320, 441)], 48_000: [(1, 3)]}[rate_hz]:
            other = [scipy.signal.resample_poly(wave, up, down * 16_000 // band_hz, axis=1) for wave in waves]
            by_scipy = [pesq(band_hz, other[1][ear], other[0][ear], band) for ear in (0, 1)]
            assert metrics.pesq(*waves, rate_hz, band=band) == pytest.approx(sum(by_scipy) / 2, abs=0.02)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050])
def test_stoi_is_the_package_on_each_ear(rate_hz):
    from pystoi import stoi

    waves = [soxr.resample(wave.T, 16_000, rate_hz, "VHQ").T for wave in stereo_speech()[:2]]
    for extended, measure in ((False, metrics.stoi), (True, metrics.estoi)):
        expected = [stoi(waves[1][ear], waves[0][ear], rate_hz, extended) for ear in (0, 1)]
        assert abs(expected[0] - expected[1]) > 0.01
        assert measure(*waves, rate_hz) == pytest.approx(sum(expected) / 2, abs=1e-9)
        at_16k = [stoi(*(wave[ear] for wave in reversed(stereo_speech()[:2])), 16_000, extended) for ear in (0, 1)]
        assert measure(*waves, rate_hz) == pytest.approx(sum(at_16k) / 2, abs=2e-3)
    values = json.loads((GOLDEN / "index.json").read_text())["cases"][-1]["values"]
    assert metrics.estoi(*golden("speech16k_noisy_snr10")) == pytest.approx(values["estoi"], abs=1e-4)


def test_estoi_draws_nothing_from_the_global_stream():
    prediction, reference, rate_hz = golden("speech16k_noisy_snr10")
    narrow = scipy.signal.sosfiltfilt(scipy.signal.butter(8, 500, fs=rate_hz, output="sos"), reference)  # empty bands
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    first = metrics.estoi(prediction, narrow, rate_hz)
    assert np.random.random() == expected  # noqa: NPY002
    assert metrics.estoi(prediction, narrow, rate_hz) == first


def test_pesq_of_a_long_sound_is_the_mean_of_its_pieces(monkeypatch):
    """More than 50 utterances at once would end the process."""
    assert perceptual.PESQ_LONGEST_S <= 20
    prediction, reference, rate_hz = golden("speech16k_noisy_snr10")
    pieces = [slice(0, 16_000), slice(16_000, 32_000), slice(32_000, 48_000)]
    one_by_one = [metrics.pesq(prediction[piece], reference[piece], rate_hz) for piece in pieces]
    monkeypatch.setattr(perceptual, "PESQ_LONGEST_S", 1.2)
    assert metrics.pesq(prediction, reference, rate_hz) == pytest.approx(np.mean(one_by_one))
    paused = reference * np.repeat([1.0, 0.0, 1.0], 16_000)
    alone = [metrics.pesq(prediction[piece], reference[piece], rate_hz) for piece in (pieces[0], pieces[2])]
    assert metrics.pesq(prediction, paused, rate_hz) == pytest.approx(np.mean(alone))


def test_the_lowest_pesq_is_what_the_maps_make_of_the_lowest_raw_score():
    assert perceptual.PESQ_LOWEST["wb"] == pytest.approx(0.999 + 4 / (1 + math.exp(-1.3669 * -0.5 + 3.8224)))
    assert perceptual.PESQ_LOWEST["nb"] == pytest.approx(0.999 + 4 / (1 + math.exp(-1.4945 * -0.5 + 4.6607)))


def test_auraloss_in_float32_says_the_same():
    from auraloss.freq import MultiResolutionSTFTLoss

    for name in PAIRS:
        prediction, reference, rate_hz = example(name)
        as_1EN = [torch.from_numpy(np.ascontiguousarray(wave[None])).float() for wave in (prediction, reference)]
        expected = float(MultiResolutionSTFTLoss()(*as_1EN))
        assert metrics.multi_resolution_stft(prediction, reference, rate_hz) == pytest.approx(expected, rel=1e-4)
