"""Segments for the vocoder: a stretch of both ears, and the log-mels that stage 1 predicted for the very same frames.

Mel files are ``{out}/{left,right}/{split}/{video_id}_{start_s:.2f}_{left,right}.npy``: (80, F) float32, natural log, not
scaled. A window starts at its ``start_s`` to the sample (``round(start_s * sample_rate_hz)``), which is why starts are
whole hundredths of a second.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio import MelConfig
from binaural_core.checkpoint import write_whole
from binaural_core.data.sample import Clip
from binaural_core.errors import InputError, need
from binaural_core.seeds import numpy_stream

EARS = ("left", "right")
NAME = re.compile(r"(?P<video_id>.+)_(?P<start_s>\d+\.\d\d)_(?P<ear>left|right)\.npy")


def mel_path(out: Path, ear: str, split: str, video_id: str, start_s: float) -> Path:
    """Where the mel of one ear of one window lies."""
    return Path(out) / ear / split / f"{video_id}_{start_s:.2f}_{ear}.npy"


def write_mels(out: Path, split: str, video_id: str, start_s: float, mel_EMF: np.ndarray) -> list[Path]:
    """Write both ears' log-mels of one window, each file whole or not at all."""
    paths = []
    for ear, mel_MF in zip(EARS, np.asarray(mel_EMF, np.float32), strict=True):

        def write(temporary: Path, mel_MF: np.ndarray = mel_MF) -> None:
            with open(temporary, "wb") as file:
                np.save(file, mel_MF)

        paths.append(write_whole(mel_path(out, ear, split, video_id, start_s), write))
    return paths


def read_mels(out: Path, split: str, video_id: str, start_s: float) -> np.ndarray:
    """Both ears' log-mels of one window, (2, M, F). Raises InputError when a file is missing, broken or not finite."""
    mels = []
    for ear in EARS:
        path = mel_path(out, ear, split, video_id, start_s)
        try:
            mel_MF = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"the mel file {path} cannot be read", why=str(error), fix="write it again with `binaural mels`"
            ) from error
        need(
            mel_MF.ndim == 2 and bool(np.isfinite(mel_MF).all()),
            f"the mel file {path} does not hold a finite (bands, frames) array",
            why="the vocoder would learn from noise",
            fix="write it again with `binaural mels`",
        )
        mels.append(mel_MF)
    need(
        mels[0].shape == mels[1].shape,
        f"the two ears' mels of {video_id} at {start_s:.2f} s have shapes {mels[0].shape} and {mels[1].shape}",
        why="they must be the same stretch",
        fix="write them again with `binaural mels`",
    )
    return np.stack(mels).astype(np.float32)


def predicted_starts(out: Path, split: str) -> dict[str, list[float]]:
    """Which windows have predicted mels: {video_id: [start_s, ...]}. Raises InputError when there is none."""
    folder = Path(out) / "left" / split
    starts: dict[str, list[float]] = {}
    for path in sorted(folder.glob("*_left.npy")):
        match = NAME.fullmatch(path.name)
        if match:
            starts.setdefault(match["video_id"], []).append(float(match["start_s"]))
    need(
        bool(starts),
        f"{folder} holds no predicted mels",
        why="scheduled sampling needs files named {video_id}_{start_s:.2f}_left.npy",
        fix="write them with `binaural mels`, or train on true mels by leaving the folder out",
    )
    return starts


@dataclass(frozen=True)
class MelBatch:
    """B segments of F frames of both ears."""

    clip_ids: tuple[str, ...]
    indices: tuple[int, ...]
    gain_B: Tensor  # what the sound was multiplied by
    wave_BEN: Tensor  # N = F * hop, one gain for both ears
    context_BEN: Tensor  # the same sound with `context` more hops on each side, for mels without edges
    predicted_BEMF: Tensor | None  # natural log, the wave's gain already added

    def __len__(self) -> int:
        return len(self.clip_ids)

    def to(self, device: str | torch.device) -> MelBatch:
        predicted = None if self.predicted_BEMF is None else self.predicted_BEMF.to(device)
        return replace(
            self,
            gain_B=self.gain_B.to(device),
            wave_BEN=self.wave_BEN.to(device),
            context_BEN=self.context_BEN.to(device),
            predicted_BEMF=predicted,
        )


CONTEXT_FRAMES = 2  # more than (n_fft - hop) / 2 samples


class MelPairs:
    """Segments of ``frames`` mel frames, one from every clip and ``rounds`` of them per epoch.

    Each segment is scaled by one gain for both ears so that its louder ear peaks at a level drawn from ``peak`` (lowest
    and highest, evenly in dB); ln(gain) is added to the predicted mel, which therefore stays the mel of that sound.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        mel: MelConfig,
        *,
        frames: int,
        seed: int,
        rounds: int = 1,
        predicted_dir: Path | None = None,
        split: str = "train",
        peak: tuple[float, float] | None = (0.95, 0.95),
    ):
        self.mel, self.frames, self.seed, self.rounds, self.peak = mel, frames, seed, rounds, peak
        self.predicted_dir, self.split, self.epoch = predicted_dir, split, 0
        self.starts = predicted_starts(predicted_dir, split) if predicted_dir else None
        if self.starts is not None:
            clips = [c for c in clips if c.clip_id in self.starts]
        needed_s = (frames + 2 * CONTEXT_FRAMES) * mel.hop_samples / mel.sample_rate_hz
        self.clips = [c for c in clips if _lasts(c, needed_s)]
        need(
            bool(self.clips),
            f"no clip of the {split} split can give a segment of {frames} frames",
            why=f"clips must last {needed_s:.2f} s and, with predicted mels, have some",
            fix="choose longer clips or a smaller segment",
        )

    def __len__(self) -> int:
        return len(self.clips) * self.rounds

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[str, int, float, np.ndarray, np.ndarray | None]:
        """(clip_id, index, gain, sound with context (2, N), predicted mel (2, M, frames) or None)."""
        clip = self.clips[index % len(self.clips)]
        draw = numpy_stream(self.seed, "segment", self.epoch, index)
        hop, rate = self.mel.hop_samples, self.mel.sample_rate_hz
        length = (self.frames + 2 * CONTEXT_FRAMES) * hop
        predicted_EMF = None
        if self.starts is None:
            start_s = float(draw.uniform(0, clip.duration_s - length / rate))
            wave_EN = self._both_ears(clip, start_s, length)
        else:
            window_s = float(draw.choice(self.starts[clip.clip_id]))
            mels_EMF = read_mels(self.predicted_dir, self.split, clip.clip_id, window_s)
            need(
                mels_EMF.shape[2] >= self.frames + 2 * CONTEXT_FRAMES,
                f"the predicted mels of {clip.clip_id} have {mels_EMF.shape[2]} frames",
                why=f"a segment takes {self.frames + 2 * CONTEXT_FRAMES} with its surroundings",
                fix="lower segment_size in the vocoder's config, or train stage 1 with longer windows",
            )
            offset = int(draw.integers(CONTEXT_FRAMES, mels_EMF.shape[2] - self.frames - CONTEXT_FRAMES + 1))
            predicted_EMF = mels_EMF[:, :, offset : offset + self.frames]
            window_EN = self._both_ears(clip, window_s, mels_EMF.shape[2] * hop)
            wave_EN = window_EN[:, (offset - CONTEXT_FRAMES) * hop :][:, :length]
        gain = self._gain(wave_EN, draw)
        if predicted_EMF is not None:
            predicted_EMF = predicted_EMF + np.float32(np.log(gain))
        return clip.clip_id, index, gain, wave_EN * np.float32(gain), predicted_EMF

    def _both_ears(self, clip: Clip, start_s: float, samples: int) -> np.ndarray:
        rate = self.mel.sample_rate_hz
        _, binaural_EN = clip.sound(start_s, samples / rate, rate)
        need(
            binaural_EN is not None,
            f"{clip.clip_id} has no binaural recording",
            why="the vocoder learns from both ears",
            fix="leave clips without a reference out of the training list",
        )
        return binaural_EN

    def _gain(self, wave_EN: np.ndarray, draw: np.random.Generator) -> float:
        loudest = float(np.abs(wave_EN).max())
        if self.peak is None or loudest < 1e-4:
            return 1.0
        return float(np.exp(draw.uniform(*np.log(self.peak)))) / loudest


def _lasts(clip: Clip, needed_s: float) -> bool:
    """Whether a clip is long enough; one that cannot be read is named and is not."""
    try:
        return clip.duration_s >= needed_s
    except InputError as error:
        warnings.warn(f"clip {clip.clip_id} is left out: {error}", stacklevel=3)
        return False


def collate_mels(items: Iterable[tuple[str, int, float, np.ndarray, np.ndarray | None]], hop_samples: int) -> MelBatch:
    """Stack segments into a batch."""
    clip_ids, indices, gains, waves, predicted = zip(*items, strict=True)
    context_BEN = torch.from_numpy(np.stack(waves))
    margin = CONTEXT_FRAMES * hop_samples
    return MelBatch(
        clip_ids=tuple(clip_ids),
        indices=tuple(indices),
        gain_B=torch.tensor(gains, dtype=torch.float32),
        wave_BEN=context_BEN[..., margin:-margin],
        context_BEN=context_BEN,
        predicted_BEMF=None if predicted[0] is None else torch.from_numpy(np.stack(predicted)),
    )
