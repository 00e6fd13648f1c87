"""Pictures by time, from folders of every convention and from videos; extraction."""

import os

import numpy as np
import pytest
from hand_built import indices, write_frames, write_picture, write_sound, write_text, write_video

from binaural_core.data.frames import FrameFolder, VideoFrames, extract, extract_all, infer_fps, read_picture
from binaural_core.errors import InputError


@pytest.mark.parametrize(
    "name, first", [("{:06d}.png", 1), ("{}.jpg", 1), ("{:06d}.jpg", 0), ("frame_{:06d}.jpg", 1), ("f2_{}.PNG", 0)]
)
@pytest.mark.parametrize("fps", [8, 10])
def test_any_convention_shows_the_picture_of_the_time(tmp_path, name, first, fps):
    folder = FrameFolder(write_frames(tmp_path / "f", 3 * fps, name, first))
    times = np.array([0.0, 0.47, 1.03, 2.0, 2.9])
    assert indices(folder.at(times, sound_s=3.0)) == np.round(times * fps).astype(int).tolist()


@pytest.mark.parametrize(
    "count, seconds, fps",
    [
        (100, 10, 10),
        (99, 9.97, 10),
        (101, 10, 10),
        (80, 10, 8),
        (11, 1.0, 10),
        (250, 10, 25),
        (300, 10.01, 30),
        (5, 5, 1),
    ],
)
def test_the_rate_is_told_by_the_sound(count, seconds, fps):
    assert infer_fps(count, seconds, "x") == fps


def test_a_rate_that_nobody_uses_is_an_error():
    with pytest.raises(InputError, match=r"90 frames in x for 10\.00 s of sound are 9\.00 per second"):
        infer_fps(90, 10.0, "x")


def test_a_given_rate_wins_over_the_inferred_one(tmp_path):
    folder = FrameFolder(write_frames(tmp_path / "f", 30), fps=15)
    assert indices(folder.at([1.0], sound_s=3.0)) == [15]


@pytest.mark.parametrize("gone", [1, 5])
def test_a_missing_frame_is_named_where_it_is_needed_and_shifts_no_other(tmp_path, gone):
    folder = FrameFolder(write_frames(tmp_path / "f", 30))
    (tmp_path / "f" / f"{gone:06d}.png").unlink()
    assert indices(folder.at([1.0, 2.9], sound_s=3.0)) == [10, 29]
    with pytest.raises(InputError, match=f"frame {gone} is missing in .*f"):
        folder.at([(gone - 1) / 10], sound_s=3.0)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_broken_picture_is_named(tmp_path, content):
    path = write_picture(tmp_path / "000001.png", 3, size=(200, 200))
    path.write_bytes(path.read_bytes()[:150] if content is None else content)
    with pytest.raises(InputError, match=r"picture .*000001\.png is broken"):
        read_picture(path)


def test_other_files_in_a_frame_folder_do_not_count(tmp_path):
    folder = write_frames(tmp_path / "f", 20)
    for name in (".DS_Store", "._000001.png", "Thumbs.db", "readme1.txt"):
        write_text(folder / name, "x")
    assert indices(FrameFolder(folder).at([1.9], sound_s=2.0)) == [19]


def test_folders_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no numbered pictures"):
        FrameFolder(tmp_path / "empty").at([0.0], 1.0)
    twice = write_frames(tmp_path / "twice", 3)
    write_picture(twice / "1.jpg", 0)
    with pytest.raises(InputError, match=r"000001\.png and 1\.jpg|1\.jpg and 000001\.png"):
        FrameFolder(twice).at([0.0], 1.0)
    with pytest.raises(InputError, match=r"end at 2\.00 s, asked for 9\.00 s"):
        FrameFolder(write_frames(tmp_path / "short", 20), fps=10).at([9.0])


def test_a_video_shows_the_nearest_picture_forwards_and_backwards(tmp_path):
    video = VideoFrames(write_video(tmp_path / "v.mp4", count=50, fps=25))
    times = [0.0, 0.03, 0.1, 1.0, 1.96, 0.49, 1.51]
    grey = [float(p.image_HW3.mean()) for p in video.at(times)]
    np.testing.assert_allclose(grey, [0, 4, 8, 100, 196, 48, 152], atol=1.9)
    assert [float(p.image_HW3.mean()) for p in video.at(times)] == grey


def test_a_video_that_jumps_far_still_shows_the_nearest_picture(tmp_path):
    video = VideoFrames(write_video(tmp_path / "v.mp4", count=60, fps=5))
    times = [11.0, 0.2, 7.0, 11.8]
    np.testing.assert_allclose([p.image_HW3.mean() for p in video.at(times)], [4 * t * 5 for t in times], atol=2.5)


def test_a_video_that_is_shorter_than_its_sound_is_named(tmp_path):
    video = VideoFrames(write_video(tmp_path / "v.mp4", count=25, fps=25))
    np.testing.assert_allclose(video.at([1.4])[0].image_HW3.mean(), 96, atol=2.5)
    with pytest.raises(InputError, match=r"v\.mp4 ends at 0\.96 s, asked for 3\.00 s"):
        video.at([3.0])


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_broken_video_is_named(tmp_path, keep):
    path = write_video(tmp_path / "v.mp4")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"v\.mp4"):
        VideoFrames(path).at([0.0])
    with pytest.raises(InputError, match=r"v\.mp4"):
        extract(path, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_sound_alone_has_no_pictures(tmp_path):
    with pytest.raises(InputError, match=r"a\.wav has no pictures"):
        VideoFrames(write_sound(tmp_path / "a.wav")).at([0.0])


def test_a_film_held_upright_is_turned(tmp_path):
    path = write_video(tmp_path / "v.mp4", count=3)
    upside = VideoFrames(path).at([0.0])[0].image_HW3
    assert upside.shape == (48, 64, 3)
    one, zero, minus = (value.to_bytes(4, "big", signed=True) for value in (1 << 16, 0, -(1 << 16)))
    end = (1 << 30).to_bytes(4, "big")
    identity = one + zero + zero + zero + one + zero + zero + zero + end
    content = path.read_bytes()
    at = content.index(identity, content.index(b"tkhd"))
    turned = zero + one + zero + minus + zero + zero + zero + zero + end  # 90 degrees clockwise
    path.write_bytes(content[:at] + turned + content[at + len(identity) :])
    os.utime(path, ns=(1, 1))
    assert VideoFrames(path).at([0.0])[0].image_HW3.shape == (64, 48, 3)


def test_extracted_frames_read_back_at_the_videos_times(tmp_path):
    path = write_video(tmp_path / "v.mp4", count=50, fps=25)
    assert extract(path, tmp_path / "frames" / "v", fps=10) == 20
    folder = FrameFolder(tmp_path / "frames" / "v")
    assert folder.rate() == 10
    times = [0.0, 0.4, 1.0, 1.9]
    expected = [p.image_HW3.mean() for p in VideoFrames(path).at(times)]
    np.testing.assert_allclose([p.image_HW3.mean() for p in folder.at(times)], expected, atol=1.5)


def test_extraction_goes_on_where_it_stopped_and_names_what_is_broken(tmp_path):
    good, other = write_video(tmp_path / "a.mp4", count=10), write_video(tmp_path / "b.mp4", count=10)
    bad = write_text(tmp_path / "c.mp4", "no video")
    seen = []
    first = extract_all([good, bad], tmp_path / "f", fps=5, height_px=24, on_video=lambda *step: seen.append(step))
    assert [p.name for p in first.made] == ["a"]
    assert list(first.broken) == [bad]
    assert seen == [(1, 2, good), (2, 2, bad)]
    assert read_picture(tmp_path / "f" / "a" / "frame_000001.jpg").shape == (24, 32, 3)
    second = extract_all([good, other], tmp_path / "f", fps=5)
    assert [p.name for p in second.kept] == ["a"]
    assert [p.name for p in second.made] == ["b"]
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == ["a", "b"]
    with pytest.raises(InputError, match="with frames at 5"):
        extract(good, tmp_path / "f" / "a", fps=8)
