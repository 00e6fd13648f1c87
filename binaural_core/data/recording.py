"""A clip that lies in files: what the file layouts share."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from binaural_core.audio.io import audio_info, read_audio
from binaural_core.data.frames import FrameFolder, VideoFrames
from binaural_core.data.objects import Objects
from binaural_core.errors import InputError, need
from binaural_core.scene.view import View

SAME_LENGTH_S = 0.1  # two recordings of one event may differ by this much
END_S = 0.03  # what rounding, or the last packet of a coded file, may lack at the end: zeros stand in


@dataclass(frozen=True, kw_only=True)
class RecordingClip:
    """A recording, or a stretch of it, with its pictures. Nothing is read before it is asked for.

    ears : the binaural recording, or None where there is no reference.   mono : the layout's own mono recording, or None
    for the mean of the ears.   offset_s, until_s : the stretch; None means to the end.   said_s : the length a list says.
    """

    clip_id: str
    video_id: str
    ears: Path | None = None
    mono: Path | None = None
    pictures: FrameFolder | VideoFrames | None = None
    objects: Objects | None = None
    offset_s: float = 0.0
    until_s: float | None = None
    said_s: float | None = None
    label: str = ""

    @cached_property
    def recording_s(self) -> float:
        """Length of the whole recording. Raises InputError when its files contradict each other."""
        lengths = {path: audio_info(path).duration_s for path in (self.ears, self.mono) if path is not None}
        if self.ears in lengths and self.mono in lengths:
            need(
                abs(lengths[self.ears] - lengths[self.mono]) <= SAME_LENGTH_S,
                f"{self.ears} lasts {lengths[self.ears]:.2f} s and {self.mono} {lengths[self.mono]:.2f} s",
                why="they should hold the same event, in two ears and in mono",
                fix="replace the wrong one, or remove the mono file: then the mean of both ears is used",
            )
        length = min(lengths.values())
        if self.said_s is not None and abs(length - self.said_s) > max(0.5, 0.05 * self.said_s):
            warnings.warn(
                f"{self.ears or self.mono} lasts {length:.2f} s, its list says {self.said_s:.2f} s; the file is believed",
                stacklevel=2,
            )
        return length

    @cached_property
    def duration_s(self) -> float:
        """Length of the clip. Raises InputError as `recording_s` does, or when the stretch lies outside the recording."""
        end = self.recording_s if self.until_s is None else min(self.until_s, self.recording_s)
        need(
            end > self.offset_s,
            f"clip {self.clip_id} is to begin at {self.offset_s:.2f} s and to end at {end:.2f} s",
            why=f"{self.ears or self.mono} lasts {self.recording_s:.2f} s",
            fix="correct its line in the split, or replace the recording",
        )
        return end - self.offset_s

    def sound(self, start_s: float, duration_s: float, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(mono_N, binaural_EN or None) of a stretch; only that stretch is read."""
        count = round(duration_s * sample_rate_hz)
        need(
            start_s + duration_s <= self.duration_s + END_S,
            f"clip {self.clip_id} lasts {self.duration_s:.2f} s, asked for {start_s + duration_s:.2f} s",
            why="there is no sound behind its end",
            fix="ask for an earlier stretch",
        )
        ears = mono = None
        if self.ears is not None:
            ears = self._read(self.ears, 2, start_s, duration_s, sample_rate_hz, count)
        if self.mono is not None:
            mono = self._read(self.mono, 1, start_s, duration_s, sample_rate_hz, count)[0]
        return (ears.mean(axis=0) if mono is None else mono), ears

    def look(self, times_s: Sequence[float]) -> list[View]:
        """The picture nearest to each time, with what is known of its objects."""
        if self.pictures is None:
            raise InputError(
                f"clip {self.clip_id} has no pictures",
                why="there is neither a frame folder nor a video of its name",
                fix="add the video, or extract its frames (binaural frames)",
            )
        times = [self.offset_s + time for time in times_s]
        pictures = self.pictures.at(times, self.recording_s)
        if self.objects is None:
            return [View(picture.image_HW3) for picture in pictures]
        return [self.objects.view(picture, time) for picture, time in zip(pictures, times, strict=True)]

    def _read(
        self, path: Path, channels: int, start_s: float, duration_s: float, sample_rate_hz: int, count: int
    ) -> np.ndarray:
        wave = read_audio(
            path,
            sample_rate_hz=sample_rate_hz,
            channels=channels,
            start_s=self.offset_s + start_s,
            duration_s=duration_s,
        ).wave_CN
        missing = count - wave.shape[1]
        need(
            missing <= END_S * sample_rate_hz,
            f"{path} ends {missing / sample_rate_hz:.2f} s too early",
            why=f"the stretch from {self.offset_s + start_s:.2f} s on is {duration_s:.2f} s long",
            fix="ask for an earlier stretch, or replace the recording",
        )
        return np.pad(wave, ((0, 0), (0, max(missing, 0))))[:, :count]
