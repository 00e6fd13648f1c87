"""One recording on its way through both stages, a span of mel frames at a time.

Everything lives on one grid of mel frames. Stage 1 sees windows of W frames that overlap by the time between two
pictures; overlapping windows start from the same noise (it is keyed by the frame, not by the window) and are cross-faded.
Stage 2 makes a span of frames with as much context on both sides as it needs, so a join is where two spans agree to the
sample. Nothing longer than a span and its windows is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio import MelConfig, log_mel
from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.data.config import DataConfig
from binaural_core.data.eyes import Eyes
from binaural_core.models.diffbinaural import DiffBinaural
from binaural_core.models.vocoding import Places, Vocoder
from binaural_core.seeds import stream

WINDOWS_AT_ONCE = 8
EDGE_FRAMES = 4  # read beyond a stretch so that its mel has no edge


@dataclass(frozen=True)
class Span:
    """A stretch of the result: both ears' wave (2, n) and natural-log mel (2, M, F)."""

    wave_EN: np.ndarray
    mel_EMF: np.ndarray


class RollingMono:
    """The part of a sound that is still needed: filled from the front, forgotten behind."""

    def __init__(self, blocks: Iterator[np.ndarray]):
        self.blocks, self.first, self.kept_N = blocks, 0, np.zeros(0, np.float32)

    def fill_to(self, sample: int) -> int:
        """Hold sound up to ``sample``; returns where it ends if that is earlier, else ``sample`` or later."""
        pieces = [self.kept_N]
        have = self.first + len(self.kept_N)
        while have < sample and (block_CN := next(self.blocks, None)) is not None:
            pieces.append(block_CN.mean(axis=0, dtype=np.float32))
            have += len(pieces[-1])
        self.kept_N = np.concatenate(pieces)
        return have

    def read(self, start: int, stop: int) -> Tensor:
        """Samples start … stop - 1, zero before the beginning and after the end."""
        low, high = start - self.first, stop - self.first
        assert low >= 0 or self.first == 0, "that part was forgotten"
        inside_N = self.kept_N[max(low, 0) : max(high, 0)]
        return torch.from_numpy(np.pad(inside_N, (max(-low, 0), stop - start - max(-low, 0) - len(inside_N))))

    def forget_before(self, sample: int) -> None:
        drop = max(0, min(sample - self.first, len(self.kept_N)))
        self.first += drop
        self.kept_N = self.kept_N[drop:]


class Passage:
    """One recording on its way through both stages; remembers the windows that the next span shares."""

    def __init__(
        self,
        stage1: DiffBinaural,
        mel: MelConfig,
        data: DataConfig,
        mono: RollingMono,
        eyes: Eyes,
        *,
        seed: int,
        steps: int | None,
        device: torch.device,
    ):
        self.stage1, self.mel, self.data, self.mono, self.eyes = stage1, mel, data, mono, eyes
        self.seed, self.steps, self.device = seed, steps, device
        self.window = data.window_frames
        self.pictures_per_window = max(data.frames_per_window, 1)
        self.overlap = frames_between_pictures(data)
        self.hop = self.window - self.overlap if self.window > self.overlap else self.window
        self.windows: dict[int, Tensor] = {}  # number of the window -> (2, M, W) in unit scale
        ramp_W = torch.ones(self.window)
        slope = (torch.arange(self.overlap) + 0.5) / self.overlap
        ramp_W[: self.overlap] *= slope
        ramp_W[-self.overlap :] *= slope.flip(0)
        self.ramp_W = ramp_W

    @torch.no_grad()
    def make(self, start: int, stop: int, vocoder: Vocoder) -> Span:
        """Frames start … stop - 1."""
        hop, context = self.mel.hop_samples, vocoder.context_frames
        low, high = max(0, start - context), stop + context
        mel_EMF = from_unit(self.predicted(low, high))
        mono_N = self.mono.read(low * hop, high * hop).to(self.device)
        wave_EN = vocoder(mel_EMF, mono_N, seen_places(self.eyes, self.mel, self.data, low, high))
        end = min(stop * hop, self.mono.first + len(self.mono.kept_N))
        keep = slice((start - low) * hop, end - low * hop)
        span = Span(
            wave_EN[:, keep].float().cpu().numpy(),
            mel_EMF[:, :, start - low : stop - low].float().cpu().numpy(),
        )
        oldest = max(0, (stop - context - self.window) // self.hop)
        self.windows = {k: v for k, v in self.windows.items() if k >= oldest}
        self.mono.forget_before((oldest * self.hop - EDGE_FRAMES) * hop)
        return span

    def predicted(self, low: int, high: int) -> Tensor:
        """Cross-faded predictions for frames low … high - 1, (2, M, F) in unit scale."""
        numbers = [k for k in range(high // self.hop + 1) if k * self.hop < high and k * self.hop + self.window > low]
        missing = [k for k in numbers if k not in self.windows]
        for i in range(0, len(missing), WINDOWS_AT_ONCE):
            self._predict(missing[i : i + WINDOWS_AT_ONCE])
        shape = self.windows[numbers[0]].shape
        sum_EMF = torch.zeros(shape[0], shape[1], high - low, device=self.device)
        weight_F = torch.zeros(high - low, device=self.device)
        ramp_W = self.ramp_W.to(self.device)
        for k in numbers:
            first = k * self.hop
            inside = slice(max(first, low) - first, min(first + self.window, high) - first)
            there = slice(max(first, low) - low, min(first + self.window, high) - low)
            sum_EMF[:, :, there] += self.windows[k][:, :, inside] * ramp_W[inside]
            weight_F[there] += ramp_W[inside]
        return sum_EMF / weight_F

    def _predict(self, numbers: list[int]) -> None:
        """Stage 1 on windows of these numbers, in one batch."""
        hop = self.mel.hop_samples
        mono_BN = torch.stack(
            [
                self.mono.read((k * self.hop - EDGE_FRAMES) * hop, (k * self.hop + self.window + EDGE_FRAMES) * hop)
                for k in numbers
            ]
        )
        mono_BMF = log_mel(mono_BN.to(self.device), self.mel)[:, :, EDGE_FRAMES : EDGE_FRAMES + self.window]
        noise_BEMF = torch.stack([self._noise(k, mono_BMF.shape[1]) for k in numbers]).to(self.device)
        times = [picture_times_s(self.mel, self.data, k * self.hop, self.pictures_per_window) for k in numbers]
        sights = [self.eyes.sight(times_s) for times_s in times]
        seen = [
            torch.from_numpy(np.stack([getattr(s, name) for s in sights])).to(self.device)
            for name in ("crops_LOCHW", "image_positions_LO2", "positions_LO3", "mask_LO")
        ]
        mel_BEMF = self.stage1.sample(to_unit(mono_BMF)[:, None], seen, noise_BEMF=noise_BEMF, steps=self.steps)
        self.windows.update(zip(numbers, mel_BEMF.float(), strict=True))

    def _noise(self, window: int, bands: int) -> Tensor:
        """Keyed by stretches of `overlap` frames, so that windows share the noise of the frames they share."""
        first = window * self.hop // self.overlap
        return torch.cat(
            [
                torch.randn(2, bands, self.overlap, generator=stream(self.seed, "noise", block))
                for block in range(first, first + self.pictures_per_window)
            ],
            dim=2,
        )


def seen_places(eyes: Eyes, mel: MelConfig, data: DataConfig, low: int, high: int) -> Places:
    """Where the sources are at the mel frames low … high - 1: interpolated between the pictures that show them."""
    between = frames_between_pictures(data)
    first = low // between * between
    times = picture_times_s(mel, data, first, -(-(high - first) // between))
    sight = eyes.sight(times)
    seconds = mel.hop_samples / mel.sample_rate_hz
    return interpolated(np.array(times), (np.arange(low, high) + 0.5) * seconds, sight.positions_LO3, sight.mask_LO)


def frames_between_pictures(data: DataConfig) -> int:
    return data.window_frames // max(data.frames_per_window, 1)


def picture_times_s(mel: MelConfig, data: DataConfig, first_frame: int, count: int) -> list[float]:
    """Times of so many pictures, each in the middle of its stretch of mel frames."""
    between, seconds = frames_between_pictures(data), mel.hop_samples / mel.sample_rate_hz
    return [(first_frame + (i + 0.5) * between) * seconds for i in range(count)]


def interpolated(times_L: np.ndarray, at_F: np.ndarray, positions_LO3: np.ndarray, mask_LO: np.ndarray) -> Places:
    """Positions at other times: linear between the pictures that show an object, held beyond the first and the last.

    An object counts as there at a time when the nearest picture shows it. Azimuths turn the short way round.
    """
    objects = positions_LO3.shape[1]
    places_FO3 = np.full((len(at_F), objects, 3), np.nan, np.float32)
    nearest_F = np.abs(times_L[None] - at_F[:, None]).argmin(axis=1)
    for o in range(objects):
        shown_L = ~mask_LO[:, o] & np.isfinite(positions_LO3[:, o, 0])
        if not shown_L.any():
            continue
        azimuth_L = np.rad2deg(np.unwrap(np.deg2rad(positions_LO3[shown_L, o, 0].astype(np.float64))))
        places_FO3[:, o, 0] = np.interp(at_F, times_L[shown_L], azimuth_L)
        for c in (1, 2):
            places_FO3[:, o, c] = np.interp(at_F, times_L[shown_L], positions_LO3[shown_L, o, c])
    return Places(places_FO3, mask_LO[nearest_F])
