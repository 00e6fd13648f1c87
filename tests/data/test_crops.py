"""Object crops: where they are cut, what they are called, who keeps which slot, and what stands in for them."""

from dataclasses import replace

import numpy as np
import pytest

from binaural_core.data.config import DataConfig
from binaural_core.data.crops import IMAGENET_DEVIATION_3, IMAGENET_MEAN_3, follow, normalise, row_of_squares, sight
from binaural_core.scene.view import View

DATA = DataConfig(objects=3, crop_px=16, crop_margin=0.0)
NAN = np.nan


def view(boxes=(), labels=(), scores=None, positions=None, image=None, known=True):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.ones(len(boxes)) if scores is None else np.array(scores)
    positions = np.full((len(boxes), 3), NAN) if positions is None else np.array(positions)
    image = np.zeros((90, 160, 3), np.uint8) if image is None else image
    labels = labels or ("drum",) * len(boxes)
    return View(image, boxes, positions.astype(np.float32), scores.astype(np.float32), tuple(labels), known)


def ramp():
    """Red is the column, green the row."""
    image = np.zeros((90, 160, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(160), np.arange(90)[:, None]
    return image


def pixels(crops_OCHW):
    """Back to 0-255."""
    crops = crops_OCHW.transpose(0, 2, 3, 1)
    return (crops * IMAGENET_DEVIATION_3 + IMAGENET_MEAN_3) * 255


def test_a_crop_is_the_square_around_its_box():
    seen = sight(
        [view([[40 / 160, 30 / 90, 72 / 160, 50 / 90]], image=ramp())], DATA
    )  # 32 wide, 20 high, centre 56, 40
    crop = pixels(seen.crops_LOCHW[0])[0]
    np.testing.assert_allclose(crop[8, [0, -1], 0], [40.5, 70.5], atol=1.0)
    np.testing.assert_allclose(crop[[0, -1], 8, 1], [24.5, 54.5], atol=1.0)
    np.testing.assert_allclose(seen.image_positions_LO2[0, 0], [56 / 160, 40 / 90], atol=1e-6)
    np.testing.assert_array_equal(seen.mask_LO, [[False, True, True]])


def test_the_margin_is_a_part_of_the_longer_side():
    seen = sight([view([[40 / 160, 30 / 90, 72 / 160, 50 / 90]], image=ramp())], DATA.replace(crop_margin=0.25))
    crop = pixels(seen.crops_LOCHW[0])[0]
    np.testing.assert_allclose(crop[8, [0, -1], 0], [32 + 1, 80 - 2], atol=1.5)


def test_a_crop_at_the_edge_stays_inside_the_picture():
    seen = sight([view([[0, 0, 20 / 160, 40 / 90]], image=ramp())], DATA)  # 20 wide, 40 high: the square begins at 0
    crop = pixels(seen.crops_LOCHW[0])[0]
    np.testing.assert_allclose(crop[8, [0, -1], 0], [0.8, 38.2], atol=1.0)
    np.testing.assert_allclose(seen.image_positions_LO2[0, 0], [10 / 160, 20 / 90], atol=1e-6)


def test_empty_slots_are_zero_and_masked():
    seen = sight([view()], DATA)
    assert seen.mask_LO.all()
    assert not seen.crops_LOCHW.any()
    assert np.isnan(seen.positions_LO3).all()


def test_normalisation_is_imagenets():
    white = normalise(np.full((1, 1, 2, 2, 3), 255, np.uint8), np.zeros((1, 1), bool))
    np.testing.assert_allclose(
        white[0, 0, :, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-5
    )
    assert white.dtype == np.float32


def test_known_positions_are_kept_and_unknown_ones_come_from_the_camera():
    boxes = [[0.7, 0.4, 0.8, 0.6], [0.0, 0.4, 0.2, 0.6]]
    seen = sight([view(boxes, positions=[[-33, 7, 2.5], [NAN, NAN, 4.0]])], DATA)
    np.testing.assert_allclose(seen.positions_LO3[0, 0], [-33, 7, 2.5])
    np.testing.assert_allclose(seen.positions_LO3[0, 1], [np.degrees(np.arctan(0.8)), 0, 4.0], atol=1e-5)
    narrow = sight([view(boxes)], DATA.replace(h_fov_deg=60.0))
    azimuth = -np.degrees(np.arctan(0.5 * np.tan(np.radians(30))))
    np.testing.assert_allclose(narrow.positions_LO3[0, 0], [azimuth, 0, NAN], atol=1e-5)


def test_a_view_that_says_its_cameras_width_is_believed():
    told = replace(view([[0.7, 0.4, 0.8, 0.6]]), h_fov_deg=60.0)
    azimuth = -np.degrees(np.arctan(0.5 * np.tan(np.radians(30))))
    np.testing.assert_allclose(sight([told], DATA).positions_LO3[0, 0], [azimuth, 0, NAN], atol=1e-5)


def test_the_elevation_is_positive_above_the_middle():
    seen = sight([view([[0.45, 0.0, 0.55, 0.2]])], DATA)
    np.testing.assert_allclose(seen.positions_LO3[0, 0, 1], np.degrees(np.arctan(0.8 * 90 / 160)), atol=1e-4)


def test_an_object_that_is_away_or_outside_is_masked_and_keeps_its_slot():
    at, away = [0.4, 0.4, 0.6, 0.6], [NAN] * 4
    places = [[0, 0, 1], [90, 0, 1]]
    seen = sight([view([away, at], positions=places), view([at, [1.2, 0.4, 1.4, 0.6]], positions=places)], DATA)
    np.testing.assert_array_equal(seen.mask_LO, [[True, False, True], [False, True, True]])


def test_a_region_is_the_new_picture():
    region = (0.25, 0.2, 0.5, 0.8)
    seen = sight([view([[0.4, 0.4, 0.6, 0.6], [0, 0.4, 0.1, 0.6]], image=ramp())], DATA, region=region)
    np.testing.assert_allclose(seen.image_positions_LO2[0, 0], [0.5, 0.375], atol=1e-6)
    np.testing.assert_array_equal(seen.mask_LO, [[False, True, True]])
    whole = sight([view(image=ramp(), known=False)], DATA, region=region)
    crop = pixels(whole.crops_LOCHW[0])[0]
    assert crop[..., 0].min() > 38
    assert crop[..., 0].max() < 121


def test_detections_are_followed_by_label_and_place_not_by_their_order():
    left, right, other = [0.1, 0.4, 0.2, 0.6], [0.8, 0.4, 0.9, 0.6], [0.12, 0.4, 0.22, 0.6]
    views = [
        view([left, right], ("man", "man"), [0.9, 0.8]),
        view([right, left], ("man", "man"), [0.9, 0.8]),
        view([other, right, left], ("dog", "man", "man"), [0.9, 0.8, 0.7]),
    ]
    np.testing.assert_array_equal(follow(views, 3, 0.3), [[0, 1, -1], [1, 0, -1], [2, 1, 0]])


def test_detections_are_taken_by_score_and_weak_ones_left_out():
    boxes = [[0.1, 0.4, 0.2, 0.6], [0.4, 0.4, 0.5, 0.6], [0.8, 0.4, 0.9, 0.6]]
    views = [view(boxes, ("a", "b", "c"), [0.2, 0.5, 0.9])]
    np.testing.assert_array_equal(follow(views, 1, 0.3), [[2]])
    np.testing.assert_array_equal(follow(views, 3, 0.3), [[2, 1, -1]])


def test_a_detection_that_jumps_across_the_picture_is_another_object():
    views = [view([[0.1, 0.4, 0.2, 0.6]]), view([[0.8, 0.4, 0.9, 0.6]])]
    np.testing.assert_array_equal(follow(views, 2, 0.3), [[0, -1], [-1, 0]])


def test_objects_with_true_places_keep_their_order_even_when_they_cross():
    places = [[10, 0, 1], [-10, 0, 1]]
    one, other = [0.4, 0.4, 0.5, 0.6], [0.5, 0.4, 0.6, 0.6]
    views = [view([one, other], positions=places), view([other, one], positions=places)]
    np.testing.assert_array_equal(follow(views, 2, 0.3), [[0, 1], [0, 1]])


@pytest.mark.parametrize("whole_frame, whole", [("fallback", 1), ("always", 1), ("never", 0)])
def test_where_nobody_looked_the_whole_picture_and_a_row_of_squares_stand_in(whole_frame, whole):
    seen = sight([view(image=ramp(), known=False)], DATA.replace(whole_frame=whole_frame))
    assert not seen.mask_LO.any()
    if whole:
        np.testing.assert_allclose(seen.image_positions_LO2[0, 0], [0.5, 0.5])
        assert np.isnan(seen.positions_LO3[0, 0]).all()
        crop = pixels(seen.crops_LOCHW[0])[0]
        assert crop[..., 0].min() < 10
        assert crop[..., 0].max() > 149
    x = seen.image_positions_LO2[0, whole:, 0]
    assert (np.diff(x) > 0.1).all()
    np.testing.assert_allclose(x, 1 - x[::-1], atol=1e-6)
    azimuth = seen.positions_LO3[0, whole:, 0]
    np.testing.assert_allclose(azimuth, -np.degrees(np.arctan(2 * x - 1)), atol=1e-4)
    assert np.isnan(seen.positions_LO3[0, whole:, 2]).all()


def test_the_whole_picture_can_stand_beside_the_objects():
    seen = sight([view([[0.1, 0.4, 0.2, 0.6]] * 3, ("a", "b", "c"))], DATA.replace(whole_frame="always"))
    np.testing.assert_allclose(seen.image_positions_LO2[0, :, 0], [0.5, 0.15, 0.15], atol=1e-6)


@pytest.mark.parametrize("aspect", [16 / 9, 1.0, 9 / 16, 3.0])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_row_is_square_inside_and_symmetric(count, aspect):
    boxes = row_of_squares(count, aspect)
    assert boxes.min() >= -1e-9
    assert boxes.max() <= 1 + 1e-9
    np.testing.assert_allclose((boxes[:, 2] - boxes[:, 0]) * aspect, boxes[:, 3] - boxes[:, 1])
    np.testing.assert_allclose(boxes[:, 0], 1 - boxes[::-1, 2])
