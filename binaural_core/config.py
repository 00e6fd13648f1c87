"""The base of every config: a frozen dataclass that checks itself and travels as plain data.

One small config per component, beside the component; a run is a tree of them, saved with every checkpoint. Derived
numbers are properties, never stored. YAML and JSON both load.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from binaural_core.errors import InputError, need


@dataclass(frozen=True, kw_only=True)
class Config:
    """Subclass as ``@dataclass(frozen=True, kw_only=True)``; override `validate` to check ranges with `need`."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _fit(getattr(self, field.name), hints[field.name], f"{type(self).__name__}.{field.name}")
            object.__setattr__(self, field.name, value)
        self.validate()

    def validate(self) -> None:
        """Raise InputError when the values contradict each other or the world."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; nested fields as ``**{"unet.dim": 32}``."""
        tree = self.to_dict()
        for path, value in changes.items():
            *parents, leaf = path.split(".")
            branch = tree
            for parent in parents:
                branch = branch.get(parent) if isinstance(branch, dict) else None
            if not isinstance(branch, dict) or leaf not in branch:
                raise _unknown(path, type(self).__name__, branch if isinstance(branch, dict) else tree)
            branch[leaf] = value.to_dict() if isinstance(value, Config) else value
        return type(self).from_dict(tree)

    def to_dict(self) -> dict[str, Any]:
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Self:
        """Build from plain data. Raises InputError on unknown names and wrong types."""
        if not isinstance(tree, dict):
            raise InputError(
                f"{cls.__name__} is {tree!r}", why="a config is a table of names and values", fix="give a mapping"
            )
        known = {f.name for f in dataclasses.fields(cls)}
        for name in tree:
            if name not in known:
                raise _unknown(name, cls.__name__, known)
        return cls(**tree)

    def save(self, path: str | Path) -> None:
        """Write YAML, or JSON where the name ends in .json."""
        path, tree = Path(path), self.to_dict()
        text = json.dumps(tree, indent=1) if path.suffix == ".json" else yaml.safe_dump(tree, sort_keys=False)
        path.write_text(text)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a YAML or JSON file. Raises InputError when it is missing, unreadable or does not fit."""
        path = Path(path)
        need(path.is_file(), f"config {path} is not there", why="nothing can be built without it", fix="check the path")
        try:
            tree = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
        except (yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"config {path} cannot be read", why=str(error), fix="correct the file") from error
        return cls.from_dict(tree or {})


def _unknown(name: str, owner: str, known) -> InputError:
    return InputError(
        f"{owner} has no setting {name!r}",
        why=f"it has {', '.join(sorted(known))}",
        fix="check the spelling",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _fit(value: Any, hint: Any, name: str) -> Any:
    """The value as ``hint`` wants it: lists become tuples, ints become floats, tables become configs; else InputError."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is typing.Literal:
        if value in inner:
            return value
    elif origin in (typing.Union, types.UnionType):
        for option in inner:
            try:
                return _fit(value, option, name)
            except _DoesNotFit:
                continue
    elif origin is tuple and isinstance(value, (tuple, list)):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(_fit(v, k, f"{name}[{i}]") for i, (v, k) in enumerate(zip(value, kinds, strict=True)))
    elif origin is dict and isinstance(value, dict):
        return {_fit(k, inner[0], name): _fit(v, inner[1], f"{name}[{k!r}]") for k, v in value.items()}
    elif isinstance(hint, type) and issubclass(hint, Config) and isinstance(value, dict):
        return hint.from_dict(value)
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif hint is type(None) and value is None:
        return None
    elif isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = " or ".join(map(repr, inner)) if origin is typing.Literal else getattr(hint, "__name__", str(hint))
    raise _DoesNotFit(f"{name} is {value!r}", why=f"it must be {wanted}", fix=f"give {wanted}")


class _DoesNotFit(InputError):
    pass
