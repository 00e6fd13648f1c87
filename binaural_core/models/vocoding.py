"""Stage 2 behind one door, whatever its mode: ``(mel_EMF, mono_N, places) -> wave_EN``.

Modes: `PerEar` ('bigvgan', the original's: a neural vocoder that hears each ear alone) and `MonoPhase` ('mono_phase':
gains from the mels on the mono's own spectrum, delay from the seen position). A mode says how many frames of context it
needs on each side, so that long sound can be made in spans whose joins are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio import MelConfig
from binaural_core.errors import need
from binaural_core.models.bigvgan import BigVGAN, receptive_field_frames
from binaural_core.models.mono_phase import mono_phase
from binaural_core.shapes import check

SILENCE = 10 ** (-90 / 20)  # RMS of a frame under which nothing is to be heard


@dataclass(frozen=True)
class Places:
    """Where the seen sources are, L times evenly over the stretch."""

    positions_LO3: np.ndarray  # azimuth_deg, elevation_deg, distance_m; NaN where unknown
    mask_LO: np.ndarray  # bool, True = nothing there


class Vocoder(Protocol):
    """Turns both ears' log-mels into waves."""

    name: str
    context_frames: int
    mel: MelConfig

    def __call__(self, mel_EMF: Tensor, mono_N: Tensor | None, places: Places | None) -> Tensor:
        """Natural-log mels of F frames, the mono of F * hop samples -> (2, F * hop)."""
        ...


class MonoPhase:
    """The parameter-free mode. Needs the mono; without positions the ears get no delay."""

    name = "mono_phase"
    context_frames = 8

    def __init__(self, mel: MelConfig):
        self.mel = mel

    def __call__(self, mel_EMF: Tensor, mono_N: Tensor | None, places: Places | None) -> Tensor:
        check(mel_EMF, "2 M F", "mel_EMF")
        need(
            mono_N is not None,
            "the mode mono_phase was given no mono sound",
            why="it takes its phase from the mono recording",
            fix="give the mono sound too, or use the mode bigvgan",
        )
        positions, mask = (places.positions_LO3, places.mask_LO) if places else (None, None)
        return mono_phase(mel_EMF, mono_N, positions, mask, self.mel)


class PerEar:
    """BigVGAN on each ear alone, as in the original system. Knows nothing of time differences."""

    name = "bigvgan"

    def __init__(self, generator: BigVGAN, mel: MelConfig):
        self.generator, self.mel = generator.eval(), mel
        self.context_frames = receptive_field_frames(generator.config)

    @torch.no_grad()
    def __call__(self, mel_EMF: Tensor, mono_N: Tensor | None, places: Places | None = None) -> Tensor:
        check(mel_EMF, "2 M F", "mel_EMF")
        wave_EN = self.generator(mel_EMF)[:, 0]
        return wave_EN if mono_N is None else wave_EN * sounding(mono_N, self.mel.hop_samples)


def sounding(mono_N: Tensor, hop_samples: int) -> Tensor:
    """A gate (N,) that is 0 where the mono is silent and 1 where it sounds, with one hop of slope: silence in, silence out."""
    frames = mono_N.shape[-1] // hop_samples
    rms_F = mono_N[: frames * hop_samples].reshape(frames, hop_samples).square().mean(dim=1).sqrt()
    heard_11F = (rms_F > SILENCE).to(mono_N)[None, None]
    heard_11F = torch.nn.functional.max_pool1d(heard_11F, 3, stride=1, padding=1)  # keep the neighbours' slopes
    return torch.nn.functional.interpolate(heard_11F, size=mono_N.shape[-1], mode="linear", align_corners=False)[0, 0]
