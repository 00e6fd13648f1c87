"""A baseline without learning: where the source is seen, so much earlier and louder is the near ear.

The head is a rigid sphere of 8.5 cm with ears at +-90°, the source far away. Its sound field on the sphere (Duda and
Martens 1998, eq. 2) gives the level of each ear at each frequency; the delay is that of `spherical_head_itd_s`, on the far
ear, as in `models.mono_phase`. The ears' gains are scaled so that their mean energy is that of the mono at every frequency.
Elevation counts through the angle off the median plane only; distance and the room do not count at all. With several
sources the mean of their delays and of their levels in dB is taken, as one warp cannot serve two. What the data set does not
know is not looked for: clips without known positions come out as the mono copy.

A sphere shadows less than a head: at 60° by 0.8, 3.2, 6.8 and 10.8 dB from 200 to 500, 1,000, 2,000 and 4,000 Hz, where MIT
KEMAR has 3.6, 6.0, 12.2 and 11.6.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from binaural_core.audio import MelConfig
from binaural_core.audio.interaural import SPEED_OF_SOUND_M_S
from binaural_core.data.config import DataConfig
from binaural_core.data.eyes import clip_eyes
from binaural_core.data.sample import Clip
from binaural_core.models.mono_phase import apply_gains, seen_delay_s

HEAD_RADIUS_M = 0.085
LOOKS_PER_S = 10.0
OBJECTS = 4


class Warp:
    """``warp(mono_N, sample_rate_hz, clip) -> wave_EN``, from the positions that the clip's views hold."""

    data = DataConfig(objects=OBJECTS, crop_px=1, whole_frame="never", frames_per_window=1)

    def __call__(self, mono_N: np.ndarray, sample_rate_hz: int, clip: Clip) -> np.ndarray:
        looks = max(1, round(len(mono_N) / sample_rate_hz * LOOKS_PER_S))
        times_s = [(at + 0.5) / looks * len(mono_N) / sample_rate_hz for at in range(looks)]
        if not clip.look(times_s[:1])[0].objects_known:
            return np.stack([mono_N, mono_N])
        seen = clip_eyes(clip, self.data).sight(times_s)
        return warped(mono_N, sample_rate_hz, seen.positions_LO3, seen.mask_LO)


def warped(mono_N: np.ndarray, sample_rate_hz: int, positions_LO3: np.ndarray, mask_LO: np.ndarray) -> np.ndarray:
    """Both ears (2, N). positions_LO3 : azimuth_deg, elevation_deg, distance_m, L times evenly; mask True = nothing there."""
    mel = MelConfig(sample_rate_hz=sample_rate_hz)  # its frames alone
    padded_N = np.pad(np.asarray(mono_N, np.float32), (0, -len(mono_N) % mel.hop_samples + mel.n_fft))
    frames = len(padded_N) // mel.hop_samples
    part = len(mono_N) / len(padded_N)  # of the frames, that the positions are spread over
    at_F = np.minimum((np.arange(frames) + 0.5) / frames / part, 1.0)
    delay_F = np.interp(at_F, (np.arange(frames) + 0.5) / frames, seen_delay_s(positions_LO3, mask_LO, frames))
    level_EKF = np.moveaxis(_levels(positions_LO3, mask_LO, at_F, sample_rate_hz, mel.n_fft), 0, 2)
    gains_EKF = torch.from_numpy(np.exp(level_EKF).astype(np.float32))
    wave_EN = apply_gains(torch.from_numpy(padded_N), gains_EKF, torch.from_numpy(delay_F.astype(np.float32)), mel)
    return wave_EN.numpy()[:, : len(mono_N)]


def _levels(
    positions_LO3: np.ndarray, mask_LO: np.ndarray, at_F: np.ndarray, sample_rate_hz: int, n_fft: int
) -> np.ndarray:
    """Natural log of the gains (F, E, K): the mean over what is seen, 0 where nothing is; held before and after."""
    azimuth_LO, elevation_LO = positions_LO3[..., 0], np.nan_to_num(positions_LO3[..., 1])
    seen_LO = ~mask_LO & np.isfinite(azimuth_LO)
    count_L = seen_LO.sum(axis=1)
    bins = n_fft // 2 + 1
    if not count_L.any():
        return np.zeros((len(at_F), 2, bins))
    side_LO = np.sin(np.radians(np.nan_to_num(azimuth_LO))) * np.cos(np.radians(elevation_LO))
    level_LOEK = sphere_level(side_LO, sample_rate_hz, n_fft) * seen_LO[..., None, None]
    level_LEK = level_LOEK.sum(axis=1) / np.maximum(count_L, 1)[:, None, None]
    at_L = ((np.arange(len(count_L)) + 0.5) / len(count_L))[count_L > 0]
    left = np.clip(np.searchsorted(at_L, at_F) - 1, 0, max(len(at_L) - 2, 0))
    right = np.minimum(left + 1, len(at_L) - 1)
    gap_F = at_L[right] - at_L[left]
    share_F = np.clip((at_F - at_L[left]) / np.where(gap_F > 0, gap_F, 1), 0, 1)[:, None, None]
    known_LEK = level_LEK[count_L > 0]
    return known_LEK[left] * (1 - share_F) + known_LEK[right] * share_F


def sphere_level(side: np.ndarray, sample_rate_hz: int, n_fft: int) -> np.ndarray:
    """Natural log of both ears' gains (…, E, K), their mean energy 1.

    side : sin(azimuth) cos(elevation), positive left: the sine of the angle off the median plane.
    """
    angles_T, level_TEK = _sphere_levels(sample_rate_hz, n_fft)
    angle = np.arcsin(np.abs(side).clip(0, 1))
    at = angle / (angles_T[1] - angles_T[0])
    low = np.minimum(at.astype(int), len(angles_T) - 2)
    share = (at - low)[..., None, None]
    level = level_TEK[low] * (1 - share) + level_TEK[low + 1] * share
    return np.where((np.asarray(side) >= 0)[..., None, None], level, level[..., ::-1, :])


@functools.lru_cache(maxsize=4)
def _sphere_levels(sample_rate_hz: int, n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """(angle off the median plane (T,) in rad, log gains (T, E, K)) for sources on the left: row 0 is the near ear."""
    angle_T = np.radians(np.linspace(0.0, 90.0, 37))
    ka_K = 2 * np.pi * np.fft.rfftfreq(n_fft, 1 / sample_rate_hz)[1:] * HEAD_RADIUS_M / SPEED_OF_SOUND_M_S
    near_TK, far_TK = np.zeros((2, len(angle_T), len(ka_K)), complex)
    for m in range(math.ceil(ka_K.max()) + 12):
        with np.errstate(over="ignore", invalid="ignore"):
            slope_K = spherical_jn(m, ka_K, True) - 1j * spherical_yn(m, ka_K, True)  # h'_m(ka), outgoing
            term_K = np.where(np.isfinite(slope_K), (2 * m + 1) * 1j ** (m + 1) / slope_K, 0)
        near_TK += eval_legendre(m, np.sin(angle_T))[:, None] * term_K
        far_TK += eval_legendre(m, -np.sin(angle_T))[:, None] * term_K
    pressure_TEK = np.abs(np.stack([near_TK, far_TK], axis=1))  # but for a factor of both ears
    gain_TEK = pressure_TEK / np.sqrt((pressure_TEK**2).mean(axis=1, keepdims=True))
    level_TEK = np.log(np.concatenate([np.ones_like(gain_TEK[..., :1]), gain_TEK], axis=2))  # 0 Hz: no shadow
    return angle_T, level_TEK
