"""FAIR-Play in both layouts, with odd names, and with each kind of broken file."""

import shutil

import numpy as np
import pytest
import soundfile
from hand_built import TONE_HZ, indices, write_frames, write_h5, write_picture, write_sound, write_text, write_video

from binaural_core.audio.mel import MelConfig
from binaural_core.data import fair_play
from binaural_core.data.loading import DataConfig, Windows, loader
from binaural_core.errors import InputError

MEL, DATA = MelConfig(), DataConfig(window_frames=40, crop_px=8)


def published(root, names=("000001", "000002", "000003"), frames="frames/{}.mp4"):
    for name in names:
        write_sound(root / "binaural_audios" / f"{name}.wav", seconds=2.0, rate=48_000)
        if frames:
            write_frames(root / frames.format(name), 20)
    write_h5(root / "splits" / "split1" / "train.h5", [f"/disk7/me/FAIR-Play/binaural_audios/{n}.wav" for n in names])
    return root


def original(root):
    for name in ("a_1", "a_2"):
        write_sound(root / "audio" / "binaural" / f"{name}.wav")
        write_sound(root / "audio" / "mono" / f"{name}.wav", channels=1, gain=0.1)
        write_frames(root / "video" / "frames" / name, 16, "{}.jpg")
    rows = [f"/home/me/FairPlay/audio/binaural/{n}.wav,/home/me/FairPlay/video/frames/{n},2.0" for n in ("a_1", "a_2")]
    write_text(root / "metadata.csv", "\n".join(["audio_path,video_path,duration", *rows]))
    return root


def only(root, **settings):
    (clip,) = fair_play.clips(root, "all", **settings)
    return clip


def test_the_published_layout_is_read_by_its_h5_split(tmp_path):
    root = published(tmp_path)
    write_h5(root / "splits" / "split1" / "val.h5", ["X:\\fp\\000002.wav"])
    write_h5(root / "splits" / "split7" / "train.h5", ["000003.wav"])
    assert [c.clip_id for c in fair_play.clips(root)] == ["000001", "000002", "000003"]
    assert [c.clip_id for c in fair_play.clips(root, "val")] == ["000002"]
    assert [c.clip_id for c in fair_play.clips(root, split_name="split7")] == ["000003"]
    clip = fair_play.clips(root)[0]
    assert clip.duration_s == 2.0
    mono, ears = clip.sound(0.5, 0.5, 22_050)
    assert ears.shape == (2, 11_025)
    expected = np.sin(2 * np.pi * TONE_HZ * (0.5 + np.arange(11_025) / 22_050))
    np.testing.assert_allclose(ears, [0.5 * expected, 0.25 * expected], atol=2e-4)
    np.testing.assert_allclose(mono, 0.375 * expected, atol=2e-4)
    assert indices(clip.look([0.0, 1.0, 1.9])) == [0, 10, 19]


def test_the_newer_txt_splits_keep_their_last_entry_and_their_suffix_does_not_matter(tmp_path):
    root = published(tmp_path)
    write_text(root / "new_splits" / "split1" / "train.txt", "000003.mp3\n000001.mp3")
    write_text(root / "new_splits" / "split2" / "train.txt", "000002.mp3")
    assert [c.clip_id for c in fair_play.clips(root, split_name="new_splits/split1")] == ["000003", "000001"]
    assert [c.clip_id for c in fair_play.clips(root, split_name="split2")] == ["000002"]
    assert len(fair_play.clips(root)) == 3  # where both are called split1, the published ten come first
    shutil.rmtree(root / "splits")
    assert [c.clip_id for c in fair_play.clips(root)] == ["000003", "000001"]
    assert all(c.duration_s == 2.0 for c in fair_play.clips(root))


def test_files_may_be_mp3_where_the_list_says_wav(tmp_path):
    root = published(tmp_path, ["000001"])
    wave, rate = soundfile.read(root / "binaural_audios" / "000001.wav")
    soundfile.write(root / "binaural_audios" / "000001.mp3", wave, rate)
    (root / "binaural_audios" / "000001.wav").unlink()
    (clip,) = fair_play.clips(root)
    assert clip.ears.name == "000001.mp3"
    assert clip.sound(0.0, 1.0, 22_050)[1].shape == (2, 22_050)


@pytest.mark.parametrize(
    "folder, name, fps, first",
    [
        ("frames/{}.mp4", "{:06d}.png", 10, 1),
        ("frames/{}", "{}.jpg", 10, 1),
        ("frames/{}.mp4", "{:06d}.jpg", 8, 1),
        ("frames/{}", "frame_{:06d}.jpg", 10, 1),
        ("frames/{}", "{:05d}.jpg", 5, 0),
        ("video/frames/{}", "{}.png", 10, 1),
        ("video_frames_25fps/{}.MP4", "img-{:04d}.jpeg", 25, 1),
    ],
)
def test_frames_of_any_convention_are_found_and_timed(tmp_path, folder, name, fps, first):
    root = published(tmp_path, ["000001"], frames=None)
    write_frames(root / folder.format("000001"), 2 * fps, name, first)
    write_video(root / "videos" / "000001.mp4")
    assert indices(only(root).look([0.0, 1.0, 1.5])) == [0, fps, round(1.5 * fps)]


def test_a_folder_called_frames_above_the_data_is_not_taken_for_frames(tmp_path):
    root = published(tmp_path / "frames", ["000001"])
    assert indices(only(root).look([1.0])) == [10]


def test_without_frames_the_video_is_decoded(tmp_path):
    root = published(tmp_path, ["000001"], frames=None)
    write_video(root / "videos" / "000001.mp4", count=50, fps=25)
    np.testing.assert_allclose([v.image_HW3.mean() for v in only(root).look([0.0, 1.0])], [0, 100], atol=2.5)


def test_the_original_layout_uses_its_own_mono_recording(tmp_path):
    root = original(tmp_path / "FairPlay")
    for found in (fair_play.clips(root), fair_play.clips(tmp_path), fair_play.clips(root, style="original")):
        assert [c.clip_id for c in found] == ["a_1", "a_2"]
    mono, ears = fair_play.clips(root)[0].sound(0.25, 0.5, 22_050)
    np.testing.assert_allclose(mono, 0.1 * ears[0], atol=1e-4)
    assert indices(fair_play.clips(root)[1].look([0.0, 1.0, 1.9])) == [0, 8, 15]


def test_a_list_of_ones_own_is_used(tmp_path):
    root = original(tmp_path / "FairPlay")
    mine = write_text(
        tmp_path / "val.csv", "audio_path,video_path,duration\naudio/binaural/a_2.wav,video/frames/a_2,2.0\n"
    )
    assert [c.clip_id for c in fair_play.clips(root, "val", list_file=mine)] == ["a_2"]
    with pytest.raises(InputError, match=r"no list for the split 'val'.*--list_val"):
        fair_play.clips(root, "val")
    write_text(root / "splits" / "split1" / "val.txt", "a_1")
    assert [c.clip_id for c in fair_play.clips(root, "val")] == ["a_1"]


def test_a_list_may_name_files_elsewhere(tmp_path):
    root = original(tmp_path / "FairPlay")
    write_sound(tmp_path / "more" / "b.wav")
    write_video(tmp_path / "more" / "b.mp4")
    mine = write_text(tmp_path / "more" / "l.csv", "audio_path,video_path\nb.wav,b.mp4\n")
    with pytest.warns(UserWarning, match=r"1 of 1 clips have no recording in audio/mono \(such as b\)"):
        (clip,) = fair_play.clips(root, list_file=mine)
    mono, ears = clip.sound(0.0, 0.5, 22_050)
    np.testing.assert_allclose(mono, ears.mean(axis=0))
    assert clip.look([0.5])[0].image_HW3.shape == (48, 64, 3)


def test_folders_and_splits_that_are_missing_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere is not there"):
        fair_play.clips(tmp_path / "nowhere")
    (tmp_path / "holiday").mkdir()
    with pytest.raises(InputError, match=r"is no FAIR-Play folder.*it holds holiday"):
        fair_play.clips(tmp_path)
    root = published(tmp_path / "fp")
    with pytest.raises(InputError, match=r"no list for the split 'test' of 'split1'.*there is splits/split1/train.h5"):
        fair_play.clips(root, "test")
    write_text(root / "splits" / "split1" / "test.txt", "000009.mp3\n000010.mp3")
    with pytest.raises(InputError, match=r"none of the 2 recordings in .*test\.txt is there \(such as .*000009\.wav\)"):
        fair_play.clips(root, "test")


BROKEN = {
    "gone": (lambda path: path.unlink(), r"000002\.wav is not there"),
    "empty": (lambda path: path.write_bytes(b""), r"000002\.wav is empty"),
    "text": (lambda path: path.write_text("no sound at all"), r"000002\.wav cannot be read"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:100_000]), r"000002\.wav breaks off"),
    "mono": (lambda path: write_sound(path, channels=1), r"000002\.wav has 1 channel"),
    "short": (lambda path: write_sound(path, seconds=0.1), r"clip 000002 lasts 0\.10 s"),
    "NaN": (
        lambda path: soundfile.write(path, np.full((44_100, 2), np.nan), 22_050, subtype="FLOAT"),
        r"000002\.wav has NaN",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_recording_is_named_once_and_left_out(tmp_path, how):
    root = published(tmp_path)
    spoil, said = BROKEN[how]
    spoil(root / "binaural_audios" / "000002.wav")
    windows = Windows(fair_play.clips(root), DATA, MEL)
    with pytest.warns(UserWarning, match=said) as warned:
        samples = [windows.draw(index, epoch) for epoch in range(3) for index in range(3)]
    assert len(warned) == 1
    assert {sample.clip_id for sample in samples} == {"000001", "000003"}
    assert all(np.abs(sample.mono_N).max() > 0.1 for sample in samples)
    with pytest.raises(InputError, match=said):
        Windows(fair_play.clips(root), DATA.replace(on_broken="refuse"), MEL).draw(1, 0)


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda folder: shutil.rmtree(folder), "clip 000002 has no pictures"),
        (lambda folder: [p.unlink() for p in folder.iterdir()], r"000002\.mp4 holds no numbered pictures"),
        (lambda folder: (folder / "000010.png").write_bytes(b"x"), r"000010\.png is broken"),
        (lambda folder: (folder / "000010.png").unlink(), r"frame 10 is missing in .*000002\.mp4"),
        (lambda folder: [(folder / f"{n:06d}.png").unlink() for n in range(15, 21)], "14 frames in .* 7.00 per second"),
    ],
)
def test_broken_pictures_are_named_once_and_the_clip_left_out(tmp_path, spoil, said):
    root = published(tmp_path)
    spoil(root / "frames" / "000002.mp4")
    windows = Windows(fair_play.clips(root), DATA.replace(windows_per_clip=8), MEL, train=False)
    with pytest.warns(UserWarning, match=said) as warned:
        seen = [name for batch in loader(windows, 4) for name in batch.clip_ids]
    assert len(warned) == 1
    assert seen.count("000001") == seen.count("000003") == 8
    assert seen.count("000002") < 8


def test_mono_and_binaural_of_other_lengths_are_refused_with_both_names(tmp_path):
    root = original(tmp_path)
    write_sound(root / "audio" / "mono" / "a_1.wav", seconds=1.0, channels=1)
    (clip, _) = fair_play.clips(root)
    with pytest.raises(InputError, match=r"binaural/a_1\.wav lasts 2\.00 s and .*mono/a_1\.wav 1\.00 s"):
        clip.sound(0.0, 0.5, 22_050)


def test_a_length_that_the_list_has_wrong_is_only_said(tmp_path):
    root = original(tmp_path)
    text = (root / "metadata.csv").read_text().replace("2.0", "10.0")
    write_text(root / "metadata.csv", text)
    with pytest.warns(UserWarning, match=r"a_1\.wav lasts 2\.00 s, its list says 10\.00 s"):
        assert fair_play.clips(root)[0].duration_s == 2.0


def test_true_places_beside_the_data_are_used(tmp_path):
    root = published(tmp_path, ["000001"])
    header = "video_id,time_s,object,label,azimuth_deg,elevation_deg,distance_m,x1,y1,x2,y2\n"
    rows = "000001,0.0,3,drum,30,0,2,.1,.2,.3,.6\n000001,0.0,1,harp,-10,5,1,.5,.2,.6,.6\n000001,1.0,3,drum,40,0,2,,,,\n"
    write_text(root / "places.csv", header + rows)
    first, second = only(root).look([0.1, 0.9])
    assert first.labels == second.labels == ("harp", "drum")
    assert first.objects_known
    np.testing.assert_allclose(first.positions_O3, [[-10, 5, 1], [30, 0, 2]])
    np.testing.assert_allclose(first.boxes_O4[1], [0.1, 0.2, 0.3, 0.6])
    np.testing.assert_allclose(second.positions_O3, [[np.nan] * 3, [40, 0, 2]])
    assert np.isnan(second.boxes_O4).all()
    assert not only(published(tmp_path / "other", ["000009"])).look([0.0])[0].objects_known


def test_a_window_goes_through_to_a_batch(tmp_path):
    root = published(tmp_path)
    write_picture(root / "frames" / "000001.mp4" / "000001.png", 0, size=(32, 18))
    (batch,) = loader(Windows(fair_play.clips(root), DATA, MEL, seed=1), 3)
    assert batch.binaural_BEN.shape == (3, 2, 40 * 256)
    assert batch.crops_BLOCHW.shape == (3, 5, 4, 3, 8, 8)
    assert not batch.mask_BLO.any()
