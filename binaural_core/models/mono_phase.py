"""Stage 2 without parameters: the mono recording carries the phase, the mels carry the levels, the picture the delay.

A mel keeps the level difference between the ears almost perfectly and the time difference not at all. The mono wave is
there at inference, so each ear is the mono short-time spectrum times a gain read off the mels, and the far ear is delayed
by what the direction of the seen source asks for. The near ear is not delayed: delaying both by half each would move
energy against the mono the gains were measured on.

Conventions: delays in seconds, positive = left ear first (the right ear is delayed); gains are magnitudes, not dB.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio import MelConfig, log_mel, mel_filters
from binaural_core.audio.interaural import spherical_head_itd_s
from binaural_core.audio.stft import istft, stft
from binaural_core.shapes import check

GAIN_LIMIT = 10.0  # +20 dB: no ear is louder than the mean of both by more than 6 dB, save where the ears cancel


def mel_gains(mel_EMF: Tensor, mono_mel_MF: Tensor, mel: MelConfig) -> Tensor:
    """Gain of each ear over the mono in every short-time Fourier bin, read off log-mels.

    The ratio of two mel magnitudes is the gain of a band; a bin takes the mean of the bands it belongs to, weighted by
    their filters (in the log domain, so that +6 and -6 dB cancel). Bins no band covers take the nearest band's gain.

    mel_EMF, mono_mel_MF : natural-log mels of one stretch.   Returns (E, K, F) with K = n_fft / 2 + 1.
    """
    check(mel_EMF, "2 M F", "mel_EMF")
    log_gain_EMF = mel_EMF - mono_mel_MF
    filters_MK = mel_filters(mel).to(mel_EMF)
    weights_MK = filters_MK / filters_MK.sum(dim=1, keepdim=True).clamp_min(1e-12)
    covered_K = weights_MK.sum(dim=0)
    peak_M = weights_MK.argmax(dim=1)
    nearest_K = (torch.arange(len(covered_K), device=peak_M.device)[:, None] - peak_M[None]).abs().argmin(dim=1)
    mean_EKF = torch.einsum("mk,emf->ekf", weights_MK / covered_K.clamp_min(1e-12), log_gain_EMF)
    log_gain_EKF = torch.where((covered_K > 0)[None, :, None], mean_EKF, log_gain_EMF[:, nearest_K])
    return log_gain_EKF.exp().clamp(max=GAIN_LIMIT)


def apply_gains(mono_N: Tensor, gains_EKF: Tensor, delay_s_F: Tensor | None, mel: MelConfig) -> Tensor:
    """Both ears from the mono wave: gains per bin, and the far ear delayed by ``|delay_s_F|``.

    The frames are the mel's. Gains of one and no delay return the mono wave.

    mono_N : at ``mel.sample_rate_hz``, N // hop_samples = F.   delay_s_F : seconds, > 0 left first, or None.
    Returns (2, N).
    """
    frame = (mel.n_fft, mel.hop_samples, mel.win_samples)
    spectrum_KF = stft(mono_N[None], *frame, framing="mel")[0]
    check(gains_EKF, f"2 {spectrum_KF.shape[0]} {spectrum_KF.shape[1]}", "gains")
    ears_EKF = spectrum_KF * gains_EKF
    if delay_s_F is not None:
        omega_K = 2 * torch.pi * torch.fft.rfftfreq(mel.n_fft, 1 / mel.sample_rate_hz, device=mono_N.device)
        delay_EF = torch.stack([(-delay_s_F).clamp_min(0), delay_s_F.clamp_min(0)]).to(omega_K)
        angle_EKF = -omega_K[None, :, None] * delay_EF[:, None, :]  # a delay of d is exp(-i omega d)
        ears_EKF = ears_EKF * torch.polar(torch.ones_like(angle_EKF), angle_EKF)
    return istft(ears_EKF, *frame, length=mono_N.shape[-1], framing="mel")


def seen_delay_s(positions_LO3: np.ndarray, mask_LO: np.ndarray, frames: int) -> np.ndarray:
    """The delay the seen sources ask for, per mel frame: seconds, > 0 left first.

    One source: the spherical head's delay for its direction. Several: the mean of their delays, because one delay cannot
    serve two sources. Nothing seen: the last delay seen, or none at all.

    positions_LO3 : azimuth_deg, elevation_deg, distance_m, NaN where unknown.   mask_LO : True = nothing there.
    Returns (frames,), the L pictures spread evenly over the frames.
    """
    azimuth_LO, elevation_LO = positions_LO3[..., 0], np.nan_to_num(positions_LO3[..., 1])
    seen_LO = ~mask_LO & np.isfinite(azimuth_LO)
    delay_LO = np.where(seen_LO, spherical_head_itd_s(np.nan_to_num(azimuth_LO), elevation_LO), 0.0)
    count_L = seen_LO.sum(axis=1)
    if not count_L.any():
        return np.zeros(frames, np.float32)
    delay_L = delay_LO.sum(axis=1) / np.maximum(count_L, 1)
    at_L = (np.arange(len(delay_L)) + 0.5) / len(delay_L)
    at_F = (np.arange(frames) + 0.5) / frames
    return np.interp(at_F, at_L[count_L > 0], delay_L[count_L > 0]).astype(np.float32)


def mono_phase(
    mel_EMF: Tensor,
    mono_N: Tensor,
    positions_LO3: np.ndarray | None,
    mask_LO: np.ndarray | None,
    mel: MelConfig,
) -> Tensor:
    """Binaural wave from predicted log-mels, the mono wave and the seen positions.   Returns (2, N)."""
    frames = mel_EMF.shape[-1]
    mono_mel_MF = log_mel(mono_N[None], mel)[0, :, :frames]
    delay_F = None
    if positions_LO3 is not None and mask_LO is not None:
        delay_F = torch.from_numpy(seen_delay_s(positions_LO3, mask_LO, frames)).to(mono_N.device)
    return apply_gains(mono_N, mel_gains(mel_EMF, mono_mel_MF, mel), delay_F, mel)
