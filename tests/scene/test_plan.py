import json

import numpy as np
import pytest

from binaural_core.errors import InputError
from binaural_core.scene import Camera, Keyframe, Room, Scene, Source


def moving(*frames, **more):
    keyframes = tuple(Keyframe(time_s=t, azimuth_deg=a, distance_m=d) for t, a, d in frames)
    return Source(sound="tone", path=keyframes, **more)


def test_a_scene_survives_json_and_yaml(tmp_path):
    scene = Scene(
        sources=(Source.still("dry/a.flac", 30, 5, 2, label="cello"), moving((0, -30, 1), (2, 10, 2), start_s=0.5)),
        duration_s=3.5,
        room=Room(size_m=(7, 6, 3), rt60_s=0.5),
        camera=Camera(h_fov_deg=80),
        mono="omni",
        seed=11,
    )
    assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene
    scene.save(tmp_path / "scene.yaml")
    assert Scene.load(tmp_path / "scene.yaml") == scene


def test_positions_are_frames_by_sources_by_three():
    scene = Scene(sources=(Source.still("a", 30, 5, 2), moving((0, -30, 1), (2, 10, 2))))
    positions = scene.positions([0.0, 1.0, 2.0])
    assert positions.shape == (3, 2, 3)
    assert positions.dtype == np.float32
    np.testing.assert_allclose(positions[:, 0], [[30, 5, 2]] * 3)
    np.testing.assert_allclose(positions[[0, 2], 1], [[-30, 0, 1], [10, 0, 2]])


def test_ways_go_through_their_keyframes_and_never_beyond():
    source = moving((0.5, 0, 1), (1.0, 30, 1), (2.0, 35, 3), (2.5, -20, 2))
    assert source.moves
    np.testing.assert_allclose(source.positions([0.5, 1.0, 2.0, 2.5])[:, 0], [0, 30, 35, -20], atol=1e-12)
    dense = source.positions(np.linspace(0, 4, 801))
    assert dense[:, 0].max() <= 35 + 1e-9
    assert dense[:, 2].min() >= 1 - 1e-9
    assert np.abs(np.diff(dense[:, 0])).max() < 1.0  # no jumps in 5 ms
    np.testing.assert_allclose(dense[0], [0, 0, 1])  # held before and after
    np.testing.assert_allclose(dense[-1], [-20, 0, 2])


def test_a_way_may_pass_behind():
    behind = moving((0, 150, 1), (2, 210, 1)).positions([0.0, 1.0, 2.0])
    np.testing.assert_allclose(behind[:, 0], [150, -180, -150], atol=1e-9)


def test_two_equal_keyframes_do_not_move():
    assert not moving((0, 20, 1), (2, 20, 1)).moves


def test_points_are_ahead_left_up():
    points = Scene.points(Source.still("a", 90, 0, 2), [0.0])
    np.testing.assert_allclose(points, [[0, 2, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Scene(sources=()), "0 sources"),
        (lambda: Scene(sources=(Source.still("a", 0),) * 4), "4 sources"),
        (lambda: Scene(sources=(Source.still("a", 0),), duration_s=0.0), "lasts 0 s"),
        (lambda: Scene(sources=(Source.still("a", 0),), mono="stereo"), "mono"),
        (lambda: Source(sound="a", path=()), "no place"),
        (lambda: moving((1, 0, 1), (1, 5, 1)), "keyframes of tone"),
        (lambda: moving((0, 0, 1), from_s=-1.0), "recording"),
        (lambda: Source.still("a", 0, 0, 0.05), "0.05 m"),
        (lambda: Source.still("a", 0, 100), "elevation"),
        (lambda: Source.still("a", float("nan")), "nan"),
        (lambda: Scene(sources=(Source.still("cello", 0, 0, 9),), room=Room()), "cello is at"),
    ],
)
def test_impossible_scenes_are_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_a_way_that_leaves_the_room_is_refused():
    inside = [(0, 0, 3.5), (2, 170, 1.2)]
    with pytest.raises(InputError, match="tone is at"):
        Scene(sources=(moving(*inside),), room=Room(size_m=(6, 4, 2.8)))
