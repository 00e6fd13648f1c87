"""Silence in, silence out: a frame in which the mono has nothing is not left to a sampler.

A sampler's answer has a spread, and a network's average over silent and nearly silent frames lies above the floor: both
are heard as hiss where nothing is. The mono is the mean of both ears, so where it lies at the floor they do too, unless
they cancel to the last digit. Such a frame holds digital silence, or white noise below -105 dB re full scale; the last
bit of a dithered 16-bit recording (-96 dB) is above.

Conventions: mels in unit scale, as in `binaural_core.audio.scaling`.
"""

import torch
from torch import Tensor

from binaural_core.audio.mel import LOG_FLOOR
from binaural_core.audio.scaling import from_unit

SILENT = LOG_FLOOR + 0.1  # natural log of the mel magnitude, less than 1 dB above the floor


def silent_frames(mono_B1MF: Tensor) -> Tensor:
    """Frames whose every band lies at `SILENT` or below, bool (B, 1, 1, F)."""
    return (from_unit(mono_B1MF) <= SILENT).all(dim=2, keepdim=True)


def keep_silence(mels_BEMF: Tensor, mono_B1MF: Tensor) -> Tensor:
    """The mels with the mono's own in its silent frames; everywhere else as they were."""
    return torch.where(silent_frames(mono_B1MF), mono_B1MF.to(mels_BEMF.dtype), mels_BEMF)
