"""What is seen: masks, unknowns, order, and telling sources apart."""

import pytest
import torch

from binaural_core.errors import InputError
from binaural_core.models.visual import PLACE_FEATURES, VisualConfig, VisualNet, place_features
from binaural_core.seeds import stream

CONFIG = VisualConfig(width=4, object_dim=16, context_dim=12, queries=3)


def sight(batch: int = 2, views: int = 3, objects: int = 4, size: int = 32) -> list[torch.Tensor]:
    generator = stream(0, "sight")
    return [
        torch.randn(batch, views, objects, 3, size, size, generator=generator),
        torch.rand(batch, views, objects, 2, generator=generator),
        torch.rand(batch, views, objects, 3, generator=generator) * 90 + 1,
        torch.zeros(batch, views, objects, dtype=torch.bool),
    ]


@pytest.fixture(params=["attention", "avg", "max"])
def net(request) -> VisualNet:
    return VisualNet(CONFIG.replace(pool=request.param)).eval()


def see(net: VisualNet, given) -> torch.Tensor:
    with torch.no_grad():
        return net(*given)


def test_one_context_per_picture(net):
    assert see(net, sight()).shape == (2, 3, 12)
    assert see(net, sight(objects=1, views=1, size=64)).shape == (2, 1, 12)


def test_masked_objects_do_not_exist(net):
    """Whatever stands in a masked slot, NaN included, the context is that of the others."""
    given = sight()
    given[3][:, :, 2:] = True
    without = [x[:, :, :2] for x in given]
    for x in given[:3]:
        x[:, :, 2:] = torch.nan
    torch.testing.assert_close(see(net, given), see(net, without), atol=1e-5, rtol=1e-5)


def test_all_masked_means_nothing_seen(net):
    given = sight()
    given[3][0] = True
    given[3][1, 1] = True
    context = see(net, given)
    nothing = net.nothing(2, 3)
    torch.testing.assert_close(context[0], nothing[0])
    torch.testing.assert_close(context[1, 1], nothing[1, 1])
    assert (context[1, 0] - nothing[1, 0]).abs().max() > 1e-3
    torch.testing.assert_close(see(net, [x[:, :, :0] for x in sight()]), nothing)
    torch.testing.assert_close(see(net, [x[:, :0] for x in sight()]), nothing[:, :1])


def test_order_of_objects_does_not_matter(net):
    given = sight()
    turned = [x[:, :, [2, 0, 3, 1]] for x in given]
    torch.testing.assert_close(see(net, given), see(net, turned), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", range(3))
def test_crops_and_places_count(net, part):
    given = sight()
    before = see(net, given)
    given[part] = given[part] * 0.5
    assert (see(net, given) - before).abs().max() > 1e-4


@pytest.mark.parametrize("part", [1, 2])
def test_unknown_places_are_not_zero_places(net, part):
    given = sight()
    given[part] = torch.zeros_like(given[part])
    at_zero = see(net, given)
    given[part] = torch.full_like(given[part], torch.nan)
    unknown = see(net, given)
    assert unknown.isfinite().all()
    assert (unknown - at_zero).abs().max() > 1e-4


def test_a_blank_crop_is_no_picture(net):
    """It is not encoded: a network whose encoder is broken never notices."""
    given = sight()
    given[0] = torch.zeros_like(given[0])
    with torch.no_grad():
        net.encoder.out.weight.fill_(torch.nan)
    assert see(net, given).isfinite().all()


def test_two_sources_are_not_their_average(net):
    """Sources at +-40° and at +-10° have one mean; their contexts differ, and so do swapped looks."""
    given = sight(batch=3, views=1, objects=2)
    given[1] = torch.full_like(given[1], torch.nan)
    given[2] = torch.zeros_like(given[2])
    given[2][:, 0, :, 0] = torch.tensor([[40.0, -40.0], [10.0, -10.0], [-40.0, 40.0]])
    given[0] = given[0][:1].expand(3, -1, -1, -1, -1, -1).clone()
    context = see(net, given)[:, 0]
    assert (context[0] - context[1]).abs().max() > 1e-3
    assert (context[0] - context[2]).abs().max() > 1e-4


def test_gradients_are_finite_with_masks_and_unknowns(net):
    net.train()
    given = sight()
    given[3][0, 0] = True
    given[3][1, :, 1:] = True
    given[1][:, 1] = torch.nan
    given[2][:, 2] = torch.nan
    net(*given).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_where_something_is_inside_a_crop_counts():
    """Whole pictures stand in for crops where nobody looked for objects."""
    encoder = VisualNet(CONFIG).encoder.eval()
    left, right = torch.zeros(2, 1, 3, 64, 64)
    left[..., 16:48, 4:20] = 1.0
    right[..., 16:48, 44:60] = 1.0
    with torch.no_grad():
        difference = (encoder(left) - encoder(right)).abs().max()
    assert difference > 0.02


def test_place_features_are_smooth_and_flag_what_is_known():
    azimuth = torch.linspace(-180, 180, 721)
    positions = torch.stack([azimuth, torch.zeros(721), torch.ones(721)], dim=1)
    features = place_features(torch.full((721, 2), 0.5), positions)
    assert features.shape == (721, PLACE_FEATURES)
    assert features.diff(dim=0).abs().max() < 0.05
    torch.testing.assert_close(features[0], features[-1], atol=1e-5, rtol=0)  # the circle closes behind the head
    unknown = place_features(torch.full((1, 2), torch.nan), torch.full((1, 3), torch.nan))
    assert (unknown == 0).all()


def test_an_azimuth_without_elevation_or_distance_is_known():
    positions = torch.tensor([[30.0, torch.nan, torch.nan], [-30.0, torch.nan, torch.nan]])
    left, right = place_features(torch.full((2, 2), torch.nan), positions)
    assert (left - right).abs().max() > 0.5


def test_wrong_shapes_are_named():
    given = sight()
    with pytest.raises(InputError, match="positions"):
        VisualNet(CONFIG)(given[0], given[1], given[2][..., :2], given[3])
    with pytest.raises(InputError, match="width"):
        VisualConfig(width=6)
