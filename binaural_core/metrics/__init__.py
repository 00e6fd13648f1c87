"""How good is it: waveform, spectral, interaural and perceptual measures, alone or as one table.

>>> import numpy as np
>>> wave_EN = np.random.default_rng(0).standard_normal((2, 22050))
>>> stft_distance(wave_EN, wave_EN, 22050)
0.0
"""

from binaural_core.metrics.interaural import iacc_error, ild_error_db, ipd_error_rad, itd_error_us
from binaural_core.metrics.perceptual import pesq, stoi
from binaural_core.metrics.spectral import (
    amplitude_l2,
    mel_cepstral_distortion_db,
    mel_ild_error_db,
    mel_l1,
    mel_l2,
    mel_pair,
    mel_rmse,
    multi_resolution_stft,
    phase_distance,
    phase_l2,
    stft_distance,
)
from binaural_core.metrics.summary import MEASURES, Measure, summarize, table
from binaural_core.metrics.waveform import env_distance, snr_db, wave_l2

__all__ = [
    "MEASURES",
    "Measure",
    "amplitude_l2",
    "env_distance",
    "iacc_error",
    "ild_error_db",
    "ipd_error_rad",
    "itd_error_us",
    "mel_cepstral_distortion_db",
    "mel_ild_error_db",
    "mel_l1",
    "mel_l2",
    "mel_pair",
    "mel_rmse",
    "multi_resolution_stft",
    "pesq",
    "phase_distance",
    "phase_l2",
    "snr_db",
    "stft_distance",
    "stoi",
    "summarize",
    "table",
    "wave_l2",
]
