"""Imports go one way: a room sees the rooms below it and nothing above."""

import ast
from pathlib import Path

import pytest

import binaural_core

PACKAGE = Path(binaural_core.__file__).parent
GROUND = {"errors", "shapes", "config", "seeds", "checkpoint", "places"}
LOWER = GROUND | {"audio"}
ENGINE = LOWER | {"scene", "data", "diffusion", "models", "metrics", "figures"}
ALLOWED = {
    **{floor: {"errors"} for floor in GROUND},
    "audio": GROUND,
    "scene": LOWER,
    "data": LOWER | {"scene"},
    "diffusion": LOWER,
    "models": LOWER | {"diffusion"},
    "metrics": LOWER,
    "figures": LOWER | {"metrics"},
    "vocoder_figures": LOWER | {"figures"},
    "evaluation_figures": LOWER | {"figures", "metrics"},
    "training": ENGINE,
    "passage": ENGINE - {"figures", "metrics"},
    "pipeline": ENGINE - {"figures", "metrics"} | {"passage"},
    "synthesis": ENGINE - {"figures", "metrics"} | {"pipeline"},
    "predicting": ENGINE | {"pipeline", "training"},
    "baseline": LOWER | {"data", "models"},
    "evaluation": ENGINE | {"passage", "pipeline", "baseline", "training", "predicting", "widgets"},
    "notebooks": LOWER | {"figures"},
    "exercises": ENGINE | {"pipeline", "baseline", "evaluation"},
    "widgets": ENGINE | {"pipeline"},
    "demo": ENGINE | {"pipeline", "training", "evaluation", "notebooks", "widgets"},
    "contest": LOWER | {"data", "training", "predicting", "evaluation"},
    "localizing": LOWER | {"scene", "data", "models"},
    "commands": ENGINE
    | {"localizing", "baseline", "pipeline", "synthesis", "training", "predicting", "evaluation", "contest"},
    "cli": {"errors", "commands"},
    "__main__": {"cli"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {n.split(".")[1] for n in names if n.startswith("binaural_core.")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    here = room(path)
    if here == "__init__":
        return
    assert here in ALLOWED, f"{here} is a new room: say in this test what it may see"
    up = imported_rooms(path) - ALLOWED[here] - {here, "__version__"}
    assert not up, f"{here} reaches up to {sorted(up)}"


def test_a_sampler_takes_a_function_not_a_network():
    assert not any("models" in imported_rooms(path) for path in FILES if room(path) == "diffusion")
