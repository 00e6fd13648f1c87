"""What a training leaves to read: ``training_history.json`` and TensorBoard's ``runs/``."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from binaural_core import checkpoint
from binaural_core.errors import InputError
from binaural_core.training.stage import Shown


class Log:
    """Rows of one run. Each row is a flat table of numbers with its ``step``; rewritten whole, atomically."""

    def __init__(self, folder: Path, *, from_step: int = 0, writes: bool = True):
        """Opens ``folder``; rows written after ``from_step`` (by a run that was interrupted there) are dropped.

        writes : False in all processes but the first.
        """
        self.path = folder / "training_history.json"
        self.rows: list[dict[str, Any]] = []
        self.board = None
        if not writes:
            return
        if self.path.is_file() and from_step > 0:
            try:
                rows = json.loads(self.path.read_text())["rows"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise InputError(
                    f"{self.path} cannot be read", why="it is not the history of a run", fix="move it away"
                ) from error
            self.rows = [row for row in rows if row["step"] <= from_step]
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only needed here

        self.board = SummaryWriter(str(folder / "runs"), purge_step=from_step + 1 if from_step else None)

    def write(self, kind: str, step: int, values: dict[str, float]) -> dict[str, Any]:
        """Add a row of ``kind`` ('train', 'validate' or 'spike')."""
        row = {
            "kind": kind,
            "step": step,
            **{k: (float(v) if math.isfinite(v) else None) for k, v in values.items()},
        }
        self.rows.append(row)
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(f"{kind}/{name}", value, step)
        return row

    def show(self, shown: Shown, step: int) -> None:
        """Pictures and sounds for TensorBoard; sounds in stereo, with one gain for both ears."""
        if self.board:
            for name, figure in shown.pictures.items():
                self.board.add_figure(name, figure, step)
            for name, (wave_EN, sample_rate_hz) in shown.sounds.items():
                add_stereo(self.board, name, wave_EN, sample_rate_hz, step)

    def save(self) -> None:
        if self.board:
            checkpoint.save_json(self.path, {"rows": self.rows})
            self.board.flush()

    def close(self) -> None:
        self.save()
        if self.board:
            self.board.close()


def add_stereo(board, name: str, wave_EN: np.ndarray, sample_rate_hz: int, step: int) -> None:
    """Both ears as one sound; TensorBoard's own ``add_audio`` keeps a single channel."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    file = io.BytesIO()
    soundfile.write(file, np.clip(wave_EN, -1, 1).T, sample_rate_hz, format="WAV", subtype="PCM_16")
    audio = Summary.Audio(
        sample_rate=sample_rate_hz,
        num_channels=wave_EN.shape[0],
        length_frames=wave_EN.shape[1],
        encoded_audio_string=file.getvalue(),
        content_type="audio/wav",
    )
    board.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, audio=audio)]), step)
