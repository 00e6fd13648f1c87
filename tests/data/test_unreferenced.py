"""Sound and pictures to generate for: single files, folders, lists."""

import numpy as np
import pytest
from hand_built import indices, write_frames, write_sound, write_text, write_video

from binaural_core.data import unreferenced
from binaural_core.errors import InputError


def test_a_folder_is_matched_by_name(tmp_path):
    write_sound(tmp_path / "mono" / "b.wav", channels=1)
    write_sound(tmp_path / "mono" / "a.flac", rate=44_100)
    write_frames(tmp_path / "frames" / "a.mp4", 20)
    write_video(tmp_path / "videos" / "b.mp4")
    a, b = unreferenced.clips(tmp_path)
    assert (a.clip_id, b.clip_id) == ("a", "b")
    mono, ears = a.sound(0.0, 1.0, 22_050)
    assert ears is None
    assert mono.shape == (22_050,)
    np.testing.assert_allclose(np.abs(mono[100:-100]).max(), 0.375, atol=1e-3)  # the mean of both channels
    assert indices(a.look([1.0])) == [10]
    np.testing.assert_allclose(b.look([1.0])[0].image_HW3.mean(), 100, atol=2.5)


def test_a_folder_of_films_gives_their_own_sound(tmp_path):
    write_video(tmp_path / "x.mp4", sound=True)
    (clip,) = unreferenced.clips(tmp_path)
    assert clip.sound(0.5, 0.5, 22_050)[0].shape == (11_025,)
    assert clip.look([0.5])[0].image_HW3.shape == (48, 64, 3)


def test_a_list_names_sounds_and_pictures(tmp_path):
    write_sound(tmp_path / "s" / "a.wav", channels=1)
    write_frames(tmp_path / "p" / "a", 20)
    path = write_text(tmp_path / "list.csv", "audio_path,video_path\ns/a.wav,p/a\n")
    assert indices(unreferenced.clips(path)[0].look([1.0])) == [10]
    write_text(path, "audio_path,video_path\ns/a.wav,p/b\n")
    with pytest.raises(InputError, match=r"p/b, named in .*list\.csv, is not there"):
        unreferenced.clips(path)


def test_a_sound_without_pictures_is_read_but_not_seen(tmp_path):
    (clip,) = unreferenced.clips(write_sound(tmp_path / "a.wav"))
    assert clip.duration_s == 2.0
    with pytest.raises(InputError, match="clip a has no pictures"):
        clip.look([0.0])


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no sound"):
        unreferenced.clips(tmp_path)
    sound = write_sound(tmp_path / "a.wav")
    with pytest.raises(InputError, match="both a video"):
        unreferenced.clip(sound, video=sound, frames=tmp_path)
    with pytest.raises(InputError, match=r"frame folder .* is not there"):
        unreferenced.clip(sound, frames=tmp_path / "f")
