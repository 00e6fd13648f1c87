"""Every notebook: its style, and a run in smoke mode without a network, whose numbers lie where they should.

A notebook without ranges in ``_params`` fails: what it records must be checked.
"""

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from scipy.special import softmax

from binaural_core.errors import InputError
from binaural_core.exercises import all_exercises, check, hint, solution
from binaural_core.notebooks import Parameters, run_notebook
from binaural_core.notebooks.parameters import LITERALS
from binaural_core.notebooks.render import strip
from binaural_core.notebooks.run import check_parameters, default_parameters, read_parameters
from binaural_core.places import REPOSITORY

FOLDER = REPOSITORY / "notebooks"
PARAMS = FOLDER / "_params"
OFFLINE = Path(__file__).parent / "offline"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def ranges(path: Path) -> dict[str, list]:
    return yaml.safe_load((PARAMS / f"{path.stem}.metrics.yaml").read_text())


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(OFFLINE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two threads on two busy cores wait for each other


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS[:3]] == ["00", "01", "02"]


def test_the_network_is_out_of_reach(no_network):
    tries = (
        "import socket, urllib.request, ssl\n"
        "for reach in (lambda: socket.create_connection(('93.184.215.14', 80), 3),\n"
        "              lambda: socket.getaddrinfo('example.org', 80),\n"
        "              lambda: urllib.request.urlopen('https://example.org', timeout=3)):\n"
        "    try: reach()\n"
        "    except OSError as error: assert 'out of reach' in str(error), error\n"
        "    else: raise SystemExit('reached')\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", tries], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@every_notebook
def test_it_runs_in_smoke_mode_and_its_numbers_hold(path, tmp_path, no_network):
    run = run_notebook(path, read_parameters(PARAMS / f"{path.stem}.smoke.yaml"), tmp_path / path.name, timeout_s=120)
    expected = ranges(path)
    recorded = {name: value for name, value in run.metrics.items() if name != "peak_memory_mb"}
    assert set(recorded) == set(expected), "what is recorded and what has a range differ"
    outside = {n: recorded[n] for n, (low, high) in expected.items() if not low <= recorded[n] <= high}
    assert not outside, f"outside of {PARAMS / (path.stem + '.metrics.yaml')}"


@every_notebook
def test_parameters_that_do_not_fit_are_refused(path):
    with pytest.raises(InputError, match="mean 'seed'"):
        check_parameters(path, {"sead": 1})
    with pytest.raises(InputError, match="must be int"):
        check_parameters(path, {"seed": "1"})
    with pytest.raises(InputError, match="'smoke' or 'full'"):
        check_parameters(path, {"mode": "quick"})
    with pytest.raises(InputError, match="between"):
        check_parameters(path, {"seed": -1})


def test_papermill_alone_is_refused_inside_the_notebook(tmp_path, no_network):
    """Without our wrapper papermill injects anything; the validation cell stops the run at once."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    for given, said in (({"sead": 1}, "no parameter 'sead'"), ({"seed": "1"}, "must be int")):
        with pytest.raises(PapermillExecutionError, match=said) as stopped:
            papermill.execute_notebook(
                str(NOTEBOOKS[0]), str(tmp_path / "out.ipynb"), parameters=given, progress_bar=False, cwd=str(FOLDER)
            )
        assert stopped.value.ename == "InputError"
        assert stopped.value.exec_count <= 3


@every_notebook
def test_stored_without_outputs_with_stable_ids(path):
    notebook = read(path)
    assert path.read_text() == nbformat.writes(strip(notebook)) + "\n", (
        f"run: python -m binaural_core.notebooks strip {path}"
    )
    ids = [cell.id for cell in notebook.cells]
    assert ids == [f"cell-{number:02d}" for number in range(1, len(ids) + 1)]
    assert notebook.metadata.kernelspec.name == "python3"
    nbformat.validate(notebook)


@every_notebook
def test_parameters_are_literals_with_help_and_match_the_smoke_values(path):
    cell = next(cell for cell in code_cells(path) if "parameters" in tags(cell))
    assert cell == code_cells(path)[0]
    for line in cell.source.splitlines():
        assert re.fullmatch(r"\w+ = [^#]+  # \S.*", line), f"{line!r} is no `name = literal  # help`"
    defaults = default_parameters(path)
    assert all(isinstance(value, LITERALS) for value in defaults.values())
    for mode in ("smoke", "full"):
        values = read_parameters(PARAMS / f"{path.stem}.{mode}.yaml")
        assert set(values) == set(defaults)
        assert values["mode"] == mode
        check_parameters(path, values | {"device": "cpu"})
    assert read_parameters(PARAMS / f"{path.stem}.smoke.yaml") == defaults
    assert any(known.notebook == path.stem for known in Parameters.__subclasses__())


@every_notebook
def test_code_cells_are_short(path):
    for cell in code_cells(path):
        lines = cell.source.splitlines()
        assert len(lines) <= 25, f"{cell.id} has {len(lines)} lines"
        long = [line for line in lines if len(line) > 88]
        assert not long, f"{cell.id}: {long}"


@every_notebook
def test_cells_define_little(path):
    for cell in code_cells(path):
        if "build-it-once" in tags(cell):
            continue
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef), f"{cell.id} defines the class {node.name}"
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = node.end_lineno - node.lineno + 1
                assert length <= 10, f"{cell.id}: {node.name} has {length} lines"


@every_notebook
def test_what_is_built_by_hand_is_compared_or_used(path):
    cells = code_cells(path)
    for number, cell in enumerate(cells):
        if "build-it-once" in tags(cell):
            built = {n.name for n in ast.parse(cell.source).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
            later = "\n".join(other.source for other in cells[number:])
            assert all(len(re.findall(rf"\b{name}\b", later)) > 1 for name in built), f"{cell.id}: {built}"


@every_notebook
def test_it_has_what_every_notebook_has(path):
    notebook = read(path)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert text.startswith(f"# {path.stem[:2]} ")
    for part in (
        "**You will**",
        "**You need**",
        "**Run card, measured.**",
        "## Exercises",
        "## Summary",
        "**References.**",
    ):
        assert part in text, f"{path.stem} has no {part}"
    assert "@" not in text
    assert "predict" in text.lower()
    assert "headphone" in text.lower()
    assert "metrics" in tags(code_cells(path)[-1])
    assert "take(globals())" in code_cells(path)[1].source


@every_notebook
def test_links_lead_somewhere(path):
    anchors = {line[4:].strip().lower().replace(" ", "-").replace(",", "") for line in glossary() if line[:4] == "### "}
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)]+)\)", cell.source):
                file, _, anchor = target.partition("#")
                assert file.startswith("http") or (FOLDER / file).exists(), f"{cell.id}: {target}"
                assert not anchor or anchor in anchors, f"{cell.id}: {target}"


def glossary() -> list[str]:
    return (FOLDER / "GLOSSARY.md").read_text().splitlines()


@every_notebook
def test_no_name_is_imported_for_nothing(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    names = [
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    ]
    used = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.NAME]
    assert [name for name in names if used.count(name) < 2] == []


@pytest.mark.parametrize("name", sorted(all_exercises()))
def test_every_exercise_knows_its_solution_and_a_stub(name):
    exercise = all_exercises()[name]
    assert check(name, {}).state == "not attempted yet"
    assert check(name, {exercise.answer: ...}).state == "not attempted yet"
    assert check(name, {exercise.answer: lambda *_, **__: None}).state == "not attempted yet"
    namespace = {}
    exec("import numpy as np\n" + exercise.solution, namespace)
    assert check(name, namespace).state == "right"
    broken = check(name, {exercise.answer: lambda *_, **__: 1 / 0})
    assert broken.state == "not there yet"
    assert "ZeroDivisionError" in broken.message
    assert "Hint 1" in broken.message
    assert hint(name, 99).endswith(exercise.hints[-1])
    assert exercise.answer in solution(name)._repr_html_()
    assert repr(check(name, {})).startswith(f"{name}: not attempted yet")


@every_notebook
def test_its_exercises_are_asked_and_solved_in_it(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    for name, exercise in all_exercises().items():
        if name.startswith(path.stem[:2]):
            assert f'check("{name}", globals())' in source
            assert f'solution("{name}")' in source
            assert f"def {exercise.answer}(" in source


def likelihood(x_t: np.ndarray, mels_KD: np.ndarray, alpha_bar: float) -> np.ndarray:
    """As a student would write it: right, until it underflows."""
    return np.exp(-((x_t - alpha_bar**0.5 * mels_KD) ** 2).sum(axis=1) / (2 * (1 - alpha_bar)))


def reach_with_own_stride(layers: list[tuple[int, int]]) -> int:
    """The receptive field with each layer's own stride counted for itself."""
    cells = jump = 1
    for kernel, stride in layers:
        jump *= stride
        cells += (kernel - 1) * jump
    return cells


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("00-ex1", lambda w: 10 * __import__("math").log10((w[1] ** 2).sum() / (w[0] ** 2).sum()), "sign"),
        ("00-ex1", lambda w: 5 * __import__("math").log10((w[0] ** 2).sum() / (w[1] ** 2).sum()), "factor of two"),
        ("00-ex2", lambda a: -5.8308 * a, "sign"),
        ("00-ex2", lambda a: 5.8308 * a, "30° is not"),
        ("00-ex2", lambda a: 1.0, "Straight ahead"),
        ("01-ex1", lambda w, i, a: (w, i[:, ::-1], -a), "ears must change places"),
        ("01-ex1", lambda w, i, a: (w[:, ::-1], i[:, ::-1], -a), "backwards"),
        ("01-ex1", lambda w, i, a: (w[::-1], i[::-1], -a), "along its width"),
        ("01-ex1", lambda w, i, a: (w[::-1], i[:, ::-1], a), "30° to the right"),
        ("01-ex2", lambda p, m: p[..., 0][~m].mean(), "NaN"),
        ("02-ex1", lambda f: f * 256 / 22050, "where the hop begins"),
        ("02-ex2", lambda m: 0.0, "shape"),
        ("03-ex1", lambda a: ((1 - a) / a) ** 0.5, "b / a in unit scale"),
        ("03-ex1", lambda a: 62.9736 * (1 - a) ** 0.5, "b alone"),
        ("03-ex2", lambda v, x, a: a**0.5 * v - (1 - a) ** 0.5 * x, "sign"),
        ("03-ex2", lambda v, x, a: a * v + (1 - a) * x, "take its root"),
        ("03-ex2", lambda v, x, a: a**0.5 * x - (1 - a) ** 0.5 * v, "That is x_0"),
        ("03-ex3", lambda x, m, a: softmax(-((x - a * m) ** 2).sum(1) / (2 * (1 - a))), "not Bayes"),
        ("03-ex3", lambda x, m, a: likelihood(x, m, a) / likelihood(x, m, a).sum(), "NaN"),
        ("03-ex3", lambda x, m, a: likelihood(x, m, a), "add up to 1"),
        ("04-ex1", lambda layers: 1 + sum(k - 1 for k, _ in layers), "left out the strides"),
        ("04-ex1", lambda layers: reach_with_own_stride(layers), "own stride"),
        ("04-ex1", lambda layers: sum(k for k, _ in layers), "one on the other"),
        ("04-ex2", lambda x, fov: np.degrees(np.arctan((2 * x - 1) * np.tan(np.radians(fov) / 2))), "the sign"),
        ("04-ex2", lambda x, fov: (0.5 - x) * fov, "do not grow evenly"),
        ("04-ex2", lambda x, fov: np.arctan(1 - 2 * x), "radians"),
        ("04-ex2", lambda x, fov: np.degrees(np.arctan(1 - 2 * x)), "view of 120°"),
        ("04-ex3", lambda m, o, mask: softmax(m) @ o, "leave them out"),
        ("04-ex3", lambda m, o, mask: softmax(m[mask]) @ o[mask], "True where nothing is"),
        ("04-ex3", lambda m, o, mask: (softmax(m) * ~mask) @ o, "add up to 1"),
        ("04-ex3", lambda m, o, mask: softmax(np.where(mask, -np.inf, m)) @ o, "0 times NaN"),
        ("04-ex3", lambda m, o, mask: softmax(m[~mask]) @ o[~mask] if not mask.all() else np.ones(3), "give zeros"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, said):
    verdict = check(name, {all_exercises()[name].answer: answer})
    assert verdict.state == "not there yet"
    assert said in verdict.message


def test_an_exercise_that_does_not_exist_is_named():
    with pytest.raises(InputError, match="no exercise '99-ex1'"):
        check("99-ex1", {})
