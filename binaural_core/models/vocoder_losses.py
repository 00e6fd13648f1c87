"""What BigVGAN is trained to make small, as pure functions of waves and scores.

`generator_losses` and `discriminator_loss` are the two halves of a training step; the terms they add up stand above
them. Letters: wave_B1N is one ear per entry of the batch, [-1, 1]; scores and maps are lists as `Discriminators` gives.
Whatever precision the networks compute in, the losses compute in float32.

Sources: Kong et al. 2020, HiFi-GAN (2010.05646), sec. 2.4, whose equations are cited below; Kumar et al. 2023
(2306.06546) for the multi-scale mel; the silence weight is the two-stage system's own.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from binaural_core.audio.mel import MelConfig, log_mel, mel_filters
from binaural_core.errors import need
from binaural_core.models.bigvgan_config import BigVGANConfig
from binaural_core.shapes import check

FEATURE_WEIGHT = 2.0
SCALES = ((5, 32), (10, 64), (20, 128), (40, 256), (80, 512), (160, 1024), (320, 2048))  # mels, window in samples
SCALE_FLOOR = 1e-5


def discriminator_lsgan(real_scores: Sequence[Tensor], fake_scores: Sequence[Tensor]) -> Tensor:
    """Sum over networks of mean (1 - D(real))² + mean D(fake)² (eq. 1)."""
    pairs = zip(real_scores, fake_scores, strict=True)
    return sum((1 - real.float()).square().mean() + fake.float().square().mean() for real, fake in pairs)


def generator_lsgan(fake_scores: Sequence[Tensor]) -> Tensor:
    """Sum over networks of mean (1 - D(fake))² (eq. 2)."""
    return sum((1 - fake.float()).square().mean() for fake in fake_scores)


def feature_matching(real_maps: Sequence[Sequence[Tensor]], fake_maps: Sequence[Sequence[Tensor]]) -> Tensor:
    """Twice the sum over networks and layers of the mean absolute difference (eq. 4, lambda 2)."""
    networks = zip(real_maps, fake_maps, strict=True)
    layers = (pair for real, fake in networks for pair in zip(real, fake, strict=True))
    return FEATURE_WEIGHT * sum((real.float() - fake.float()).abs().mean() for real, fake in layers)


def silence_weights(
    target_BN: Tensor, mel: MelConfig, *, weight: float = 2.0, threshold_db: float = -50.0, gain_B: Tensor | None = None
) -> Tensor:
    """Weight (B, F) of every mel frame: ``weight`` where the target is silent, 1 elsewhere.

    A frame is silent when the RMS of its window's samples is below ``threshold_db`` re full scale. gain_B is the
    (linear) gain already applied to target_BN; silence is judged without it.
    """
    margin = (mel.n_fft - mel.hop_samples) // 2
    power_BN = F.pad(target_BN.float(), (margin, margin), mode="reflect").square()
    power_BF = F.avg_pool1d(power_BN, mel.n_fft, mel.hop_samples)
    threshold_B1 = power_BF.new_full((len(power_BF), 1), 10 ** (threshold_db / 10))
    if gain_B is not None:
        threshold_B1 = threshold_B1 * gain_B.float().square()[:, None]
    return torch.where(power_BF < threshold_B1, weight, 1.0)


def mel_l1(real_B1N: Tensor, fake_B1N: Tensor, mel: MelConfig, weight_BF: Tensor | None = None) -> Tensor:
    """Mean absolute difference of the log-mels (eq. 3), each frame times its weight_BF if given.

    The weighted sum is divided by the number of cells, not by the sum of weights: a heavier frame costs more, and the
    others cost what they did.
    """
    error_BMF = (_log_mel(fake_B1N, mel) - _log_mel(real_B1N, mel)).abs()
    return error_BMF.mean() if weight_BF is None else (error_BMF * weight_BF[:, None]).mean()


def _log_mel(wave_B1N: Tensor, mel: MelConfig) -> Tensor:
    # A generator that diverged gives NaN: the loss shall be NaN too, which the training loop knows how to answer.
    if not bool(torch.isfinite(wave_B1N).all()):
        return wave_B1N.float().sum() * float("nan")
    return log_mel(wave_B1N[:, 0], mel)


def multi_scale_mel(
    real_B1N: Tensor,
    fake_B1N: Tensor,
    sample_rate_hz: int,
    weight_BF: Tensor | None = None,
    hop_samples: int = 256,
) -> Tensor:
    """Sum over seven resolutions of the mean absolute difference of log10 mels (Kumar et al. 2023).

    From 5 mels of 32-sample windows to 320 mels of 2,048, hop a quarter window, full band. weight_BF, one weight per
    ``hop_samples``, is looked up at the centre of each frame; as in `mel_l1` the weighted sum is divided by the number of
    cells. Raises InputError for a wave of 1,024 samples or fewer.
    """
    longest = max(win for _, win in SCALES)
    need(
        real_B1N.shape[-1] > longest // 2,
        f"the wave has {real_B1N.shape[-1]} samples",
        why=f"the multi-scale mel mirrors half a window of {longest} at both ends",
        fix=f"train on segments (segment_size) longer than {longest // 2}",
    )
    total = real_B1N.new_zeros((), dtype=torch.float32)
    for mels, win in SCALES:
        error_BMF = (
            _log10_mel(fake_B1N, mels, win, sample_rate_hz) - _log10_mel(real_B1N, mels, win, sample_rate_hz)
        ).abs()
        if weight_BF is not None:
            centre_F = torch.arange(error_BMF.shape[-1], device=error_BMF.device) * (win // 4)
            error_BMF = error_BMF * weight_BF[:, None, (centre_F // hop_samples).clamp(max=weight_BF.shape[-1] - 1)]
        total = total + error_BMF.mean()
    return total


def _log10_mel(wave_B1N: Tensor, mels: int, win: int, sample_rate_hz: int) -> Tensor:
    wave_BN = wave_B1N[:, 0].float()
    mel = MelConfig(sample_rate_hz=sample_rate_hz, n_fft=win, hop_samples=win // 4, win_samples=win, n_mels=mels)
    with warnings.catch_warnings():  # the published loss has more bands than bins in places; some stay empty
        warnings.filterwarnings("ignore", message="Empty filters")
        filters_MK = mel_filters(mel, str(wave_BN.device))
    with torch.autocast(wave_BN.device.type, enabled=False):
        window = torch.hann_window(win, device=wave_BN.device)
        spectrum_BKF = torch.stft(wave_BN, win, win // 4, win, window, center=True, return_complex=True)
        return (filters_MK @ spectrum_BKF.abs()).clamp(min=SCALE_FLOOR).log10()


def discriminator_loss(
    real_B1N: Tensor, fake_B1N: Tensor, discriminators: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    """The discriminators' half of a step: one loss per set of networks under its name, and their sum, ``total``.

    No gradient reaches the generator. The sets are clipped apart in the published recipe.
    """
    losses = {}
    for name, networks in discriminators.items():
        real_scores, fake_scores, _, _ = networks(real_B1N, fake_B1N.detach())
        losses[name] = discriminator_lsgan(real_scores, fake_scores)
    return losses | {"total": sum(losses.values())}


def generator_losses(
    real_B1N: Tensor,
    fake_B1N: Tensor,
    discriminators: Mapping[str, nn.Module] | None,
    config: BigVGANConfig,
    gain_B: Tensor | None = None,
) -> dict[str, Tensor]:
    """The generator's half of a step: every term by name, unweighted, and the weighted sum, ``total``.

    discriminators : bare networks by name; None while they are frozen, then the mel loss is alone.
    gain_B : linear gain already applied to the segments, see `silence_weights`.
    Returns ``mel`` and per set ``adversarial_<name>``, ``features_<name>`` (with its factor 2). No gradient reaches
    the discriminators.
    """
    check(fake_B1N, f"{real_B1N.shape[0]} 1 {real_B1N.shape[-1]}", "generated wave")
    weight_BF = None
    if config.silence_weight != 1:
        weight_BF = silence_weights(
            real_B1N[:, 0],
            config.loss_mel,
            weight=config.silence_weight,
            threshold_db=config.silence_threshold_db,
            gain_B=gain_B,
        )
    if config.use_multiscale_melloss:
        mel = multi_scale_mel(real_B1N, fake_B1N, config.sampling_rate, weight_BF, config.hop_size)
    else:
        mel = mel_l1(real_B1N, fake_B1N, config.loss_mel, weight_BF)
    losses, total = {"mel": mel}, config.lambda_melloss * mel
    for name, networks in (discriminators or {}).items():
        with torch.no_grad():
            real = networks.hear(real_B1N)
        with _weights_held(networks):
            fake = networks.hear(fake_B1N)
        losses[f"adversarial_{name}"] = generator_lsgan([h.scores for h in fake])
        losses[f"features_{name}"] = feature_matching([h.maps for h in real], [h.maps for h in fake])
        total = total + losses[f"adversarial_{name}"] + losses[f"features_{name}"]
    return losses | {"total": total}


@contextmanager
def _weights_held(networks: nn.Module) -> Iterator[None]:
    """What is computed inside sends no gradient to the weights, only through them."""
    trained = [p for p in networks.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
