"""Where a training of the vocoder begins: a checkpoint of an earlier one, found by file or by folder.

The original system calls the vocoder's training on true mels its "stage 1" (2a here), and what follows on predicted ones
"stage 2" (2b): ``--stage1_checkpoint_path`` means a vocoder's checkpoint, never the diffusion model's.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from binaural_core import checkpoint
from binaural_core.errors import InputError, need
from binaural_core.models.discriminators import Discriminators

NUMBERED = re.compile(r"g_\d{8}")
PUBLIC = ("bigvgan_generator.pt", "bigvgan_discriminator_optimizer.pt")
DIFFUSION = ("unet_", "frame_")  # the beginnings of stage 1's weight files


@dataclass(frozen=True)
class Start:
    """A generator's file, and the ``do_`` file of the same step with its discriminators and optimizers."""

    generator: Path
    others: Path | None
    note: str = ""  # why there are no others, or why it is not g_best

    def said(self) -> str:
        """What is taken, in a sentence."""
        if self.others:
            note = f" ({self.note})" if self.note else ""
            return f"Starts from {self.generator}{note}, discriminators and optimizers from {self.others.name}."
        return f"Starts from {self.generator} alone: {self.note}, so the discriminators begin anew."

    def load_discriminators(self, judges: dict[str, Discriminators]) -> None:
        """Put the kept weights into those of the discriminators that the file has."""
        kept = checkpoint.load(self.others) if self.others else {}
        for name in judges.keys() & kept.keys():
            buffers, own = dict(judges[name].named_buffers()), judges[name].state_dict()
            fixed = {key: own[key] for key in own.keys() & buffers.keys()}  # numbers that a file may leave out
            checkpoint.load_into(judges[name], fixed | kept[name], name=f"{name} from {self.others}")

    def moments(self, optimizer: str, judges: dict[str, Discriminators]) -> dict[int, Any]:
        """The kept AdamW state of ``optim_g`` or ``optim_d``; empty where there is none for these very discriminators."""
        kept = checkpoint.load(self.others) if self.others else {}
        same_judges = {"mpd", "mrd"} & kept.keys() == judges.keys()
        if optimizer not in kept or (optimizer == "optim_d" and not same_judges):
            return {}
        return kept[optimizer]["state"]


def find_start(path: str | Path) -> Start:
    """The checkpoint that a path means: a generator's file, or the folder of a run.

    Of a folder ``g_best`` is taken, else the newest ``g_XXXXXXXX``, else ``bigvgan_generator.pt``; where the discriminators
    of ``g_best`` are gone, the newest pair that has its own. Raises InputError when there is none, or when the path leads
    to stage 1's own weights.
    """
    path = Path(path)
    need(path.exists(), f"checkpoint {path} is not there", why="the training begins with it", fix="check the path")
    if path.is_dir():
        return _of_folder(path)
    if path.name.startswith(DIFFUSION):
        raise _is_diffusion(path)
    if path.name == PUBLIC[0]:
        return _with(path, path.with_name(PUBLIC[1]))
    if NUMBERED.fullmatch(path.name):
        return _with(path, path.with_name("do_" + path.name[2:]))
    if path.name == "g_best":
        if path.with_name("do_best").is_file():
            return Start(path, path.with_name("do_best"))
        step = _step_of_best(path.parent)
        if step is None:
            return Start(path, None, "its step is not known (no training_history.json beside it)")
        return _with(path, path.with_name(f"do_{step:08d}"))
    return Start(path, None, "its name says no step (g_XXXXXXXX does)")


def _of_folder(folder: Path) -> Start:
    for home in (folder, folder / "stage2"):
        numbered = sorted(p for p in home.glob("g_*") if NUMBERED.fullmatch(p.name))
        for file in (home / "g_best", *numbered[-1:], home / PUBLIC[0]):
            if file.is_file():
                start = find_start(file)
                if start.others or file.name != "g_best":
                    return start
                pairs = (pair for pair in map(find_start, reversed(numbered)) if pair.others)
                pair = next(pairs, None)
                return replace(pair, note="g_best has no discriminators left") if pair else start
    for home in (folder, folder / "stage1"):
        found = [p for p in sorted(home.glob("*.pth")) if p.name.startswith(DIFFUSION)]
        if found:
            raise _is_diffusion(found[0])
    raise InputError(
        f"{folder} holds no vocoder's checkpoint",
        why="there is no g_best, g_XXXXXXXX or bigvgan_generator.pt in it",
        fix="give the folder of a run of `binaural train stage2`, or a generator's file",
    )


def _with(generator: Path, others: Path) -> Start:
    if others.is_file():
        return Start(generator, others)
    return Start(generator, None, f"there is no {others.name} beside it (g_XXXXXXXX goes with do_XXXXXXXX)")


def _step_of_best(folder: Path) -> int | None:
    """The step at which a run wrote ``g_best``, as its history tells."""
    try:
        rows = json.loads((folder / "training_history.json").read_text())["rows"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError):
        return None
    rows = [row for row in rows if row.get("kind") == "validate"]
    by = "mel_l1_from_predicted" if any("mel_l1_from_predicted" in row for row in rows) else "mel_l1"
    rows = [row for row in rows if row.get(by) is not None and math.isfinite(row[by])]
    return min(rows, key=lambda row: row[by])["step"] if rows else None


def _is_diffusion(path: Path) -> InputError:
    return InputError(
        f"{path} holds weights of the diffusion model",
        why="in --stage1_checkpoint_path, a name of the original's, 'stage 1' is the vocoder's own first training, on true"
        " mels (g_XXXXXXXX or g_best)",
        fix="give the run of `binaural train stage2` on true mels; the diffusion model's mels come in as files, which"
        " `binaural mels` writes (--mel_pred_dir)",
    )
