import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import fftconvolve

from binaural_core.audio.interaural import ild_db, itd_blocks, itd_us
from binaural_core.errors import InputError
from binaural_core.scene import Head, Keyframe, Room, Scene, Source, render_sound
from binaural_core.scene.geometry import wrap_deg
from binaural_core.scene.render import HOP_SAMPLES, PEAK, source_filters

RATE_HZ = 22_050
ROOM = Room(size_m=(6.0, 5.0, 2.8), rt60_s=0.4)


@pytest.fixture(scope="module")
def kemar():
    return Head.kemar()


def noise(seconds=2.0, seed=0, level=0.05):
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ)).astype(np.float32) * np.float32(level)


def way(*frames):
    return Source(sound="dry", path=tuple(Keyframe(time_s=t, azimuth_deg=a, distance_m=d) for t, a, d in frames))


def heard(head, *sources, wave=None, duration_s=2.0, **scene):
    wave = noise(duration_s) if wave is None else wave
    return render_sound(Scene(sources=sources, duration_s=duration_s, **scene), head, {"dry": wave})


def test_cues_of_a_still_source_are_those_of_the_measured_head(kemar):
    """Against noise filtered at the file's own 44.1 kHz and resampled afterwards: a way round all of our filters."""
    own = Head.kemar(None)
    wave_44 = np.random.default_rng(1).standard_normal(88_200) * 0.05
    wave = soxr.resample(wave_44, 44_100, RATE_HZ, quality="VHQ").astype(np.float32)
    for index in np.random.default_rng(2).choice(710, 40, replace=False):
        azimuth_deg, elevation_deg = own.directions_D2[index]
        truth_44 = np.stack([fftconvolve(wave_44, ear) for ear in own.response_DEN[index].astype(float)])
        truth = soxr.resample(truth_44.T, 44_100, RATE_HZ, quality="VHQ").T
        got = heard(kemar, Source.still("dry", azimuth_deg, elevation_deg), wave=wave).binaural_EN
        assert itd_us(got, RATE_HZ) == pytest.approx(itd_us(truth, RATE_HZ), abs=2)
        assert ild_db(got, RATE_HZ) == pytest.approx(ild_db(truth, RATE_HZ), abs=0.1)


def test_a_still_source_is_the_dry_sound_through_one_filter(kemar):
    wave = noise()
    got = heard(kemar, Source.still("dry", 30, 10, 2.0), wave=wave)
    expected = np.stack([fftconvolve(wave, ear)[: len(wave)] for ear in kemar.filters(30, 10)]) / 2
    np.testing.assert_allclose(got.binaural_EN, expected, atol=1e-6)
    np.testing.assert_allclose(got.mono_N, got.binaural_EN.mean(axis=0), atol=1e-7)
    assert got.gain_db == 0
    assert got.sample_rate_hz == RATE_HZ


def test_a_source_that_hardly_moves_sounds_like_a_still_one(kemar):
    for room in (None, ROOM):
        still = heard(kemar, way((0, 20, 1.5)), room=room).binaural_EN
        moving = heard(kemar, way((0, 20, 1.5), (2, 20.0001, 1.5)), room=room).binaural_EN
        np.testing.assert_allclose(moving, still, atol=2e-5)


def test_the_cues_of_a_moving_source_follow_its_way(kemar):
    source = way((0, -60, 1), (3, 60, 1))
    got = heard(kemar, source, duration_s=3.0).binaural_EN
    itds_us, _ = itd_blocks(got, RATE_HZ)
    middles_s = (np.arange(len(itds_us)) * 8 + 4.5) * 1024 / RATE_HZ
    for middle_s, itd in list(zip(middles_s, itds_us, strict=True))[:-1]:
        azimuth_deg = source.positions([middle_s])[0, 0]
        assert itd == pytest.approx(kemar.itd_us(azimuth_deg), abs=25)


@pytest.mark.parametrize("room", [None, ROOM])
def test_a_moving_tone_does_not_click(kemar, room):
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = (0.2 * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32)
    got = heard(kemar, way((0, -80, 1.2), (1, 80, 1.4), (2, -80, 1.2)), wave=tone, room=room)
    middle = got.binaural_EN[:, 4000:-4000].astype(float)
    power = np.abs(np.fft.rfft(middle * np.blackman(middle.shape[1]))) ** 2
    frequency_hz = np.fft.rfftfreq(middle.shape[1], 1 / RATE_HZ)
    away = np.abs(frequency_hz - 1000) > 400
    assert 10 * np.log10(power[:, away].sum() / power.sum()) < -70
    bend = np.abs(np.diff(middle, n=3, axis=1))  # a step stands out in the third difference
    assert bend.max() < 12 * np.median(bend)


def mirrored(head):
    return Head(
        np.stack([wrap_deg(-head.directions_D2[:, 0]), head.directions_D2[:, 1]], axis=1),
        np.ascontiguousarray(head.response_DEN[:, ::-1]),
        head.sample_rate_hz,
        "mirrored",
    )


@pytest.mark.parametrize("room", [None, Room(size_m=(6, 5, 2.8), rt60_s=0.4, head_m=(2.0, 2.5, 1.4))])
def test_a_mirrored_scene_before_a_mirrored_head_swaps_the_ears(kemar, room):
    lopsided = Head(
        kemar.directions_D2,
        np.stack([kemar.response_DEN[:, 0], 0.7 * np.roll(kemar.response_DEN[:, 1], 4, axis=-1)], axis=1),
        RATE_HZ,
        "lopsided",
    )
    points = Scene.points(Source.still("dry", 35, 10, 1.5), [0.0])
    one = source_filters(points, lopsided, room)
    other = source_filters(points * (1, -1, 1), mirrored(lopsided), room)
    np.testing.assert_allclose(other[:, ::-1], one, atol=2e-6 if room is None else 2e-2)
    assert np.abs(one[:, 0] - one[:, 1]).max() > 0.1
    np.testing.assert_allclose((other[0, ::-1] ** 2).sum(1), (one[0] ** 2).sum(1), rtol=0.02)


def test_reflections_arrive_when_and_as_loud_as_geometry_says(kemar):
    room = Room(size_m=(20.0, 16.0, 12.0), rt60_s=1.5, head_m=(8.0, 9.0, 2.0))
    source = Source.still("dry", 0, 0, 3.0)
    filters = source_filters(Scene.points(source, [0.0]), kemar, room, rows=3)[0]
    click = filters[2] / kemar.diffuse_gain
    floor_m = np.hypot(3.0, 4.0)  # mirrored 2 m under the floor
    delay = round((floor_m - 3.0) / 343 * RATE_HZ)
    assert np.flatnonzero(click)[:2].tolist() == [kemar.latency_samples, kemar.latency_samples + delay]
    assert click[kemar.latency_samples] == pytest.approx(1 / 3, rel=1e-5)
    assert click[kemar.latency_samples + delay] == pytest.approx(np.sqrt(1 - room.absorption) / floor_m, rel=1e-5)
    below = (
        kemar.response_DEN[kemar.nearest(np.array([[3.0, 0, -4.0]]) / 5)[0]] * np.sqrt(1 - room.absorption) / floor_m
    )
    np.testing.assert_allclose(filters[:2, delay : delay + 100], below[:, :100] + direct_rest(kemar, delay), atol=1e-6)


def direct_rest(head, delay):
    rest = np.zeros((2, 100), np.float32)
    ears = head.filters(0.0, 0.0)[:, delay : delay + 100] / 3
    rest[:, : ears.shape[1]] = ears
    return rest


def test_rooms_add_a_tail_that_differs_between_the_ears(kemar):
    click = np.zeros(2 * RATE_HZ, np.float32)
    click[100] = 0.5
    got = heard(kemar, Source.still("dry", 0), wave=click, room=ROOM).binaural_EN
    late = got[:, 3000:8000].astype(float)
    assert (late**2).sum() > 1e-4
    assert abs(np.corrcoef(late)[0, 1]) < 0.5
    dry = heard(kemar, Source.still("dry", 0), wave=click).binaural_EN
    assert (dry[:, 3000:] ** 2).sum() < 1e-9


def test_sources_add_up_and_distance_halves(kemar):
    left, right = Source.still("dry", 40, 0, 1.0), Source.still("dry", -20, 0, 2.0)
    both = heard(kemar, left, right).binaural_EN
    apart = heard(kemar, left).binaural_EN + heard(kemar, right).binaural_EN
    np.testing.assert_allclose(both, apart, atol=1e-6)
    far = heard(kemar, Source.still("dry", 40, 0, 2.0)).binaural_EN
    np.testing.assert_allclose(2 * far, heard(kemar, left).binaural_EN, atol=1e-6)


def test_the_same_scene_gives_the_same_samples(kemar):
    def once(seed):
        sources = (way((0, 20, 1), (2, -30, 2)), Source.still("dry", 40))
        return heard(kemar, *sources, room=ROOM, mono="omni", seed=seed)

    one, again, other = once(3), once(3), once(4)
    np.testing.assert_array_equal(one.binaural_EN, again.binaural_EN)
    np.testing.assert_array_equal(one.mono_N, again.mono_N)
    assert not np.array_equal(one.binaural_EN, other.binaural_EN)


@pytest.mark.parametrize("path", [((0, 60, 2.0),), ((0, 60, 2.0), (2, 60.0001, 2.0))])
def test_an_omni_microphone_hears_the_dry_sound(kemar, path):
    wave = noise()
    got = heard(kemar, way(*path), wave=wave, mono="omni")
    expected = np.zeros_like(wave)
    expected[kemar.latency_samples :] = wave[: -kemar.latency_samples] * kemar.diffuse_gain / 2
    np.testing.assert_allclose(got.mono_N, expected, atol=1e-5)
    ahead = heard(kemar, Source.still("dry", 0), wave=wave, mono="omni")
    lags = fftconvolve(ahead.binaural_EN[0], ahead.mono_N[::-1])
    assert abs(int(np.abs(lags).argmax()) - len(wave) + 1) < 6  # in step with the ears


def test_loud_scenes_get_one_gain(kemar):
    quiet = heard(kemar, Source.still("dry", 60, 0, 1.0))
    loud = heard(kemar, Source.still("dry", 60, 0, 1.0), wave=noise(level=5.0))
    assert np.abs(loud.binaural_EN).max() == pytest.approx(PEAK, abs=1e-4)
    assert loud.gain_db < -20
    assert ild_db(loud.binaural_EN, RATE_HZ) == pytest.approx(ild_db(quiet.binaural_EN, RATE_HZ), abs=1e-3)
    expected = 100 * quiet.binaural_EN * 10 ** (loud.gain_db / 20)
    np.testing.assert_allclose(loud.binaural_EN, expected, atol=1e-4)
    np.testing.assert_allclose(loud.mono_N, loud.binaural_EN.mean(axis=0), atol=1e-6)


def test_timeline_gain_and_stretch(kemar):
    wave = noise()
    source = Source(
        sound="dry", path=(Keyframe(azimuth_deg=0.0, distance_m=1.0),), start_s=0.5, from_s=0.25, gain_db=-6.0
    )
    got = heard(kemar, source, wave=wave, mono="omni", duration_s=1.5).mono_N / kemar.diffuse_gain
    begin = round(0.5 * RATE_HZ) + kemar.latency_samples
    assert np.abs(got[: begin - 1]).max() < 1e-5
    faded = begin + 200
    first = round(0.25 * RATE_HZ) + 200
    expected = wave[first : first + 5000] * 10 ** (-6 / 20)
    np.testing.assert_allclose(got[faded : faded + 5000], expected, atol=1e-5)
    assert np.abs(got[begin : begin + 5]).max() < 0.01 * np.abs(wave).max()  # entered in its middle: faded in


@pytest.mark.parametrize("samples", [HOP_SAMPLES // 3, HOP_SAMPLES, 3 * HOP_SAMPLES + 1])
def test_short_scenes(kemar, samples):
    got = heard(kemar, way((0, 0, 1), (1, 20, 1)), duration_s=samples / RATE_HZ, room=ROOM)
    assert got.binaural_EN.shape == (2, samples)
    assert got.mono_N.shape == (samples,)
    assert got.binaural_EN.dtype == got.mono_N.dtype == np.float32


def test_silence_stays_silence(kemar):
    got = heard(kemar, Source.still("dry", 0), wave=np.zeros(1000, np.float32))
    assert not got.binaural_EN.any()
    assert got.gain_db == 0


def test_sounds_come_from_files(kemar, tmp_path):
    wave = noise()
    soundfile.write(tmp_path / "dry.wav", wave, RATE_HZ, subtype="FLOAT")
    from_file = render_sound(
        Scene(sources=(Source.still(str(tmp_path / "dry.wav"), 30),), duration_s=1.0), kemar
    ).binaural_EN
    given = heard(kemar, Source.still("dry", 30), wave=wave).binaural_EN[:, :RATE_HZ]
    np.testing.assert_allclose(from_file, given, atol=1e-6)


def test_missing_and_broken_sounds_are_refused(kemar):
    scene = Scene(sources=(Source.still("nowhere/cello.flac", 0),))
    with pytest.raises(InputError, match=r"nowhere/cello\.flac is not there"):
        render_sound(scene, kemar)
    with pytest.raises(InputError, match="one channel"):
        heard(kemar, Source.still("dry", 0), wave=np.zeros((2, 100), np.float32))
    with pytest.raises(InputError, match="NaN"):
        heard(kemar, Source.still("dry", 0), wave=np.full(100, np.nan, np.float32))


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_a_recording_played_faster_is_higher_and_shorter(kemar, speed):
    rate_hz, seconds = kemar.sample_rate_hz, 1.0
    tone_N = np.sin(2 * np.pi * 500 * np.arange(rate_hz) / rate_hz).astype(np.float32)
    source = Source.still("tone", 0.0).replace(speed=speed)
    heard_N = render_sound(Scene(sources=(source,), duration_s=2.5), kemar, {"tone": tone_N}).binaural_EN[0]
    spectrum_K = np.abs(np.fft.rfft(heard_N[: rate_hz // 2]))
    assert np.argmax(spectrum_K) * rate_hz / (rate_hz // 2) == pytest.approx(500 * speed, abs=4)
    loud_N = np.flatnonzero(np.abs(heard_N) > 0.1 * np.abs(heard_N).max())
    assert (loud_N[-1] - loud_N[0]) / rate_hz == pytest.approx(min(seconds / speed, 2.5), abs=0.03)
