"""Parameters of a notebook, checked by name, type, range and choice.

papermill writes a cell of assignments after the one tagged ``parameters`` and checks nothing: a string arrives where an
int was, and a misspelt name is a warning nobody sees. So the next cell takes them back in:

    parameters = DataLoading.take(globals())
    print(parameters.run_card())
"""

import ast
import difflib
import platform
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import metadata
from typing import Annotated, Any, ClassVar, Literal, Self

import torch

from binaural_core.config import Config
from binaural_core.errors import InputError, need

LITERALS = (str, int, float, bool)  # what a parameter may be; "" stands for a missing value
_PACKAGES = ("binaural-core", "torch", "numpy", "scipy", "librosa", "soxr", "sofar")


@dataclass(frozen=True)
class Between:
    """A range, both ends included: ``seconds: Annotated[float, Between(0.5, 10)] = 2.0``."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Parameters(Config):
    """The parameters that every notebook has; subclass for the others. Derived numbers are properties."""

    notebook: ClassVar[str] = ""  # the file's name without its suffix
    mode: Literal["smoke", "full"] = "smoke"
    seed: Annotated[int, Between(0, 2**31 - 1)] = 0
    device: Literal["cpu", "cuda", "mps", "auto"] = "cpu"

    def validate(self) -> None:
        """Check the ranges of `Between`, and that the device is there."""
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            for allowed in getattr(hint, "__metadata__", ()):
                value = getattr(self, name)
                need(
                    value in allowed,
                    f"parameter {name} is {value!r}",
                    why=f"it must lie between {allowed.low:g} and {allowed.high:g}",
                    fix="change it in the parameters cell, or in what you gave to papermill",
                )
        need(
            self.device != "cuda" or torch.cuda.is_available(),
            "parameter device is 'cuda'",
            why="torch sees no CUDA device here",
            fix='set device = "cpu", or "auto" to take what there is',
        )
        need(
            self.device != "mps" or torch.backends.mps.is_available(),
            "parameter device is 'mps'",
            why="torch sees no Apple GPU here",
            fix='set device = "cpu", or "auto" to take what there is',
        )

    @classmethod
    def take(cls, namespace: Mapping[str, Any]) -> Self:
        """The parameters out of a notebook's ``globals()``, papermill's changes included.

        Raises InputError when one is missing, misspelt, of another type, out of range or not among the choices.
        """
        return cls.from_given({name: namespace[name] for name in _given(namespace)}, where="this notebook")

    @classmethod
    def from_given(cls, given: Mapping[str, Any], *, where: str) -> Self:
        """Build from a name for every field, and no other name."""
        known = [field.name for field in fields(cls)]
        refuse_unknown(given, known, where=where)
        missing = [name for name in known if name not in given]
        need(
            not missing,
            f"{where} has no parameter {', '.join(missing)}",
            why=f"{cls.__name__} needs it",
            fix="run the parameters cell first, and give it one line for each of " + ", ".join(known),
        )
        try:
            return cls(**given)
        except InputError as error:
            raise InputError(error.what, why=error.why, fix=error.fix) from None  # by its own name in the traceback

    @property
    def torch_device(self) -> torch.device:
        if self.device != "auto":
            return torch.device(self.device)
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    def run_card(self) -> str:
        """Versions, device, seed, mode and the other parameters, as a few lines of text."""
        versions = [f"{name} {_version(name)}" for name in _PACKAGES]
        common = {field.name for field in fields(Parameters)}
        own = [f"{name}={value!r}" for name, value in self.to_dict().items() if name not in common]
        lines = {
            "mode": self.mode,
            "seed": self.seed,
            "device": f"{self.torch_device} ({_device_name(self.torch_device)}, {torch.get_num_threads()} threads)",
            "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            "packages": ", ".join(versions[:4]),
            "": ", ".join(versions[4:]),
            "parameters": ", ".join(own) or "none of its own",
        }
        return "\n".join(f"{name:<11}{value}" for name, value in lines.items())


def refuse_unknown(given: Mapping[str, Any], known: list[str], *, where: str) -> None:
    """Raise InputError for the first name that is not known, with the nearest one that is."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise InputError(
                f"{where} has no parameter {name!r}",
                why=f"it has {', '.join(known)}",
                fix=f"did you mean {near[0]!r}?" if near else "leave it out",
            )


def assignments(source: str) -> dict[str, ast.expr] | None:
    """Names and values, unevaluated, of a cell that does nothing but assign; None for any other cell."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return None
    found = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target = statement.target
        else:
            return None
        if not isinstance(target, ast.Name):
            return None
        found[target.id] = statement.value
    return found


def _given(namespace: Mapping[str, Any]) -> list[str]:
    """The names set by the parameters cell and the one papermill injects: cells of assignments before the first take.

    IPython keeps what ran in ``In``. Without it, every public plain value of the namespace counts.
    """
    ran = [source for source in namespace.get("In", []) if source.strip()]
    if not ran:
        return [n for n, v in namespace.items() if not n.startswith("_") and isinstance(v, LITERALS)]
    names: dict[str, None] = {}
    for source in ran:
        if ".take(globals())" in source:
            break
        names |= dict.fromkeys(assignments(source) or {})
    return [name for name in names if name in namespace]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else (platform.processor() or device.type)
