"""The generator against the public reference: configs, checkpoints, outputs, gradients, receptive field."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core import checkpoint
from binaural_core.errors import InputError
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig, receptive_field_frames
from binaural_core.places import CONFIGS

GOLDEN = Path(__file__).parents[1] / "golden" / "bigvgan"
VERSIONS = ["gen_v1_tiny", "gen_v2_tiny"]


@pytest.fixture(params=VERSIONS)
def folder(request) -> Path:
    return GOLDEN / request.param


def config_of(folder: Path) -> BigVGANConfig:
    return BigVGANConfig.from_json(folder / "config.json")


def generator_of(folder: Path) -> BigVGAN:
    return BigVGAN.from_checkpoint(folder / "bigvgan_generator.pt", config_of(folder))


def public_state(folder: Path) -> dict:
    return checkpoint.load(folder / "bigvgan_generator.pt")["generator"]


def folded(state: dict) -> dict:
    """Plain weights from weight_g and weight_v, computed in float64."""
    plain = {k: v for k, v in state.items() if not k.endswith(("weight_g", "weight_v"))}
    for key in [k for k in state if k.endswith("weight_g")]:
        g, v = state[key].double(), state[key[:-1] + "v"].double()
        plain[key[:-2]] = (g * v / v.flatten(1).norm(dim=1).view(-1, 1, 1)).float()
    return plain


@pytest.mark.parametrize("suffix", ["", "_loud", "_T1"])
def test_output_is_the_reference_output(folder, suffix):
    io = np.load(folder / "io.npz")
    with torch.no_grad():
        wave = generator_of(folder)(torch.from_numpy(io[f"mel{suffix}"]))
    np.testing.assert_allclose(wave, io[f"wav{suffix}"], rtol=0, atol=2e-5)


def test_folded_weights_give_the_same_output(folder, tmp_path):
    io = np.load(folder / "io.npz")
    mel = torch.from_numpy(io["mel"])
    checkpoint.save(tmp_path / "folded.pt", {"generator": folded(public_state(folder))})
    loaded = BigVGAN.from_checkpoint(tmp_path / "folded.pt", config_of(folder))
    removed = generator_of(folder).remove_weight_norm()
    assert set(loaded.state_dict()) == set(removed.state_dict())
    assert not any("weight_g" in key for key in removed.state_dict())
    for generator in (loaded, removed):
        with torch.no_grad():
            np.testing.assert_allclose(generator(mel), io["wav"], rtol=0, atol=2e-5)


def test_gradients_are_the_reference_gradients(folder):
    golden, generator = np.load(folder / "grad.npz"), generator_of(folder)
    mel = torch.from_numpy(np.load(folder / "io.npz")["mel"]).requires_grad_()
    (generator(mel) * torch.from_numpy(golden["cotangent"])).sum().backward()
    gradients = {name: p.grad for name, p in generator.named_parameters()}
    named = {f"grad:{name}": g for name, g in gradients.items()} | {"grad_mel": mel.grad}
    for name in golden.files:
        if name != "cotangent":
            np.testing.assert_allclose(named[name], golden[name], rtol=0, atol=1e-3 * np.abs(golden[name]).max())
    norms = json.loads((folder / "grad_norms.json").read_text())
    assert set(norms) == set(gradients)
    for name, (norm, _) in norms.items():
        assert gradients[name].norm().item() == pytest.approx(norm, rel=1e-3), name


def test_public_keys_in_the_public_order(folder):
    """The order matters: optimizer states in do_ files are numbered by it."""
    assert list(generator_of(folder).state_dict()) == list(public_state(folder))


def test_saved_state_is_public_even_when_folded(folder):
    public, generator = public_state(folder), generator_of(folder)
    assert all(torch.equal(generator.to_public_state()[k], v) for k, v in public.items())
    state = generator.remove_weight_norm().to_public_state()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in public.items()}
    again = BigVGAN(config_of(folder))
    again.load_state_dict(state)
    mel = torch.randn(1, 80, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(again(mel), generator(mel), rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_any_number_of_frames(folder, frames):
    generator = generator_of(folder)
    with torch.no_grad():
        wave = generator(torch.zeros(3, 80, frames))
    assert wave.shape == (3, 1, frames * generator.config.hop_size)


def test_a_new_network_hears_usual_mels_as_centred(folder):
    first = BigVGAN(config_of(folder)).conv_pre
    with torch.no_grad():
        at_mean = first(torch.full((1, 80, 21), -5.0))[..., 3:-3]
        one_up = first(torch.full((1, 80, 21), -5.0 + 2.2))[..., 3:-3]
    fresh = 1 / (80 * 7) ** 0.5  # torch's bound for the weights and biases of a new layer
    assert at_mean.abs().max() <= 1.01 * fresh
    assert (one_up - at_mean).std() == pytest.approx(fresh / 3**0.5 * (80 * 7) ** 0.5, rel=0.5)


def test_wrong_mel_is_refused(folder):
    with pytest.raises(InputError, match=r"mel has shape \(1, 64, 5\)"):
        generator_of(folder)(torch.zeros(1, 64, 5))


def test_names_of_the_newer_weight_norm_load_too(folder, tmp_path):
    ends = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    state = {}
    for key, value in public_state(folder).items():
        base, dot, end = key.rpartition(".")
        state[f"{base}{dot}{ends.get(end, end)}"] = value
    checkpoint.save(tmp_path / "newer.pt", {"generator": state})
    loaded = BigVGAN.from_checkpoint(tmp_path / "newer.pt", config_of(folder))
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in public_state(folder).items())


def test_a_mel_without_frames_is_refused(folder):
    with pytest.raises(InputError, match="no frames"):
        generator_of(folder)(torch.zeros(1, 80, 0))


def test_checkpoint_that_does_not_fit_says_what(folder, tmp_path):
    checkpoint.save(tmp_path / "do_00000001", {"mpd": {}, "mrd": {}})
    with pytest.raises(InputError, match=r"holds no generator.*'mpd', 'mrd'"):
        BigVGAN.from_checkpoint(tmp_path / "do_00000001", config_of(folder))
    wider = config_of(folder).replace(upsample_initial_channel=64)
    with pytest.raises(InputError, match="of another shape"):
        BigVGAN.from_checkpoint(folder / "bigvgan_generator.pt", wider)


def test_published_meanings_of_absent_names():
    config = BigVGANConfig.from_json(CONFIGS / "bigvgan_22khz_80band.json")
    assert (config.use_tanh_at_final, config.use_bias_at_final) == (True, True)
    assert (config.clip_grad_norm, config.lambda_melloss, config.use_multiscale_melloss) == (1000, 45, False)
    assert (config.mel.f_max_hz, config.loss_mel.f_max_hz) == (8000, None)
    v2 = BigVGANConfig.from_json(CONFIGS / "bigvgan_v2_22khz_80band_256x.json")
    assert (v2.use_tanh_at_final, v2.use_bias_at_final, v2.lambda_melloss, v2.clip_grad_norm) == (False, False, 15, 500)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("bigvgan_*.json")), ids=lambda path: path.stem)
def test_shipped_configs_survive_the_round_trip(path, tmp_path):
    config, public = BigVGANConfig.from_json(path), json.loads(path.read_text())
    assert config.to_public().items() >= public.items(), "a published setting was lost or changed"
    assert BigVGANConfig.from_json(config.save_json(tmp_path / "config.json")) == config
    assert BigVGANConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "change, said",
    [
        ({"hop_size": 512}, "multiply to 256"),
        ({"upsample_kernel_sizes": [15, 16, 4, 4]}, "do not suit rates"),
        ({"upsample_initial_channel": 24}, "cannot be halved 4 times"),
        ({"resblock_kernel_sizes": [3, 7]}, "do not pair"),
        ({"resblock_kernel_sizes": [3, 7, 10]}, "do not pair"),
        ({"use_spectral_norm": True}, "use_spectral_norm"),
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"upsample_rates": None}, "does not say upsample_rates"),
        ({"silence_weight": 0}, "silence_weight"),
        ({"lambda_melloss": -1}, "lambda_melloss=-1"),
        ({"segment_size": 255}, "segment_size=255"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"freeze_step": -1}, "freeze_step=-1"),
        ({"clip_grad_norm": 0}, "clip_grad_norm=0"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"lr_decay": 0}, "lr_decay=0"),
        ({"mrd_channel_mult": 0}, "mrd_channel_mult=0"),
        ({"mrd_use_spectral_norm": True}, "mrd_use_spectral_norm is on"),
        ({"upsample_rates": [], "upsample_kernel_sizes": [], "hop_size": 1}, r"upsample_rates is \[\]"),
        ({"upsample_rates": [-8, -8, 2, 2]}, "upsample_rates is "),
        ({"resblock_kernel_sizes": [-3, 7, 11]}, "resblock_kernel_sizes is "),
        ({"resblock_dilation_sizes": [[1, 3, 0]] * 3}, "resblock_dilation_sizes is "),
        ({"resblock_dilation_sizes": [[1, 3, 5], [], [1, 3, 5]]}, "resblock_dilation_sizes is "),
        ({"mpd_reshapes": []}, "mpd_reshapes is "),
        ({"resolutions": [[512, 0, 512]]}, "resolutions is "),
    ],
)
def test_impossible_configs_are_refused_by_name(change, said, tmp_path):
    table = json.loads((GOLDEN / "gen_v2_tiny" / "config.json").read_text()) | change
    (tmp_path / "bad.json").write_text(json.dumps({k: v for k, v in table.items() if v is not None or k == "fmax"}))
    with pytest.raises(InputError, match=r"bad\.json.*" + said):
        BigVGANConfig.from_json(tmp_path / "bad.json")


def test_unreadable_config_is_refused(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json is not JSON"):
        BigVGANConfig.from_json(tmp_path / "bad.json")


def test_receptive_field_of_the_published_configs():
    v2 = BigVGANConfig.from_json(CONFIGS / "bigvgan_v2_22khz_80band_256x.json")
    base = v2.replace(upsample_rates=[8, 8, 2, 2], upsample_kernel_sizes=[16, 16, 4, 4], upsample_initial_channel=512)
    assert receptive_field_frames(v2) == 38
    assert receptive_field_frames(base) == 18


def test_receptive_field_is_what_the_gradient_reaches(folder):
    """The samples of one frame hear exactly as many frames as computed, not one more and not one fewer."""
    reach = receptive_field_frames(config_of(folder))
    frames, centre = 2 * reach + 9, reach + 4
    generator = generator_of(folder).double()
    mel = torch.randn(1, 80, frames, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    hop = generator.config.hop_size
    generator(mel)[..., centre * hop : (centre + 1) * hop].abs().sum().backward()
    heard = mel.grad[0].abs().amax(dim=0).nonzero()[:, 0]
    assert max(centre - heard.min(), heard.max() - centre) == reach


def test_overlapping_chunks_join_without_a_seam(folder):
    generator = generator_of(folder).double()
    reach, hop = receptive_field_frames(generator.config), generator.config.hop_size
    mel = torch.randn(1, 80, 2 * reach + 12, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    half = mel.shape[-1] // 2
    with torch.no_grad():
        whole = generator(mel)
        left = generator(mel[..., : half + reach])[..., : half * hop]
        right = generator(mel[..., half - reach :])[..., reach * hop :]
    torch.testing.assert_close(torch.cat([left, right], dim=-1), whole, rtol=0, atol=1e-12)
