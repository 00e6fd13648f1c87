"""Files in and out: every format, every stretch, streams, and what writing refuses."""

import contextlib
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from binaural_core.audio import (
    AudioWriter,
    audio_info,
    is_silent,
    read_audio,
    resample,
    stream_audio,
    write_audio,
)
from binaural_core.errors import InputError
from binaural_core.seeds import numpy_stream

RATE_HZ = 48_000


def chirps(seconds=2.0, sample_rate_hz=RATE_HZ):
    times_s = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    sweeps = [0.5 * np.sin(2 * np.pi * (200 + f * times_s) * times_s) for f in (300, 500)]
    return np.stack(sweeps).astype(np.float32)


def write_film(path, wave_CN, *, picture=True, codec="aac", first_picture=0, first_sample=0, hole=(0, 0)):
    """An mp4 or mkv with 10 pictures a second (or none) and the wave as its sound, but for samples in the hole."""
    with av.open(str(path), "w") as film:
        if picture:
            pictures = film.add_stream("mpeg4", rate=10)
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        sound = film.add_stream(codec, rate=RATE_HZ)
        sound.layout, sound.bit_rate = "stereo", 192_000
        if picture:
            for index in range(round(10 * wave_CN.shape[1] / RATE_HZ)):
                image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index, np.uint8))
                image.pts = index + first_picture
                film.mux(pictures.encode(image))
            film.mux(pictures.encode(None))
        for at in range(0, wave_CN.shape[1], 960):
            if hole[0] <= at < hole[1]:
                continue
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave_CN[:, at : at + 960]), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, at + first_sample, Fraction(1, RATE_HZ)
            film.mux(sound.encode(frame))
        film.mux(sound.encode(None))
    return path


def lag(heard_CN, known_CN):
    """Samples by which the first is later than the second."""
    length = min(heard_CN.shape[1], known_CN.shape[1])
    spectra = [np.fft.rfft(w[0, :length].astype(np.float64), 2 * length) for w in (heard_CN, known_CN)]
    peak = int(np.fft.irfft(spectra[0] * spectra[1].conj()).argmax())
    return peak if peak < length else peak - 2 * length


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, wave = tmp_path_factory.mktemp("sounds"), chirps()
    for suffix in ("wav", "flac", "ogg", "mp3"):
        write_audio(folder / f"a.{suffix}", wave, RATE_HZ)
    write_film(folder / "a.mp4", wave)
    write_film(folder / "a.mkv", wave, codec="libopus")
    write_film(folder / "a.m4a", wave, picture=False)
    return folder


ALL = ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.mp4", "a.mkv", "a.m4a"]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_16_bits_come_back_exactly(tmp_path, suffix):
    steps = numpy_stream(0, "steps").integers(-32_768, 32_768, (2, 5000))
    steps[0, :2] = [-32_768, 32_767]
    wave = (steps / 32_768).astype(np.float32)
    sound = read_audio(write_audio(tmp_path / f"a{suffix}", wave, 22_050))
    np.testing.assert_array_equal(sound.wave_CN, wave)
    assert sound.wave_CN.dtype == np.float32
    assert (sound.sample_rate_hz, sound.duration_s) == (22_050, 5000 / 22_050)
    np.testing.assert_allclose(sound.mono_N, wave.mean(axis=0), atol=1e-7)


@pytest.mark.parametrize(
    "name, loudest_error", [("a.wav", 2e-5), ("a.ogg", 0.1), ("a.mp3", 0.1), ("a.mp4", 0.1), ("a.mkv", 0.1)]
)
def test_every_format_gives_the_sound_at_its_time(files, name, loudest_error):
    sound, known = read_audio(files / name), chirps()
    assert sound.sample_rate_hz == RATE_HZ
    assert sound.wave_CN.shape[1] == pytest.approx(known.shape[1], abs=1024)
    assert lag(sound.wave_CN, known) == 0
    inside = slice(2400, -2400)
    assert np.abs(sound.wave_CN[:, : known.shape[1]] - known)[:, inside].max() < loudest_error
    info = audio_info(files / name)
    assert (info.sample_rate_hz, info.channels) == (RATE_HZ, 2)
    assert info.duration_s == pytest.approx(2.0, abs=0.03)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sample_rate_hz", [22_050, RATE_HZ])
def test_a_stretch_is_a_stretch_of_the_whole(files, name, sample_rate_hz):
    whole = read_audio(files / name, sample_rate_hz=sample_rate_hz).wave_CN
    stretch = read_audio(files / name, sample_rate_hz=sample_rate_hz, start_s=0.71234, duration_s=0.5)
    first, count = round(0.71234 * sample_rate_hz), round(0.5 * sample_rate_hz)
    assert stretch.wave_CN.shape == (2, count)
    np.testing.assert_allclose(stretch.wave_CN, whole[:, first : first + count], rtol=0, atol=1e-4)
    tail = read_audio(files / name, sample_rate_hz=sample_rate_hz, start_s=1.9, duration_s=5.0).wave_CN
    np.testing.assert_allclose(tail, whole[:, round(1.9 * sample_rate_hz) :], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sample_rate_hz", [22_050, RATE_HZ])
def test_a_stream_is_the_whole_in_equal_blocks(files, name, sample_rate_hz):
    blocks = list(stream_audio(files / name, sample_rate_hz=sample_rate_hz, block_samples=3001))
    assert {block.shape[1] for block in blocks[:-1]} == {3001}
    assert 0 < blocks[-1].shape[1] <= 3001
    whole = read_audio(files / name, sample_rate_hz=sample_rate_hz).wave_CN
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), whole, rtol=0, atol=1e-4)


def test_a_long_stream_takes_little_memory(tmp_path):
    with AudioWriter(tmp_path / "long.wav", RATE_HZ, 2) as file:
        for _ in range(60):
            file.write(chirps(1.0))
    tracemalloc.start()
    try:
        samples = sum(
            b.shape[1] for b in stream_audio(tmp_path / "long.wav", sample_rate_hz=16_000, block_samples=16_000)
        )
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == 60 * 16_000
    assert peak_bytes < 5e6  # the whole would be 23 MB


def test_sound_keeps_its_place_beside_the_picture(tmp_path):
    wave = chirps()
    late = read_audio(write_film(tmp_path / "late.mp4", wave, first_sample=9600)).wave_CN
    assert lag(late, wave) == pytest.approx(9600, abs=48)  # mp4 keeps such times in ms
    assert not late[:, :8000].any()
    early = read_audio(write_film(tmp_path / "early.mp4", wave, first_picture=3)).wave_CN
    assert lag(early, wave) == pytest.approx(-14_400, abs=48)
    alone = read_audio(write_film(tmp_path / "alone.m4a", wave, picture=False)).wave_CN
    assert lag(alone, wave) == 0


def test_a_hole_in_a_films_sound_stays_a_hole(tmp_path):
    wave = chirps()
    film = write_film(tmp_path / "hole.mkv", wave, codec="flac", hole=(24_000, 48_000))
    heard = read_audio(film).wave_CN
    assert lag(heard[:, -40_000:], wave[:, -40_000:]) == pytest.approx(0, abs=48)  # mkv keeps times in ms
    assert not heard[:, 30_000:44_000].any()


def test_content_decides_not_the_name(files, tmp_path):
    film = tmp_path / "film.wav"
    film.write_bytes((files / "a.mp4").read_bytes())
    assert read_audio(film).wave_CN.shape[0] == 2


def test_channels(files, tmp_path):
    wave = chirps()
    mean = read_audio(files / "a.wav", channels=1).wave_CN
    np.testing.assert_allclose(mean, wave.mean(axis=0, keepdims=True), atol=3e-5)
    assert read_audio(files / "a.wav", channels=2).wave_CN.shape[0] == 2
    write_audio(tmp_path / "mono.wav", wave[:1], RATE_HZ)
    assert read_audio(tmp_path / "mono.wav").wave_CN.shape[0] == 1
    with pytest.raises(InputError, match=r"mono\.wav has 1 channel, not 2.*one for each ear"):
        read_audio(tmp_path / "mono.wav", channels=2)
    write_audio(tmp_path / "four.wav", np.concatenate([wave, wave]), RATE_HZ)
    with pytest.raises(InputError, match=r"four\.wav has 4 channels"):
        read_audio(tmp_path / "four.wav")
    np.testing.assert_allclose(read_audio(tmp_path / "four.wav", channels=1).wave_CN, mean, atol=3e-5)


@pytest.mark.parametrize("from_hz, to_hz", [(48_000, 22_050), (16_000, 22_050), (44_100, 16_000)])
def test_resampling_moves_and_changes_nothing_it_can_keep(from_hz, to_hz):
    def tone(rate_hz):
        return np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz)

    heard = resample(np.stack([tone(from_hz), np.zeros(from_hz)]), from_hz, to_hz)
    assert heard.shape == (2, to_hz)
    assert heard.dtype == np.float64
    inside = slice(to_hz // 10, -to_hz // 10)
    np.testing.assert_allclose(heard[0, inside], tone(to_hz)[inside], atol=1e-5)
    assert not heard[1].any()
    np.testing.assert_allclose(resample(tone(from_hz), from_hz, to_hz), heard[0], atol=1e-12)


def test_resampling_to_a_lower_rate_removes_what_does_not_fit():
    high = np.sin(2 * np.pi * 13_000 * np.arange(48_000) / 48_000)
    assert np.abs(resample(high, 48_000, 22_050)[2000:-2000]).max() < 1e-5


def test_silence_is_sound(tmp_path):
    silence = np.zeros((2, 1000), np.float32)
    assert is_silent(read_audio(write_audio(tmp_path / "silence.wav", silence, 22_050)).wave_CN)
    one_step = np.full(10, -1 / 32_768)
    assert is_silent(one_step)
    assert not is_silent(2 * one_step)
    assert not is_silent(one_step, floor_db=-100)
    assert not is_silent(chirps())


def test_clipping_is_said(tmp_path):
    wave = np.array([[0.5, -1.0, 1.0, 2.0]], np.float32)
    with pytest.warns(UserWarning, match=r"1 samples clipped, the loudest 6\.0 dB above"):
        write_audio(tmp_path / "loud.wav", wave, 22_050)
    np.testing.assert_allclose(read_audio(tmp_path / "loud.wav").wave_CN, wave.clip(-1, 1), atol=4e-5)
    file = AudioWriter(tmp_path / "b.wav", 22_050, 1).__enter__()
    file.write(wave)
    file.write(wave)
    with pytest.warns(UserWarning, match="2 samples clipped"):
        file.__exit__(None)


def test_a_whole_file_or_none(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, chirps(), RATE_HZ)
    before = path.read_bytes()
    with pytest.raises(InputError, match="NaN"):
        write_audio(path, np.full((2, 10), np.nan), RATE_HZ)
    with contextlib.suppress(RuntimeError), AudioWriter(path, RATE_HZ, 2) as file:
        file.write(chirps())
        raise RuntimeError("stopped in the middle")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_a_writer_writes_what_one_call_writes(tmp_path):
    wave = chirps()
    write_audio(tmp_path / "one.wav", wave, RATE_HZ)
    with AudioWriter(tmp_path / "new" / "many.wav", RATE_HZ, 2) as file:
        for at in range(0, wave.shape[1], 7001):
            file.write(wave[:, at : at + 7001])
        assert not (tmp_path / "new" / "many.wav").exists()
    assert (tmp_path / "new" / "many.wav").read_bytes() == (tmp_path / "one.wav").read_bytes()


@pytest.mark.parametrize(
    "name, wave, rate_hz, says",
    [
        ("a.aac", chirps(0.1), RATE_HZ, r"\.aac; known are \.wav"),
        ("a.wav", np.zeros((2, 0)), RATE_HZ, "no samples"),
        ("a.wav", np.zeros(100), RATE_HZ, "shape"),
        ("a.mp3", chirps(0.1), 96_000, "96000 Hz"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, wave, rate_hz, says):
    with pytest.raises(InputError, match=says):
        write_audio(tmp_path / name, wave, rate_hz)
    assert not list(tmp_path.iterdir())


def test_what_a_writer_refuses(tmp_path):
    with pytest.raises(InputError, match="Only wav can"):
        AudioWriter(tmp_path / "a.mp3", RATE_HZ, 2)
    with pytest.raises(InputError, match="shape"), AudioWriter(tmp_path / "a.wav", RATE_HZ, 2) as file:
        file.write(chirps()[:1])


@pytest.mark.parametrize(
    "asked, says",
    [
        ({"start_s": -1.0}, "start_s is -1"),
        ({"duration_s": 0.0}, "duration_s is 0"),
        ({"start_s": 2.5}, r"a\.wav ends before 2\.5 s\. It is 2\.000 s long"),
        ({"sample_rate_hz": -5}, "-5 Hz is no rate"),
    ],
)
def test_stretches_that_are_not_there(files, asked, says):
    with pytest.raises(InputError, match=says):
        read_audio(files / "a.wav", **asked)


def test_float_files_keep_what_is_beyond_full_scale(tmp_path):
    soundfile.write(tmp_path / "hot.wav", np.array([1.5, -2.0]), 22_050, subtype="FLOAT")
    assert read_audio(tmp_path / "hot.wav").wave_CN.tolist() == [[1.5, -2.0]]
