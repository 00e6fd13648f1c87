"""The discriminators against the public reference."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core import checkpoint
from binaural_core.errors import InputError
from binaural_core.models import discriminators
from binaural_core.models.bigvgan import BigVGANConfig
from binaural_core.models.discriminators import (
    MultiPeriodDiscriminator,
    MultiResolutionDiscriminator,
    MultiScaleSubbandCQTDiscriminator,
    discriminators_of,
)
from binaural_core.models.vocoder_losses import discriminator_lsgan, feature_matching, generator_lsgan
from binaural_core.seeds import first_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "bigvgan"
CONFIGS = Path(discriminators.__file__).parents[1] / "configs"
SETS = {
    "mpd": MultiPeriodDiscriminator,
    "mrd": MultiResolutionDiscriminator,
    "cqtd": MultiScaleSubbandCQTDiscriminator,
}
FIXED = ("cqt_transform.lowpass_filter", "cqt_transform.lenghts", "cqt_transform.cqt_kernels_real")
FIXED = (*FIXED, "cqt_transform.cqt_kernels_imag", "resample.kernel")  # nnAudio's spelling


def config(name: str = "mpd_mrd") -> BigVGANConfig:
    generator = json.loads((GOLDEN / "gen_v1_tiny" / "config.json").read_text())
    return BigVGANConfig.from_public(generator | json.loads((GOLDEN / "disc" / f"config_{name}.json").read_text()))


def config_of(name: str) -> BigVGANConfig:
    return config("cqtd" if name == "cqtd" else "mpd_mrd")


def small_cqtd(**changes) -> BigVGANConfig:
    """One network of five octaves: 0.1 s to build instead of three of nine."""
    one = {"cqtd_hop_lengths": (256,), "cqtd_n_octaves": (5,), "cqtd_bins_per_octaves": (12,)}
    return config("cqtd").replace(**(one | changes))


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    golden = np.load(GOLDEN / "disc" / "waves.npz")
    return torch.from_numpy(golden["y"]), torch.from_numpy(golden["y_hat"])


@pytest.fixture(params=list(SETS))
def name(request) -> str:
    return request.param


def networks_of(name: str):
    networks = SETS[name](config_of(name))
    networks.load_state_dict(checkpoint.load(GOLDEN / "disc" / f"{name}.pt")[name])
    return networks


def test_public_keys_in_the_public_order(name):
    trained = [key for key, _ in SETS[name](config_of(name)).named_parameters()]
    assert trained == list(checkpoint.load(GOLDEN / "disc" / f"{name}.pt")[name])


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
    networks = SETS[name](config_of(name))
    short = networks.shortest_samples - 1
    with pytest.raises(InputError, match=f"the wave has {short} samples"):
        networks.hear(torch.zeros(1, 1, short))
    with pytest.raises(InputError, match=r"wave has shape \(1, 2, 4000\)"):
        networks.hear(torch.zeros(1, 2, 4000))
    with torch.no_grad():
        networks.hear(torch.zeros(1, 1, short + 1))


@pytest.mark.parametrize("octaves, shortest", [(9, 128), (7, 64)])
def test_cqtd_needs_a_sample_at_its_lowest_rate_and_no_more(octaves, shortest):
    """The transform of seven octaves begins at half the rate, since nothing of it lies above."""
    networks = MultiScaleSubbandCQTDiscriminator(small_cqtd(cqtd_n_octaves=(octaves,)))
    assert networks.shortest_samples == shortest
    with torch.no_grad():
        networks.hear(torch.zeros(1, 1, shortest))
        with pytest.raises(RuntimeError):
            networks.discriminators[0](torch.zeros(1, 1, shortest - 1))


def test_silence_has_finite_gradients(name):
    """A spectrogram of zeros must not turn into NaN on the way back."""
    wave = torch.zeros(1, 1, 4096, requires_grad=True)
    generator_lsgan([heard.scores for heard in networks_of(name).hear(wave)]).backward()
    assert torch.isfinite(wave.grad).all()


def test_v2_sets_of_the_shipped_config_are_the_published_ones():
    """Against numbers known by heart: 128 channels, 24 to 48 bins in 9 octaves."""
    settings = BigVGANConfig.from_json(CONFIGS / "bigvgan_v2_22khz_80band_256x.json")
    shapes = {k: list(v.shape) for k, v in discriminators_of(settings, ["mrd"])["mrd"].state_dict().items()}
    assert shapes["discriminators.0.convs.0.weight"] == [128, 2, 3, 9]
    assert shapes["discriminators.2.convs.3.weight_v"] == [128, 128, 3, 9]
    assert shapes["discriminators.1.cqt_transform.lenghts"] == [9 * 36]
    assert shapes["discriminators.0.resample.kernel"] == [2, 1, 15]


def test_cqtd_saves_what_published_code_asks_for():
    """The public class loads strictly, the fixed numbers of its transform included."""
    state = networks_of("cqtd").state_dict()
    fixed = [f"discriminators.{i}.{name}" for i in range(3) for name in FIXED]
    assert sorted(set(state) - set(checkpoint.load(GOLDEN / "disc" / "cqtd.pt")["cqtd"])) == sorted(fixed)


def test_cqtd_loads_with_the_fixed_numbers_of_a_file_and_without():
    settings = small_cqtd()
    with first_weights(0):
        whole = MultiScaleSubbandCQTDiscriminator(settings).state_dict()
    whole["discriminators.0.resample.kernel"] = 2 * whole["discriminators.0.resample.kernel"]
    trained = {k: v for k, v in whole.items() if not k.endswith((*FIXED, "early_downsample_filter"))}
    assert len(whole) - len(trained) == 6

    networks, untouched = (MultiScaleSubbandCQTDiscriminator(settings) for _ in range(2))
    networks.load_state_dict(trained)
    for key, value in networks.state_dict().items():
        torch.testing.assert_close(value, trained.get(key, untouched.state_dict()[key]), rtol=0, atol=0)
    checkpoint.load_into(networks, whole, name="a public file")
    for key, value in networks.state_dict().items():
        torch.testing.assert_close(value, whole[key], rtol=0, atol=0)


@pytest.mark.parametrize("key", ["conv_post.weight_v", "conv_pres.4.weight"])
def test_cqtd_still_needs_every_trained_tensor(key):
    networks = MultiScaleSubbandCQTDiscriminator(small_cqtd())
    state = networks.state_dict()
    del state[f"discriminators.0.{key}"]
    with pytest.raises(RuntimeError, match=rf"Missing key.*{key}"):
        networks.load_state_dict(state)


def test_cqtd_refuses_fixed_numbers_of_another_transform():
    other = MultiScaleSubbandCQTDiscriminator(small_cqtd(cqtd_bins_per_octaves=(24,))).state_dict()
    with pytest.raises(RuntimeError, match=r"size mismatch for .*lenghts"):
        MultiScaleSubbandCQTDiscriminator(small_cqtd()).load_state_dict(other)


def test_cqtd_widths_dilations_and_channels_follow_the_config():
    settings = small_cqtd(
        cqtd_filters=3, cqtd_filters_scale=2, cqtd_max_filters=20, cqtd_dilations=(1, 3), cqtd_out_channels=5
    )
    network = MultiScaleSubbandCQTDiscriminator(settings).discriminators[0]
    assert [(c.in_channels, c.out_channels) for c in network.convs] == [(2, 3), (3, 6), (6, 12), (12, 20)]
    assert [c.dilation for c in network.convs] == [(1, 1), (1, 1), (3, 1), (1, 1)]
    assert network(torch.zeros(2, 1, 4096)).scores.shape == (2, 5, 33, 15)


def test_cqtd_can_hear_every_wave_at_one_volume():
    """Free of its mean and at a peak of 0.8, if the config says so."""
    with first_weights(0):
        one_volume, plain = (
            MultiScaleSubbandCQTDiscriminator(small_cqtd(cqtd_normalize_volume=normalize))
            for normalize in (True, False)
        )
    plain.load_state_dict(one_volume.state_dict())
    wave = (
        0.1 * torch.randn(2, 1, 4096, generator=torch.Generator().manual_seed(0))
        + torch.tensor([0.3, -0.1])[:, None, None]
    )
    centred = wave - wave.mean(-1, keepdim=True)
    at_volume = 0.8 * centred / centred.abs().amax(-1, keepdim=True)
    with torch.no_grad():
        heard, wanted, otherwise = (
            networks.hear(w)[0].scores for networks, w in ((one_volume, wave), (plain, at_volume), (plain, wave))
        )
    near = 1e-4 * wanted.abs().max()
    assert (heard - wanted).abs().max() < near
    assert (otherwise - wanted).abs().max() > 10 * near


def test_cqtd_transform_keeps_full_precision_under_autocast():
    networks, heard = MultiScaleSubbandCQTDiscriminator(small_cqtd()), []
    networks.discriminators[0].conv_pres[0].register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    wave = torch.randn(1, 1, 2048, generator=torch.Generator().manual_seed(0))
    networks.hear(wave)
    with torch.autocast("cpu", torch.bfloat16):
        networks.hear(wave)
    assert torch.equal(heard[0], heard[1])


def test_sets_of_a_config_under_their_published_names():
    v1, v2 = discriminators_of(config()), discriminators_of(small_cqtd())
    assert [(name, type(kind)) for name, kind in v1.items()] == [("mpd", SETS["mpd"]), ("mrd", SETS["mrd"])]
    assert [(name, type(kind)) for name, kind in v2.items()] == [("mpd", SETS["mpd"]), ("mrd", SETS["cqtd"])]
    assert list(discriminators_of(small_cqtd(), ("mpd",))) == ["mpd"]
    assert discriminators_of(config(), ()) == {}
    with pytest.raises(InputError, match="no discriminators named 'cqtd'"):
        discriminators_of(config(), ("cqtd",))


def test_sets_that_cannot_be_built_say_why(monkeypatch):
    public = config().to_public() | {"use_mbd_instead_of_mrd": True}
    with pytest.raises(InputError, match="use_mbd_instead_of_mrd is on"):
        discriminators_of(BigVGANConfig.from_public(public))
    monkeypatch.setitem(sys.modules, "nnAudio.features.cqt", None)
    with pytest.raises(InputError, match=r"nnAudio cannot be imported.*To fix: pip install"):
        discriminators_of(small_cqtd())
    assert set(discriminators_of(config())) == {"mpd", "mrd"}
    assert set(discriminators_of(small_cqtd(), ("mpd",))) == {"mpd"}


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"cqtd_n_octaves": (9, 9)}, "are not of one length"),
        ({"cqtd_dilations": (1, 0)}, "a cqtd_ setting is out of range"),
        ({"cqtd_in_channels": 2}, "a cqtd_ setting is out of range"),
        ({"cqtd_hop_lengths": (512, 128, 256)}, "128 in cqtd_hop_lengths cannot be halved 8 times"),
        ({"cqtd_n_octaves": (9, 10, 9), "cqtd_hop_lengths": (512,) * 3}, "10 in cqtd_n_octaves reaches 3[23]... Hz"),
    ],
)
def test_cqtd_settings_are_checked_where_they_are_used(changes, match):
    with pytest.raises(InputError, match=match):
        config("cqtd").replace(**changes)
    config("cqtd").replace(use_cqtd_instead_of_mrd=False, **changes)


@pytest.mark.parametrize("shipped", [None, "bigvgan_v2_22khz_80band_256x.json", "bigvgan_22khz_80band.json"])
def test_cqtd_settings_travel_there_and_back(shipped):
    path = GOLDEN / "disc" / "config_cqtd.json" if shipped is None else CONFIGS / shipped
    public = config().to_public() | json.loads(path.read_text())
    settings = BigVGANConfig.from_public(public)
    assert not [name for name in settings.other if name.startswith("cqtd_")]
    assert settings.to_public().items() >= public.items()
    assert BigVGANConfig.from_public(settings.to_public()) == settings


def test_cqtd_settings_left_out_are_the_published_defaults():
    bare = {k: v for k, v in config("cqtd").to_public().items() if not k.startswith("cqtd_")}
    settings = BigVGANConfig.from_public(bare)
    wanted = json.loads((GOLDEN / "disc" / "config_cqtd.json").read_text()) | {"cqtd_filters": 32}
    said = settings.to_public()
    assert {k: said[k] for k in wanted if k.startswith("cqtd_")} == {
        k: v for k, v in wanted.items() if k.startswith("cqtd_")
    }
