"""The baseline with its weights, for everybody who compares: mono and sight in, both ears out, at any rate and length.

>>> Baseline.from_folder("checkpoints/mono2binaural").binauralize(mono_N, 22050, video="clip.mp4")  # doctest: +SKIP

The network hears its own rate (16 kHz as published). Only the difference of the ears passes through it: it is brought back
to the sound's own rate and added to the mono, so above the network's band both ears are the mono.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
import yaml

from binaural_core.audio import AudioWriter, audio_info, stream_audio
from binaural_core.audio.io import QUALITY
from binaural_core.data.config import DataConfig
from binaural_core.data.eyes import Eyes, clip_eyes, open_eyes
from binaural_core.data.locating import Locate
from binaural_core.data.sample import Clip, Sight
from binaural_core.errors import InputError, need
from binaural_core.models.localizer import open_localizer
from binaural_core.models.mono2binaural import Mono2Binaural, ears
from binaural_core.places import pick_device

BLOCK_S = 2.0  # a long sound is read so much at a time


class Baseline:
    """A `Mono2Binaural` on its way over whole recordings.

    ``baseline(mono_N, sample_rate_hz, eyes) -> wave_EN`` at the same rate and length. Nothing is drawn at random.
    """

    def __init__(self, net: Mono2Binaural, data: DataConfig, *, hop_s: float = 0.05, locate: Locate | None = None):
        """data : of the training.   hop_s : between two windows.   locate : finds objects in pictures without boxes."""
        self.net, self.data, self.hop_s, self.locate = net.eval(), data, hop_s, locate

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, device: str | torch.device = "cpu", hop_s: float = 0.05, tag: str = "best"
    ) -> Baseline:
        """What `binaural train mono2binaural` left in ``folder``. Raises InputError when it is something else."""
        net = Mono2Binaural.from_folder(folder, tag).to(pick_device(device))
        tree = yaml.safe_load((Path(folder) / "config.yaml").read_text())
        if "data" not in tree:
            raise InputError(
                f"{folder}/config.yaml has no data",
                why="it says what the network sees",
                fix="restore the file that the training wrote",
            )
        localizer = open_localizer(Path(folder).parent) if net.config.told_places else None
        locate = localizer.to(pick_device(device)).locate if localizer else None
        return cls(net, DataConfig.from_dict(tree["data"]), hop_s=hop_s, locate=locate)

    def __call__(self, mono_N: np.ndarray, sample_rate_hz: int, eyes: Eyes) -> np.ndarray:
        """Both ears (2, N) of a mono (N,) at its own rate; N and rate are kept."""
        mono_N = np.asarray(mono_N, np.float32)
        need(
            mono_N.ndim == 1 and len(mono_N) > 0 and bool(np.isfinite(mono_N).all()),
            f"the mono has shape {mono_N.shape}, or holds NaN or infinity",
            why="it is one channel of samples",
            fix="give the mean of the channels, (N,), and repair the recording",
        )
        step = round(BLOCK_S * sample_rate_hz)
        blocks = (mono_N[at : at + step] for at in range(0, len(mono_N), step))
        return np.concatenate(list(self.spans(blocks, sample_rate_hz, eyes)), axis=1)

    def binauralize(
        self,
        wave_N: np.ndarray,
        sample_rate_hz: int,
        *,
        frames: str | Path | np.ndarray | None = None,
        video: str | Path | None = None,
        positions: np.ndarray | None = None,
        image_positions: np.ndarray | None = None,
    ) -> np.ndarray:
        """Both ears (2, N); arguments as those of `pipeline.Binauralizer.binauralize`, several channels are averaged."""
        mono_N = np.atleast_2d(np.asarray(wave_N, np.float32)).mean(axis=0)
        told = {"frames": frames, "video": video, "positions": positions, "image_positions": image_positions}
        return self(mono_N, sample_rate_hz, self.eyes(len(mono_N) / sample_rate_hz, **told))

    def convert(
        self,
        audio: str | Path,
        out: str | Path,
        *,
        sample_rate_hz: int = 22_050,
        frames: str | Path | None = None,
        video: str | Path | None = None,
        positions: np.ndarray | None = None,
        image_positions: np.ndarray | None = None,
    ) -> Path:
        """A sound file, or a film's sound, into a wav file, at constant memory however long it is."""
        told = {"frames": frames, "video": video, "positions": positions, "image_positions": image_positions}
        eyes, step = self.eyes(audio_info(audio).duration_s, **told), round(BLOCK_S * sample_rate_hz)
        blocks = stream_audio(audio, sample_rate_hz=sample_rate_hz, block_samples=step, channels=1)
        with AudioWriter(out, sample_rate_hz, channels=2) as writer:
            for wave_EN in self.spans((block_CN[0] for block_CN in blocks), sample_rate_hz, eyes):
                writer.write(wave_EN)
        return Path(out)

    def clip_eyes(self, clip: Clip) -> Eyes:
        """Eyes that look at a clip's pictures, and know of its objects what the clip knows or the localiser finds."""
        return clip_eyes(clip, self.data, self.locate)

    def eyes(
        self,
        duration_s: float,
        *,
        frames: str | Path | np.ndarray | None = None,
        video: str | Path | None = None,
        positions: np.ndarray | None = None,
        image_positions: np.ndarray | None = None,
    ) -> Eyes:
        """Eyes for what a user has. Raises InputError where the network could not use it."""
        pictures, sight = {"frames": frames, "video": video}, self.net.config.sight
        if positions is None and image_positions is None:
            return open_eyes(self.data, duration_s, **pictures, locate=self.locate)
        need(
            sight != "frame",
            "positions were given to a network that sees the whole picture alone",
            why="it would pass over them",
            fix="leave them out, or train it with model.sight=positions or both",
        )
        told = {"positions": positions, "image_positions": image_positions}
        if sight == "positions":
            return open_eyes(self.data, duration_s, **told)
        there = open_eyes(self.data.replace(objects=self.data.objects - 1, whole_frame="never"), duration_s, **told)
        return Both(open_eyes(self.data.replace(objects=1), duration_s, **pictures), there)

    def spans(self, blocks: Iterable[np.ndarray], sample_rate_hz: int, eyes: Eyes) -> Iterator[np.ndarray]:
        """Both ears (2, n) piece by piece. ``blocks``: mono (n,), one after the other."""
        rate_hz, waiting = self.net.config.sample_rate_hz, [np.zeros(0, np.float32)]

        def heard() -> Iterator[np.ndarray]:
            for block_N in blocks:
                waiting.append(block_N)
                yield block_N

        lowered = resampled(heard(), sample_rate_hz, rate_hz)
        found = (made_N for _, made_N in self.net.differences(lowered, eyes.sight, hop_s=self.hop_s))
        for difference_N in resampled(found, rate_hz, sample_rate_hz):
            mono_N = np.concatenate(waiting)
            count = min(len(difference_N), len(mono_N))
            waiting[:] = [mono_N[count:]]
            if count:
                yield ears(mono_N[:count], difference_N[:count])
        rest_N = np.concatenate(waiting)  # a sample, where both ways were rounded
        if len(rest_N):
            yield ears(rest_N, np.zeros_like(rest_N))


@dataclass(frozen=True)
class Both:
    """Eyes that see the whole picture in slot 0, and were told where the objects of the other slots are."""

    picture: Eyes
    told: Eyes

    def sight(self, times_s: Sequence[float]) -> Sight:
        picture, told = self.picture.sight(times_s), self.told.sight(times_s)
        pairs = ((getattr(picture, name)[:, :1], getattr(told, name)) for name in Sight.__dataclass_fields__)
        return Sight(*(np.concatenate(pair, axis=1) for pair in pairs))


def resampled(pieces: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Pieces (n,) of one sound at another rate: together what `audio.resample` makes of the whole."""
    if from_hz == to_hz:
        yield from pieces
        return
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality=QUALITY)
    make: Callable[..., np.ndarray] = stream.resample_chunk
    for piece_N in pieces:
        yield make(np.ascontiguousarray(piece_N, np.float32))
    yield make(np.zeros(0, np.float32), last=True)
