from itertools import combinations

import numpy as np
import pytest
import soundfile

from binaural_core.errors import InputError
from binaural_core.scene import Camera, DrySound, Scene, SceneConfig, find_dry_sounds, random_scene
from binaural_core.scene.geometry import angle_between_deg

SOUNDS = tuple(DrySound(sound=f"s{i}.wav", label=f"label{i}", duration_s=2.0 + i) for i in range(5))
SEEDS = range(120)


@pytest.fixture(scope="module")
def scenes():
    return [random_scene(SceneConfig(), SOUNDS, seed) for seed in SEEDS]


def test_one_seed_one_scene(scenes):
    assert random_scene(SceneConfig(), SOUNDS, 7) == scenes[7]
    assert len({str(s.to_dict()) for s in scenes}) == len(scenes)


def test_every_kind_of_scene_comes_up(scenes):
    counts = np.bincount([len(s.sources) for s in scenes], minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() > 20
    assert 35 < sum(s.room is not None for s in scenes) < 85
    moving = [source.moves for s in scenes for source in s.sources]
    assert 0.4 < np.mean(moving) < 0.6


def test_sources_are_in_view_and_apart(scenes):
    for scene in scenes:
        positions = scene.positions(np.linspace(0, scene.duration_s, 50)).astype(float)
        assert np.abs(positions[..., 0]).max() <= 42.001
        assert scene.camera.in_view(positions[..., 0], positions[..., 1]).all()
        for a, b in combinations(range(len(scene.sources)), 2):
            assert angle_between_deg(positions[:, a, :2], positions[:, b, :2]).min() > 14.5


def test_places_spread_over_the_picture(scenes):
    azimuths = np.concatenate([s.positions([0.0])[0, :, 0] for s in scenes])
    assert azimuths.min() < -35
    assert azimuths.max() > 35
    assert abs(np.mean(azimuths)) < 6


def test_a_scene_does_not_repeat_a_sound(scenes):
    for scene in scenes:
        assert len({s.sound for s in scene.sources}) == len(scene.sources)


def test_stretches_lie_in_the_recording_and_in_the_scene(scenes):
    lengths = {s.sound: s.duration_s for s in SOUNDS}
    for source in (source for scene in scenes for source in scene.sources):
        if lengths[source.sound] >= 4.0:
            assert source.start_s == 0
            assert source.from_s + 4.0 <= lengths[source.sound] + 1e-9
        else:
            assert source.from_s == 0
            assert source.start_s + lengths[source.sound] <= 4.0 + 1e-9
        assert -6 <= source.gain_db <= 0


def test_the_range_may_be_all_around():
    wide = [random_scene(SceneConfig(max_azimuth_deg=180.0), SOUNDS, seed) for seed in range(40)]
    assert max(np.abs(s.positions([0.0])[..., 0]).max() for s in wide) > 120


def test_the_range_follows_the_camera():
    config = SceneConfig(camera=Camera(h_fov_deg=60.0), sources=(1, 1))
    assert config.widest_deg == pytest.approx(27)
    assert all(abs(random_scene(config, SOUNDS, s).positions([0.0])[0, 0, 0]) <= 27 for s in range(30))


def test_still_and_open_on_demand():
    config = SceneConfig(moving=0.0, reverberant=0.0, sources=(2, 2), mono="omni", duration_s=3.0)
    for seed in range(20):
        scene = random_scene(config, SOUNDS, seed)
        assert scene.room is None
        assert not any(s.moves for s in scene.sources)
        assert (len(scene.sources), scene.mono, scene.duration_s, scene.seed) == (2, "omni", 3.0, seed)


def test_crowded_scenes_still_keep_apart():
    config = SceneConfig(sources=(3, 3), min_separation_deg=29.0, moving=1.0)
    for seed in range(5):
        positions = random_scene(config, SOUNDS, seed).positions([0.0, 2.0, 4.0]).astype(float)
        for a, b in combinations(range(3), 2):
            assert angle_between_deg(positions[:, a, :2], positions[:, b, :2]).min() > 28.5


def test_scenes_round_trip(scenes):
    for scene in scenes[:10]:
        assert Scene.from_dict(scene.to_dict()) == scene


def test_dry_sounds_are_found_and_named(tmp_path):
    for name in ("b/cello_two.wav", "a/drum.flac"):
        (tmp_path / name).parent.mkdir()
        soundfile.write(tmp_path / name, np.zeros(22_050), 22_050)
    (tmp_path / "notes.txt").write_text("no sound")
    found = find_dry_sounds(tmp_path)
    assert [(s.label, s.duration_s) for s in found] == [("drum", 1.0), ("cello", 1.0)]
    with pytest.raises(InputError, match="no sound file"):
        find_dry_sounds(tmp_path / "nothing")


def test_shipped_sounds_are_named_below_data_samples(monkeypatch, tmp_path):
    monkeypatch.setenv("BINAURAL_DATA_SAMPLES", str(tmp_path))
    (tmp_path / "dry").mkdir()
    soundfile.write(tmp_path / "dry" / "piano_one.wav", np.zeros(22_050), 22_050)
    assert find_dry_sounds(tmp_path / "dry")[0].sound == "dry/piano_one.wav"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sources": (0, 2)}, "sources"),
        ({"sources": (1, 4)}, "sources"),
        ({"distance_m": (3.0, 1.0)}, "distance_m"),
        ({"min_separation_deg": 60.0}, "60 degrees apart"),
        ({"max_azimuth_deg": 200.0}, "200 degrees"),
    ],
)
def test_impossible_configs_are_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        SceneConfig(**wrong)


def test_no_sounds_no_scene():
    with pytest.raises(InputError, match="no dry sounds"):
        random_scene(SceneConfig(), (), 0)


def test_recordings_are_played_at_speeds_within_the_range_and_stay_within_their_length():
    dry = [DrySound(sound="a", label="piano", duration_s=5.0)]
    config = SceneConfig(duration_s=2.0, sources=(1, 1), speed=(0.5, 2.0))
    sources = [random_scene(config, dry, seed).sources[0] for seed in range(60)]
    speeds = [s.speed for s in sources]
    assert 0.5 <= min(speeds) < 0.7
    assert 1.5 < max(speeds) <= 2.0
    assert all(s.from_s + 2.0 * s.speed <= 5.0 + 1e-9 for s in sources)
    assert max(s.from_s / max(5.0 - 2.0 * s.speed, 1e-9) for s in sources) > 0.9  # all of the recording is used
    same = random_scene(config.replace(speed=(1.0, 1.0)), dry, 3)
    assert same == random_scene(SceneConfig(duration_s=2.0, sources=(1, 1)), dry, 3)


def test_cameras_differ_and_sources_stay_in_their_picture():
    dry = [DrySound(sound="a", label="piano", duration_s=5.0)]
    scenes = [random_scene(SceneConfig(h_fov_deg=(60.0, 140.0)), dry, seed) for seed in range(60)]
    angles = [scene.camera.h_fov_deg for scene in scenes]
    assert 60 <= min(angles) < 75 < 125 < max(angles) <= 140
    for scene in scenes:
        assert np.abs(scene.positions([0.0])[0, :, 0]).max() <= scene.camera.h_fov_deg / 2 - 2.9
