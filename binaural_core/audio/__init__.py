"""Waveforms and what is computed from them: files, resampling, STFT, log-mel, scaling, interaural cues."""

from binaural_core.audio.interaural import (
    band_centres_hz,
    cross_spectrum,
    iacc,
    ild_bands,
    ild_db,
    ipd_rad,
    itd_blocks,
    itd_us,
    spherical_head_itd_s,
)
from binaural_core.audio.io import (
    AudioInfo,
    AudioWriter,
    Sound,
    audio_info,
    is_silent,
    read_audio,
    resample,
    stream_audio,
    write_audio,
)
from binaural_core.audio.mel import LOG_FLOOR, MelConfig, log_mel, mel_filters
from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.audio.stft import istft, stft

__all__ = [
    "LOG_FLOOR",
    "AudioInfo",
    "AudioWriter",
    "MelConfig",
    "Sound",
    "audio_info",
    "band_centres_hz",
    "cross_spectrum",
    "from_unit",
    "iacc",
    "ild_bands",
    "ild_db",
    "ipd_rad",
    "is_silent",
    "istft",
    "itd_blocks",
    "itd_us",
    "log_mel",
    "mel_filters",
    "read_audio",
    "resample",
    "spherical_head_itd_s",
    "stft",
    "stream_audio",
    "to_unit",
    "write_audio",
]
