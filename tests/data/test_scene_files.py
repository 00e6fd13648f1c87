import csv
import json

import h5py
import numpy as np
import pytest
import soundfile
from PIL import Image

from binaural_core.data.rendered import RenderedConfig, clips
from binaural_core.data.scene_files import SceneFilesConfig, read_scene, write_scenes
from binaural_core.errors import InputError
from binaural_core.scene.render import SceneConfig

SMALL = RenderedConfig(scene=SceneConfig(duration_s=0.7, sources=(2, 2)), width_px=96, height_px=54)
WIDE = SMALL.replace(**{"scene.max_azimuth_deg": 170.0, "scene.sources": (3, 3)})


def write(out, layout="fairplay", split="test", count=2, seed=0, rendered=SMALL) -> list[str]:
    return write_scenes(
        SceneFilesConfig(out=str(out), layout=layout, split=split, count=count, seed=seed, rendered=rendered)
    )


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_fair_play_lies_as_published(tmp_path):
    assert write(tmp_path) == ["000001", "000002"]
    wave_NC, rate = soundfile.read(tmp_path / "binaural_audios" / "000001.wav")
    assert (wave_NC.shape, rate) == ((15_435, 2), 22_050)
    assert (tmp_path / "videos" / "000002.mp4").is_file()
    with h5py.File(tmp_path / "splits" / "split1" / "test.h5") as file:
        entries = file["audio"][()].tolist()
    assert all(isinstance(entry, bytes) and entry.startswith(b"/") for entry in entries)
    assert [entry.split(b"/")[-1] for entry in entries] == [b"000001.wav", b"000002.wav"]
    assert (tmp_path / "new_splits" / "split1" / "test.txt").read_text() == "000001.mp3\n000002.mp3"


def test_real_binaural_lies_as_recorded(tmp_path):
    assert write(tmp_path, "realbinaural") == ["scene_000001", "scene_000002"]
    home = tmp_path / "processed"
    mono, rate = soundfile.read(home / "mono_audios_22050Hz" / "scene_000001.wav")
    ears, _ = soundfile.read(home / "binaural_audios_22050Hz" / "scene_000001.wav")
    assert (mono.shape, rate) == ((15_435,), 22_050)
    assert np.abs(mono - ears.mean(1)).max() < 1.01 / 32_768
    frames = sorted(path.name for path in (home / "frames" / "scene_000002").iterdir())
    assert frames == [f"frame_{number:06d}.jpg" for number in range(1, 8)]
    segment = rows(tmp_path / "splits" / "test.csv")[0]
    assert (segment["video_id"], segment["start_time"], segment["end_time"]) == ("scene_000001", "0.00", "0.70")
    assert segment["action_label"].count("+") == 1
    found = rows(tmp_path / "action_detection_results" / "detection_results.csv")
    assert len(found) == 2 * 7 * 2
    assert max(int(row["frame"]) for row in found) == 7
    assert 54 < max(float(row["x2"]) for row in found) <= 96  # pixels


def test_places_are_the_scenes_and_objects_keep_their_numbers(tmp_path):
    write(tmp_path, count=4, rendered=WIDE)
    table = rows(tmp_path / "places.csv")
    away = 0
    for video_id in ("000001", "000002", "000003", "000004"):
        clip = read_scene(tmp_path / "scenes" / f"{video_id}.json")
        away += len(clip.frame_times_s) * 3
        for row in (row for row in table if row["video_id"] == video_id):
            source = clip.scene.sources[int(row["object"])]
            assert row["label"] == source.label
            place = [float(row[name]) for name in ("azimuth_deg", "elevation_deg", "distance_m")]
            assert place == pytest.approx(source.positions([float(row["time_s"])])[0], abs=1e-3)
            x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
            assert 0 <= x1 < x2 <= 1
            assert 0 <= y1 < y2 <= 1
            away -= 1
    assert away > 0  # some sources are out of view, and have no row then


def test_a_data_set_grows_split_by_split(tmp_path):
    assert write(tmp_path, "realbinaural", "train", 2) == ["scene_000001", "scene_000002"]
    assert write(tmp_path, "realbinaural", "val", 1) == ["scene_000003"]
    assert len({row["video_id"] for row in rows(tmp_path / "places.csv")}) == 3
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match="there already"):
        write(tmp_path, "realbinaural", "val", 1, seed=5)
    with pytest.raises(InputError, match="realbinaural"):
        write(tmp_path, "fairplay", "test")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_scene_file_is_the_clip(tmp_path):
    write(tmp_path, count=1, seed=9)
    again, (clip,) = read_scene(tmp_path / "scenes" / "000001.json"), clips("test", 1, 9, SMALL)
    assert again.scene == clip.scene
    assert again.config == SMALL
    assert json.loads((tmp_path / "scenes" / "000001.json").read_text())["split"] == "test"
    wave_NC, _ = soundfile.read(tmp_path / "binaural_audios" / "000001.wav")
    assert np.abs(wave_NC.T - again.sound(0, 0.7, 22_050)[1]).max() < 0.51 / 32_768


def test_the_same_call_writes_the_same_bytes(tmp_path):
    for layout in ("fairplay", "realbinaural"):
        one, other = tmp_path / f"{layout}1", tmp_path / f"{layout}2"
        write(one, layout, count=1), write(other, layout, count=1)
        names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
        assert [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()] == []


def test_frames_show_the_scene(tmp_path):
    write(tmp_path, "realbinaural", count=1)
    clip = read_scene(tmp_path / "scenes" / "scene_000001.json")
    shown = np.asarray(Image.open(tmp_path / "processed" / "frames" / "scene_000001" / "frame_000004.jpg"))
    assert np.abs(shown.astype(int) - clip.look([0.3])[0].image_HW3).mean() < 5


def test_a_broken_scene_file_is_named(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(InputError, match="not there"):
        read_scene(path)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"x\.json"):
        read_scene(path)
