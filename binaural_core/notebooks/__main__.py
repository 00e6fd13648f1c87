"""``python -m binaural_core.notebooks run|render|strip 02``: run a notebook, render it, or take its outputs out."""

import argparse
from pathlib import Path

from binaural_core.errors import InputError, need
from binaural_core.notebooks.recording import open_notebook
from binaural_core.notebooks.render import render, store
from binaural_core.notebooks.run import read_parameters, run_notebook
from binaural_core.places import REPOSITORY

FOLDER = REPOSITORY / "notebooks"


def find(name: str) -> Path:
    """A notebook by its path, its number or the beginning of its name."""
    if name.endswith(".ipynb"):
        return Path(name)
    found = sorted(FOLDER.glob(f"{name}*.ipynb"))
    need(
        len(found) == 1,
        f"{len(found)} notebooks begin with {name!r}",
        why=f"there are {', '.join(path.stem for path in sorted(FOLDER.glob('*.ipynb')))}",
        fix="give a number such as 02, or a path",
    )
    return found[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m binaural_core.notebooks", description=__doc__)
    parser.add_argument("action", choices=("run", "render", "strip"))
    parser.add_argument("notebook", help="number, name or path")
    parser.add_argument("--mode", choices=("smoke", "full"), default="smoke", help="which values of notebooks/_params")
    parser.add_argument("--out", help="executed notebook (run); folder of the rendered copy (render)")
    asked = parser.parse_args()
    path = find(asked.notebook)
    if asked.action == "strip":
        store(open_notebook(path), path)
        return
    values = path.parent / "_params" / f"{path.stem}.{asked.mode}.yaml"
    out = asked.out if asked.action == "run" else None
    run = run_notebook(path, read_parameters(values) if values.is_file() else {}, out, offline=asked.mode == "smoke")
    print(f"{run.path}: {run.seconds:.1f} s, {run.metrics.get('peak_memory_mb', 0)} MB")
    if asked.action == "render":
        print(render(run.path, asked.out or FOLDER / "rendered"))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
