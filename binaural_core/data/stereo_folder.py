"""A folder of stereo recordings and nothing else: no lists, no pictures. What a vocoder can learn from.

Where no list says which recordings are kept aside for validation, their names decide: a tenth of all, the same ones on
every machine and however many recordings are added later.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

from binaural_core.audio.io import audio_info
from binaural_core.data import fair_play, real_binaural
from binaural_core.data.recording import RecordingClip
from binaural_core.data.splits import AUDIO_SUFFIXES, Shelf
from binaural_core.errors import InputError, need
from binaural_core.seeds import key

HELD_OUT = 10  # one of so many
LAYOUTS = {
    "fairplay": (fair_play.PUBLISHED, str(fair_play.ORIGINAL)),
    "realbinaural": (
        real_binaural.EARS,
        f"processed/{real_binaural.EARS}",
        f"real_dataset/processed/{real_binaural.EARS}",
    ),
}


def layout_of(root: str | Path) -> str | None:
    """Which data set's layout a folder has; None: neither of those we know."""
    root = Path(root)
    inner = [root, *(p for p in root.glob("*") if p.name.lower().replace("-", "") == "fairplay")]
    for kind, marks in LAYOUTS.items():
        if any((home / mark).is_dir() for home in inner for mark in marks):
            return kind
    return None


def stereo_clips(folder: str | Path) -> list[RecordingClip]:
    """The recordings of a folder, by name; names what of it is not taken: a name's second file, and what lies deeper.

    Raises InputError when there is none, or one has not exactly two channels.
    """
    folder = Path(folder)
    need(folder.is_dir(), f"the folder {folder} is not there", why="it holds the recordings", fix="check the path")
    shelf = Shelf([folder], AUDIO_SUFFIXES)
    need(
        len(shelf) > 0,
        f"{folder} holds no recordings",
        why=f"no {', '.join(AUDIO_SUFFIXES)} file is in it, and it has no data set's layout",
        fix="give the folder that holds the stereo files, or the data set's own",
    )
    found = []
    for name in shelf.names():
        path = shelf.find(name)
        channels = _channels(path)
        need(
            channels in (None, 2),
            f"{path} has {channels} channel{'s' * (channels != 1)}",
            why="stage 2 learns from both ears of one recording, row 0 the left one, so that one gain can serve both",
            fix="give stereo files; two mono files, one for each ear, must be joined into one first",
        )
        found.append(RecordingClip(clip_id=name, video_id=name, ears=path))
    _say_left_out(folder, {clip.ears for clip in found})
    return found


def _say_left_out(folder: Path, taken: set[Path]) -> None:
    files = {path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()}
    others = sorted(path.relative_to(folder) for path in files - taken)
    others = [path for path in others if not any(part.startswith(".") for part in path.parts)]
    deeper = [path for path in others if len(path.parts) > 1]
    for paths, why in ((sorted(set(others) - set(deeper)), "another file has the same name"),
                       (deeper, "they lie in sub-folders, which are not looked into")):  # fmt: skip
        if paths:
            named = ", ".join(map(str, paths[:3])) + " …" * (len(paths) > 3)
            warnings.warn(f"{len(paths)} sound files in {folder} are left out ({named}): {why}", stacklevel=3)


def held_out(names: Collection[str]) -> set[str]:
    """The tenth of the names (at least one) that is kept aside. Raises InputError when none would be left to train on."""
    need(
        len(names) > 1,
        f"there are {len(names)} recordings",
        why="some are trained on and at least one is kept aside to validate on",
        fix="add recordings, or name folders of mels for training and for validation",
    )
    places = {name: key(0, "held out", name) for name in names}
    aside = {name for name, place in places.items() if place % HELD_OUT == 0}
    return aside if 0 < len(aside) < len(names) else {min(places, key=lambda name: places[name])}


def _channels(path: Path) -> int | None:
    """None where the file cannot be read: it is named and left out when its length is asked for."""
    try:
        return audio_info(path).channels
    except InputError:
        return None
