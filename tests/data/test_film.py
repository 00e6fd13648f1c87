import av
import numpy as np
import pytest

from binaural_core.audio.io import read_audio
from binaural_core.data.film import write_film
from binaural_core.data.frames import VideoFrames
from binaural_core.data.rendered import RenderedConfig, clips
from binaural_core.errors import InputError
from binaural_core.scene.render import SceneConfig

RATE = 22_050


def pictures(count: int = 12) -> list[np.ndarray]:
    """A bright bar that walks to the right."""
    images = np.full((count, 48, 64, 3), 40, np.uint8)
    for number, image in enumerate(images):
        image[:, 4 * number : 4 * number + 8] = (230, 120, 60)
    return list(images)


def tones(seconds: float = 1.2) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.stack([0.5 * np.sin(2 * np.pi * 440 * t), 0.1 * np.sin(2 * np.pi * 1000 * t)]).astype(np.float32)


def test_pictures_and_sound_come_back(tmp_path):
    path = write_film(tmp_path / "film.mp4", pictures(), 10.0, tones(), RATE)
    for number, picture in enumerate(VideoFrames(path).at(np.arange(12) / 10)):
        assert np.abs(picture.image_HW3.astype(int) - pictures()[number]).mean() < 6, number
    sound = read_audio(path, channels=2)
    assert sound.sample_rate_hz == RATE
    assert sound.duration_s == pytest.approx(1.2, abs=0.05)
    left, right = sound.wave_CN[:, 5000:20000]
    assert np.sqrt((left**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)  # left stays left
    assert np.sqrt((right**2).mean()) == pytest.approx(0.1 / np.sqrt(2), rel=0.05)


def test_it_plays_in_browsers(tmp_path):
    path = write_film(tmp_path / "film.mp4", pictures(), 10.0, tones()[:1], RATE)
    with av.open(str(path)) as film:
        assert film.streams.video[0].codec_context.name == "h264"
        assert film.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert film.streams.video[0].average_rate == 10
        assert film.streams.audio[0].codec_context.name == "aac"
        assert film.streams.audio[0].codec_context.channels == 1


def test_the_same_input_gives_the_same_file(tmp_path):
    (clip,) = clips("train", 1, 0, RenderedConfig(scene=SceneConfig(moving=1.0, sources=(3, 3))))
    images = [view.image_HW3 for view in clip.look(clip.frame_times_s)]
    files = set()
    for _ in range(8):
        rubbish = np.random.default_rng().random(np.random.default_rng().integers(1_000, 300_000))  # stirs the memory
        files.add(write_film(tmp_path / "film.mp4", images, 10.0, tones(4.0), RATE).read_bytes())
        del rubbish
    assert len(files) == 1


def test_what_cannot_be_a_film_is_refused(tmp_path):
    with pytest.raises(InputError, match="no pictures"):
        write_film(tmp_path / "film.mp4", [], 10.0, tones(), RATE)
    with pytest.raises(InputError, match="even"):
        write_film(tmp_path / "film.mp4", [np.zeros((45, 64, 3), np.uint8)], 10.0, tones(), RATE)
    with pytest.raises(InputError, match="channels"):
        write_film(tmp_path / "film.mp4", pictures(), 10.0, np.zeros((3, 100), np.float32), RATE)
    assert list(tmp_path.iterdir()) == []  # nothing half-written stays
