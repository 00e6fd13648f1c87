"""The UNet: any size, what it is steered by, and attention to single objects."""

import pytest
import torch

from binaural_core.errors import InputError
from binaural_core.models.blocks import CrossAttention, FiLM, StandardConv2d, fourier_features, frames_from_views
from binaural_core.models.unet import UNet, UNetConfig
from binaural_core.seeds import stream

SMALL = UNetConfig(dim=8, context_dim=12, condition_dim=16, groups=4, heads=2, head_dim=4, film_bands=4, object_dim=6)
LOOKING = SMALL.replace(cross_attention=True)


def inputs(mels: int = 20, frames: int = 24, views: int = 5, batch: int = 2, ears: int = 2):
    generator = stream(0, "inputs", mels, frames)
    return (
        torch.randn(batch, ears, mels, frames, generator=generator),
        torch.rand(batch, generator=generator),
        torch.randn(batch, 1, mels, frames, generator=generator),
        torch.randn(batch, views, 12, generator=generator),
    )


def objects(views: int = 5, count: int = 3, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """objects_BLOD and mask_BLO; the last object of the first view is masked."""
    mask_BLO = torch.zeros(batch, views, count, dtype=torch.bool)
    mask_BLO[:, 0, -1:] = True
    return torch.randn(batch, views, count, 6, generator=stream(0, "objects", views)), mask_BLO


def awake(config: UNetConfig = SMALL) -> UNet:
    """A UNet whose zero-initialised layers are not zero, as after some training."""
    net = UNet(config)
    generator = stream(0, "weights")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


@pytest.mark.parametrize(
    "mels,frames,views", [(80, 80, 5), (80, 55, 5), (64, 33, 1), (100, 7, 3), (7, 13, 2), (20, 1, 5)]
)
@pytest.mark.parametrize("patch,mults", [(2, (1,)), (1, (1, 2)), (1, (1, 2, 4)), (2, (1, 2, 2, 4))])
@pytest.mark.parametrize("ears,looking", [(2, False), (1, True)])
def test_any_mel_and_frame_count(mels, frames, views, patch, mults, ears, looking):
    net = awake(SMALL.replace(patch=patch, mults=mults, ears=ears, cross_attention=looking))
    with torch.no_grad():
        out = net(*inputs(mels, frames, views, ears=ears), *(objects(views) if looking else ()))
    assert out.shape == (2, ears, mels, frames)
    assert out.isfinite().all()


def test_samples_do_not_see_each_other():
    net, given = awake(), inputs()
    with torch.no_grad():
        together = net(*given)
        alone = net(*(x[1:] for x in given))
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changed", range(4))
def test_every_input_counts(changed):
    net, given = awake(), list(inputs())
    with torch.no_grad():
        before = net(*given)
        given[changed] = given[changed] * 0.5 + 0.1
        assert (net(*given) - before).abs().max() > 1e-3


def test_the_same_sound_is_treated_otherwise_higher_up():
    """Mel height is an input: a gain between the ears depends on frequency."""
    net = awake()
    x, t, mono, context = inputs()
    constant = torch.ones_like(x), t, torch.ones_like(mono), context
    with torch.no_grad():
        out = net(*constant)
    middle = out[0, :, :, 12]
    assert (middle[:, 8] - middle[:, 12]).abs().max() > 1e-3


def test_context_moves_with_time():
    """What changes in the last picture changes FiLM near the end, not at the start."""
    film = FiLM(condition=3, channels=2, bands=4)
    torch.nn.init.normal_(film.project.weight, generator=stream(0, "film"))
    x = torch.ones(1, 2, 8, 40)
    views = torch.zeros(1, 5, 3)
    moved = views.clone()
    moved[:, -1] = 1.0
    change = (film(x, moved) - film(x, views)).abs().amax(dim=(0, 1, 2))
    assert (change[:28] == 0).all()  # the fourth of five pictures stands at frame 28
    assert (change[36:] > 0.1).all()


def test_interpolation_between_pictures():
    """Pictures stand at the centres of equal parts: of 2 over 8 frames at 2 and 6."""
    views_BLD = torch.tensor([[[0.0], [1.0]]])
    expected = ((torch.arange(8) + 0.5 - 2) / 4).clamp(0, 1)
    torch.testing.assert_close(frames_from_views(views_BLD, 8)[0, 0], expected)
    assert (frames_from_views(views_BLD[:, 1:], 8) == 1).all()


def test_padding_moves_neither_pictures_nor_bands():
    """33 frames and 10 bands, padded to 40 and 16, are conditioned as the bare 33 and 10."""
    film = FiLM(condition=3, channels=2, bands=4)
    torch.nn.init.normal_(film.project.weight, generator=stream(0, "film"))
    views = torch.randn(1, 5, 3, generator=stream(0, "views"))
    padded = film(torch.ones(1, 2, 16, 40), views, (16 / 10, 40 / 33))
    torch.testing.assert_close(padded[:, :, :10, :33], film(torch.ones(1, 2, 10, 33), views))
    assert (padded[..., 33:] == padded[..., 33:34]).all()  # the last view holds on


def test_every_block_knows_how_far_the_padding_reaches():
    net, given, reached = awake(LOOKING), inputs(20, 33), []
    told = [m for m in net.modules() if isinstance(m, FiLM | CrossAttention)]
    for part in told:
        part.register_forward_pre_hook(lambda _, args: reached.append(args[-1]))
    net(*given, *objects())
    assert reached == [(24 / 20, 40 / 33)] * len(told)
    assert len(told) == 7


def test_film_over_bands_is_a_cosine_series():
    film = FiLM(condition=1, channels=1, bands=3)
    with torch.no_grad():
        film.project.weight.zero_()
        film.project.weight[3 + 1] = 0.7  # shift, second cosine
    shift_M = film(torch.zeros(1, 1, 10, 1), torch.ones(1, 1, 1))[0, 0, :, 0]
    height = (torch.arange(10) + 0.5) / 10
    torch.testing.assert_close(shift_M, 0.7 * torch.cos(torch.pi * height))


def test_a_standardised_convolution_ignores_scale_and_offset_of_its_weights():
    conv = StandardConv2d(3, 4, 3, padding=1)
    x = torch.randn(1, 3, 6, 6, generator=stream(0, "x"))
    before = conv(x)
    with torch.no_grad():
        conv.weight.mul_(50).add_(3)
    torch.testing.assert_close(conv(x), before, atol=1e-2, rtol=1e-2)


def test_wrong_shapes_are_named():
    net = UNet(SMALL)
    x, t, mono, context = inputs()
    with pytest.raises(InputError, match="mono mel"):
        net(x, t, mono[:, :, :5], context)
    with pytest.raises(InputError, match="visual context"):
        net(x, t, mono, context[..., :5])
    with pytest.raises(InputError, match="multiple of groups"):
        UNetConfig(dim=20)
    with pytest.raises(InputError, match="given no objects"):
        UNet(LOOKING)(x, t, mono, context)
    with pytest.raises(InputError, match="object mask"):
        UNet(LOOKING)(x, t, mono, context, objects()[0], objects()[1][:, :2])


def test_attention_to_objects_starts_as_if_it_were_not_there():
    plain, looks = awake(), UNet(LOOKING).eval()
    looks.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert (looks(*inputs(), *objects()) == plain(*inputs())).all()


def test_a_cell_looks_at_objects_by_what_they_are_and_where_both_stand():
    """One output of the attention, computed cell by cell and head by head from its definition."""
    mels, frames, heads, width = 3, 4, 2, 4
    part = CrossAttention(channels=5, object_dim=6, heads=heads, head_width=width).double()
    generator = stream(0, "weights")
    with torch.no_grad():
        for p in part.parameters():
            p.copy_(torch.randn(p.shape, dtype=torch.float64, generator=generator))
    x = torch.randn(2, 5, mels, frames, dtype=torch.float64, generator=generator)
    things, mask = objects()
    things = things.double()
    reach = (1.25, 1.5)

    def place(at: float) -> torch.Tensor:
        return fourier_features(torch.tensor([2 * at - 1], dtype=torch.float64), (-1, 0, 1, 2))

    expected = x.clone()
    normed = part.norm(x)
    key_nothing, value_nothing = part.nothing_D.unflatten(0, (2, heads, width))
    for b in range(2):
        keys, values = [key_nothing], [value_nothing]
        for l, o in (~mask[b]).nonzero().tolist():
            token = torch.cat([things[b, l, o], place((l + 0.5) / 5)])
            key, value = (part.key_value.weight @ token).unflatten(0, (2, heads, width))
            keys.append(key)
            values.append(value)
        keys, values = torch.stack(keys), torch.stack(values)
        for m in range(mels):
            for f in range(frames):
                where = [place((m + 0.5) / mels * reach[0]), place((f + 0.5) / frames * reach[1])]
                query = part.query.weight[:, :, 0, 0] @ torch.cat([normed[b, :, m, f], *where])
                match = (keys * query.unflatten(0, (heads, width))).sum(dim=2) / width**0.5
                looked = (match.softmax(dim=0)[..., None] * values).sum(dim=0).flatten()
                expected[b, :, m, f] += part.out.weight[:, :, 0, 0] @ looked + part.out.bias
    torch.testing.assert_close(part(x, things, mask, reach), expected, atol=1e-4, rtol=1e-4)


def test_masked_objects_are_not_looked_at():
    net, given, (things, mask) = awake(LOOKING), inputs(), objects()
    mask[:, 2:] = True
    with torch.no_grad():
        before = net(*given, things, mask)
        hidden = torch.where(mask[..., None], torch.nan, things)
        assert (net(*given, hidden, mask) == before).all()
        turned = [2, 0, 1]
        torch.testing.assert_close(net(*given, things[:, :, turned], mask[:, :, turned]), before, atol=1e-5, rtol=1e-5)
        assert (net(*given, things.flip(1), mask.flip(1)) - before).abs().max() > 1e-3  # when they are seen matters


def test_where_all_objects_are_masked_there_is_nothing():
    """One answer, whatever the objects and however many, and another than with objects."""
    net, given, (things, mask) = awake(LOOKING), inputs(), objects()
    none = torch.ones_like(mask)
    with torch.no_grad():
        nothing = net(*given, things, none)
        assert nothing.isfinite().all()
        assert (net(*given, things * 3, none) == nothing).all()
        torch.testing.assert_close(net(*given, things[:, :, :0], mask[:, :, :0]), nothing, atol=1e-5, rtol=1e-5)
        assert (net(*given, things, mask) - nothing).abs().max() > 1e-3


def test_without_the_option_objects_do_not_count():
    net, given = awake(), inputs()
    with torch.no_grad():
        assert (net(*given, *objects()) == net(*given)).all()
