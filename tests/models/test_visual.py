"""What is seen: masks, unknowns, order, telling sources apart; encoders, and frames that know each other."""

import pytest
import torch

from binaural_core.errors import InputError
from binaural_core.models.resnet import ResNet
from binaural_core.models.visual import PLACE_FEATURES, VisualConfig, VisualNet, place_features
from binaural_core.seeds import first_weights, stream

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
        return net(*given).context_BLD


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


def test_a_masked_object_changes_nothing_to_the_last_bit(net):
    """Not the context, and not the gradients either."""

    def result(given) -> list[torch.Tensor]:
        net.zero_grad()
        seen = net(*given)
        seen.context_BLD.square().sum().backward()
        return [seen.context_BLD, seen.objects_BLOD, *(p.grad.clone() for p in net.parameters() if p.grad is not None)]

    given = sight()
    given[3][:, 0, 1:] = True
    given[3][1] = True
    hidden = given[3]
    before = result(given)
    for strange in (0.0, 1e30, torch.nan, torch.inf):
        changed = [x.masked_fill(hidden.reshape(*hidden.shape, *[1] * (x.ndim - 3)), strange) for x in given[:3]]
        for a, b in zip(before, result([*changed, hidden]), strict=True):
            assert (a == b).all()


def test_all_masked_means_nothing_seen(net):
    given = sight()
    given[3][0] = True
    given[3][1, 1] = True
    context = see(net, given)
    nothing = net.nothing(2, 3)
    assert (context[0] == nothing[0]).all()
    assert (context[1, 1] == nothing[1, 1]).all()
    assert (context[1, 0] - nothing[1, 0]).abs().max() > 1e-3
    assert (see(net, [x[:, :, :0] for x in sight()]) == nothing).all()
    assert (see(net, [x[:, :0] for x in sight()]) == nothing[:, :1]).all()


def test_order_of_objects_does_not_matter(net):
    given = sight()
    turned = [x[:, :, [2, 0, 3, 1]] for x in given]
    torch.testing.assert_close(see(net, given), see(net, turned), atol=1e-6, rtol=1e-6)


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
    net(*given).context_BLD.square().sum().backward()
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
    with pytest.raises(InputError, match="encoder=small"):
        VisualConfig(encoder_weights="public")
    with pytest.raises(InputError, match="encoder=small"):
        VisualConfig(train_statistics=True)
    with pytest.raises(InputError, match="frozen with train_statistics"):
        VisualConfig(encoder="resnet18", frozen=True, train_statistics=True)
    with pytest.raises(InputError, match="temporal=-1"):
        VisualConfig(temporal=-1)


def test_settings_of_earlier_trainings_still_fit_and_weights_have_these_names():
    """A config.yaml without the later settings, and the names that weights have been saved under."""
    tree = {"encoder": "small", "width": 4, "object_dim": 16, "context_dim": 12, "pool": "attention", "queries": 3}
    assert VisualConfig.from_dict(tree) == CONFIG
    layers = [f"encoder.layers.{i}" for i in (0, 1, 3, 4, 6, 7)] + ["encoder.out", "place.0", "place.2"]
    layers += ["object.0", "object.1", "object.3", "key", "out.0", "out.2"]
    names = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert set(VisualNet(CONFIG).state_dict()) == names | {"no_picture_D", "queries_KD", "null_D"}


RESNET = CONFIG.replace(encoder="resnet18")


def test_a_resnet_sees_every_crop_that_shows_something():
    net, given = VisualNet(RESNET).eval(), sight(objects=2)
    given[3][0, 0, 0] = True
    given[0][1, 1, 1] = 0
    crops = []
    net.encoder.net.register_forward_pre_hook(lambda _, args: crops.append(args[0]))
    assert see(net, given).shape == (2, 3, 12)
    (crops_NCHW,) = crops
    there = torch.tensor([i for i in range(12) if i not in (0, 9)])
    assert (crops_NCHW == given[0].flatten(0, 2)[there]).all()
    expected = net.encoder.out(net.encoder.net(crops_NCHW))
    torch.testing.assert_close(net.encoder(crops_NCHW), expected)


def features_of(public: ResNet, crops_NCHW: torch.Tensor) -> torch.Tensor:
    """What goes into the public net's last layer."""
    taken = []
    handle = public.eval().fc.register_forward_pre_hook(lambda _, args: taken.append(args[0]))
    public(crops_NCHW)
    handle.remove()
    return taken[0]


def test_public_weights_are_put_into_the_encoder(tmp_path):
    with first_weights(1):
        public = ResNet("resnet18", classes=1000)
    torch.save(public.state_dict(), tmp_path / "public.pth")
    with first_weights(2):
        net = VisualNet(RESNET.replace(encoder_weights=str(tmp_path / "public.pth"))).eval()
    crops = sight()[0].flatten(0, 2)
    with torch.no_grad():
        assert (net.encoder.net(crops) != features_of(public, crops)).any()
        net.load_encoder_weights()
        assert (net.encoder.net(crops) == features_of(public, crops)).all()


def test_a_network_is_built_without_its_weight_file():
    """Saved weights hold the encoder's; the file that training began with may be on another machine."""
    net = VisualNet(RESNET.replace(encoder_weights="/nowhere/resnet18.pth"))
    with pytest.raises(InputError, match=r"/nowhere/resnet18\.pth is not there"):
        net.load_encoder_weights()


def test_without_a_file_the_encoder_starts_from_chance():
    net = VisualNet(RESNET)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_encoder_weights()
    assert all((v == before[k]).all() for k, v in net.state_dict().items())


@pytest.mark.parametrize("encoder", ["small", "resnet18"])
def test_a_frozen_encoder_keeps_its_weights(encoder):
    net = VisualNet(CONFIG.replace(encoder=encoder, frozen=True)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(*sight()).context_BLD[..., 0].sum().backward()
    optimizer.step()
    changed = {k for k, v in net.state_dict().items() if (v != before[k]).any()}
    still = "encoder.net." if encoder == "resnet18" else "encoder."
    assert not any(k.startswith(still) for k in changed)
    assert {"out.2.weight", "place.0.weight"} <= changed
    assert ("encoder.out.weight" in changed) == (encoder == "resnet18")  # it belongs to us, not to the public net


@pytest.mark.parametrize("follows", [False, True])
def test_statistics_of_the_encoder_follow_the_batches_only_where_asked_to(follows):
    net = VisualNet(RESNET.replace(train_statistics=follows)).train()
    before = net.encoder.net.bn1.running_mean.clone()
    net(*sight())
    assert (net.encoder.net.bn1.running_mean != before).any() == follows


def watching(layers: int = 2, awake: bool = True, **changes) -> VisualNet:
    """A net whose frames know each other, as after some training."""
    with first_weights(0):
        net = VisualNet(CONFIG.replace(temporal=layers, **changes)).eval()
    generator = stream(0, "awake")
    with torch.no_grad():
        for parameter in net.temporal.parameters() if awake else ():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return net


def test_layers_over_time_start_as_if_they_were_not_there():
    with first_weights(0):
        plain = VisualNet(CONFIG).eval()
    torch.testing.assert_close(see(watching(awake=False), sight()), see(plain, sight()), atol=0, rtol=0)


@pytest.mark.parametrize("views", [1, 2, 5, 8])
def test_frames_know_each_other(views):
    net, given = watching(), sight(views=views)
    before = see(net, given)
    given[2][:, -1] *= 0.3
    change = (see(net, given) - before).abs().amax(dim=(0, 2))
    assert change.min() > 1e-3
    without = (see(VisualNet(CONFIG).eval(), sight(views=views)) - before).abs().max()
    assert without > 1e-3


def test_frames_know_when_they_are():
    net, given = watching(), sight()
    backwards = see(net, [x.flip(1) for x in given]).flip(1)
    assert (backwards - see(net, given)).abs().max() > 1e-3


def test_a_frame_without_objects_looks_at_the_others_and_is_not_looked_at():
    net, given = watching(), sight()
    given[3][:, 1] = True
    before = see(net, given)
    with torch.no_grad():
        net.null_D.add_(1.0)
    after = see(net, given)
    assert (after[:, [0, 2]] == before[:, [0, 2]]).all()
    assert (after[:, 1] - before[:, 1]).abs().max() > 0.1
    given[2][:, 0] *= 0.3
    assert (see(net, given)[:, 1] - after[:, 1]).abs().max() > 1e-3
    assert (after[:, 1] - net.null_D).abs().max() > 1e-2


def test_where_no_frame_shows_anything_layers_change_nothing():
    net, given, blind = watching().train(), sight(), []
    given[3][0] = True
    for layer in net.temporal:  # attention that may look at nothing would be NaN on some devices
        layer.register_forward_pre_hook(lambda _, args: blind.append(args[1].all(dim=1)))
    context = net(*given).context_BLD
    assert not torch.cat(blind).any()
    assert (context[0] == net.nothing(1, 3)[0]).all()
    assert (context[1] - net.nothing(1, 3)[0]).abs().min(dim=0).values.max() > 1e-2
    context.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    alone = [x[1:] for x in given]
    torch.testing.assert_close(see(net, given)[1:], see(net, alone), atol=1e-5, rtol=1e-5)


def test_a_source_far_to_the_side_moves_the_context_more_than_one_nearly_ahead():
    """Nothing on the way from a direction to the context is bounded: twice as strong places, twice as far a context."""
    net, given = VisualNet(CONFIG).eval(), sight()
    given[2][..., 0] = 40.0
    with torch.no_grad():
        before = net.object(torch.ones(1, CONFIG.object_dim))
        net.object[-1].weight.mul_(10)
        net.object[-1].bias.mul_(10)
        torch.testing.assert_close(net.object(torch.ones(1, CONFIG.object_dim)), 10 * before)
        context = net(*given).context_BLD
        net.out[-1].weight.mul_(10)
        net.out[-1].bias.mul_(10)
        torch.testing.assert_close(net(*given).context_BLD, 10 * context)
