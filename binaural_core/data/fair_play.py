"""FAIR-Play: about 1,900 ten-second clips of music, recorded with a dummy head and filmed from its place.

Two layouts. As published: ``binaural_audios/000001.wav``, ``videos/000001.mp4``, ``splits/split1/train.h5`` and
``new_splits/split1/train.txt``. As the original system lays it out: ``audio/{mono,binaural}/``, ``video/frames/``,
``metadata.csv`` (``audio_path,video_path,duration``). Frames may lie in any folder with "frame" in its name, by clip,
under any of the names met in practice; where there are none, the video itself is decoded.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from binaural_core.data.frames import FrameFolder, VideoFrames
from binaural_core.data.objects import find_objects
from binaural_core.data.recording import RecordingClip
from binaural_core.data.splits import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Entry, Shelf, read_list
from binaural_core.errors import InputError, need

PUBLISHED = "binaural_audios"
ORIGINAL = Path("audio") / "binaural"


def clips(
    root: str | Path,
    split: str = "train",
    *,
    split_name: str = "split1",
    style: Literal["auto", "published", "original"] = "auto",
    list_file: str | Path | None = None,
    fps: float | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[RecordingClip]:
    """The clips of a split: ``train``, ``val``, ``test``, or ``all`` for every recording that is there.

    split_name : which of the published splits; ``split1`` is looked for in ``splits`` and then in ``new_splits``;
    ``new_splits/split1`` names one of the newer five.   list_file : a list to use instead (h5, txt or csv).
    fps : rate of the frame folders where it cannot be inferred.   columns : see `objects.read_detections`.

    Raises InputError when the folder, the list, or every recording it names is missing. A single missing or broken file
    is named when its clip is read.
    """
    root, style = _home(Path(root), style)
    ears = Shelf([root / (PUBLISHED if style == "published" else ORIGINAL)], AUDIO_SUFFIXES)
    mono = Shelf([root / "audio" / "mono"] if style == "original" else [], AUDIO_SUFFIXES)
    videos = Shelf([root / "videos", root / "video", root / "video" / "videos"], VIDEO_SUFFIXES)
    frames = Shelf(frame_folders(root), None)
    objects = find_objects([root], columns)
    source = Path(list_file) if list_file else _list(root, split, split_name, style)
    entries = read_list(source) if source else [Entry(name) for name in ears.names()]
    found = []
    for entry in entries:
        sound = ears.find(entry.name) or _given(entry.audio_path, source, root)
        absent = root / (PUBLISHED if style == "published" else ORIGINAL) / f"{entry.name}.wav"
        found.append(
            RecordingClip(
                clip_id=entry.name,
                video_id=entry.name,
                ears=sound or absent,
                mono=mono.find(entry.name),
                pictures=_pictures(entry, frames, videos, source, root, fps),
                objects=objects.get(entry.name),
                said_s=entry.duration_s,
            )
        )
    need(
        any(clip.ears.is_file() for clip in found),
        f"none of the {len(found)} recordings in {source or root} is there (such as {found[0].ears})"
        if found
        else f"{root} holds no recordings",
        why="without them there is nothing to learn from",
        fix=f"put the wav files into {(root / PUBLISHED if style == 'published' else root / ORIGINAL)}",
    )
    _say_missing_mono(found, len(mono))
    return found


def frame_folders(root: Path) -> list[Path]:
    """Folders, at most two below ``root``, that hold the clips' frame folders: those with "frame" in their names."""
    below = [path for path in sorted(root.glob("*")) + sorted(root.glob("*/*")) if path.is_dir()]
    return [path for path in below if "frame" in path.name.lower()]


def _home(root: Path, style: str) -> tuple[Path, str]:
    """The folder that holds the layout, ``root`` or the FAIR-Play folder in it, and which layout it is."""
    need(root.is_dir(), f"the folder {root} is not there", why="it holds the data set", fix="check the path")
    inner = [path for path in sorted(root.iterdir()) if path.name.lower().replace("-", "") == "fairplay"]
    for home in (root, *inner):
        for name, mark in (("published", PUBLISHED), ("original", ORIGINAL)):
            if style in ("auto", name) and (home / mark).is_dir():
                return home, name
    wanted = {"published": PUBLISHED, "original": str(ORIGINAL)}
    raise InputError(
        f"{root} is no FAIR-Play folder",
        why=f"neither of {', '.join(wanted.values()) if style == 'auto' else wanted[style]} is in it"
        f" (it holds {', '.join(sorted(path.name for path in root.iterdir())[:6]) or 'nothing'})",
        fix="give the folder that holds it",
    )


def _list(root: Path, split: str, split_name: str, style: str) -> Path | None:
    """The list of a split, None for all that is there."""
    metadata = root / "metadata.csv"
    if split == "all":
        return metadata if metadata.is_file() else None
    places = [root / split_name, root / "splits" / split_name, root / "new_splits" / split_name, root / "splits", root]
    for place in places:
        for suffix in (".h5", ".txt", ".csv"):
            if (place / f"{split}{suffix}").is_file():
                return place / f"{split}{suffix}"
    if style == "original" and split == "train" and metadata.is_file():
        return metadata
    there = [
        str(p.relative_to(root)) for kind in (".h5", ".txt", ".csv") for p in sorted(root.glob(f"*splits/*/*{kind}"))
    ]
    raise InputError(
        f"no list for the split {split!r} of {split_name!r} is in {root}",
        why=f"{split}.h5, .txt or .csv is in none of {split_name}, splits/{split_name}, new_splits/{split_name};"
        f" there is {', '.join(there[:4]) or 'no other list'}",
        fix="copy the data set's splits, give a list (--list_train, --list_val), or ask for the split 'all'",
    )


def _given(text: str, source: Path | None, root: Path) -> Path | None:
    """The file or folder that a list's path means as it stands: absolute, or from the list or the data set."""
    if not text or source is None:
        return None
    path = Path(text.replace("\\", "/"))
    places = (path, source.parent / path, root / path, root.parent / path)
    return next((place for place in places if place.exists()), None)


def _pictures(
    entry: Entry, frames: Shelf, videos: Shelf, source: Path | None, root: Path, fps: float | None
) -> FrameFolder | VideoFrames | None:
    given = _given(entry.video_path, source, root)
    folder = (
        given if given and given.is_dir() else frames.find(entry.video_path or entry.name) or frames.find(entry.name)
    )
    if folder:
        return FrameFolder(folder, fps)
    video = given or videos.find(entry.video_path or entry.name) or videos.find(entry.name)
    return VideoFrames(video) if video else None


def _say_missing_mono(found: list[RecordingClip], recordings: int) -> None:
    without = [clip.clip_id for clip in found if clip.mono is None]
    if recordings and without:
        warnings.warn(
            f"{len(without)} of {len(found)} clips have no recording in audio/mono (such as {without[0]}):"
            " the mean of both ears is used",
            stacklevel=3,
        )
