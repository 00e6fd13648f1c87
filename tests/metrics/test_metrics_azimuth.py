"""Azimuths that are matched against a head: on renders whose true places are known."""

import math
from functools import cache

import numpy as np
import pytest
import torch

from binaural_core import metrics
from binaural_core.audio import interaural, read_audio, resample
from binaural_core.errors import InputError
from binaural_core.metrics.azimuth import Azimuths, lateral_deg
from binaural_core.places import data_samples
from binaural_core.scene.head import Head
from binaural_core.scene.plan import Keyframe, Scene, Source
from binaural_core.scene.render import render_sound
from binaural_core.seeds import numpy_stream

RATE_HZ = 22_050
SOUNDS = [
    "test/speaker_kettle",
    "val/speaker_map",
    "test/violin_train_ride",
    "train/cello_evening",
    "test/drum_workshop",
]
SOUNDS += ["train/flute_birdsong", "test/singer_tide", "test/piano_market"]


@cache
def matcher(reach_deg=90.0):
    head = Head.kemar()
    return metrics.AzimuthMatcher(head.directions_D2, head.response_DEN, head.sample_rate_hz, reach_deg=reach_deg)


@cache
def dry(name):
    path = data_samples() / "dry" / f"{name}.flac"
    return read_audio(path, sample_rate_hz=RATE_HZ, channels=1, start_s=0.5, duration_s=1.5).mono_N


def render(*sources, duration_s=1.5):
    scene = Scene(sources=sources, duration_s=duration_s)
    return render_sound(scene, Head.kemar(), {source.sound: dry(source.sound) for source in sources}).binaural_EN, scene


def source(sound, azimuth_deg, elevation_deg=0.0, **more):
    return Source.still(sound, azimuth_deg, elevation_deg, **more)


def noise(seed=0, samples=2 * RATE_HZ):
    return 0.1 * numpy_stream(seed, "noise").standard_normal((2, samples))


@pytest.mark.parametrize("sound", SOUNDS)
def test_single_sources(sound):
    """Speech and instruments, at measured directions and between them (the rendered ones are interpolated otherwise)."""
    errors = []
    for azimuth_deg in (-75, -60, -45, -30, -15, 0, 15, 30, 45, 60, 75, -52.5, 7.5, 38):
        wave_EN, _ = render(source(sound, float(azimuth_deg)))
        found = matcher().azimuths(wave_EN, RATE_HZ)
        errors.append(metrics.lateral_errors_deg(found, [[azimuth_deg, 0, 1.5]]))
        assert found.overall_deg == pytest.approx(azimuth_deg, abs=2)
    errors = np.concatenate(errors)
    assert np.nanmedian(errors) < 0.5
    assert np.nanmax(errors) < 3


def test_mirrored_ears_are_at_the_mirrored_place():
    wave_EN, _ = render(source(SOUNDS[0], 33.0))
    left, right = (matcher().azimuths(wave, RATE_HZ).azimuth_deg_T for wave in (wave_EN, wave_EN[::-1]))
    np.testing.assert_allclose(left, -right, atol=1e-6)
    assert (left > 30).all()


def test_level_and_rate_do_not_matter():
    wave_EN, _ = render(source(SOUNDS[0], -40.0))
    found = matcher().azimuths(wave_EN, RATE_HZ)
    np.testing.assert_allclose(
        matcher().azimuths(1e-3 * wave_EN, RATE_HZ).azimuth_deg_T, found.azimuth_deg_T, atol=1e-4
    )
    at_48k = matcher().azimuths(torch.from_numpy(resample(wave_EN, RATE_HZ, 48_000)), 48_000)
    np.testing.assert_allclose(at_48k.azimuth_deg_T, found.azimuth_deg_T, atol=0.1)


def test_a_moving_source_is_followed():
    path = (Keyframe(time_s=0.0, azimuth_deg=70.0), Keyframe(time_s=1.5, azimuth_deg=-50.0))
    errors = []
    for sound in SOUNDS:
        wave_EN, scene = render(Source(sound=sound, path=path))
        found = matcher().azimuths(wave_EN, RATE_HZ)
        errors.append(metrics.lateral_errors_deg(found, scene.positions(found.time_s_T)))
        assert found.azimuth_deg_T[0] > 45
        assert found.azimuth_deg_T[-1] < -15
    assert np.nanmedian(np.concatenate(errors)) < 3


def test_the_dominant_of_several_sources_rules():
    for azimuths_deg in ((50.0, -30.0), (-50.0, 30.0)):
        wave_EN, scene = render(source(SOUNDS[0], azimuths_deg[0]), source(SOUNDS[2], azimuths_deg[1], gain_db=-25.0))
        found = matcher().azimuths(wave_EN, RATE_HZ)
        assert found.overall_deg == pytest.approx(azimuths_deg[0], abs=4)
        assert metrics.lateral_error_deg(found, scene.positions(found.time_s_T)) < 4


def test_white_noise_on_top():
    wave_EN, _ = render(source(SOUNDS[0], 37.0))
    hiss_EN = noise(samples=wave_EN.shape[1])
    noisy_EN = wave_EN + hiss_EN * math.sqrt((wave_EN**2).mean() / (hiss_EN**2).mean() / 100)
    assert matcher().azimuths(noisy_EN, RATE_HZ).overall_deg == pytest.approx(37, abs=3)


def test_high_sounds_are_placed_by_level_and_low_ones_by_time():
    """Above 1.5 kHz no phase is compared; under it level differences are small."""
    wave_EN, _ = render(source(SOUNDS[4], 40.0))
    spectrum = np.fft.rfft(wave_EN)
    hz_K = np.fft.rfftfreq(wave_EN.shape[1], 1 / RATE_HZ)
    high = np.fft.irfft(spectrum * (hz_K > 2500), wave_EN.shape[1])
    low = np.fft.irfft(spectrum * (hz_K < 1200), wave_EN.shape[1])
    for part in (high, low):
        assert matcher().azimuths(part, RATE_HZ).overall_deg == pytest.approx(40, abs=4)


def test_silence_mono_and_one_ear():
    wave_EN = noise()
    silent = matcher().azimuths(0 * wave_EN, RATE_HZ)
    assert np.isnan(silent.azimuth_deg_T).all()
    assert math.isnan(silent.overall_deg)
    assert math.isnan(metrics.lateral_error_deg(silent, [[0, 0, 1]]))
    mono = matcher().azimuths(wave_EN[[0, 0]], RATE_HZ)
    np.testing.assert_allclose(mono.azimuth_deg_T, 0, atol=1e-6)
    alone = wave_EN * [[1], [0]]
    left, right = (matcher().azimuths(wave, RATE_HZ).azimuth_deg_T for wave in (alone, alone[::-1]))
    assert (left > 45).all()
    np.testing.assert_allclose(left, -right, atol=1e-6)
    half = np.concatenate([wave_EN[[0, 0]], 0 * wave_EN, 0 * wave_EN], axis=1)
    assert np.isnan(matcher().azimuths(half, RATE_HZ).azimuth_deg_T[-4:]).all()


@pytest.mark.parametrize("samples", [1, 2, 100, 2047, 2049])
def test_short_sounds(samples):
    found = matcher().azimuths(noise(samples=samples + 1000)[[0, 0], 1000 : 1000 + samples], RATE_HZ)
    assert found.azimuth_deg_T.shape == found.energy_T.shape == found.time_s_T.shape == (1,)
    assert found.azimuth_deg_T[0] == pytest.approx(0, abs=1e-6) or samples == 1


def test_times_are_the_middles_of_blocks():
    found = matcher().azimuths(noise(samples=1024 * 21), RATE_HZ)  # 20 frames: blocks of 8, 8 and 4
    expected = [(4 * 1024 + 512) / RATE_HZ, (12 * 1024 + 512) / RATE_HZ, (18 * 1024 + 512) / RATE_HZ]
    np.testing.assert_allclose(found.time_s_T, expected)
    energy_F = interaural.spectra(noise(samples=1024 * 21), RATE_HZ).energy_F
    np.testing.assert_allclose(found.energy_T, [energy_F[:8].sum(), energy_F[8:16].sum(), energy_F[16:].sum()])


def test_all_around_finds_who_is_behind():
    for azimuth_deg in (-160.0, -110.0, 100.0, 150.0, 20.0):
        wave_EN, _ = render(source(SOUNDS[4], azimuth_deg))
        found = matcher(180.0).azimuths(wave_EN, RATE_HZ)
        assert found.overall_deg == pytest.approx(azimuth_deg, abs=3)
        front = matcher().azimuths(wave_EN, RATE_HZ)
        assert metrics.lateral_error_deg(front, [[azimuth_deg, 0, 1]]) <= 12  # front and back sound alike
    np.testing.assert_allclose(matcher(180.0).azimuth_deg_A[[0, -1]], [-180, 180])


def test_of_ahead_and_behind_alike_ahead_is_taken():
    """On the median plane a symmetric head makes no difference between the ears."""
    for azimuth_deg in (0.0, 180.0):
        wave_EN, _ = render(source(SOUNDS[4], azimuth_deg))
        np.testing.assert_allclose(matcher(180.0).azimuths(wave_EN, RATE_HZ).azimuth_deg_T, 0, atol=0.01)
    mono_EN, off_EN = noise()[[0, 0]], render(source(SOUNDS[4], 30.0))[0]
    np.testing.assert_allclose(matcher(180.0).azimuths(mono_EN, RATE_HZ).azimuth_deg_T, 0, atol=1e-6)
    mono_EN = off_EN.mean(axis=0)[None].repeat(2, axis=0)
    assert metrics.azimuth_error_deg(mono_EN, off_EN, RATE_HZ, matcher(180.0)) == pytest.approx(30, abs=0.5)


def test_from_above_and_below_the_lateral_angle_is_found_roughly():
    for elevation_deg, within_deg in ((-20.0, 5), (20.0, 5), (60.0, 8)):
        for azimuth_deg in (-60.0, 0.0, 45.0):
            wave_EN, scene = render(source(SOUNDS[0], azimuth_deg, elevation_deg))
            found = matcher().azimuths(wave_EN, RATE_HZ)
            assert metrics.lateral_error_deg(found, scene.positions(found.time_s_T)) < within_deg


def test_the_error_between_two_sounds():
    true_EN, _ = render(source(SOUNDS[1], 45.0))
    off_EN, _ = render(source(SOUNDS[1], 20.0))
    error = metrics.azimuth_error_deg
    assert error(true_EN, true_EN, RATE_HZ, matcher()) == 0
    assert error(off_EN, true_EN, RATE_HZ, matcher()) == pytest.approx(25, abs=1)
    assert error(true_EN[[0, 0]], true_EN, RATE_HZ, matcher()) == pytest.approx(45, abs=1)
    assert error(0 * true_EN, true_EN, RATE_HZ, matcher()) == pytest.approx(45, abs=1)
    assert math.isnan(error(true_EN, 0 * true_EN, RATE_HZ, matcher()))
    behind_EN, _ = render(source(SOUNDS[4], -175.0))
    other_EN, _ = render(source(SOUNDS[4], 175.0))
    assert error(behind_EN, other_EN, RATE_HZ, matcher(180.0)) == pytest.approx(10, abs=3)  # the short way round
    with pytest.raises(InputError, match="two ears"):
        error(true_EN[0], true_EN[0], RATE_HZ, matcher())


def test_the_error_listens_only_while_the_reference_sounds_and_weighs_by_its_energy():
    near, far = render(source(SOUNDS[4], 10.0))[0], render(source(SOUNDS[4], 50.0))[0]
    pause = np.zeros((2, 8 * 1024))
    near, far = near[:, : 24 * 1024], far[:, : 24 * 1024]
    reference = np.concatenate([near, pause, 0.1 * near], axis=1)
    prediction = np.concatenate([near, far[:, : 8 * 1024], 0.1 * far], axis=1)
    parts = [(near**2).sum(), 0.01 * (near**2).sum()]
    expected = (0 * parts[0] + 40 * parts[1]) / sum(parts)
    assert metrics.azimuth_error_deg(prediction, reference, RATE_HZ, matcher()) == pytest.approx(expected, abs=0.4)


def test_lateral_errors():
    found = Azimuths(np.array([30.0, np.nan, -10.0]), np.array([1.0, 0.0, 3.0]), np.zeros(3))
    np.testing.assert_allclose(metrics.lateral_errors_deg(found, [[20, 0, 1]]), [10, np.nan, 30])
    np.testing.assert_allclose(metrics.lateral_errors_deg(found, [[150, 0, 1]]), [0, np.nan, 40])  # behind
    np.testing.assert_allclose(metrics.lateral_errors_deg(found, [[20, 0, 1], [-15, 0, 1]]), [10, np.nan, 5])
    moving = np.array([[[0, 0, 1]], [[0, 0, 1]], [[-5, 0, 1]]], float)
    np.testing.assert_allclose(metrics.lateral_errors_deg(found, moving), [30, np.nan, 5])
    assert metrics.lateral_error_deg(found, moving) == pytest.approx((30 + 3 * 5) / 4)
    moving[0] = np.nan
    np.testing.assert_allclose(metrics.lateral_errors_deg(found, moving), [np.nan, np.nan, 5])
    assert metrics.lateral_error_deg(found, moving) == pytest.approx(5)
    assert np.isnan(metrics.lateral_errors_deg(found, np.zeros((0, 3)))).all()
    assert lateral_deg(90, 60) == pytest.approx(30)
    assert lateral_deg(-135) == pytest.approx(-45)
    with pytest.raises(InputError, match="T = 3 blocks"):
        metrics.lateral_errors_deg(found, np.zeros((2, 1, 3)))


def test_the_median_is_weighted():
    found = Azimuths(np.array([10.0, np.nan, -60.0, 12.0]), np.array([1.0, 0.0, 5.0, 1.0]), np.zeros(4))
    assert found.overall_deg == -60
    assert found._replace(energy_T=np.array([2.0, 0, 1, 2])).overall_deg == 10


def test_a_made_up_head_of_delays_alone():
    """Whole-sample delays, no levels: what is found is what the delay says."""
    azimuths_deg = np.arange(-90, 91, 10.0)
    response = np.zeros((19, 2, 64))
    for row, lag in zip(response, range(-9, 10), strict=True):
        row[0, 20], row[1, 20 + lag] = 1, 1
    directions_D2 = np.stack([azimuths_deg, 0 * azimuths_deg], axis=1)
    order = numpy_stream(0, "order").permutation(19)  # a file's directions come in any order
    made_up = metrics.AzimuthMatcher(directions_D2[order], response[order], RATE_HZ)
    plain = noise()[0]
    for lag in (-7, 0, 4):
        wave_EN = np.stack([plain, np.roll(plain, lag)])
        np.testing.assert_allclose(made_up.azimuths(wave_EN, RATE_HZ).azimuth_deg_T, 10 * lag, atol=0.2)
    for lag in (2.5, 2.545, -4.86):  # between the head's directions, and between the steps of one degree
        turn_K = np.exp(-2j * np.pi * np.fft.rfftfreq(len(plain)) * lag)
        wave_EN = np.stack([plain, np.fft.irfft(np.fft.rfft(plain) * turn_K, len(plain))])
        np.testing.assert_allclose(made_up.azimuths(wave_EN, RATE_HZ).azimuth_deg_T, 10 * lag, atol=0.15)


def test_what_a_matcher_does_not_take():
    head = Head.kemar()
    with pytest.raises(InputError, match="directions have shape"):
        metrics.AzimuthMatcher(head.directions_D2[:5], head.response_DEN, RATE_HZ)
    with pytest.raises(InputError, match="at most one frame of 2048"):
        metrics.AzimuthMatcher([[0, 0]], np.zeros((1, 2, 4000)), RATE_HZ)
    sparse = (head.directions_D2[:, 1] == 0) & (head.directions_D2[:, 0] % 30 == 0)
    with pytest.raises(InputError, match="horizontal plane"):
        metrics.AzimuthMatcher(head.directions_D2[sparse], head.response_DEN[sparse], RATE_HZ)
    raised = head.directions_D2[:, 1] > 10
    with pytest.raises(InputError, match="0 responses"):
        metrics.AzimuthMatcher(head.directions_D2[raised], head.response_DEN[raised], RATE_HZ)
    refused = ((noise()[0], "shape"), (noise() * np.nan, "NaN"), (noise() + 0j, "complex128"), (["a", "b"], "<U1"))
    for wave, says in refused:
        with pytest.raises(InputError, match=says):
            matcher().azimuths(wave, RATE_HZ)
    for rate_hz in (22.05, None, math.nan):
        with pytest.raises(InputError, match="sample rate"):
            matcher().azimuths(noise(), rate_hz)
