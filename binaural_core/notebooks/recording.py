"""Numbers and figures that a notebook leaves behind for whoever did not watch it run."""

import io
import json
import math
import resource
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import nbformat
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from binaural_core.errors import InputError, need

METRICS_MIME = "application/vnd.binaural.metrics+json"


def record(**metrics: float | int | str | bool) -> None:
    """Leave named numbers in the notebook: as JSON for programs (`read_metrics`) and as a line for people.

    Adds ``peak_memory_mb`` of the kernel. A name recorded twice keeps its last value.
    Raises InputError on NaN, infinity, or what is no plain value.
    """
    plain = {name: _plain(name, value) for name, value in metrics.items()}
    plain["peak_memory_mb"] = round(_peak_memory_mb())
    said = ", ".join(f"{n} = {v:.4g}" if isinstance(v, float) else f"{n} = {v}" for n, v in plain.items())
    text = textwrap.fill(f"recorded: {said}", 100, break_long_words=False, subsequent_indent="  ")
    display({METRICS_MIME: plain, "text/plain": text}, raw=True)


def read_metrics(notebook: str | Path | nbformat.NotebookNode) -> dict[str, float | int | str | bool]:
    """What `record` left in an executed notebook. Raises InputError when the file is no notebook."""
    found = {}
    for cell in open_notebook(notebook).cells:
        for output in cell.get("outputs", []):
            found |= output.get("data", {}).get(METRICS_MIME, {})
    return found


def show(figure: Figure, alt: str, *, dpi: int = 88) -> None:
    """Display a figure with alt text that says what is to be seen in it."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None, "Description": alt})
    display(Image(png.getvalue(), alt=alt))


def table(rows: Mapping[str, Mapping[str, float | str]], *, of: str = "") -> Markdown:
    """A table with one line for each row; ``of`` says what the rows are. Numbers are shown with three digits."""
    columns = list(next(iter(rows.values())))
    sides = [":---|" if all(isinstance(row[column], str) for row in rows.values()) else "---:|" for column in columns]
    lines = [f"| {of} | {' | '.join(columns)} |", "|:---|" + "".join(sides)]
    lines += [f"| {name} | {' | '.join(_cell(row[column]) for column in columns)} |" for name, row in rows.items()]
    return Markdown("\n".join(lines))


def open_notebook(notebook: str | Path | nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook from its file, or itself."""
    if isinstance(notebook, nbformat.NotebookNode):
        return notebook
    path = Path(notebook)
    need(path.is_file(), f"notebook {path} is not there", why="there is nothing to read", fix="check the path")
    try:
        return nbformat.read(path, as_version=4)
    except (json.JSONDecodeError, UnicodeDecodeError, nbformat.reader.NotJSONError, AttributeError) as error:
        raise InputError(f"{path} is no notebook", why=str(error)[:200], fix="give an .ipynb file") from error


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 100 or abs(value) < 1e-9 else f"{value:.3g}"


def _plain(name: str, value):
    value = value.item() if hasattr(value, "item") else value  # numpy and torch scalars
    need(
        isinstance(value, (str, int, float, bool)) and (isinstance(value, (str, bool)) or math.isfinite(value)),
        f"record({name}={value!r})",
        why="only finite numbers, text and truth values can be recorded",
        fix="record a number, or leave it out",
    )
    return value


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB on Linux
