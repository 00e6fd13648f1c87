"""Stage 1 whole: conditions that are hidden, silence, temperature, the original's size, and that it learns."""

import pytest
import torch

from binaural_core.audio.mel import LOG_FLOOR
from binaural_core.audio.scaling import to_unit
from binaural_core.errors import InputError
from binaural_core.models.diffbinaural import DiffBinaural, DiffBinauralConfig
from binaural_core.models.unet import UNetConfig
from binaural_core.models.visual import VisualConfig, mirror_sight
from binaural_core.seeds import first_weights, stream

SMALL = DiffBinauralConfig(
    unet=UNetConfig(
        dim=8, context_dim=12, condition_dim=16, groups=4, heads=2, head_dim=4, film_bands=4, object_dim=16
    ),
    visual=VisualConfig(width=4, object_dim=16, context_dim=12, queries=2),
)
ALL = {"unet.cross_attention": True, "visual.temporal": 1}
SILENT = float(to_unit(torch.tensor(LOG_FLOOR)))


def awake(**changes) -> DiffBinaural:
    """A model whose zero-initialised layers are not zero, as after some training."""
    model, generator = DiffBinaural(SMALL.replace(**changes)), stream(0, "weights")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def sight(batch: int = 2) -> list[torch.Tensor]:
    generator = stream(0, "sight")
    return [
        torch.randn(batch, 2, 3, 3, 32, 32, generator=generator),
        torch.rand(batch, 2, 3, 2, generator=generator),
        torch.rand(batch, 2, 3, 3, generator=generator) * 100 - 50,
        torch.zeros(batch, 2, 3, dtype=torch.bool),
    ]


def sound(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x_BEMF, t_B and mono_B1MF."""
    generator = stream(0, "sound")
    return (
        torch.randn(batch, 2, 20, 24, generator=generator),
        torch.rand(batch, generator=generator),
        torch.rand(batch, 1, 20, 24, generator=generator) - 0.5,
    )


def test_configs_fit_together():
    with pytest.raises(InputError, match="context_dim"):
        DiffBinauralConfig(unet=UNetConfig(context_dim=64))
    DiffBinauralConfig(unet=UNetConfig(object_dim=64))  # nobody looks
    with pytest.raises(InputError, match="object_dim=64"):
        DiffBinauralConfig(unet=UNetConfig(object_dim=64, cross_attention=True))


@pytest.mark.parametrize("changes", [{}, ALL], ids=["summaries", "objects"])
def test_hidden_conditions_are_hidden(changes):
    """A hidden mono is zeros; hidden sight is what a film shows in which every object is masked."""
    model, (x, t, mono) = awake(**changes), sound()
    with torch.no_grad():
        seen, blind = model.look(*sight()), model.look(*sight()[:3], torch.ones(2, 2, 3, dtype=torch.bool))
        network = model.network(mono, seen)
        both = torch.tensor([[True, True], [True, True]])
        assert (network(x, t, both) == model(x, t, mono, seen)).all()
        neither = network(x, t, ~both)
        torch.testing.assert_close(neither, model(x, t, torch.zeros_like(mono), blind), atol=1e-5, rtol=1e-5)
        mixed = network(x, t, torch.tensor([[True, False], [False, True]]))
        torch.testing.assert_close(mixed[:1], model(x, t, mono, blind)[:1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mixed[1:], model(x, t, torch.zeros_like(mono), seen)[1:], atol=1e-5, rtol=1e-5)
        if not changes:  # the context is all that a UNet without cross-attention takes
            assert (model.network(mono, model.look(*sight()).context_BLD)(x, t, both) == network(x, t, both)).all()
            assert (model.network(mono, model.look(*sight()).context_BLD)(x, t, ~both) == neither).all()
        assert (mixed - network(x, t, both)).abs().flatten(1).amax(dim=1).min() > 1e-3


def test_nothing_seen_is_one_thing():
    """All masked, no objects at all, no pictures at all: the same sample."""
    model, (noise, _, mono) = awake(**ALL), sound()
    masked = [*sight()[:3], torch.ones(2, 2, 3, dtype=torch.bool)]
    expected = model.sample(mono, masked, noise_BEMF=noise)
    for nothing in ([x[:, :, :0] for x in sight()], [x[:, :0] for x in sight()]):
        torch.testing.assert_close(model.sample(mono, nothing, noise_BEMF=noise), expected, atol=5e-3, rtol=0)
    assert (model.sample(mono, sight(), noise_BEMF=noise) - expected).abs().max() > 0.05


@pytest.mark.parametrize("recipe", ["bridge", "diffbinaural"])
def test_silence_stays_silent(recipe):
    noise, _, mono = sound()
    mono[0, :, :, 5:9] = SILENT
    mono[0, :, 3, 7] = SILENT + 0.05  # not silent in one band
    silent_F = torch.tensor([5, 6, 8])
    changes = {"recipe.name": recipe}
    heard = awake(silence_mask=False, **changes).sample(mono, sight(), noise_BEMF=noise, steps=2)
    kept = awake(**changes).sample(mono, sight(), noise_BEMF=noise, steps=2)
    assert (heard[0, :, :, silent_F] - SILENT).abs().max() > 0.05
    assert (kept[0, :, :, silent_F] == mono[0, :, :, silent_F]).all()
    heard[0, :, :, silent_F] = kept[0, :, :, silent_F]
    assert (kept == heard).all()


def test_without_noise_a_sample_depends_on_mono_and_sight_alone():
    model, (noise, _, mono) = awake(), sound()
    cold = model.sample(mono, sight(), noise_BEMF=noise, temperature=0.0)
    assert (model.sample(mono, sight(), noise_BEMF=-noise, temperature=0.0) == cold).all()
    assert (model.sample(mono, sight(), noise_BEMF=noise) - cold).abs().max() > 1e-3


@pytest.mark.parametrize("changes", [{}, ALL], ids=["summaries", "objects"])
def test_a_step_reaches_every_weight(changes):
    """Both networks learn, save what stands for what this batch does not lack."""
    model, (_, _, mono) = awake(**changes).train(), sound(4)
    draws = [stream(0, "draws", i) for i in range(4)]
    model.loss(mono.expand(-1, 2, -1, -1), mono, sight(4), draws).mean().backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert still <= {"frame.no_picture_D", "frame.null_D"}


def test_half_precision_gives_nearly_the_same_loss():
    model, (_, _, mono) = awake(**ALL, **{"visual.encoder": "resnet18"}).train(), sound()

    def loss() -> torch.Tensor:
        draws = [stream(0, "draws", i) for i in range(2)]
        return model.loss(mono.expand(-1, 2, -1, -1), mono, sight(), draws).mean()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss()
    half.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(half.float(), loss(), rtol=0.05, atol=0)


def test_the_originals_size_learns_a_step():
    """Of 20 crops 6 are there: what is masked is not encoded, and costs nothing."""
    config = DiffBinauralConfig(
        unet=UNetConfig(dim=64, mults=(1, 2, 4), patch=1, context_dim=512, cross_attention=True),
        visual=VisualConfig(encoder="resnet18", context_dim=512, temporal=1),
        recipe=SMALL.recipe.replace(name="diffbinaural"),
    )
    with first_weights(0):
        model = DiffBinaural(config)
    generator = stream(0, "inputs")
    mask = torch.ones(1, 5, 4, dtype=torch.bool)
    mask[:, :, 0] = mask[:, 0, 1] = False
    seen = (
        torch.randn(1, 5, 4, 3, 224, 224, generator=generator),
        torch.rand(1, 5, 4, 2, generator=generator),
        torch.rand(1, 5, 4, 3, generator=generator),
        mask,
    )
    mono = torch.rand(1, 1, 80, 80, generator=generator) - 0.5
    loss = model.loss(mono.expand(-1, 2, -1, -1), mono, seen, [stream(0, "draws")]).mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_it_learns_which_ear_is_louder():
    """Sources to the left are louder in row 0: a minute network finds it out from the azimuth alone."""
    with first_weights(0):
        model = DiffBinaural(SMALL.replace(**{"unet.patch": 1, "unet.mults": (1, 2), "recipe.bridge.spread": 0.2}))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

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
        loss = model.loss(clean, mono, seen, [stream(0, "draws", step, i) for i in range(8)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    clean, mono, seen = batch(-1, 32)
    made = model.sample(mono, seen, noise_BEMF=torch.randn(clean.shape, generator=stream(0, "noise")))
    truth, heard = (x[:, 0].mean(dim=(1, 2)) - x[:, 1].mean(dim=(1, 2)) for x in (clean, made))
    assert (truth - heard).abs().mean() < 0.35 * truth.abs().mean()


def test_asked_both_ways_a_mirrored_scene_gives_mirrored_ears():
    noise, _, mono = sound()
    for both_ways in (True, False):
        model = awake(both_ways=both_ways, **ALL)
        made = model.sample(mono, sight(), noise_BEMF=noise)
        mirrored = model.sample(mono, mirror_sight(sight()), noise_BEMF=noise.flip(1))
        assert torch.allclose(made, mirrored.flip(1), atol=1e-5) is both_ways


def test_asked_both_ways_no_ear_is_preferred_where_nothing_is_seen():
    noise, _, mono = sound()
    blind = [*sight()[:3], torch.ones(2, 2, 3, dtype=torch.bool)]
    made = awake(both_ways=True).sample(mono, blind, noise_BEMF=noise, temperature=0.0)
    assert torch.allclose(made[:, 0], made[:, 1], atol=1e-6)
    assert not torch.allclose(made[:, :1], mono, atol=1e-2)


def test_a_mirrored_sight_is_the_data_sets_mirror():
    """The network's mirror and the augmentation's are the same."""
    import numpy as np

    from binaural_core.data.augment import mirror_sight as mirrored_sample
    from binaural_core.data.sample import Sight

    whole = sight()
    whole[3][0, 0, 1] = True
    one = Sight(*(x[0].numpy() for x in whole))
    for ours, theirs in zip(mirror_sight(whole), vars(mirrored_sample(one)).values(), strict=True):
        there = ~one.mask_LO
        np.testing.assert_allclose(ours[0].numpy()[there], theirs[there], atol=1e-6)


def test_one_ear_has_no_mirror():
    with pytest.raises(InputError, match="both_ways with 1 ear"):
        DiffBinauralConfig(both_ways=True, unet=UNetConfig(ears=1))
