"""The UNet: shapes, what it is steered by, and that it learns."""

import pytest
import torch

from binaural_core.errors import InputError
from binaural_core.models.blocks import FiLM, StandardConv2d, frames_from_views
from binaural_core.models.diffbinaural import DiffBinaural, DiffBinauralConfig
from binaural_core.models.unet import UNet, UNetConfig
from binaural_core.models.visual import VisualConfig
from binaural_core.seeds import first_weights, stream

SMALL = UNetConfig(dim=8, context_dim=12, condition_dim=16, groups=4, heads=2, head_dim=4, film_bands=4)


def inputs(mels: int = 20, frames: int = 24, views: int = 5, batch: int = 2, ears: int = 2):
    generator = stream(0, "inputs", mels, frames)
    return (
        torch.randn(batch, ears, mels, frames, generator=generator),
        torch.rand(batch, generator=generator),
        torch.randn(batch, 1, mels, frames, generator=generator),
        torch.randn(batch, views, 12, generator=generator),
    )


def awake(config: UNetConfig = SMALL) -> UNet:
    """A UNet whose zero-initialised layers are not zero, as after some training."""
    net = UNet(config)
    generator = stream(0, "weights")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


@pytest.mark.parametrize("mels,frames,views", [(80, 80, 5), (80, 55, 5), (20, 1, 1), (7, 13, 3), (128, 9, 2)])
@pytest.mark.parametrize("patch,mults", [(1, (1, 2, 4)), (2, (1, 2)), (1, (1,))])
def test_any_mel_and_frame_count(mels, frames, views, patch, mults):
    net = awake(SMALL.replace(patch=patch, mults=mults))
    with torch.no_grad():
        out = net(*inputs(mels, frames, views))
    assert out.shape == (2, 2, mels, frames)
    assert out.isfinite().all()


@pytest.mark.parametrize("ears", [1, 2])
def test_one_ear_or_two(ears):
    assert UNet(SMALL.replace(ears=ears))(*inputs(ears=ears)).shape == (2, ears, 20, 24)


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


def test_configs_fit_together():
    with pytest.raises(InputError, match="context_dim"):
        DiffBinauralConfig(unet=UNetConfig(context_dim=64))


def model(**changes) -> DiffBinaural:
    visual = VisualConfig(width=4, object_dim=16, context_dim=12, queries=2)
    return DiffBinaural(DiffBinauralConfig(unet=SMALL, visual=visual).replace(**changes))


def sight(batch: int) -> tuple[torch.Tensor, ...]:
    generator = stream(0, "sight")
    positions = torch.rand(batch, 2, 3, 3, generator=generator) * 100 - 50
    return (
        torch.randn(batch, 2, 3, 3, 32, 32, generator=generator),
        torch.rand(batch, 2, 3, 2, generator=generator),
        positions,
        torch.zeros(batch, 2, 3, dtype=torch.bool),
    )


def test_hidden_conditions_are_hidden():
    net = model()
    net.unet = awake()
    x, t, mono, context = inputs()
    network = net.network(mono, context)
    kept = torch.tensor([[True, True], [True, True]])
    neither = ~kept
    with torch.no_grad():
        torch.testing.assert_close(network(x, t, kept), net(x, t, mono, context))
        null = net.frame.nothing(2, 5)
        torch.testing.assert_close(network(x, t, neither), net(x, t, torch.zeros_like(mono), null))
        one = torch.tensor([[True, False], [False, True]])
        mixed = network(x, t, one)
        torch.testing.assert_close(mixed[:1], net(x, t, mono, null)[:1])
        torch.testing.assert_close(mixed[1:], net(x, t, torch.zeros_like(mono), context)[1:])


def test_a_step_reaches_every_weight():
    """Both networks learn, save what stands for what this batch does not lack."""
    net = model()
    net.unet = awake().train()
    _, _, mono, _ = inputs(batch=4)
    clean = mono.expand(-1, 2, -1, -1).clone()
    draws = [stream(0, "draws", i) for i in range(4)]
    net.loss(clean, mono, sight(4), draws).mean().backward()
    still = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    assert still <= {"frame.no_picture_D", "frame.null_D"}


def test_it_learns_which_ear_is_louder():
    """Sources to the left are louder in row 0: a minute network finds it out from the azimuth alone."""
    with first_weights(0):
        net = model(**{"unet.patch": 1, "unet.mults": (1, 2), "recipe.bridge.spread": 0.2})
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)

    def batch(step: int, count: int = 8):
        generator = stream(0, "scene", step)
        azimuth_B = torch.rand(count, generator=generator) * 140 - 70
        mono = torch.rand(count, 1, 8, 8, generator=generator) - 0.5
        gain = 0.3 * torch.deg2rad(azimuth_B).sin()[:, None, None, None]
        positions = torch.full((count, 1, 1, 3), torch.nan)
        positions[..., 0] = azimuth_B[:, None, None]
        seen = (
            torch.zeros(count, 1, 1, 3, 8, 8),
            torch.full((count, 1, 1, 2), torch.nan),
            positions,
            torch.zeros(count, 1, 1, dtype=torch.bool),
        )
        return torch.cat([mono + gain, mono - gain], dim=1), mono, seen

    for step in range(120):
        clean, mono, seen = batch(step)
        loss = net.loss(clean, mono, seen, [stream(0, "draws", step, i) for i in range(8)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    clean, mono, seen = batch(-1, 32)
    made = net.sample(mono, seen, noise_BEMF=torch.randn(clean.shape, generator=stream(0, "noise")))
    truth, heard = (x[:, 0].mean(dim=(1, 2)) - x[:, 1].mean(dim=(1, 2)) for x in (clean, made))
    assert (truth - heard).abs().mean() < 0.35 * truth.abs().mean()
