"""Pictures for the localiser: boxes that stay on their objects whatever is done to the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from binaural_core import InputError
from binaural_core.data.pictures import (
    VariedConfig,
    coarser,
    coded,
    cut_out,
    gather,
    mirrored,
    nothing_to_see,
    varied,
    whole_boxes,
)
from binaural_core.data.rendered import RenderedConfig, clips
from binaural_core.scene.view import View
from binaural_core.seeds import numpy_stream, stream

STILL = VariedConfig(zoom=(1.0, 1.0), stretch=0.0, mirror=0.0, colour=0.0, blur=0.0, coding=0.0, noise=0.0, nothing=0.0)


class Shown:
    """A clip that shows one view."""

    clip_id, duration_s = "shown", 1.0

    def __init__(self, view: View):
        self.view = view

    def look(self, times_s):
        return [self.view for _ in times_s]


def spot(x: float, y: float, high: int = 72, wide: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture with one soft bright spot at (x, y), and the box around it."""
    across, down = (torch.arange(wide) + 0.5) / wide, (torch.arange(high) + 0.5) / high
    far = ((across - x) * wide).square() + ((down[:, None] - y) * high).square()
    return torch.exp(-far / 18).expand(3, -1, -1).clone(), torch.tensor([[x - 0.1, y - 0.1, x + 0.1, y + 0.1]])


def brightest(picture: torch.Tensor) -> tuple[float, float]:
    """The centre of the light."""
    weight = picture[0].double() ** 2
    high, wide = weight.shape
    x, y = (torch.arange(wide) + 0.5) / wide, (torch.arange(high) + 0.5) / high
    return float((weight.sum(0) * x).sum() / weight.sum()), float((weight.sum(1) * y).sum() / weight.sum())


def middle(boxes: torch.Tensor) -> tuple[float, float]:
    return float((boxes[0, 0] + boxes[0, 2]) / 2), float((boxes[0, 1] + boxes[0, 3]) / 2)


@pytest.mark.parametrize("region", [(0.2, 0.1, 0.5, 0.6), (-0.1, -0.05, 1.2, 1.1), (0.0, 0.0, 1.0, 1.0)])
def test_a_cut_moves_the_box_with_what_it_is_around(region):
    picture, boxes = cut_out(*spot(0.55, 0.4), region)
    assert brightest(picture) == pytest.approx(middle(boxes), abs=2e-3)
    assert middle(boxes)[0] == pytest.approx((0.55 - region[0]) / region[2], abs=1e-6)
    assert float(boxes[0, 2] - boxes[0, 0]) == pytest.approx(0.2 / region[2], abs=1e-6)


def test_an_object_that_leaves_the_picture_leaves_the_boxes():
    _, boxes = cut_out(*spot(0.1, 0.5), (0.2, 0.0, 0.5, 1.0))
    assert boxes.isnan().all()


def test_outside_of_the_picture_it_is_black():
    picture, _ = cut_out(torch.ones(3, 40, 80), torch.zeros(0, 4), (-0.25, 0.0, 1.5, 1.0))
    assert float(picture[:, :, :12].max()) == 0
    assert float(picture[:, :, 16:64].min()) == pytest.approx(1.0)


def test_a_mirror_turns_boxes_with_the_picture():
    picture, boxes = spot(0.3, 0.6)
    assert brightest(picture.flip(2)) == pytest.approx(middle(mirrored(boxes)), abs=2e-3)
    torch.testing.assert_close(mirrored(mirrored(boxes)), boxes)


def test_coding_keeps_a_picture_up_to_its_step():
    picture = torch.rand(3, 30, 44, generator=stream(0, "picture"))
    assert torch.equal(coded(picture, 0.0), picture)
    torch.testing.assert_close(coded(picture, 1e-5), picture, atol=1e-4, rtol=0)
    coarse = coded(picture, 0.4)
    assert coarse.shape == picture.shape
    assert 0.05 < float((coarse - picture).abs().mean()) < 0.5
    flat = torch.full((3, 16, 16), 0.5)
    torch.testing.assert_close(coded(flat, 0.5), flat)  # 8 * 0.5 is a multiple of the step


def test_coarser_pictures_lose_detail_and_keep_their_light():
    picture = torch.rand(3, 48, 64, generator=stream(0, "picture"))
    soft = coarser(picture, 3.0)
    assert soft.shape == picture.shape
    assert float(soft.std()) < 0.6 * float(picture.std())
    assert float(soft.mean()) == pytest.approx(float(picture.mean()), abs=0.01)


def test_without_variation_a_picture_stays_as_it_is():
    picture, boxes = spot(0.4, 0.5)
    same, same_boxes = varied(picture, boxes, STILL, stream(0, "varied"))
    torch.testing.assert_close(same, picture, atol=1e-5, rtol=0)
    torch.testing.assert_close(same_boxes, boxes)


def test_variation_is_keyed_and_keeps_boxes_true():
    picture, boxes = spot(0.5, 0.5)
    mild = VariedConfig(colour=0.0, coding=0.0, noise=0.0, nothing=0.0)
    sides = set()
    for number in range(12):
        changed, moved = varied(picture, boxes, mild, stream(0, "varied", number))
        again, moved_again = varied(picture, boxes, mild, stream(0, "varied", number))
        assert torch.equal(changed, again)
        torch.testing.assert_close(moved, moved_again, equal_nan=True)
        if moved.isfinite().all():
            assert brightest(changed) == pytest.approx(middle(moved), abs=0.01)
            sides.add(round(float(moved[0, 2] - moved[0, 0]), 3))
    assert len(sides) > 6


def test_some_pictures_are_replaced_by_nothing():
    picture, boxes = spot(0.5, 0.5)
    seen = [varied(picture, boxes, STILL.replace(nothing=0.5), stream(0, "n", i)) for i in range(40)]
    empty = [b.isnan().all().item() for _, b in seen]
    assert 8 < sum(empty) < 32
    clouds = nothing_to_see(40, 64, numpy_stream(0, "clouds"))
    assert clouds.shape == (3, 40, 64)
    assert 0 <= float(clouds.min()) < float(clouds.max()) <= 1


def test_a_box_cut_off_by_the_edge_is_made_whole_where_the_direction_is_known():
    """45 degrees to the right of a camera of 90 degrees is the right edge: half of the object is out of the picture."""
    boxes = np.array([[0.8, 0.2, 1.0, 0.7], [0.1, 0.1, 0.3, 0.9], [np.nan] * 4], np.float32)
    positions = np.array([[-45.0, 0, 2], [np.nan] * 3, [0, 0, 1]], np.float32)
    view = View(np.zeros((90, 160, 3), np.uint8), boxes, positions, np.ones(3, np.float32), ("a", "b", "c"), True)
    np.testing.assert_allclose(whole_boxes(view, 90.0), [[0.8, 0.2, 1.2, 0.7], [0.1, 0.1, 0.3, 0.9]], atol=1e-6)
    wide = whole_boxes(replace(view, h_fov_deg=120.0), 90.0)  # the view's own camera counts
    assert (wide[0, 0] + wide[0, 2]) / 2 == pytest.approx(0.5 + 0.5 / np.tan(np.radians(60)), abs=1e-6)


@pytest.mark.parametrize("h_fov_deg", [70.0, 120.0])
def test_the_middle_of_a_box_points_at_the_sound(h_fov_deg):
    config = RenderedConfig(width_px=160, height_px=90).replace(**{"scene.camera.h_fov_deg": h_fov_deg})
    for clip in clips("train", 8, 3, config):
        (view,) = clip.look([1.0])
        boxes = whole_boxes(view, 45.0)
        azimuth = clip.scene.camera.azimuth_deg((boxes[:, 0] + boxes[:, 2]) / 2)
        np.testing.assert_allclose(azimuth, view.positions_O3[:, 0], atol=1e-3)


def test_a_gallery_holds_pictures_of_one_size_and_no_unknown_ones():
    image = np.full((100, 100, 3), 200, np.uint8)
    box = np.array([[0.2, 0.4, 0.4, 0.6]], np.float32)
    known = View(image, box, np.full((1, 3), np.nan, np.float32), np.ones(1, np.float32), ("a",), True)
    gallery = gather([Shown(known), Shown(View(image))], 3, (64, 32))
    assert len(gallery) == 3
    assert gallery.pixels_NHW3.shape == (3, 32, 64, 3)
    assert gallery.pixels_NHW3[0, :, :32].min() == 200
    assert gallery.pixels_NHW3[0, :, 32:].max() == 0
    np.testing.assert_allclose(gallery.boxes_NO4[0, 0], [0.1, 0.4, 0.2, 0.6], atol=1e-6)
    assert np.isnan(gallery.boxes_NO4[0, 1:]).all()
    batch = gallery.batch([2, 0])
    assert batch.indices == (2, 0)
    assert batch.pictures_B3HW.shape == (2, 3, 32, 64)
    assert float(batch.pictures_B3HW.max()) == pytest.approx(200 / 255)
    with pytest.raises(InputError, match="no picture of 1 clips says where"):
        gather([Shown(View(image))], 1, (64, 32))
