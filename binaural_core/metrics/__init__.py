"""How good is it: waveform, spectral, interaural and perceptual measures, alone or as one table, and how sure that is.

`azimuth` says where the sound would be heard, `intervals` how sure a mean is, `listening` what listening tests prove.

>>> import numpy as np
>>> wave_EN = np.random.default_rng(0).standard_normal((2, 22050))
>>> stft_distance(wave_EN, wave_EN, 22050)
0.0
"""

from binaural_core.metrics.azimuth import AzimuthMatcher, azimuth_error_deg, lateral_error_deg, lateral_errors_deg
from binaural_core.metrics.interaural import iacc_error, ild_error_db, ipd_error_rad, itd_error_us
from binaural_core.metrics.intervals import Interval, bootstrap_interval, difference_interval, measure_intervals
from binaural_core.metrics.perceptual import estoi, pesq, stoi
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
    "AzimuthMatcher",
    "Interval",
    "Measure",
    "amplitude_l2",
    "azimuth_error_deg",
    "bootstrap_interval",
    "difference_interval",
    "env_distance",
    "estoi",
    "iacc_error",
    "ild_error_db",
    "ipd_error_rad",
    "itd_error_us",
    "lateral_error_deg",
    "lateral_errors_deg",
    "measure_intervals",
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
