"""The localiser's network: what peaks become, how pictures fit in, and what is shipped."""

import numpy as np
import pytest
import torch

from binaural_core import InputError, checkpoint, places
from binaural_core.models.localizer import Localizer, LocalizerConfig, Maps, fitted_in, peaks
from binaural_core.seeds import numpy_stream

SMALL = LocalizerConfig(width=4, side_px=64)
SHIPPED = places.data_samples() / "weights" / "localizer"


def maps(high=9, wide=16, **scores):
    """Maps with peaks of these scores at cells such as ``at_3_5`` (row, column); boxes of 2 x 4 cells around them."""
    heat = torch.full((1, high, wide), -12.0)
    for cell, score in scores.items():
        _, row, column = cell.split("_")
        heat[0, int(row), int(column)] = torch.logit(torch.tensor(score))
    size = torch.tensor([2.0, 4.0]).log()[None, :, None, None].expand(1, 2, high, wide)
    return Maps(heat, torch.zeros(1, 2, high, wide), size.clone())


def test_a_peak_becomes_the_box_that_its_cell_says():
    made = maps(at_3_5=0.8)
    made.shift_B2HW[0, :, 3, 5] = torch.tensor([0.25, -0.5])
    ((boxes, scores),) = peaks(made, SMALL)
    x, y = (5.5 + 0.25) / 16, (3.5 - 0.5) / 9
    np.testing.assert_allclose(boxes, [[x - 1 / 16, y - 2 / 9, x + 1 / 16, y + 2 / 9]], atol=1e-6)
    assert scores.tolist() == pytest.approx([0.8])


def test_only_peaks_that_are_high_enough_count_and_the_best_comes_first():
    made = maps(at_3_5=0.5, at_3_6=0.6, at_4_7=0.55, at_3_9=0.9, at_0_0=0.29, at_8_15=0.31)
    ((boxes, scores),) = peaks(made, SMALL)
    assert scores.tolist() == pytest.approx([0.9, 0.6, 0.31])  # 0.5 and 0.55 stand beside 0.6
    np.testing.assert_allclose((boxes[:, 0] + boxes[:, 2]) / 2, [9.5 / 16, 6.5 / 16, 15.5 / 16], atol=1e-6)
    assert len(peaks(made, SMALL.replace(most=2))[0][1]) == 2
    assert len(peaks(made, SMALL.replace(confidence=0.95))[0][0]) == 0


def test_two_peaks_that_say_the_same_box_are_one_object():
    made = maps(at_3_4=0.8, at_3_6=0.7, at_3_8=0.6)
    made.shift_B2HW[0, 0, 3, 4], made.shift_B2HW[0, 0, 3, 6] = 1.0, -0.7  # middles at 5.5 and 5.8 of cells 2 wide
    ((_, scores),) = peaks(made, SMALL)
    assert scores.tolist() == pytest.approx([0.8, 0.6])
    made.shift_B2HW[0, 0, 3, 6] = -0.4  # 0.6 apart: they share 1.4 of 2.6
    assert len(peaks(made, SMALL)[0][1]) == 3


def test_a_box_may_reach_beyond_the_picture():
    ((boxes, _),) = peaks(maps(at_3_0=0.8), SMALL)
    assert boxes[0, 0] == pytest.approx(-0.5 / 16)


@pytest.mark.parametrize(
    "high, wide, size", [(90, 160, (48, 64)), (64, 36, (64, 48)), (64, 64, (64, 64)), (2, 300, (16, 64))]
)
def test_a_picture_fits_in_with_its_aspect_kept(high, wide, size):
    image = np.full((high, wide, 3), 255, np.uint8)
    picture, part = fitted_in(image, 64)
    assert tuple(picture.shape) == (3, *size)
    covered = (max(round(64 * wide / max(high, wide)), 1), max(round(64 * high / max(high, wide)), 1))
    np.testing.assert_allclose(part, np.array(covered) / size[::-1], atol=1e-6)
    assert picture[:, : covered[1], : covered[0]].min() == 1
    assert picture.sum() == 3 * covered[0] * covered[1]


def test_boxes_are_in_the_picture_not_in_what_was_padded(monkeypatch):
    net = Localizer(SMALL).eval()
    seen = []

    def forward(self, pictures):
        seen.append(tuple(pictures.shape))
        return maps(12, 16, at_4_8=0.8) if len(pictures) == 1 else None

    monkeypatch.setattr(Localizer, "forward", forward)
    ((boxes, _),) = net.locate([np.zeros((90, 160, 3), np.uint8)])
    assert seen == [(1, 3, 48, 64)]
    np.testing.assert_allclose((boxes[0, :2] + boxes[0, 2:]) / 2, [34 / 64, 18 / 36], atol=1e-6)  # 64 x 36 of 64 x 48


def test_pictures_of_different_sizes_keep_their_order():
    net = Localizer(SMALL.replace(confidence=0.001)).eval()
    torch.nn.init.normal_(net.out.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    draw = numpy_stream(0, "pictures")
    images = [draw.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in [(36, 64)] * 18 + [(64, 36)] + [(36, 64)]]
    together = net.locate(images)
    for image, (boxes, scores) in zip(images, together, strict=True):
        ((boxes_alone, scores_alone),) = net.locate([image])
        np.testing.assert_allclose(boxes, boxes_alone, atol=1e-4)
        np.testing.assert_allclose(scores, scores_alone, atol=1e-5)
    assert net.locate([]) == []


def test_a_new_network_finds_nothing():
    net = Localizer(SMALL)
    heat, shift, size = net(torch.rand(2, 3, 32, 64))
    assert heat.shape == (2, 8, 16)
    assert shift.shape == size.shape == (2, 2, 8, 16)
    assert float(heat.sigmoid().detach().max()) < 0.02
    with pytest.raises(InputError, match="pictures has shape"):
        net(torch.rand(2, 1, 32, 64))


@pytest.mark.parametrize("changes", [{"width": 6}, {"side_px": 100}, {"confidence": 0.0}, {"most": 0}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(InputError):
        LocalizerConfig(**changes)


def test_a_folder_of_a_training_is_read_and_others_are_refused(tmp_path):
    net = Localizer(SMALL)
    with pytest.raises(InputError, match=r"config\.yaml is not there"):
        Localizer.from_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("mel: {}\n")
    with pytest.raises(InputError, match="not the config of a localiser"):
        Localizer.from_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("model: {width: 4, side_px: 64}\nrun: {}\n")
    checkpoint.save(tmp_path / "localizer_best.pth", net.state_dict())
    loaded = Localizer.from_folder(tmp_path)
    assert loaded.config == SMALL
    assert not loaded.training
    torch.testing.assert_close(loaded.stem[0].weight, net.stem[0].weight)


def test_what_ships_is_small_and_not_fooled_by_empty_pictures():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 2e6
    net = Localizer.from_folder(SHIPPED)
    y, x = np.mgrid[0:180, 0:320]
    slope = np.stack([x / 320, y / 180, 1 - x / 320], axis=-1)
    noise = numpy_stream(0, "noise").random((180, 320, 3))
    images = [np.zeros((180, 320, 3)), np.ones((180, 320, 3)), slope, noise]
    assert [len(scores) for _, scores in net.locate([(255 * i).astype(np.uint8) for i in images])] == [0, 0, 0, 0]
