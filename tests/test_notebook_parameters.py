"""Parameters are refused by name, type, range and choice; numbers recorded can be read; hidden errors are found."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from binaural_core.errors import InputError
from binaural_core.notebooks import METRICS_MIME, Between, Parameters, WidgetFailed, read_metrics, record, run_notebook
from binaural_core.notebooks.parameters import assignments
from binaural_core.notebooks.render import render, store, strip
from binaural_core.notebooks.run import check_parameters, default_parameters, hidden_errors, read_parameters


@dataclass(frozen=True, kw_only=True)
class Tones(Parameters):
    notebook: ClassVar[str] = "tones"
    hz: Annotated[float, Between(20, 20_000)] = 440.0
    label: str = ""


CELL = 'mode = "smoke"  # help\nseed = 0  # help\ndevice = "cpu"  # help\nhz = 440.0  # help\nlabel = ""  # help\n'
TAKE = "tones = Tones.take(globals())"
VALUES = {"mode": "smoke", "seed": 0, "device": "cpu", "hz": 440.0, "label": ""}


def ran(*cells: str) -> dict:
    """The globals of a kernel that ran these cells."""
    namespace = {"In": ["", *cells], "Tones": Tones}
    for source in cells:
        exec(source, namespace)
    return namespace


def test_parameters_are_taken_with_papermills_changes():
    taken = Tones.take(ran(CELL, "# Parameters\nhz = 100\nseed = 3", TAKE))
    assert (taken.hz, taken.seed, taken.label) == (100.0, 3, "")
    assert isinstance(taken.hz, float)


@pytest.mark.parametrize(
    ("injected", "match"),
    [
        ("sede = 3", "no parameter 'sede'.*mean 'seed'"),
        ("nothing_like_it = 3", "no parameter 'nothing_like_it'.*leave it out"),
        ('seed = "3"', "seed is '3'.*must be int"),
        ("seed = 1.5", "must be int"),
        ("seed = True", "must be int"),
        ('hz = "440"', "must be float"),
        ("hz = True", "must be float"),
        ("hz = 5.0", "hz is 5.0.*between 20 and 20000"),
        ("hz = 20000.5", "between 20 and 20000"),
        ("hz = float('nan')", "between 20 and 20000"),
        ("seed = -1", "between 0"),
        ('mode = "ful"', "'smoke' or 'full'"),
        ("label = None", "must be str"),
        ("other = float('nan')", "no parameter 'other'"),
    ],
)
def test_what_does_not_fit_is_refused(injected, match):
    with pytest.raises(InputError, match=match):
        Tones.take(ran(CELL, "# Parameters\n" + injected, TAKE))


def test_a_missing_parameter_is_refused():
    with pytest.raises(InputError, match="no parameter label"):
        Tones.take(ran(CELL.replace('label = ""  # help\n', ""), TAKE))


def test_the_ends_of_a_range_belong_to_it():
    assert Tones(hz=20).hz == 20.0
    assert Tones(hz=20_000).hz == 20_000.0


def test_what_a_student_does_later_is_no_parameter():
    assert Tones.take(ran(CELL, TAKE, "x = 3", TAKE)).seed == 0
    assert Tones.take(ran("import math", CELL, TAKE)).seed == 0


def test_without_a_kernel_plain_values_count():
    assert Tones.take(VALUES).hz == 440.0
    with pytest.raises(InputError, match="'sede'"):
        Tones.take(VALUES | {"sede": 3})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no CUDA device"):
        Tones(device="cuda")


def test_the_run_card_says_what_ran():
    card = Tones(seed=7, hz=100).run_card()
    for said in ("smoke", "7", "cpu", f"torch {torch.__version__}", f"numpy {np.__version__}", "hz=100.0"):
        assert said in card


def test_assignments_are_told_from_other_cells():
    assert list(assignments("a = 1  # help\nb: str = ''")) == ["a", "b"]
    assert assignments("a = 1\nprint(a)") is None
    assert assignments("a, b = 1, 2") is None
    assert assignments("a = b = 1") is None
    assert assignments("%matplotlib inline") is None


def notebook_file(folder: Path, *cells: str, name: str = "tones.ipynb") -> Path:
    nodes = [new_code_cell(source, id=f"cell-{i:02d}") for i, source in enumerate(cells, 1)]
    nodes[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(new_notebook(cells=nodes, metadata={"kernelspec": kernel}), folder / name)
    return folder / name


def test_defaults_are_read_from_the_parameters_cell(tmp_path):
    path = notebook_file(tmp_path, CELL)
    assert default_parameters(path) == VALUES
    path = notebook_file(tmp_path, "seed = 0\nhalf = seed / 2")
    with pytest.raises(InputError, match="more than set plain values"):
        default_parameters(path)
    path = notebook_file(tmp_path, "seed = [0]")
    with pytest.raises(InputError, match="more than set plain values"):
        default_parameters(path)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"sede": 3}, "tones.ipynb has no parameter 'sede'.*mean 'seed'"),
        ({"seed": "3"}, "seed of notebook tones.ipynb is '3'.*must be int"),
        ({"seed": True}, "must be int"),
        ({"hz": None}, "must be float"),
        ({"hz": 5.0}, "between 20 and 20000"),
        ({"mode": "ful"}, "'smoke' or 'full'"),
    ],
)
def test_parameters_are_refused_before_a_kernel_starts(tmp_path, monkeypatch, given, match):
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: pytest.fail("a kernel would have started"))
    with pytest.raises(InputError, match=match):
        run_notebook(notebook_file(tmp_path, CELL), given, tmp_path / "out.ipynb")


def test_an_int_passes_for_a_float_and_an_unregistered_notebook_has_no_ranges(tmp_path):
    check_parameters(notebook_file(tmp_path, CELL), {"hz": 100})
    check_parameters(notebook_file(tmp_path, CELL, name="other.ipynb"), {"hz": 5.0})


def test_the_notebook_itself_is_never_overwritten(tmp_path):
    path = notebook_file(tmp_path, CELL)
    with pytest.raises(InputError, match="is the notebook itself"):
        run_notebook(path, {}, path)


def test_a_parameters_file_holds_a_table(tmp_path):
    (tmp_path / "p.yaml").write_text("seed: 3\nhz: 100.0\n")
    assert read_parameters(tmp_path / "p.yaml") == {"seed": 3, "hz": 100.0}
    (tmp_path / "p.yaml").write_text("- seed\n")
    with pytest.raises(InputError, match="no table"):
        read_parameters(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_text("seed: [\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_parameters(tmp_path / "p.yaml")
    with pytest.raises(InputError, match="is not there"):
        read_parameters(tmp_path / "none.yaml")


def test_recorded_numbers_are_plain_json_and_a_line(monkeypatch):
    shown = []
    monkeypatch.setattr("binaural_core.notebooks.recording.display", lambda data, raw: shown.append((data, raw)))
    record(error_us=np.float32(1.5), clips=np.int64(3), name="kemar", good=True, loss=torch.tensor(0.25))
    (data, raw), metrics = shown[0], shown[0][0][METRICS_MIME]
    assert raw
    assert metrics.pop("peak_memory_mb") > 10
    assert metrics == {"error_us": 1.5, "clips": 3, "name": "kemar", "good": True, "loss": 0.25}
    assert "error_us = 1.5" in data["text/plain"]


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan"), [1.0], None])
def test_what_is_no_number_is_not_recorded(value):
    with pytest.raises(InputError, match="record"):
        record(value=value)


def test_the_last_record_holds():
    def left(values):
        return new_output("display_data", data={METRICS_MIME: values})

    cell = new_code_cell(outputs=[left({"a": 1, "b": 2}), left({"a": 3})])
    assert read_metrics(new_notebook(cells=[cell])) == {"a": 3, "b": 2}


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    (tmp_path / "x.ipynb").write_text("hello")
    with pytest.raises(InputError, match=r"x\.ipynb is no notebook"):
        read_metrics(tmp_path / "x.ipynb")
    with pytest.raises(InputError, match="is not there"):
        read_metrics(tmp_path / "y.ipynb")


RUNS = """\
import os, urllib.request, pathlib
from binaural_core.notebooks import record
try:
    urllib.request.urlopen("http://example.org", timeout=5)
    reached = True
except OSError as error:
    reached = False
record(hz=hz, seed=seed, reached=reached, folder=pathlib.Path.cwd().name)
"""
WIDGET = """\
import ipywidgets
slider = ipywidgets.IntSlider(value=1)
def fails(change):
    with box:
        raise ValueError("not for the log")
box = ipywidgets.Output()
slider.observe(fails, "value")
slider.value = 2
box
"""


def test_a_notebook_runs_offline_in_its_folder_and_its_widgets_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    path = notebook_file(tmp_path, CELL, RUNS)
    run = run_notebook(path, {"hz": 100, "seed": 5}, tmp_path / "out" / "ran.ipynb")
    assert run.metrics | {"peak_memory_mb": 0} == {
        "hz": 100,
        "seed": 5,
        "reached": False,
        "folder": tmp_path.name,
        "peak_memory_mb": 0,
    }
    assert read_metrics(run.path) == run.metrics
    assert "HTTP_PROXY" not in os.environ
    assert 0 < run.seconds < 100
    with pytest.raises(WidgetFailed, match="ValueError: not for the log"):
        run_notebook(notebook_file(tmp_path, CELL, WIDGET), {}, tmp_path / "out" / "widget.ipynb")


def test_tracebacks_on_stderr_and_error_outputs_are_found():
    stderr = new_output("stream", name="stderr", text="Traceback (most recent call last)\n  ...\nKeyError: 'x'\n")
    fine = new_output("stream", name="stderr", text="a warning\n")
    quoted = new_output("stream", name="stdout", text="Traceback (most recent call last)\n")
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    cell = new_code_cell(outputs=[fine, stderr, quoted, error])
    assert hidden_errors(new_notebook(cells=[cell])) == ["KeyError: 'x'", "ValueError: no"]
    assert hidden_errors(new_notebook(cells=[new_code_cell(outputs=[fine, quoted])])) == []


def executed(folder: Path) -> Path:
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    picture = new_output("display_data", data={"image/png": png}, metadata={"image/png": {"alt": "left is louder"}})
    text = new_output("stream", name="stdout", text="hello\n")
    page = new_output("display_data", data={"text/html": "<script>1</script>", "text/plain": "<HTML>"})
    injected = new_code_cell("# Parameters\nseed = 3", metadata={"tags": ["injected-parameters"]}, id="injected")
    cells = [
        nbformat.v4.new_markdown_cell("see [next](01_data_loading.ipynb) and [words](GLOSSARY.md#mel)", id="a"),
        new_code_cell("seed = 0", metadata={"tags": ["parameters"], "papermill": {}}, id="b"),
        injected,
        new_code_cell("draw()", outputs=[text, picture, page], execution_count=4, id="c"),
    ]
    path = folder / "00_x.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"widgets": {}, "papermill": {"x": "/home"}}), path)
    return path


def test_a_stored_notebook_has_no_outputs_but_ids_and_tags(tmp_path):
    stored = strip(executed(tmp_path))
    assert [cell.id for cell in stored.cells] == ["a", "b", "c"]
    assert stored.cells[1].metadata == {"tags": ["parameters"]}
    assert stored.cells[2].outputs == []
    assert stored.cells[2].execution_count is None
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    assert stored.metadata.kernelspec.name == "python3"
    store(stored, tmp_path / "a.ipynb")
    store(nbformat.read(tmp_path / "a.ipynb", 4), tmp_path / "b.ipynb")
    assert (tmp_path / "a.ipynb").read_bytes() == (tmp_path / "b.ipynb").read_bytes()


def test_a_rendered_notebook_keeps_text_and_pictures(tmp_path):
    page = render(executed(tmp_path), tmp_path / "rendered").read_text()
    assert "[next](01_data_loading.md)" in page
    assert "[words](../GLOSSARY.md#mel)" in page
    assert "```text\nhello\n```" in page
    assert "![left is louder](00_x/c-1.png)" in page
    assert (tmp_path / "rendered" / "00_x" / "c-1.png").read_bytes().startswith(b"\x89PNG")
    assert "<script>" not in page
