"""Files that are not what they should be: each is named, and each error says what to do."""

import av
import numpy as np
import pytest
import soundfile
from test_audio_io import RATE_HZ, chirps, write_film

from binaural_core.audio import audio_info, read_audio, stream_audio, write_audio
from binaural_core.errors import InputError


def refused(path, says):
    """Reading and streaming raise one InputError that names the file and says this."""
    for read in (read_audio, lambda p: list(stream_audio(p, sample_rate_hz=16_000, block_samples=999))):
        with pytest.raises(InputError, match=says) as error:
            read(path)
        assert str(path) in str(error.value)
        assert "To fix: " in str(error.value)


def test_missing_folder_and_empty(tmp_path):
    refused(tmp_path / "nothing.wav", "is not there")
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.wav").touch()
    refused(tmp_path / "empty.wav", r"is empty \(0 bytes\)")


@pytest.mark.parametrize("name", ["text.wav", "text.mp3", "text.mp4", "text.raw", "list.m4a"])
def test_text_by_another_name(tmp_path, name):
    text = "#EXTM3U\nhttp://localhost/a.mp3\n" if name == "list.m4a" else "these are words\n" * 50
    (tmp_path / name).write_text(text)
    refused(tmp_path / name, "cannot be read as sound|holds no sound")  # FFmpeg takes a .raw for pictures


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), RATE_HZ)
    refused(tmp_path / "none.wav", "holds no sound")


def test_a_film_without_sound(tmp_path):
    with av.open(str(tmp_path / "mute.mp4"), "w") as film:
        pictures = film.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        film.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        film.mux(pictures.encode(None))
    refused(tmp_path / "mute.mp4", "holds no sound")
    with pytest.raises(InputError, match="holds no sound"):
        audio_info(tmp_path / "mute.mp4")


@pytest.mark.parametrize("where", ["early", "late"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(tmp_path, where, value):
    wave = chirps(4.0)
    at = 5000 if where == "early" else 150_000
    wave[1, at] = value
    soundfile.write(tmp_path / "bad.wav", wave.T, RATE_HZ, subtype="FLOAT")
    refused(tmp_path / "bad.wav", f"NaN or infinite samples \\(the first at {at / RATE_HZ:.3f} s\\)")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("kept", [0.6, 0.97])
def test_cut_off_sound_files(tmp_path, suffix, kept):
    whole = write_audio(tmp_path / f"whole.{suffix}", chirps(3.0), RATE_HZ).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole[: int(kept * len(whole))])
    refused(cut, "breaks off")


def test_how_much_of_a_cut_wav_is_there(tmp_path):
    whole = write_audio(tmp_path / "whole.wav", chirps(2.0), RATE_HZ).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: 44 + RATE_HZ * 4])
    refused(tmp_path / "cut.wav", r"breaks off at 1\.000 s of 2\.000 s")


def test_a_wav_from_a_pipe_says_no_length_and_is_read(tmp_path):
    whole = bytearray(write_audio(tmp_path / "whole.wav", chirps(1.0), RATE_HZ).read_bytes())
    at = whole.index(b"data") + 4
    whole[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "piped.wav").write_bytes(whole)
    assert read_audio(tmp_path / "piped.wav").duration_s == 1.0


def test_a_wav_with_other_chunks_before_its_sound(tmp_path):
    whole = write_audio(tmp_path / "whole.wav", chirps(1.0), RATE_HZ).read_bytes()
    at = whole.index(b"data")
    (tmp_path / "noted.wav").write_bytes(whole[:at] + b"note\x03\x00\x00\x00abc\x00" + whole[at:])
    assert read_audio(tmp_path / "noted.wav").duration_s == 1.0
    (tmp_path / "cut.wav").write_bytes((tmp_path / "noted.wav").read_bytes()[:-1000])
    refused(tmp_path / "cut.wav", "breaks off")


@pytest.mark.parametrize("name, says", [("film.mp4", "no index"), ("film.mkv", "breaks off")])
def test_cut_off_films(tmp_path, name, says):
    whole = write_film(tmp_path / f"whole_{name}", chirps(3.0)).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(0.6 * len(whole))])
    refused(tmp_path / name, says)


def test_a_stretch_before_the_damage_is_read(tmp_path):
    whole = write_audio(tmp_path / "whole.flac", chirps(6.0), RATE_HZ).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: int(0.6 * len(whole))])
    assert read_audio(tmp_path / "cut.flac", duration_s=0.5).duration_s == 0.5
    refused(tmp_path / "cut.flac", "breaks off")
