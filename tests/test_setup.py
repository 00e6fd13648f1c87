"""The set-up: lists that cannot drift, targets that exist, nothing that names another machine."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from binaural_core.places import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
LOCK = dict(
    line.strip().split("==")
    for line in (REPOSITORY / "requirements.lock").read_text().splitlines()
    if line.strip() and not line.startswith("#")
)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted() -> dict[str, str]:
    """Every requirement of the package and its extras: name -> lowest version."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    pairs = [re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?(?:>=([\d.]+))?", text).groups() for row in lists for text in row]
    return {canonical(name): low for name, low in pairs if name != "binaural-core"}


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def test_the_lock_holds_every_requirement_within_its_bound():
    locked = {canonical(name): version for name, version in LOCK.items()}
    for name, low in wanted().items():
        assert name in locked, f"{name} is required but not locked"
        assert low is None or number(locked[name]) >= number(low), f"{name} is locked below its bound"


def test_the_tested_set_is_the_locked_set():
    installed: dict[str, str] = {}
    for found in metadata.distributions():  # in the order of imports: setuptools puts copies of its own at the end
        installed.setdefault(canonical(found.metadata["Name"]), found.version.split("+")[0])
    differing = {
        name: (version, installed.get(canonical(name)))
        for name, version in LOCK.items()
        if installed.get(canonical(name)) != version
    }
    assert not differing


def test_conda_installs_the_package_itself_and_lists_nothing_twice():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    assert environment["channels"][0] == "conda-forge"
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["--constraint requirements.lock", "--editable .[dev]"]
    listed = {canonical(re.split(r"[=<>]", d)[0]) for d in plain}
    assert not listed & wanted().keys()
    assert "python=3.11" in plain


def test_make_knows_its_targets():
    for target in ("demo", "test", "lab", "bench"):
        said = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert said.stdout.strip()
    missing = subprocess.run(
        ["make", "PYTHON=no-such-python", "-B", ".venv/.installed"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert missing.returncode != 0
    assert "There is no no-such-python. To fix: install Python 3.11" in missing.stdout


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [REPOSITORY / name for name in names.split("\0") if name]


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="not a git checkout")
def test_no_file_is_over_5_mb_or_names_another_machine():
    foreign = re.compile(r"(?<![\w.])/(?:root|work)/")
    for path in tracked():
        if not path.is_file():
            continue
        assert path.stat().st_size < 5_000_000, path
        if (
            path.suffix in {".py", ".md", ".yml", ".yaml", ".toml", ".ipynb", ".js", ".sh", ".cff", ""}
            and path.name != "test_setup.py"
        ):
            assert not foreign.search(path.read_text(errors="ignore")), path


def test_every_weight_file_is_loaded_as_data():
    for path in (REPOSITORY / "binaural_core").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert "torch.load(" not in line or "weights_only=True" in line, f"{path}: {line}"
