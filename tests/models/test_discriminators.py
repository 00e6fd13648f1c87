"""The discriminators against the public reference."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core import checkpoint
from binaural_core.errors import InputError
from binaural_core.models.bigvgan import BigVGANConfig
from binaural_core.models.discriminators import MultiPeriodDiscriminator, MultiResolutionDiscriminator
from binaural_core.models.vocoder_losses import discriminator_lsgan, feature_matching, generator_lsgan

GOLDEN = Path(__file__).parents[1] / "golden" / "bigvgan"
SETS = {"mpd": MultiPeriodDiscriminator, "mrd": MultiResolutionDiscriminator}


def config() -> BigVGANConfig:
    generator = json.loads((GOLDEN / "gen_v1_tiny" / "config.json").read_text())
    return BigVGANConfig.from_public(generator | json.loads((GOLDEN / "disc" / "config_mpd_mrd.json").read_text()))


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    golden = np.load(GOLDEN / "disc" / "waves.npz")
    return torch.from_numpy(golden["y"]), torch.from_numpy(golden["y_hat"])


@pytest.fixture(params=list(SETS))
def name(request) -> str:
    return request.param


def networks_of(name: str):
    networks = SETS[name](config())
    networks.load_state_dict(checkpoint.load(GOLDEN / "disc" / f"{name}.pt")[name])
    return networks


def test_public_keys_in_the_public_order(name):
    assert list(SETS[name](config()).state_dict()) == list(checkpoint.load(GOLDEN / "disc" / f"{name}.pt")[name])


def test_scores_are_the_reference_scores(name):
    golden = np.load(GOLDEN / "disc" / f"{name}_scores.npz")
    with torch.no_grad():
        real, fake, _, _ = networks_of(name)(*waves())
    assert len(real) + len(fake) == len(golden.files)
    for letter, scores in (("r", real), ("g", fake)):
        for i, score in enumerate(scores):
            wanted = golden[f"score_{letter}{i}"]
            np.testing.assert_allclose(score, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_feature_maps_and_losses_are_the_reference_ones(name):
    golden = json.loads((GOLDEN / "disc" / "feature_maps.json").read_text())[name]
    with torch.no_grad():
        real, fake, real_maps, fake_maps = networks_of(name)(*waves())
    assert [[list(m.shape) for m in maps] for maps in real_maps] == golden["fmap_shapes"]
    for letter, all_maps in (("r", real_maps), ("g", fake_maps)):
        for maps, absmeans, means in zip(
            all_maps, golden[f"fmap_absmean_{letter}"], golden[f"fmap_mean_{letter}"], strict=True
        ):
            assert [m.abs().mean().item() for m in maps] == pytest.approx(absmeans, rel=1e-4)
            assert [m.mean().item() for m in maps] == pytest.approx(means, abs=1e-5)
    assert discriminator_lsgan(real, fake).item() == pytest.approx(golden["discriminator_loss"], rel=1e-4)
    assert generator_lsgan(fake).item() == pytest.approx(golden["generator_loss"], rel=1e-4)
    assert feature_matching(real_maps, fake_maps).item() == pytest.approx(golden["feature_loss"], rel=1e-4)


def test_each_wave_is_heard_alone(name):
    """No network mixes entries of the batch or looks at the other wave."""
    networks, (real, fake) = networks_of(name), waves()
    with torch.no_grad():
        together, alone = networks(real, fake)[0], networks(real[1:], real[1:])[0]
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[1:], one, rtol=0, atol=1e-5)


def test_mrd_width_follows_the_general_one_unless_told():
    assert MultiResolutionDiscriminator(config()).discriminators[0].convs[0].out_channels == 4
    general = config().replace(mrd_channel_mult=None, discriminator_channel_mult=0.25)
    assert MultiResolutionDiscriminator(general).discriminators[0].convs[0].out_channels == 8


def test_too_short_and_misshapen_waves_are_refused(name):
    networks = SETS[name](config())
    short = networks.shortest_samples - 1
    with pytest.raises(InputError, match=f"the wave has {short} samples"):
        networks.hear(torch.zeros(1, 1, short))
    with pytest.raises(InputError, match=r"wave has shape \(1, 2, 4000\)"):
        networks.hear(torch.zeros(1, 2, 4000))
    with torch.no_grad():
        networks.hear(torch.zeros(1, 1, short + 1))


def test_silence_has_finite_gradients(name):
    """A spectrogram of zeros must not turn into NaN on the way back."""
    wave = torch.zeros(1, 1, 4096, requires_grad=True)
    generator_lsgan([heard.scores for heard in networks_of(name).hear(wave)]).backward()
    assert torch.isfinite(wave.grad).all()
