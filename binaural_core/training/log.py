"""What a training leaves to read: ``training_history.json`` and TensorBoard's ``runs/``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from binaural_core import checkpoint
from binaural_core.errors import InputError


class Log:
    """Rows of one run. Each row is a flat table of numbers with its ``step``; rewritten whole, atomically."""

    def __init__(self, folder: Path, *, from_step: int = 0):
        """Opens ``folder``; rows written after ``from_step`` (by a run that was interrupted there) are dropped."""
        self.path = folder / "training_history.json"
        self.rows: list[dict[str, Any]] = []
        if self.path.is_file() and from_step > 0:
            try:
                rows = json.loads(self.path.read_text())["rows"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise InputError(
                    f"{self.path} cannot be read", why="it is not the history of a run", fix="move it away"
                ) from error
            self.rows = [row for row in rows if row["step"] <= from_step]
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only needed here

        self.board = SummaryWriter(str(folder / "runs"), purge_step=from_step or None)

    def write(self, kind: str, step: int, values: dict[str, float]) -> dict[str, Any]:
        """Add a row of ``kind`` ('train' or 'validate')."""
        row = {
            "kind": kind,
            "step": step,
            **{k: (float(v) if math.isfinite(v) else None) for k, v in values.items()},
        }
        self.rows.append(row)
        for name, value in values.items():
            self.board.add_scalar(f"{kind}/{name}", value, step)
        return row

    def save(self) -> None:
        checkpoint.save_json(self.path, {"rows": self.rows})
        self.board.flush()

    def close(self) -> None:
        self.save()
        self.board.close()
