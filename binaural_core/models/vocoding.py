"""Stage 2 behind one door, whatever its mode: ``(mel_EMF, mono_N, places) -> wave_EN``.

Modes: `PerEar` ('bigvgan', the original's: a neural vocoder that hears each ear alone) and `MonoPhase` ('mono_phase':
gains from the mels on the mono's own spectrum, delay from the seen position). A mode says how many frames of context it
needs on each side, so that long sound can be made in spans whose joins are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio import LOG_FLOOR, MelConfig
from binaural_core.errors import need
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig, receptive_field_frames
from binaural_core.models.mono_phase import mono_phase
from binaural_core.shapes import check

SILENCE = 10 ** (-90 / 20)  # RMS of a frame under which nothing is to be heard
AT_FLOOR = LOG_FLOOR + 1e-3  # a frame whose bands are all this low is the mel of silence


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

    def __init__(self, generator: BigVGAN, mel: MelConfig, *, bf16: bool = False):
        """bf16 : the network computes in bfloat16 where it can: faster on a GPU, less exact."""
        self.generator, self.mel, self.bf16 = generator.eval(), mel, bf16
        self.context_frames = receptive_field_frames(generator.config)

    @classmethod
    def open(
        cls,
        path: str | Path,
        config: str | Path | None = None,
        *,
        device: str | torch.device = "cpu",
        bf16: bool = False,
    ) -> Self:
        """A generator file (``g_best``, ``g_XXXXXXXX``, ``bigvgan_generator.pt``) and its config, ``config.json`` beside it.

        Raises InputError when one of them is missing or they do not belong together.
        """
        beside = Path(path).with_name("config.json")
        need(
            config is not None or beside.is_file(),
            f"{beside} is not there",
            why="the config says how the network is built and what mels it hears",
            fix="put the config that came with the vocoder beside it, or name it",
        )
        built = BigVGANConfig.from_json(config or beside)
        generator = BigVGAN.from_checkpoint(path, built).remove_weight_norm()
        return cls(generator.to(device), built.mel, bf16=bf16)

    @torch.no_grad()
    def __call__(self, mel_BMF: Tensor, mono_BN: Tensor | None, places: Places | None = None) -> Tensor:
        """(B, F * hop): any ears of any recordings; none of them changes what another sounds like.

        mono_BN : (N,) for all or (B, N): where it is silent, so is the ear. None: where the mel is at its floor.
        """
        check(mel_BMF, "B M F", "mel_BMF")
        with torch.autocast(mel_BMF.device.type, torch.bfloat16, enabled=self.bf16):
            wave_BN = self.generator(mel_BMF)[:, 0].float()
        heard_BF = (mel_BMF > AT_FLOOR).any(dim=1) if mono_BN is None else heard(mono_BN, self.mel.hop_samples)
        return wave_BN if bool(heard_BF.all()) else wave_BN * gate(heard_BF, wave_BN.shape[1])


def heard(mono_BN: Tensor, hop_samples: int) -> Tensor:
    """Which hops of a mono, (N,) or (B, N), sound: (B, N // hop) booleans."""
    frames = mono_BN.shape[-1] // hop_samples
    hops_BFn = mono_BN[..., : frames * hop_samples].reshape(-1, frames, hop_samples)
    return hops_BFn.square().mean(dim=2).sqrt() > SILENCE


def gate(heard_BF: Tensor, samples: int) -> Tensor:
    """0 where nothing is heard and 1 where something is, (B, N), with one hop of slope: silence in, silence out."""
    heard_B1F = heard_BF.float()[:, None]
    heard_B1F = torch.nn.functional.max_pool1d(heard_B1F, 3, stride=1, padding=1)  # keep the neighbours' slopes
    return torch.nn.functional.interpolate(heard_B1F, size=samples, mode="linear", align_corners=False)[:, 0]
