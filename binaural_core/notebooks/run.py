"""Run a notebook as papermill does, and refuse what papermill lets through.

papermill injects any name with any value, and a widget callback that raises leaves the run "successful", with the
traceback in the saved widget state alone. `run_notebook` checks the parameters before a kernel starts, keeps the kernel
offline unless told otherwise, and looks for the errors afterwards.
"""

import ast
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from binaural_core.errors import InputError, need
from binaural_core.notebooks.parameters import LITERALS, Parameters, assignments, refuse_unknown
from binaural_core.notebooks.recording import open_notebook, read_metrics
from binaural_core.places import outputs

_NOWHERE = "http://127.0.0.1:9"  # a port on which nothing listens
OFFLINE = {
    "http_proxy": _NOWHERE,
    "https_proxy": _NOWHERE,
    "HTTP_PROXY": _NOWHERE,
    "HTTPS_PROXY": _NOWHERE,
    "no_proxy": "127.0.0.1,localhost,::1",
    "NO_PROXY": "127.0.0.1,localhost,::1",
    "HF_HUB_OFFLINE": "1",
}


class WidgetFailed(RuntimeError):
    """A widget's code raised while the cells themselves succeeded."""


@dataclass(frozen=True)
class Run:
    """An executed notebook: where it lies, what it recorded, how long it took (kernel start included)."""

    path: Path
    notebook: nbformat.NotebookNode
    metrics: dict[str, float | int | str | bool]
    seconds: float


def run_notebook(
    path: str | Path,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    *,
    offline: bool = True,
    timeout_s: int = 1800,
) -> Run:
    """Execute a notebook in a fresh kernel, in its own folder, and save it with its outputs.

    out : the executed notebook; ``outputs/notebooks/{name}.ipynb`` when None.   timeout_s : for each cell.
    Raises InputError before anything runs when a parameter is unknown, ill-typed, out of range or no choice;
    papermill's ``PapermillExecutionError`` when a cell raises; `WidgetFailed` when only a widget did.
    """
    import papermill  # slow to import, and needed only here

    path = Path(path)
    given = dict(parameters or {})
    check_parameters(path, given)
    out = Path(out) if out else outputs() / "notebooks" / path.name
    need(
        out.resolve() != path.resolve(),
        f"{out} is the notebook itself",
        why="notebooks are kept without outputs",
        fix="write the executed notebook somewhere else",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    start_s = time.monotonic()
    with _environment(OFFLINE if offline else {}):
        notebook = papermill.execute_notebook(
            str(path.resolve()),
            str(out.resolve()),
            parameters=given,
            cwd=str(path.resolve().parent),
            progress_bar=False,
            execution_timeout=timeout_s,
            start_timeout=120,
            extra_arguments=["--log-level=ERROR"],  # of the kernel: its notes on transport are not the reader's
        )
    seconds = time.monotonic() - start_s
    errors = hidden_errors(notebook)
    if errors:
        raise WidgetFailed(f"{path.name} ran to its end, but a widget failed (see {out}):\n" + "\n".join(errors))
    return Run(out, notebook, read_metrics(notebook), seconds)


def default_parameters(notebook: str | Path | nbformat.NotebookNode) -> dict[str, Any]:
    """Names and values of the cell tagged ``parameters``; empty when there is none.

    Raises InputError when the cell holds anything but plain literals.
    """
    for cell in open_notebook(notebook).cells:
        if "parameters" in cell.metadata.get("tags", []):
            found = assignments(cell.source)
            try:
                values = {name: ast.literal_eval(value) for name, value in (found or {}).items()}
            except ValueError:
                values = None
            need(
                found is not None and values is not None and all(isinstance(v, LITERALS) for v in values.values()),
                "the parameters cell does more than set plain values",
                why="papermill injects its values after it, so anything derived there would be stale",
                fix='keep only lines such as: seed = 0  # help (text, numbers, True or False; "" for a missing value)',
            )
            return values
    return {}


def check_parameters(path: str | Path, given: Mapping[str, Any]) -> None:
    """Raise InputError unless the notebook would take these parameters: by name and type as its parameters cell says,
    by range and choice as its class of `Parameters` says (where it has one)."""
    path = Path(path)
    defaults = default_parameters(path)
    where = f"notebook {path.name}"
    refuse_unknown(given, list(defaults), where=where)
    for name, value in given.items():
        kind = type(defaults[name])
        need(
            type(value) is kind or (kind is float and type(value) is int),
            f"parameter {name} of {where} is {value!r}",
            why=f"it must be {kind.__name__}",
            fix=f"give {kind.__name__}, such as {defaults[name]!r}",
        )
    for known in Parameters.__subclasses__():
        if known.notebook == path.stem:
            known.from_given(defaults | dict(given), where=where)


def read_parameters(path: str | Path) -> dict[str, Any]:
    """A parameters file (YAML), as ``papermill -f`` takes it. Raises InputError when it holds no table."""
    path = Path(path)
    need(path.is_file(), f"parameters {path} is not there", why="there is nothing to read", fix="check the path")
    try:
        table = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"parameters {path} cannot be read", why=str(error), fix="correct the file") from error
    need(
        isinstance(table or {}, dict),
        f"parameters {path} is no table",
        why=repr(table),
        fix="write lines `name: value`",
    )
    return table or {}


def hidden_errors(notebook: nbformat.NotebookNode) -> list[str]:
    """Errors that did not stop the run: in the outputs that widgets captured, and tracebacks on stderr."""
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    found = [_said(o) for widget in states.values() for o in widget.get("state", {}).get("outputs", []) if _failed(o)]
    for cell in notebook.cells:
        found += [_said(output) for output in cell.get("outputs", []) if _failed(output)]
    return found


def _failed(output: Mapping[str, Any]) -> bool:
    if output.get("output_type") == "error":
        return True
    text = "".join(output.get("text", ""))
    return output.get("name") == "stderr" and "Traceback (most recent call last)" in text


def _said(output: Mapping[str, Any]) -> str:
    if output.get("output_type") == "error":
        return f"{output.get('ename')}: {output.get('evalue')}"
    return "".join(output.get("text", "")).strip().splitlines()[-1]


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the kernel that starts inside; put back afterwards."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
