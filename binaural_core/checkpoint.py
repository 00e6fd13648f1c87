"""Weights and state on disk: data, never code; whole, never half.

Every file is written under a temporary name and renamed, so a reader sees the old file or the new one. Loading is
``weights_only=True``: a checkpoint cannot run code.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from binaural_core.errors import InputError, need

FORMAT_VERSION = 1


def write_whole(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Call ``write(temporary path)`` in the folder of ``path``, then rename. The suffix is kept."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def save(path: str | Path, data: dict[str, Any]) -> Path:
    """Save tensors and plain data with torch's format."""
    return write_whole(path, lambda temporary: torch.save(data, temporary))


def save_json(path: str | Path, data: Any) -> Path:
    return write_whole(path, lambda temporary: temporary.write_text(json.dumps(data, indent=1) + "\n"))


def load(path: str | Path, *, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Load a checkpoint. Raises InputError when it is missing, broken or holds more than data."""
    path = Path(path)
    need(path.is_file(), f"checkpoint {path} is not there", why="there are no weights to load", fix="check the path")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise InputError(
            f"checkpoint {path} cannot be loaded",
            why=f"it is broken or holds code instead of weights ({str(error).splitlines()[0]})",
            fix="train or download it again; only state dicts and plain data are accepted",
        ) from error


def load_into(module: torch.nn.Module, weights: dict[str, Any], *, name: str) -> None:
    """Strict ``load_state_dict`` that says in one screen what does not fit."""
    have, want = set(weights), set(module.state_dict())
    shapes = [
        k
        for k, v in module.state_dict().items()
        if k in weights and tuple(getattr(weights[k], "shape", ())) != tuple(v.shape)
    ]
    problems = {
        "missing": sorted(want - have),
        "unexpected": sorted(have - want),
        "of another shape": sorted(shapes),
    }
    said = "; ".join(f"{len(v)} {k} (such as {', '.join(v[:3])})" for k, v in problems.items() if v)
    need(
        not said,
        f"the weights of {name} do not fit the network",
        why=said or "they fit",
        fix="load them with the config they were trained with (config.yaml or config.json beside them)",
    )
    module.load_state_dict(weights)


def digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
