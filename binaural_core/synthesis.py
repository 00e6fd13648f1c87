"""Stage 2 alone: stored mels -> sound, many recordings and both ears at once, of any length at constant memory.

A recording is cut into stretches that the vocoder hears with the context it needs on both sides. All stretches of one
recording have one length (those at its ends take more context on their inner side), so they fill a batch without any
padding: what comes out is what the vocoder makes of the whole, whatever else is in the batch. Recordings of like length
share their batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio import AudioWriter, audio_info, read_audio
from binaural_core.data.splits import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Shelf
from binaural_core.data.stored_mels import Found, MelWindows, StoredMels, window_of
from binaural_core.errors import InputError, need
from binaural_core.models.vocoding import MonoPhase, PerEar, Vocoder
from binaural_core.pipeline import SPAN_FRAMES, StoredConfig, name_failed, weights_folder
from binaural_core.places import pick_device

BATCH_SIZE = 4  # stretches at once, each with its ears
LIKE_FRAMES = 32  # stretches are rounded up to a multiple of it, so that recordings of like length share batches
OnClip = Callable[[int, int, str], None]  # (done, of how many, name)


@dataclass(frozen=True)
class Stretch:
    """Frames start … stop - 1 of a recording, made from frames low … high - 1."""

    low: int
    start: int
    stop: int
    high: int


def stretches(frames: int, context: int, span_frames: int = SPAN_FRAMES) -> list[Stretch]:
    """The stretches of a recording, all equally long, each with ``context`` frames around it or an end of the recording."""
    count = -(-frames // span_frames)
    step = -(-frames // count)
    sides = min(count - 1, 2)  # how many of its sides a stretch may have to hear beyond
    length = frames if count == 1 else min(frames, -(-(step + sides * context) // LIKE_FRAMES) * LIKE_FRAMES)
    lows = [min(max(0, start - context), frames - length) for start in range(0, frames, step)]
    return [
        Stretch(low, start, min(start + step, frames), low + length)
        for low, start in zip(lows, range(0, frames, step), strict=True)
    ]


def open_vocoder(
    stage2: str = "bigvgan",
    *,
    weights: str | Path | None = None,
    vocoder: str | Path | None = None,
    vocoder_config: str | Path | None = None,
    device: str | torch.device = "cpu",
    bf16: bool = False,
) -> Vocoder:
    """Stage 2 without stage 1: ``stage2/g_best`` of a folder of weights, or any BigVGAN generator file.

    weights : as for `Binauralizer.from_pretrained`; vocoder : a generator file, ``config.json`` or vocoder_config its config.
    Raises InputError when there is no trained stage 2.
    """
    folder = weights_folder(weights)
    if stage2 == "mono_phase":
        need(
            vocoder is None,
            f"the vocoder {vocoder} was named, and the mode mono_phase",
            why="that mode needs no network",
            fix="leave one of them out",
        )
        stage1 = folder / "stage1" if (folder / "stage1").is_dir() else folder
        return MonoPhase(StoredConfig.read(stage1 / "config.yaml").mel)
    if vocoder is not None:
        return PerEar.open(vocoder, vocoder_config, device=pick_device(device), bf16=bf16)
    inside = folder / "stage2" if (folder / "stage2").is_dir() else folder
    need(
        (inside / "g_best").is_file(),
        f"{folder} holds no trained stage 2",
        why="the mode bigvgan needs stage2/g_best and stage2/config.json",
        fix="leave --weights out to take the shipped ones, train one with `binaural train stage2`, name a BigVGAN generator "
        "file with --vocoder, or take --stage2 mono_phase with --audio_dir",
    )
    return PerEar.open(inside / "g_best", vocoder_config, device=pick_device(device), bf16=bf16)


def synthesize(
    found: Found,
    out: str | Path,
    vocoder: Vocoder,
    *,
    audio_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = BATCH_SIZE,
    on_clip: OnClip | None = None,
) -> list[Path]:
    """``{out}/{name}.wav`` for every recording of `mel_files` or `mel_windows`: two channels, or one for a mono mel.

    audio_dir : the mono recordings by name (several channels are averaged). The mode mono_phase needs them; the mode
    bigvgan is silent where they are. For mels of one window (``{video_id}_{start_s:.2f}``) the recording is cut there.
    batch_size : stretches of up to 640 frames, and their context, that are made at once, each with its ears.
    Files that are there already are kept. A recording that cannot be made is named and the others go on; afterwards an
    InputError names those that failed.
    """
    need(batch_size > 0, f"batch_size={batch_size}", why="nothing would be made", fix="give 1 or more")
    out, device, failed = Path(out), pick_device(device), dict(found.broken)
    total, done = len(found.recordings) + len(failed), 0
    for name, error in failed.items():
        warnings.warn(f"{name} is left out: {error}", stacklevel=2)

    def over(name: str, error: InputError | None = None) -> None:
        nonlocal done
        done += 1
        if error:
            failed[name] = error
            warnings.warn(f"{name} is left out: {error}", stacklevel=3)
        if on_clip:
            on_clip(len(found.broken) + done, total, name)

    sounds = _Sounds(audio_dir, vocoder)
    plans: list[tuple[StoredMels, list[Stretch]]] = []
    for recording in found.recordings:
        if (out / f"{recording.name}.wav").is_file():
            over(recording.name)
            continue
        try:
            sounds.find(recording)
            _say_gaps(recording, vocoder)
            plans.append((recording, stretches(recording.frames, vocoder.context_frames)))
        except InputError as error:
            over(recording.name, error)

    with _Writers(out, vocoder) as writers:
        for batch in _batches(plans, batch_size):
            pieces: list[tuple[StoredMels, Stretch, Tensor, Tensor | None]] = []
            for recording, stretch in batch:
                if recording.name not in failed:
                    try:
                        mel_EMF = torch.from_numpy(np.ascontiguousarray(recording.read(stretch.low, stretch.high)))
                        mono_N = sounds.read(recording, stretch)
                        pieces.append((recording, stretch, mel_EMF, mono_N))
                    except InputError as error:
                        over(recording.name, error)
            for (recording, stretch, *_), wave_EN in zip(pieces, _waves(vocoder, pieces, device), strict=True):
                if writers.write(recording, stretch, wave_EN):
                    over(recording.name)
    name_failed(failed, total)
    return [out / f"{recording.name}.wav" for recording in found.recordings]


def _batches(
    plans: list[tuple[StoredMels, list[Stretch]]], batch_size: int
) -> Iterator[list[tuple[StoredMels, Stretch]]]:
    """Stretches of one length, those of a recording in their order and near each other."""

    def length(plan: tuple[StoredMels, list[Stretch]]) -> int:
        return plan[1][0].high - plan[1][0].low

    for _, alike in groupby(sorted(plans, key=length), key=length):
        waiting = []
        for recording, parts in alike:
            for stretch in parts:
                waiting.append((recording, stretch))
                if len(waiting) == batch_size:
                    yield waiting
                    waiting = []
        if waiting:
            yield waiting


def _waves(
    vocoder: Vocoder, pieces: list[tuple[StoredMels, Stretch, Tensor, Tensor | None]], device: torch.device
) -> list[np.ndarray]:
    """(E, F * hop) for each piece. What hears each ear alone hears all of them at once."""
    if not pieces:
        return []
    if not isinstance(vocoder, PerEar):
        return [
            vocoder(mel_EMF.to(device), None if mono_N is None else mono_N.to(device), None).float().cpu().numpy()
            for _, _, mel_EMF, mono_N in pieces
        ]
    ears = [mel_EMF.shape[0] for _, _, mel_EMF, _ in pieces]
    mel_BMF = torch.cat([mel_EMF for _, _, mel_EMF, _ in pieces]).to(device)
    monos = [mono_N.expand(count, -1) for (*_, mono_N), count in zip(pieces, ears, strict=True) if mono_N is not None]
    mono_BN = torch.cat(monos).to(device) if monos else None
    return [wave_EN.cpu().numpy() for wave_EN in vocoder(mel_BMF, mono_BN, None).split(ears)]


def _say_gaps(recording: StoredMels, vocoder: Vocoder) -> None:
    if isinstance(recording, MelWindows):
        frame_s = vocoder.mel.hop_samples / vocoder.mel.sample_rate_hz
        gaps = ", ".join(f"{low * frame_s:.2f}-{high * frame_s:.2f} s" for low, high in recording.gaps())
        if gaps:
            warnings.warn(f"{recording.name} has no mels of {gaps}: silence there", stacklevel=3)


class _Sounds:
    """The mono recordings that belong to mels, read where they are wanted."""

    def __init__(self, folder: str | Path | None, vocoder: Vocoder):
        self.mel, self.named = vocoder.mel, folder
        need(
            folder is not None or not isinstance(vocoder, MonoPhase),
            "the mode mono_phase was given no recordings",
            why="it takes its phase from the mono sound",
            fix="name their folder with --audio_dir, or use --stage2 bigvgan",
        )
        need(
            folder is None or Path(folder).is_dir(),
            f"{folder} is not a folder",
            why="it should hold the recordings",
            fix="check the path",
        )
        self.both_ears = isinstance(vocoder, MonoPhase)
        self.shelf = None if folder is None else Shelf([Path(folder)], AUDIO_SUFFIXES + VIDEO_SUFFIXES)
        self.places: dict[str, tuple[Path, int, int]] = {}  # file, its samples, where the mels begin

    def find(self, recording: StoredMels) -> None:
        """Raises InputError when there is no sound to the mels, or it is shorter."""
        if self.shelf is None:
            return
        name, rate = recording.name, self.mel.sample_rate_hz
        need(
            recording.ears == 2 or not self.both_ears,
            f"the mel of {name} is mono",
            why="mono_phase makes two ears from two mels",
            fix="give both ears' mels, or use --stage2 bigvgan",
        )
        needed = -(-self.mel.win_samples // self.mel.hop_samples)
        need(
            recording.frames >= needed or not self.both_ears,
            f"the mel of {name} has {recording.frames} frames",
            why=f"mono_phase needs {needed}, one window of sound",
            fix="give a longer one, or use --stage2 bigvgan",
        )
        path, start_s = self.shelf.find(name), 0.0
        if path is None and (window := window_of(name)):
            path, start_s = self.shelf.find(window[0]), window[1]
        need(
            path is not None,
            f"{self.named} holds no recording {name}",
            why="sound and mels are matched by name",
            fix="rename it, or leave --audio_dir out",
        )
        samples, first = round(audio_info(path).duration_s * rate), round(start_s * rate)
        need(
            samples - first > recording.samples - 2 * self.mel.hop_samples,
            f"{path} lasts {samples / rate:.2f} s",
            why=f"the mels of {name} end at {(first + recording.samples) / rate:.2f} s",
            fix="give the recording that they are of",
        )
        self.places[name] = path, samples, first

    def read(self, recording: StoredMels, stretch: Stretch) -> Tensor | None:
        """The samples of a stretch, zero after the end."""
        if self.shelf is None:
            return None
        path, samples, first = self.places[recording.name]
        hop, rate = self.mel.hop_samples, self.mel.sample_rate_hz
        wanted, start = (stretch.high - stretch.low) * hop, first + stretch.low * hop
        mono_N = np.zeros(0, np.float32)
        if start < samples:
            mono_N = read_audio(
                path, sample_rate_hz=rate, channels=1, start_s=start / rate, duration_s=wanted / rate
            ).wave_CN[0]
        return torch.from_numpy(np.pad(mono_N, (0, wanted - len(mono_N))))


class _Writers:
    """The sound files that are being made."""

    def __init__(self, out: Path, vocoder: Vocoder):
        self.out, self.mel = out, vocoder.mel
        self.open: dict[str, AudioWriter] = {}

    def write(self, recording: StoredMels, stretch: Stretch, wave_EN: np.ndarray) -> bool:
        """Append a stretch; returns whether it was the last."""
        hop, name = self.mel.hop_samples, recording.name
        if stretch.start == 0:
            path = self.out / f"{name}.wav"
            self.open[name] = AudioWriter(path, self.mel.sample_rate_hz, recording.ears).__enter__()
        end = min(stretch.stop * hop, recording.samples)
        self.open[name].write(wave_EN[:, (stretch.start - stretch.low) * hop : end - stretch.low * hop])
        if stretch.stop == recording.frames:
            self.open.pop(name).__exit__(None, None, None)
            return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        """What is not finished leaves nothing behind."""
        for writer in self.open.values():
            writer.__exit__(InputError, None, None)
