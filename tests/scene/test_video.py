import numpy as np
import pytest
from PIL import Image

from binaural_core.errors import InputError
from binaural_core.scene import drawing
from binaural_core.scene.backdrop import Hall, backdrop
from binaural_core.scene.geometry import Camera
from binaural_core.scene.plan import Keyframe, Room, Scene, Source
from binaural_core.scene.video import draw, stamp

ROOM = Room(size_m=(7.0, 6.0, 3.0))


def scene(*sources: Source, **settings) -> Scene:
    return Scene(sources=sources, **settings)


def still(label: str, azimuth_deg: float, elevation_deg: float = 0.0, distance_m: float = 3.0) -> Source:
    return Source.still("dry.flac", azimuth_deg, elevation_deg, distance_m, label=label)


def changed(view, other) -> np.ndarray:
    """Where two pictures differ clearly (H, W)."""
    return np.abs(view.image_HW3.astype(int) - other.image_HW3.astype(int)).max(-1) > 24


@pytest.mark.parametrize("azimuth_deg", [-28.0, -7.5, 0.0, 22.0])
@pytest.mark.parametrize("label", ["piano", "violin", "drum"])
def test_the_middle_of_a_box_is_the_azimuth_of_its_source(label, azimuth_deg):
    (view,) = draw(scene(still(label, azimuth_deg, -3.0, 4.0)), [0.0])
    x1, _, x2, _ = view.boxes_O4[0]
    assert Camera().azimuth_deg((x1 + x2) / 2) == pytest.approx(azimuth_deg, abs=0.01)
    assert view.positions_O3[0] == pytest.approx([azimuth_deg, -3.0, 4.0], abs=1e-5)


def test_size_falls_with_distance_and_is_the_true_one():
    near, far = (draw(scene(still("flute", 0.0, 5.0, d)), [0.0])[0].boxes_O4[0] for d in (2.5, 5.0))
    assert (near[2] - near[0]) / (far[2] - far[0]) == pytest.approx(2, abs=1e-4)
    picture = drawing.sprite("flute", drawing.Look.of(0, 0))
    ahead_m = 5.0 * np.cos(np.radians(5.0))
    assert (far[2] - far[0]) * 2 * ahead_m == pytest.approx(2 * picture.half_width_m, rel=1e-4)  # 90 degrees: 2 d wide
    tall_m = picture.up_m + picture.down_m
    assert (far[3] - far[1]) * 2 * ahead_m * 9 / 16 == pytest.approx(tall_m, rel=1e-4)


def test_the_box_is_tight_around_what_is_drawn():
    size = (640, 360)
    with_it = scene(still("violin", 10.0, -1.0, 2.6), room=ROOM)
    beside = scene(still("violin", -60.0, -1.0, 2.0), room=ROOM)  # the same empty room in view
    (view,), (empty,) = draw(with_it, [0.0], *size), draw(beside, [0.0], *size)
    rows, columns = np.nonzero(changed(view, empty))
    x1, y1, x2, y2 = view.boxes_O4[0] * np.array([640, 360, 640, 360])
    assert columns.min() == pytest.approx(x1, abs=2)
    assert columns.max() == pytest.approx(x2 - 1, abs=2)
    assert rows.min() == pytest.approx(y1, abs=2)
    assert rows.max() < y2 + 12  # the shadow lies a little below the feet


def test_sources_out_of_view_are_left_out_and_the_order_stays():
    sources = still("piano", 80.0), still("drum", 20.0), still("singer", 170.0)
    (view,) = draw(scene(*sources), [0.0])
    assert view.labels == ("drum",)
    assert view.boxes_O4.shape == (1, 4)
    assert view.positions_O3[0, 0] == pytest.approx(20.0)
    assert view.objects_known
    assert view.scores_O == pytest.approx([1.0])
    (empty,) = draw(scene(still("drum", 120.0)), [0.0])
    assert empty.boxes_O4.shape == (0, 4)
    assert empty.objects_known


def test_left_is_left():
    (view,) = draw(scene(still("singer", 25.0, 0.0, 2.0)), [0.0])
    (empty,) = draw(scene(still("singer", 120.0)), [0.0])
    difference = changed(view, empty)
    assert difference[:, :160].sum() > 20 * difference[:, 160:].sum() + 100


def test_a_near_source_hides_a_far_one_whatever_their_order():
    near, far = still("piano", 0.0, -8.0, 2.0), still("drum", 0.0, -4.0, 4.0)
    both = draw(scene(near, far), [0.0])[0], draw(scene(far, near), [0.0])[0]
    alone = draw(scene(near), [0.0])[0].image_HW3
    inside = np.s_[95:105, 150:185]  # the piano's case
    assert both[0].labels == ("piano", "drum")
    assert both[1].labels == ("drum", "piano")
    np.testing.assert_array_equal(both[0].image_HW3[inside], alone[inside])
    assert both[1].image_HW3[inside].std() < 40  # a dark case, no white drum heads


def test_moving_sources_move_and_still_pictures_are_drawn_once():
    path = (Keyframe(azimuth_deg=-25), Keyframe(time_s=2.0, azimuth_deg=25))
    moving = Scene(sources=(Source(sound="x", path=path, label="guitar"),))
    views = draw(moving, [0.0, 1.0, 2.0])
    middles = [(v.boxes_O4[0, 0] + v.boxes_O4[0, 2]) / 2 for v in views]
    assert middles[0] > middles[1] > middles[2]
    assert middles[1] == pytest.approx(0.5, abs=1e-4)
    first, second = draw(scene(still("guitar", 5.0)), [0.0, 3.0])
    assert first is second


def test_same_scene_same_pixels_and_other_seed_other_looks():
    one = scene(still("marimba", 5.0), still("speaker", -20.0), room=ROOM, seed=4)
    before = draw(one, [0.5])[0].image_HW3.copy()
    backdrop.cache_clear(), drawing.sprite.cache_clear()
    np.testing.assert_array_equal(draw(one, [0.5])[0].image_HW3, before)
    other = draw(one.replace(seed=5), [0.5])[0].image_HW3
    assert (np.abs(other.astype(int) - before) > 8).any(-1).mean() > 0.2


def test_every_kind_looks_different():
    crops = {}
    for label in drawing.KINDS:
        picture = drawing.sprite(label, drawing.Look.of(0, 0)).levels[0].resize((48, 48))
        crops[label] = np.asarray(picture).astype(float)
    for a in crops:
        for b in crops:
            assert a == b or np.abs(crops[a] - crops[b]).mean() > 6, (a, b)
    unknown = drawing.sprite("theremin", drawing.Look.of(0, 0))
    assert unknown.levels == drawing.sprite("loudspeaker", drawing.Look.of(0, 0)).levels


def test_the_room_is_drawn_in_the_cameras_perspective():
    hall = Hall(ahead_m=4.0, left_m=2.0, right_m=3.0, below_m=1.5, above_m=1.2)
    red = np.asarray(backdrop(hall, 3, Camera(), 640, 360)).astype(float).sum(-1)
    # the corner between the left wall and the one ahead: left / ahead = 0.5, a quarter of the width from the left
    along_row = np.abs(np.diff(red[120]))
    assert 320 - 160 in range(int(along_row[100:220].argmax()) + 100 - 3, int(along_row[100:220].argmax()) + 100 + 4)


def test_the_horizon_of_the_meadow_is_at_half_height():
    picture = np.asarray(backdrop(None, 1, Camera(), 320, 180)).astype(int)
    below, above = picture[92:].reshape(-1, 3), picture[:40].reshape(-1, 3)
    assert (below[:, 1] > below[:, 2] + 15).all()  # grass is green
    assert (above[:, 2] >= above[:, 1]).all()  # sky is not


def test_stamp_places_to_a_fraction_of_a_pixel():
    levels = drawing.halves(Image.new("RGBA", (64, 64), (255, 255, 255, 255)))
    picture = Image.new("RGB", (40, 40))
    stamp(picture, levels, (10.25, 8.0, 26.25, 24.0))
    row = np.asarray(picture)[16, :, 0].astype(float) / 255
    assert row.sum() == pytest.approx(16, abs=0.15)
    assert (row * (np.arange(40) + 0.5)).sum() / row.sum() == pytest.approx(18.25, abs=0.06)
    stamp(picture, levels, (-100.0, -100.0, -50.0, -50.0))  # outside: nothing happens
    stamp(picture, levels, (-8.0, -8.0, 48.0, 48.0))
    assert np.asarray(picture).min() == 255


def test_a_picture_of_no_size_is_refused():
    with pytest.raises(InputError, match="320 x 180"):
        draw(scene(still("drum", 0.0)), [0.0], 0, 180)
