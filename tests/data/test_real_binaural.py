"""RealBinaural: segments, detections under other names, missing splits."""

import numpy as np
import pytest
from hand_built import TONE_HZ, indices, write_frames, write_sound, write_text

from binaural_core.data import real_binaural
from binaural_core.data.config import DataConfig
from binaural_core.data.crops import sight
from binaural_core.errors import InputError

SEGMENTS = (
    "video_id,start_time,end_time,action_label\nwalk_01,0.5,1.5,walking\nwalk_01,2.0,9.0,talking\nclap.mp4,0,1,clap\n"
)
BOXES = "video_id,frame,label,score,x1,y1,x2,y2\n"


def data_set(root):
    processed = root / "processed"
    for name in ("walk_01", "clap"):
        write_sound(processed / real_binaural.EARS / f"{name}.wav", seconds=3.0)
        write_sound(processed / real_binaural.MONO / f"{name}.wav", seconds=3.0, channels=1, gain=0.2)
        write_frames(processed / "frames" / name, 30, "frame_{:06d}.jpg")
    write_text(root / "splits" / "train.csv", SEGMENTS)
    return root


def test_segments_are_clips_of_their_own(tmp_path):
    root = data_set(tmp_path / "real_dataset")
    for given in (root, root / "processed", tmp_path):
        clips = real_binaural.clips(given)
        assert [c.clip_id for c in clips] == ["walk_01_0.50", "walk_01_2.00", "clap_0.00"]
    assert [c.label for c in clips] == ["walking", "talking", "clap"]
    assert [c.duration_s for c in clips] == [1.0, 1.0, 1.0]  # the second ends with its recording
    mono, ears = clips[0].sound(0.5, 0.5, 22_050)
    expected = np.sin(2 * np.pi * TONE_HZ * (1.0 + np.arange(11_025) / 22_050))
    np.testing.assert_allclose(ears[0], 0.5 * expected, atol=1e-3)
    np.testing.assert_allclose(mono, 0.1 * expected, atol=1e-3)
    assert indices(clips[0].look([0.0, 0.5])) == [5, 10]
    assert indices(clips[1].look([0.0, 0.95])) == [20, 29]


def test_detections_become_boxes_of_their_frame(tmp_path):
    root = data_set(tmp_path)
    rows = "walk_01,frame_000006.jpg,person,0.9,0,9,16,18\nwalk_01,11,dog,0.8,8,0,16,9\nwalk_01,11,person,0.4,0,0,8,9\n"
    write_text(root / "action_detection_results" / "detection_results.csv", BOXES + rows)
    clip, _, other = real_binaural.clips(root)
    first, second, none = clip.look([0.0, 0.5, 0.9])
    assert (first.labels, second.labels, none.labels) == (("person",), ("dog", "person"), ())
    np.testing.assert_allclose(first.boxes_O4, [[0, 0.5, 0.5, 1]])
    np.testing.assert_allclose(second.scores_O, [0.8, 0.4])
    assert none.objects_known
    assert not other.look([0.0])[0].objects_known
    seen = sight([first], DataConfig(objects=2))
    np.testing.assert_allclose(seen.positions_LO3[0, 0, 0], np.degrees(np.arctan(0.5)), atol=1e-4)
    np.testing.assert_array_equal(seen.mask_LO, [[False, True]])


def test_a_detector_that_looked_at_every_fifth_frame_serves_those_between(tmp_path):
    root = data_set(tmp_path)
    rows = "".join(f"clap,{frame},n{frame},0.9,0,0,8,9\n" for frame in (1, 6, 11, 16))
    write_text(root / "action_detection_results" / "detection_results.csv", BOXES + rows)
    views = real_binaural.clips(root)[2].look([0.0, 0.2, 0.3, 0.7])
    assert [v.labels for v in views] == [("n1",), ("n1",), ("n6",), ("n6",)]


def test_other_column_names_are_mapped(tmp_path):
    root = data_set(tmp_path)
    text = "vid,img,cls,conf,xmin,ymin,xmax,ymax\nclap,1,hand,0.7,0,0,8,9\n"
    path = write_text(root / "processed" / "action_detection_results" / "detection_results.csv", text)
    names = {"video_id": "vid", "frame": "img", "label": "cls", "score": "conf"}
    names |= {"x1": "xmin", "y1": "ymin", "x2": "xmax", "y2": "ymax"}
    assert real_binaural.clips(root, columns=names)[2].look([0.0])[0].labels == ("hand",)
    with pytest.raises(InputError, match="has no column video_id, frame, label, score, x1") as error:
        real_binaural.clips(root)
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match="detection_columns maps colour"):
        real_binaural.clips(root, columns={"colour": "c"})


@pytest.mark.parametrize(
    "row, said",
    [
        ("clap,1,hand,high,0,0,8,9", "line 2: score is 'high'"),
        ("clap,first,hand,0.5,0,0,8,9", "line 2: frame is 'first'"),
        ("clap,1,hand,0.5,8,0,0,9", "line 2: the box is"),
    ],
)
def test_a_bad_detection_names_its_line(tmp_path, row, said):
    root = data_set(tmp_path)
    write_text(root / "action_detection_results" / "detection_results.csv", BOXES + row)
    with pytest.raises(InputError, match=said):
        real_binaural.clips(root)


def test_boxes_of_larger_pictures_are_refused(tmp_path):
    root = data_set(tmp_path)
    write_text(root / "action_detection_results" / "detection_results.csv", BOXES + "clap,1,hand,0.9,100,100,640,480\n")
    with pytest.raises(InputError, match=r"boxes outside the pictures.*32 x 18"):
        real_binaural.clips(root)[2].look([0.0])


def test_a_missing_split_says_which_there_are(tmp_path):
    root = data_set(tmp_path)
    with pytest.raises(InputError, match=r"the split 'test' is not there: no .*test\.csv.*comes with train"):
        real_binaural.clips(root, "test")


@pytest.mark.parametrize(
    "row, said",
    [
        ("walk_01,2,1,x", "line 2: the segment of walk_01 goes from 2 s to 1 s"),
        ("walk_01,a,1,x", "line 2: start_time is 'a'"),
        ("gone,0,1,x", r"none of the recordings in .* \(such as .*gone\.wav\)"),
    ],
)
def test_bad_segments_name_their_line(tmp_path, row, said):
    root = data_set(tmp_path)
    write_text(root / "splits" / "train.csv", "video_id,start_time,end_time,action_label\n" + row)
    with pytest.raises(InputError, match=said):
        real_binaural.clips(root)


def test_a_segment_behind_the_end_is_named_when_it_is_read(tmp_path):
    root = data_set(tmp_path)
    write_text(root / "splits" / "train.csv", "video_id,start_time,end_time\nclap,5,6\n")
    with pytest.raises(InputError, match=r"clip clap_5\.00 is to begin at 5\.00 s.*lasts 3\.00 s"):
        real_binaural.clips(root)[0].sound(0.0, 0.5, 22_050)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no RealBinaural folder"):
        real_binaural.clips(tmp_path)
