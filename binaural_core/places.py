"""Where the repository keeps what it ships and what it makes, and where networks run."""

import os
from pathlib import Path

import torch

from binaural_core.errors import need

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGS = Path(__file__).resolve().parent / "configs"


def data_samples() -> Path:
    """The folder ``data_samples``: beside the package in a clone, or where BINAURAL_DATA_SAMPLES says."""
    folder = Path(os.environ.get("BINAURAL_DATA_SAMPLES", REPOSITORY / "data_samples"))
    need(
        folder.is_dir(),
        f"the sample folder {folder} is not there",
        why="the HRTF, the dry sounds and the rendered clips live in it",
        fix="work in a clone of the repository, or set BINAURAL_DATA_SAMPLES to its data_samples folder",
    )
    return folder


def outputs() -> Path:
    """The folder ``outputs``: beside the package in a clone, or where BINAURAL_OUTPUTS says."""
    return Path(os.environ.get("BINAURAL_OUTPUTS", REPOSITORY / "outputs"))


def pick_device(name: str | torch.device) -> torch.device:
    """The device of that name; ``auto`` is cuda where there is one, else cpu. Raises InputError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    need(
        device.type != "cuda" or torch.cuda.is_available(),
        f"the device {name} is not there",
        why="torch sees no CUDA device",
        fix="use cpu, or auto to take what there is",
    )
    return device


def config_file(path: str | Path) -> Path:
    """A config by its path, or by the bare name of one that ships."""
    shipped = CONFIGS / path
    return shipped if shipped.is_file() else Path(path)
