"""Lists of clips (h5, txt, csv) and the files that their entries mean.

Lists are written on other machines: paths carry foreign prefixes, suffixes differ from the file's, the last line may end
without a newline. What counts is the base name: ``/disk7/x/binaural_audios/001325.mp3`` means the clip ``001325``.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import h5py

from binaural_core.errors import InputError, need

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LIST_SUFFIXES = (".h5", ".hdf5", ".txt", ".csv")


@dataclass(frozen=True)
class Entry:
    """One clip of a list: its name, and what else the list says of it."""

    name: str
    audio_path: str = ""
    video_path: str = ""
    duration_s: float | None = None


def read_list(path: str | Path) -> list[Entry]:
    """The clips of a list file, in its order, each once.

    h5: key ``audio``. txt: one entry per line. csv: columns ``audio_path`` and, where known, ``video_path``, ``duration``.
    Raises InputError when the file is missing, is not what its suffix says, or is empty.
    """
    path = Path(path)
    need(path.is_file(), f"list {path} is not there", why="it says which clips to read", fix="check the path")
    need(
        path.suffix.lower() in LIST_SUFFIXES,
        f"list {path} is of an unknown kind",
        why="lists are h5, txt or csv",
        fix="rename or convert it",
    )
    if path.suffix.lower() == ".csv":
        entries = [_csv_entry(row, path, line) for line, row in read_rows(path, ("audio_path",))]
    else:
        names = _h5_names(path) if path.suffix.lower() in (".h5", ".hdf5") else read_text(path).splitlines()
        entries = [Entry(base_name(name), audio_path=name.strip()) for name in names if name.strip()]
    need(bool(entries), f"list {path} is empty", why="there is nothing to read", fix="check how it was written")
    paths_count = path.suffix.lower() == ".csv"  # elsewhere paths are another machine's, and names alone count
    once: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        once.setdefault((entry.name, entry.audio_path if paths_count else ""), entry)
    return list(once.values())


def read_rows(path: str | Path, needed: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a csv file with a header. Raises InputError when a needed column is missing."""
    lines = read_text(path).splitlines()
    reader = csv.DictReader(lines, skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in needed if name not in header]
    need(
        not missing,
        f"{path} has no column {', '.join(missing)}",
        why=f"its first line names {', '.join(header) or 'nothing'}",
        fix="name the columns in the first line, or map your names to ours in the config",
    )
    reader.fieldnames = header
    for row in reader:
        if any(value for value in row.values() if isinstance(value, str)):
            yield reader.line_num, {k: (v or "").strip() for k, v in row.items() if isinstance(k, str)}


def read_text(path: str | Path) -> str:
    """A text file. Raises InputError when it is missing or no text."""
    need(Path(path).is_file(), f"{path} is not there", why="it is needed here", fix="check the path")
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file", why=str(error), fix="write it again as UTF-8") from error


def number(row: dict[str, str], column: str, path: str | Path, line: int) -> float:
    """A finite number in a row. Raises InputError naming file, line and column."""
    try:
        value = float(row[column])
    except ValueError:
        value = float("nan")
    need(
        abs(value) < float("inf"),
        f"{path}, line {line}: {column} is {row[column]!r}",
        why="it must be a number",
        fix="correct the line",
    )
    return value


def base_name(entry: str) -> str:
    """The clip that a path or file name means: no folders of any system, no suffix of sound, film or picture."""
    name = PureWindowsPath(entry.strip()).name
    stem, dot, suffix = name.rpartition(".")
    known = dot + suffix.lower() in AUDIO_SUFFIXES + VIDEO_SUFFIXES + PICTURE_SUFFIXES
    return stem if known and stem else name


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts ``frame_2`` before ``frame_10``."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.lower()) for part in parts]


class Shelf:
    """Files (or folders) by base name: the first folder in which a name stands, the first suffix, wins."""

    def __init__(self, folders: Iterable[Path], suffixes: tuple[str, ...] | None):
        """suffixes : of the files wanted, the best first; None means folders."""
        self._by_name: dict[str, Path] = {}
        for folder in folders:
            found = [path for path in _inside(folder) if not path.name.startswith(".")]
            if suffixes is None:
                found = [path for path in found if path.is_dir()]
            else:
                found = [path for path in found if path.suffix.lower() in suffixes and path.is_file()]
                found.sort(key=lambda path: suffixes.index(path.suffix.lower()))
            for path in found:
                self._by_name.setdefault(base_name(path.name), path)
        self._by_number: dict[int, Path] = {}
        for name, path in self._by_name.items():
            if name.isdecimal():
                self._by_number.setdefault(int(name), path)

    def __len__(self) -> int:
        return len(self._by_name)

    def names(self) -> list[str]:
        return sorted(self._by_name, key=natural_key)

    def find(self, entry: str) -> Path | None:
        """The file an entry means; ``7`` finds ``000007`` where nothing is called ``7``."""
        name = base_name(entry)
        if name in self._by_name:
            return self._by_name[name]
        return self._by_number.get(int(name)) if name.isdecimal() else None


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: natural_key(path.name)) if folder.is_dir() else []


def _h5_names(path: Path) -> list[str]:
    try:
        with h5py.File(path, "r") as file:
            need(
                "audio" in file,
                f"list {path} has no key 'audio'",
                why=f"its keys are {', '.join(file) or 'none'}",
                fix="write the entries under 'audio'",
            )
            entries = file["audio"][()].ravel()
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(
            f"list {path} cannot be read", why=f"it is no h5 file, or a broken one ({error})", fix="copy it again"
        ) from error
    return [e.decode("utf-8", "replace") if isinstance(e, bytes) else str(e) for e in entries.tolist()]


def _csv_entry(row: dict[str, str], path: Path, line: int) -> Entry:
    audio_path = row["audio_path"]
    need(bool(audio_path), f"{path}, line {line}: audio_path is empty", why="it names the clip", fix="correct the line")
    duration_s = number(row, "duration", path, line) if row.get("duration") else None
    return Entry(base_name(audio_path), audio_path, row.get("video_path", ""), duration_s)
