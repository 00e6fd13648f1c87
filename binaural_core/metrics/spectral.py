"""Measures on spectra: short-time Fourier transforms and log-mels.

Conventions: (prediction, reference, sample_rate_hz), both (E, N), at the rate they are given; ``mel_*`` take log-mels
(E, M, F), natural log (`mel_pair` makes them from waves). Phase errors are wrapped: chance gives pi / 2. Silence has the
phase 0 and the least magnitude that a measure knows; where a sound must be longer than a window, the docstring says so.
"""

import math

import numpy as np
import scipy.fft
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from binaural_core.audio.io import resample
from binaural_core.audio.mel import MelConfig, log_mel
from binaural_core.audio.stft import stft
from binaural_core.errors import need
from binaural_core.metrics.pairs import as_float64, at_own_peak, pair
from binaural_core.shapes import check

FIELD = {"n_fft": 512, "hop": 160, "win": 400}  # 2.5D Visual Sound, at 16 kHz
ILD_BLOCK_FRAMES = 32
QUIET_DB = 50.0  # bands this far under the loudest are not heard beside it
SILENT_DB = 20 * math.log10(2e-5)  # of one cell: twice the floor of a log-mel
CEPSTRA = 13


def stft_distance(
    prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, *, normalized: bool = False
) -> float:
    """Sum over ears of the mean squared difference of the spectra's real and imaginary parts; 0 is best.

    Hann windows of 400 samples in 512 points every 160, zeros beyond the ends; one sample is enough. The mean is over real
    and imaginary parts apart, so "Mag" of later papers, the mean of |difference|², is exactly twice this.
    ``normalized``: each at its own peak over both ears. Published at 16 kHz.
    Source: Gao and Grauman 2019, 2.5D Visual Sound (1812.04204), sec. 5.
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz)
    if normalized:
        prediction_EN, reference_EN = at_own_peak(prediction_EN), at_own_peak(reference_EN)
    difference_EKF = _field_stft(prediction_EN - reference_EN)
    return float(difference_EKF.abs().square().mean(dim=(1, 2)).sum() / 2)


def phase_distance(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Mean wrapped phase error of the spectra of left minus right, in rad; 0 is best.

    A mono copy gives pi / 2 like chance (its difference is silence), swapped ears give pi. All bins count alike, also those
    in which nothing sounds.   Source: the evaluation of PseudoBinaural (2104.06162).
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz, ears=True)
    sides = np.stack([wave_EN[0] - wave_EN[1] for wave_EN in (prediction_EN, reference_EN)])
    predicted_KF, true_KF = _field_stft(sides).angle()
    error_KF = (predicted_KF - true_KF).abs()
    return float(torch.minimum(error_KF, 2 * math.pi - error_KF).mean())


def amplitude_l2(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Mean absolute difference of the spectra's magnitudes; published at 48 kHz; 0 is best.

    Hann windows of 40 ms in 2,048 points every 10 ms, the ends mirrored: InputError up to 1,024 samples.
    Source: Richard et al. 2021, Neural Synthesis of Binaural Speech, sec. 4 ("Amplitude"; l2 is its old name).
    """
    prediction_EKF, reference_EKF = _speech_stfts(prediction_EN, reference_EN, sample_rate_hz)
    return float((prediction_EKF.abs() - reference_EKF.abs()).abs().mean())


def phase_l2(
    prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, *, ignore_below: float = 0.2
) -> float:
    """Mean wrapped phase error, in rad, where both have energy; published at 48 kHz; 0 is best.

    A bin counts where |re| + |im| of both exceed ``ignore_below`` times the reference's mean; NaN where none does, as in
    silence on either side. Windows and shortest length are those of `amplitude_l2`.
    Source: Richard et al. 2021, Neural Synthesis of Binaural Speech, sec. 4 ("Phase").
    """
    prediction_EKF, reference_EKF = _speech_stfts(prediction_EN, reference_EN, sample_rate_hz)
    energy_EKF, true_energy_EKF = (s.real.abs() + s.imag.abs() for s in (prediction_EKF, reference_EKF))
    heard_EKF = torch.minimum(energy_EKF, true_energy_EKF) > ignore_below * true_energy_EKF.mean()
    if not heard_EKF.any():
        return math.nan
    return float((prediction_EKF[heard_EKF] * reference_EKF[heard_EKF].conj()).angle().abs().mean())


def multi_resolution_stft(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Spectral convergence plus log-magnitude error, mean over three resolutions; 0 is best.

    Magnitudes are at least 1e-4, so silence is finite; but convergence divides by the reference, so that of a table's mean
    one silent reference is hundreds: read the median. Convergence is over both ears at once. InputError up to 1,024 samples.
    Source: Yamamoto et al. 2020 (1910.11480), eq. 6; auraloss (Steinmetz and Reiss 2020), defaults, in float64.
    """
    from auraloss.freq import MultiResolutionSTFTLoss  # heavy, and needed here alone

    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz)
    _long_enough(reference_EN, 1024)
    loss = MultiResolutionSTFTLoss()
    for resolution in loss.stft_losses:
        resolution.window = torch.hann_window(resolution.win_length, dtype=torch.float64)
    return float(loss(*(torch.from_numpy(wave_EN[None].copy()) for wave_EN in (prediction_EN, reference_EN))))


def mel_pair(
    prediction_EN: ArrayLike,
    reference_EN: ArrayLike,
    sample_rate_hz: int,
    mel: MelConfig | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The log-mels (E, M, F) of two sounds, resampled to the mel's rate first: what the ``mel_*`` measures take.

    Raises InputError for sounds shorter than one mel window.
    """
    mel, waves = mel or MelConfig(), pair(prediction_EN, reference_EN, sample_rate_hz)
    predicted, true = (log_mel(resample(wave_EN, sample_rate_hz, mel.sample_rate_hz), mel).numpy() for wave_EN in waves)
    return predicted, true


def mel_rmse(prediction_EMF: ArrayLike, reference_EMF: ArrayLike, sample_rate_hz: int | None = None) -> float:
    """Root mean squared difference of two log-mels, in natural log; 0 is best (the rate is in the mels)."""
    return math.sqrt(mel_l2(prediction_EMF, reference_EMF))


def mel_l1(prediction_EMF: ArrayLike, reference_EMF: ArrayLike, sample_rate_hz: int | None = None) -> float:
    """Mean absolute difference of two log-mels, in natural log (8.69 dB); 0 is best."""
    prediction_EMF, reference_EMF = _mels(prediction_EMF, reference_EMF)
    return float(np.abs(prediction_EMF - reference_EMF).mean())


def mel_l2(prediction_EMF: ArrayLike, reference_EMF: ArrayLike, sample_rate_hz: int | None = None) -> float:
    """Mean squared difference of two log-mels, in natural log squared; 0 is best."""
    prediction_EMF, reference_EMF = _mels(prediction_EMF, reference_EMF)
    return float(((prediction_EMF - reference_EMF) ** 2).mean())


def mel_ild_error_db(prediction_EMF: ArrayLike, reference_EMF: ArrayLike, sample_rate_hz: int | None = None) -> float:
    """Absolute error of the level difference between the ears of two log-mels, in dB; 0 is best.

    What `ild_error_db` is for sound: the difference of each mel band over blocks of 32 frames (0.37 s), mean over bands and
    blocks, but for those 50 dB under the loudest of the reference. NaN against a silent reference.
    """
    prediction_EMF, reference_EMF = _mels(prediction_EMF, reference_EMF)
    need(
        len(reference_EMF) == 2,
        "the mels are not of two ears",
        why="they have no level difference",
        fix="give (2, M, F)",
    )
    starts = np.arange(0, reference_EMF.shape[2], ILD_BLOCK_FRAMES)
    level_db_EMT, predicted_db_EMT = (
        10 * np.log10(np.add.reduceat(np.exp(2 * mel_EMF), starts, axis=2))
        for mel_EMF in (reference_EMF, prediction_EMF)
    )
    louder_MT = level_db_EMT.max(axis=0)
    heard_MT = (louder_MT > louder_MT.max() - QUIET_DB) & (louder_MT > SILENT_DB + 10 * math.log10(ILD_BLOCK_FRAMES))
    error_MT = np.abs(np.diff(predicted_db_EMT, axis=0) - np.diff(level_db_EMT, axis=0))[0]
    return float(error_MT[heard_MT].mean()) if heard_MT.any() else math.nan


def mel_cepstral_distortion_db(
    prediction_EMF: ArrayLike, reference_EMF: ArrayLike, sample_rate_hz: int | None = None
) -> float:
    """Mean over ears and frames of the distance of cepstra 1 to 13, in dB; 0 is best; the level (c_0) does not count.

    The cepstra are the orthonormal cosine transform of the log-mels, so the number is sqrt(M / 2) times (6.3 with 80 bands)
    the RMS difference in dB of the mels that these cepstra describe. Frames are compared one to one, without warping.
    Source: Kubichek 1993, Mel-cepstral distance measure for objective speech quality assessment, eq. 3.
    """
    prediction_EMF, reference_EMF = _mels(prediction_EMF, reference_EMF)
    difference_EMF = scipy.fft.dct(prediction_EMF - reference_EMF, axis=1, norm="ortho")[:, 1 : CEPSTRA + 1]
    return float(10 / math.log(10) * np.sqrt(2 * (difference_EMF**2).sum(axis=1)).mean())


def _field_stft(wave_EN: np.ndarray) -> Tensor:
    return stft(torch.from_numpy(np.ascontiguousarray(wave_EN)), **FIELD)


def _speech_stfts(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> list[Tensor]:
    """(E, K, F) of both: 40 ms Hann windows every 10 ms, 2,048 points, centred, the ends mirrored."""
    waves = pair(prediction_EN, reference_EN, sample_rate_hz)
    win, hop = int(sample_rate_hz * 40 // 1000), int(sample_rate_hz // 100)
    n_fft = max(2048, win)
    _long_enough(waves[1], n_fft // 2)
    window = torch.hann_window(win, dtype=torch.float64)
    return [
        torch.stft(torch.from_numpy(np.ascontiguousarray(w)), n_fft, hop, win, window, return_complex=True)
        for w in waves
    ]


def _mels(prediction_EMF: ArrayLike, reference_EMF: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    prediction_EMF, reference_EMF = as_float64(prediction_EMF, "mel"), as_float64(reference_EMF, "mel")
    check(reference_EMF, "E M F", "reference mel")
    need(
        prediction_EMF.shape == reference_EMF.shape and reference_EMF.size > 0,
        f"the predicted mel has shape {prediction_EMF.shape}, the reference {reference_EMF.shape}",
        why="every cell is compared with its own",
        fix="make both with one MelConfig from sounds of one length",
    )
    need(
        bool(np.isfinite(prediction_EMF).all() and np.isfinite(reference_EMF).all()),
        "a mel has NaN or infinite cells",
        why="the measure would be NaN",
        fix="find where they come from",
    )
    return prediction_EMF, reference_EMF


def _long_enough(wave_EN: np.ndarray, at_least: int) -> None:
    need(
        wave_EN.shape[1] > at_least,
        f"the sounds have {wave_EN.shape[1]} samples",
        why=f"this measure's longest window needs more than {at_least}",
        fix="compare longer stretches",
    )
