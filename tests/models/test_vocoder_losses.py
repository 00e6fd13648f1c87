"""The losses against the public reference, and what the silence weight is for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core.audio.mel import MelConfig, log_mel
from binaural_core.errors import InputError
from binaural_core.models import vocoder_losses
from binaural_core.models.bigvgan import BigVGANConfig
from binaural_core.models.discriminators import MultiPeriodDiscriminator, discriminators_of
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


def signs(samples: int, level_db: float) -> torch.Tensor:
    """Random signs at one magnitude, (1, samples): the RMS of every window is exactly that magnitude."""
    chance = torch.rand(1, samples, generator=torch.Generator().manual_seed(0))
    return 10 ** (level_db / 20) * (chance > 0.5).float().mul(2).sub(1)


@pytest.mark.parametrize("threshold_db, gain", [(-50.0, None), (-50.0, 30.0), (-50.0, 0.02), (-35.0, 5.0)])
@pytest.mark.parametrize("above_db, weight", [(0.01, 1.0), (-0.01, 2.0)])
def test_threshold_is_rms_re_full_scale_before_the_gain(threshold_db, gain, above_db, weight):
    wave = signs(4096, threshold_db + above_db) * (gain or 1)
    gain_B = None if gain is None else torch.tensor([gain])
    found = silence_weights(wave, MEL, threshold_db=threshold_db, gain_B=gain_B)
    assert set(found.flatten().tolist()) == {weight}


def test_published_numbers_of_the_silence_weight_are_the_defaults():
    assert set(silence_weights(signs(4096, -50.1), MEL).flatten().tolist()) == {2.0}
    assert set(silence_weights(signs(4096, -49.9), MEL).flatten().tolist()) == {1.0}
    assert (config().silence_weight, config().silence_threshold_db) == (1.0, -50.0)


def test_a_gain_does_not_change_which_frames_are_silent():
    """Levels fade through the threshold; each entry of the batch has its own gain."""
    fading = noise(1, 16384, level=1.0) * torch.logspace(-1, -4, 16384)
    plain = silence_weights(fading, MEL)
    assert 10 < (plain == 2).sum() < 54
    gain_B = torch.tensor([0.01, 0.3, 7.0, 900.0])
    assert torch.equal(silence_weights(gain_B[:, None] * fading, MEL, gain_B=gain_B), plain.expand(4, -1))
    assert not torch.equal(silence_weights(7 * fading, MEL), plain)


@pytest.mark.parametrize("multi_scale", [False, True])
def test_the_gain_reaches_the_silence_weight_of_the_generators_loss(multi_scale):
    """A quiet clip made loud still counts as silent, clip by clip."""
    plain = config(use_multiscale_melloss=multi_scale)
    aware = plain.replace(silence_weight=2.0)
    gain_B = torch.tensor([30.0, 1.0])
    target = torch.stack([30 * signs(8192, -60.0), signs(8192, -40.0)])
    fake = target + noise(2, 1, 8192, level=0.01, seed=1)

    def cost(settings, clips=slice(None), gain=None):
        return generator_losses(target[clips], fake[clips], None, settings, gain)["mel"].item()

    first, second = (cost(plain, slice(i, i + 1)) for i in (0, 1))
    assert cost(aware, gain=gain_B) == pytest.approx((2 * first + second) / 2, rel=1e-5)
    assert cost(aware) == cost(plain) == pytest.approx((first + second) / 2, rel=1e-5)


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


@pytest.mark.parametrize("multi_scale", [False, True])
def test_a_target_without_silence_is_charged_exactly_the_plain_loss(multi_scale):
    """Whatever the prediction is, silence included: silence is judged from the target alone."""
    plain, target = config(use_multiscale_melloss=multi_scale), noise(1, 1, 8192)
    aware = plain.replace(silence_weight=2.0)
    for fake in (torch.zeros_like(target), noise(1, 1, 8192, level=0.3, seed=1)):
        assert (
            generator_losses(target, fake, None, aware)["mel"] == generator_losses(target, fake, None, plain)["mel"] > 0
        )


@pytest.mark.parametrize("multi_scale", [False, True])
def test_a_silent_target_costs_the_weight_however_loud_the_prediction(multi_scale):
    """Also: the weighted sum is divided by the count, else the weight would cancel here."""
    plain, target = config(use_multiscale_melloss=multi_scale), torch.zeros(1, 1, 8192)
    aware = plain.replace(silence_weight=3.0)
    for level in (1e-3, 0.5):
        fake = noise(1, 1, 8192, level=level)
        wanted = 3 * generator_losses(target, fake, None, plain)["mel"].item()
        assert generator_losses(target, fake, None, aware)["mel"].item() == pytest.approx(wanted, rel=1e-6)


def test_each_frame_is_charged_its_own_weight_over_the_count():
    target, fake = noise(2, 1, 8192), noise(2, 1, 8192, seed=1)
    weight_BF = 1 + torch.rand(2, 32, generator=torch.Generator().manual_seed(2))
    error_BMF = (log_mel(fake[:, 0], MEL) - log_mel(target[:, 0], MEL)).abs()
    wanted = sum(float(weight_BF[b, f] * error_BMF[b, :, f].sum()) for b in range(2) for f in range(32))
    assert mel_l1(target, fake, MEL, weight_BF).item() == pytest.approx(wanted / error_BMF.numel(), rel=1e-5)


@pytest.mark.parametrize("scale", vocoder_losses.SCALES)
def test_multi_scale_weights_stand_where_the_frames_centre_is(scale, monkeypatch):
    """All the weight on one mel frame: only a click in that frame, or within a window of it, costs anything."""
    monkeypatch.setattr(vocoder_losses, "SCALES", (scale,))
    weight_BF = torch.zeros(1, 64)
    weight_BF[0, 40] = 1
    target, reach = torch.zeros(1, 1, 16384), scale[1] // 2

    def cost(sample: int) -> float:
        fake = target.clone()
        fake[..., sample] = 1
        return multi_scale_mel(target, fake, 22_050, weight_BF).item()

    assert cost(40 * 256 + 128) > 0
    assert cost(40 * 256 - reach) == cost(41 * 256 + reach) == 0


def test_multi_scale_weights_follow_the_hop_of_the_config():
    """At half the hop the same sound has the same silence, so it costs the same but for the seam."""
    target, fake = half_silent(), noise(1, 1, 16384, seed=1)
    settings = config(use_multiscale_melloss=True, silence_weight=2.0)
    halved = settings.replace(hop_size=128, upsample_rates=(8, 8, 2, 1), upsample_kernel_sizes=(16, 16, 4, 3))
    costs = [generator_losses(target, fake, None, each)["mel"].item() for each in (settings, halved)]
    assert costs[1] == pytest.approx(costs[0], rel=0.02)


def test_a_wave_too_short_for_the_longest_window_is_refused():
    with pytest.raises(InputError, match="the wave has 1024 samples"):
        multi_scale_mel(noise(1, 1, 1024), noise(1, 1, 1024), 22_050)
    assert multi_scale_mel(noise(1, 1, 1025), noise(1, 1, 1025, seed=1), 22_050) > 0


@pytest.mark.parametrize(
    "file, weight, mel_weight, multi_scale, clip",
    [
        ("bigvgan_22khz_80band.json", 1, 45, False, 1000),
        ("bigvgan_v2_22khz_80band_256x.json", 1, 15, True, 500),
        ("bigvgan_binaural_22khz_80band_256x.json", 2, 45, False, 500),
        ("bigvgan_tiny_22khz_80band.json", 2, 45, False, 100),
    ],
)
def test_shipped_configs_ask_for_the_published_losses_and_ours_for_silence(file, weight, mel_weight, multi_scale, clip):
    shipped = BigVGANConfig.from_json(Path(vocoder_losses.__file__).parents[1] / "configs" / file)
    assert (shipped.silence_weight, shipped.silence_threshold_db) == (weight, -50)
    assert (shipped.lambda_melloss, shipped.use_multiscale_melloss) == (mel_weight, multi_scale)
    assert shipped.clip_grad_norm == clip
    assert shipped.loss_mel.f_max_hz is None


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


def test_both_published_sets_add_up_in_both_halves_of_a_step():
    """With the CQT set under the name mrd, as in the public files; the parts are those the goldens check."""
    one = {"cqtd_filters": 4, "cqtd_hop_lengths": (256,), "cqtd_n_octaves": (5,), "cqtd_bins_per_octaves": (12,)}
    settings = config(
        use_cqtd_instead_of_mrd=True, use_multiscale_melloss=True, lambda_melloss=15.0, mpd_reshapes=(2,), **one
    )
    sets = discriminators_of(settings.replace(discriminator_channel_mult=0.0625))
    real, fake = noise(2, 1, 4096), noise(2, 1, 4096, seed=1)
    with torch.no_grad():
        made = generator_losses(real, fake, sets, settings)
        judged = discriminator_loss(real, fake, sets)
        wanted = 15 * multi_scale_mel(real, fake, 22_050)
        for name in ("mpd", "mrd"):
            real_scores, fake_scores, real_maps, fake_maps = sets[name](real, fake)
            torch.testing.assert_close(judged[name], discriminator_lsgan(real_scores, fake_scores))
            torch.testing.assert_close(made[f"adversarial_{name}"], generator_lsgan(fake_scores))
            torch.testing.assert_close(made[f"features_{name}"], feature_matching(real_maps, fake_maps))
            wanted = wanted + made[f"adversarial_{name}"] + made[f"features_{name}"]
    torch.testing.assert_close(made["total"], wanted)
    torch.testing.assert_close(judged["total"], judged["mpd"] + judged["mrd"])
    assert len(made) == 6
    assert len(judged) == 3


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


@pytest.mark.parametrize("multi_scale", [False, True])
def test_a_diverged_generator_gives_nan_not_an_error(multi_scale):
    real, fake = noise(1, 1, 8192), torch.full((1, 1, 8192), float("nan"))
    settings = config(use_multiscale_melloss=multi_scale, silence_weight=2.0)
    assert generator_losses(real, fake, None, settings)["total"].isnan()


def test_waves_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="generated wave has shape"):
        generator_losses(noise(1, 1, 8192), noise(1, 1, 8193), None, config())


@pytest.mark.parametrize("multi_scale", [False, True])
def test_losses_of_networks_in_bf16_are_computed_in_float32(multi_scale):
    """Scores and maps as they come, the waves on a bf16 grid; everything behind them in full precision."""
    settings = config(silence_weight=2.0, use_multiscale_melloss=multi_scale, discriminator_channel_mult=0.0625)
    with first_weights(0):
        sets = discriminators_of(settings.replace(resolutions=((512, 128, 512),)))
    real, fake = noise(2, 1, 8192), noise(2, 1, 8192, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        made, judged = generator_losses(real, fake, sets, settings), discriminator_loss(real, fake, sets)
        heard = {name: networks(real, fake) for name, networks in sets.items()}
    assert {part[0].dtype for parts in heard.values() for part in parts[:2]} == {torch.bfloat16}
    total = settings.lambda_melloss * generator_losses(real, fake.float(), None, settings)["mel"].double()
    for name, (real_scores, fake_scores, real_maps, fake_maps) in heard.items():
        exact = {"judged": 0.0, "adversarial": 0.0, "features": 0.0}
        for real_BN, fake_BN in zip(real_scores, fake_scores, strict=True):
            exact["judged"] += float((1 - real_BN.double()).square().mean() + fake_BN.double().square().mean())
            exact["adversarial"] += float((1 - fake_BN.double()).square().mean())
        for pair in zip(real_maps, fake_maps, strict=True):
            exact["features"] += 2 * sum(
                float((a.double() - b.double()).abs().mean()) for a, b in zip(*pair, strict=True)
            )
        assert judged[name].item() == pytest.approx(exact["judged"], rel=1e-6)
        for term in ("adversarial", "features"):
            assert made[f"{term}_{name}"].item() == pytest.approx(exact[term], rel=1e-6)
        total = total + exact["adversarial"] + exact["features"]
    assert made["total"].item() == pytest.approx(float(total), rel=1e-6)
    assert {loss.dtype for loss in (*made.values(), *judged.values())} == {torch.float32}


def test_the_generators_losses_compare_the_mel_of_the_loss_at_the_configs_rate():
    """Energy between the two tops is heard by the loss alone; the multi-scale mels have the config's rate."""
    settings = config(sampling_rate=16_000, fmax=3000.0, fmax_for_loss=None)
    n = torch.arange(8192)
    real = noise(1, 1, 8192)
    fake = real + 0.3 * torch.sin(2 * torch.pi * 6000 / 16_000 * n)
    wanted = mel_l1(real, fake, MelConfig(sample_rate_hz=16_000)).item()
    assert wanted > 2 * mel_l1(real, fake, MelConfig(sample_rate_hz=16_000, f_max_hz=3000.0)).item()
    assert generator_losses(real, fake, None, settings)["mel"].item() == pytest.approx(wanted, rel=1e-6)
    many = generator_losses(real, fake, None, settings.replace(use_multiscale_melloss=True))["mel"].item()
    assert many == pytest.approx(multi_scale_mel(real, fake, 16_000).item(), rel=1e-6)
    assert many != pytest.approx(multi_scale_mel(real, fake, 22_050).item(), rel=1e-3)
