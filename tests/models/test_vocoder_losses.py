"""The losses against the public reference, and what the silence weight is for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core.audio.mel import MelConfig
from binaural_core.errors import InputError
from binaural_core.models import vocoder_losses
from binaural_core.models.bigvgan import BigVGANConfig
from binaural_core.models.discriminators import MultiPeriodDiscriminator
from binaural_core.models.vocoder_losses import (
    discriminator_loss,
    discriminator_lsgan,
    feature_matching,
    generator_losses,
    generator_lsgan,
    mel_l1,
    multi_scale_mel,
    silence_weights,
)
from binaural_core.seeds import first_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "bigvgan"
TENSORS = {k: torch.from_numpy(v) for k, v in np.load(GOLDEN / "loss" / "tensors.npz").items()}
LOSSES = json.loads((GOLDEN / "loss" / "losses.json").read_text())
MEL = MelConfig()


def config(**changes) -> BigVGANConfig:
    table = json.loads((GOLDEN / "gen_v1_tiny" / "config.json").read_text()) | {"mpd_reshapes": [2, 3]}
    return BigVGANConfig.from_public(table).replace(**changes)


def noise(*shape: int, level: float = 0.1, seed: int = 0) -> torch.Tensor:
    return level * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_least_squares_and_features_are_the_reference_ones():
    real, fake = ([TENSORS[f"d{letter}{i}"] for i in range(3)] for letter in "rg")
    real_maps, fake_maps = ([[TENSORS[f"f{x}0_0"], TENSORS[f"f{x}0_1"]], [TENSORS[f"f{x}1_0"]]] for x in "rg")
    assert discriminator_lsgan(real, fake).item() == pytest.approx(LOSSES["discriminator_loss"], rel=1e-5)
    assert generator_lsgan(fake).item() == pytest.approx(LOSSES["generator_loss"], rel=1e-5)
    assert feature_matching(real_maps, fake_maps).item() == pytest.approx(LOSSES["feature_loss"], rel=1e-5)


def test_mel_losses_are_the_reference_ones(monkeypatch):
    a, b = TENSORS["a"], TENSORS["b"]
    assert mel_l1(a, b, MEL).item() == pytest.approx(LOSSES["single_scale_mel_l1_fmax_null"], rel=1e-4)
    assert multi_scale_mel(a, b, 22_050).item() == pytest.approx(LOSSES["multiscale_mel_loss"], rel=1e-4)
    for scale, wanted in zip(vocoder_losses.SCALES, LOSSES["multiscale_mel_loss_per_scale"], strict=True):
        monkeypatch.setattr(vocoder_losses, "SCALES", (scale,))
        assert multi_scale_mel(a, b, 22_050).item() == pytest.approx(wanted, rel=1e-4)


def half_silent() -> torch.Tensor:
    """Sound in the first half, silence in the second: (1, 1, 16384)."""
    wave = noise(1, 1, 16384)
    wave[..., 8192:] = 0
    return wave


def test_silence_is_found_frame_by_frame():
    weight_BF = silence_weights(half_silent()[:, 0], MEL)
    assert weight_BF.shape == (1, 64)
    assert set(weight_BF[0, :32].tolist()) == {1.0}
    assert set(weight_BF[0, 34:].tolist()) == {2.0}


@pytest.mark.parametrize("level_db, weight", [(-49.0, 1.0), (-51.0, 2.0)])
def test_threshold_is_rms_re_full_scale(level_db, weight):
    n = torch.arange(8192)
    tone = 10 ** (level_db / 20) * 2**0.5 * torch.sin(2 * torch.pi * 1000 / 22_050 * n)[None]
    assert set(silence_weights(tone, MEL)[0, 2:-2].tolist()) == {weight}


def test_silence_is_judged_before_the_gain():
    quiet = noise(2, 8192, level=10 ** (-60 / 20))
    gain_B = torch.tensor([30.0, 1.0])
    assert set(silence_weights(gain_B[:, None] * quiet, MEL, gain_B=gain_B).flatten().tolist()) == {2.0}
    assert set(silence_weights(gain_B[:, None] * quiet, MEL)[0].tolist()) == {1.0}


@pytest.mark.parametrize("multi_scale", [False, True])
def test_noise_in_silence_costs_twice_and_noise_in_sound_costs_the_same(multi_scale):
    plain = config(use_multiscale_melloss=multi_scale)
    aware = plain.replace(silence_weight=2.0)
    target = half_silent()
    hiss = noise(1, 1, 16384, level=0.003, seed=1)
    in_silence, in_sound = hiss.clone(), hiss.clone()
    in_silence[..., :9216] = 0
    in_sound[..., 7168:] = 0

    def cost(settings, extra):
        return generator_losses(target, target + extra, None, settings)["mel"].item()

    assert cost(aware, in_silence) == pytest.approx(2 * cost(plain, in_silence), rel=0.02)
    assert cost(aware, in_sound) == pytest.approx(cost(plain, in_sound), rel=1e-6)


def test_silence_is_judged_from_the_target_alone():
    aware, target = config(silence_weight=2.0), noise(1, 1, 8192)
    silent = torch.zeros_like(target)
    assert (
        generator_losses(target, silent, None, aware)["mel"] == generator_losses(target, silent, None, config())["mel"]
    )


def test_frozen_step_is_the_weighted_mel_alone():
    real, fake = noise(2, 1, 8192), noise(2, 1, 8192, seed=1)
    losses = generator_losses(real, fake, None, config(lambda_melloss=7.0))
    assert set(losses) == {"mel", "total"}
    assert losses["total"].item() == pytest.approx(7 * losses["mel"].item())


def test_the_two_halves_of_a_step_train_only_their_side():
    settings = config()
    mpd = MultiPeriodDiscriminator(settings)
    real, fake = noise(2, 1, 8192), noise(2, 1, 8192, seed=1).requires_grad_()
    losses = generator_losses(real, fake, {"mpd": mpd}, settings)
    losses["total"].backward()
    assert fake.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in mpd.parameters())
    parts = losses["adversarial_mpd"] + losses["features_mpd"] + settings.lambda_melloss * losses["mel"]
    torch.testing.assert_close(losses["total"], parts)

    fake.grad = None
    losses = discriminator_loss(real, fake, {"mpd": mpd})
    losses["total"].backward()
    assert fake.grad is None
    assert all(p.grad is not None for p in mpd.parameters())
    assert losses["total"].item() == pytest.approx(losses["mpd"].item())


def test_a_few_steps_lower_the_discriminator_loss():
    with first_weights(0):
        mpd = MultiPeriodDiscriminator(config())
    adam = torch.optim.AdamW(mpd.parameters(), lr=2e-3, betas=(0.8, 0.99))
    n = torch.arange(4096)
    real, fake = torch.sin(0.1 * n)[None, None], noise(1, 1, 4096, level=0.7)
    seen = []
    for _ in range(15):
        loss = discriminator_loss(real, fake, {"mpd": mpd})["total"]
        adam.zero_grad()
        loss.backward()
        adam.step()
        seen.append(loss.item())
    assert seen[-1] < 0.5 * seen[0]


def test_a_diverged_generator_gives_nan_not_an_error():
    real, fake = noise(1, 1, 8192), torch.full((1, 1, 8192), float("nan"))
    assert generator_losses(real, fake, None, config())["total"].isnan()


def test_waves_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="generated wave has shape"):
        generator_losses(noise(1, 1, 8192), noise(1, 1, 8193), None, config())
