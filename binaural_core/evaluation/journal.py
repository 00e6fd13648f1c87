"""``measures.csv``: a table that grows row by row and is gone on with after a stop.

Every row is written at once and flushed, by whichever process measured it; a row that was cut off is measured again.
``run.json`` beside it holds the settings. Rows of other settings are never mixed with new ones: that is an `InputError`.
Numbers are written in full, so whatever is computed from the file again comes out the same to the last bit.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from binaural_core.checkpoint import save_json, write_whole
from binaural_core.errors import InputError, need

Row = dict[str, Any]  # column -> str or float
TABLE, SETTINGS = "measures.csv", "run.json"


def fingerprint(settings: Mapping[str, Any]) -> str:
    """The same for the same settings: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Journal:
    """Rows of known columns in ``folder/measures.csv``.

    text : the columns that are text; all others are numbers, written empty where they are not defined.
    key : the columns that make a row one of its kind.   folder : None keeps the rows in memory only.
    """

    def __init__(self, folder: str | Path | None, text: Sequence[str], numbers: Sequence[str], key: Sequence[str]):
        self.folder = None if folder is None else Path(folder)
        self.text, self.columns, self.key = frozenset(text), (*text, *numbers), tuple(key)
        self.rows: list[Row] = []

    def open(self, settings: Mapping[str, Any], valid: Callable[[Row], bool] = lambda row: True) -> set[tuple]:
        """Read what is there, and make the files where they are not; returns the keys of the rows that stand.

        valid : rows for which it is false are dropped, to be measured again.
        Raises InputError when the folder holds rows of other settings, or cannot be written.
        """
        if self.folder is None:
            return set()
        note, table = self.folder / SETTINGS, self.folder / TABLE
        if table.is_file():
            was = _settings(note)
            differing = sorted(name for name in {*was, *settings} if was.get(name) != _plain(settings).get(name))
            need(
                not differing,
                f"{self.folder} holds measures with other settings ({', '.join(differing[:6])})",
                why=f"rows of different settings would stand in one table; first difference: "
                f"{_told(was, settings, differing)}",
                fix="name another folder, or remove this one",
            )
            self.rows = [row for row in self._read(table) if valid(row)]
        try:
            save_json(note, {"fingerprint": fingerprint(_plain(settings)), "settings": _plain(settings)})
            self.rewrite(self.rows)
        except OSError as error:
            raise self._unwritable(error) from error
        return {self.key_of(row) for row in self.rows}

    def append(self, row: Row) -> None:
        """One row, on disk when this returns. Rows of several processes do not mix: each is one write.

        Raises InputError when it cannot be written.
        """
        self.rows.append(row)
        if self.folder is None:
            return
        line = self._lines([row]).encode()
        try:
            table = os.open(self.folder / TABLE, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(table, line)
                os.fsync(table)
            finally:
                os.close(table)
        except OSError as error:
            raise self._unwritable(error) from error

    def read(self) -> list[Row]:
        """All rows that stand in the file, those of other processes too."""
        return list(self.rows) if self.folder is None else self._read(self.folder / TABLE)

    def rewrite(self, rows: Iterable[Row]) -> None:
        """The whole file again, in this order."""
        self.rows = list(rows)
        if self.folder is not None:
            text = self._lines([dict(zip(self.columns, self.columns, strict=True)), *self.rows])
            write_whole(self.folder / TABLE, lambda temporary: temporary.write_bytes(text.encode()))

    def key_of(self, row: Row) -> tuple:
        return tuple(row[name] for name in self.key)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"nothing can be written to {self.folder}",
            why=f"{error.strerror or error}; the measures go there",
            fix="name a folder that can be written, with room on its disk",
        )

    def _lines(self, rows: Iterable[Row]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [cell_of(row.get(name, "")) for name in self.columns] for row in rows
        )
        return text.getvalue()

    def _read(self, table: Path) -> list[Row]:
        whole, _, _cut_off = table.read_bytes().rpartition(b"\n")
        lines = list(csv.reader(io.StringIO(whole.decode(), newline="")))
        need(
            bool(lines) and tuple(lines[0]) == self.columns,
            f"{table} has other columns",
            why=f"expected are {', '.join(self.columns[:6])} …",
            fix="name another folder, or remove this one",
        )
        return [row for line in lines[1:] if (row := self._row(line)) is not None]

    def _row(self, line: list[str]) -> Row | None:
        """None where it is not whole, or a number is none."""
        try:
            cells = zip(self.columns, line, strict=True)
            return {name: cell if name in self.text else number_of(cell) for name, cell in cells}
        except ValueError:
            return None


def cell_of(value: Any) -> str:
    """A number in full, nothing where it is not defined."""
    if isinstance(value, float):
        return "" if value != value else repr(float(value))
    return str(value)


def number_of(cell: str) -> float:
    """What `cell_of` wrote. Raises ValueError where it is no number."""
    return float(cell) if cell else float("nan")


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(settings, default=str))


def _settings(note: Path) -> dict[str, Any]:
    try:
        return json.loads(note.read_text())["settings"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{note} cannot be read",
            why=f"it says with which settings the measures beside it were made ({error})",
            fix="name another folder, or remove this one",
        ) from error


def _told(was: Mapping[str, Any], now: Mapping[str, Any], differing: Sequence[str]) -> str:
    if not differing:
        return "none"
    name = differing[0]
    return f"{name} was {_short(was.get(name))}, is {_short(_plain(now).get(name))}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"
