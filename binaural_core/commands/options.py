"""What commands share: configs by path or name, single settings, numbers from text, and what is said at the end."""

from __future__ import annotations

from typing import Any

import yaml

from binaural_core.errors import InputError, need


def load_config(kind, path: str | None):
    """A config from a path or, by its bare name, from the shipped ones."""
    from binaural_core.places import config_file

    if path is None:
        return kind()
    return kind.load(config_file(path))


def dataset_of(config: str | None, kind: str | None, root: str | None, changes: tuple[str, ...]):
    """The data set of a training's config, or the default one, with what the flags say."""
    from binaural_core.data.catalog import DatasetConfig
    from binaural_core.training.stage1 import Stage1Config

    dataset = load_config(Stage1Config, config).dataset if config else DatasetConfig()
    return dataset.replace(**(only_given({"kind": kind, "root": root}) | settings(changes)))


def settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """``("run.seed=3", "scene.sources=[1,1]")`` as names and values."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        need(bool(equals), f"the setting {text!r} has no value", why="settings are name=value", fix=f"write {text}=…")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"the setting {text!r} cannot be read", why=str(error), fix="quote it") from error
    return values


def only_given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def numbers(text: str | None, count: int):
    """``"30,0,1.5;-30,0,2"`` as an array (objects, count), or what a .npy file holds."""
    import numpy as np

    if text is None:
        return None
    try:
        if text.endswith(".npy"):
            return np.load(text, allow_pickle=False)
        rows = [[float(number) for number in row.split(",")] for row in text.split(";")]
    except (ValueError, OSError) as error:
        raise InputError(f"{text!r} cannot be read", why=str(error), fix="write numbers: 30,0,1.5;-30,0,2") from error
    need(
        all(len(row) == count for row in rows),
        f"{text!r} does not hold {count} numbers for each object",
        why="positions are azimuth,elevation,distance and image positions x,y",
        fix="separate numbers by ',' and objects by ';'",
    )
    return np.array(rows, np.float32)


def say(done: int, total: int, name: object) -> None:
    print(f"{done}/{total} {getattr(name, 'clip_id', name)}", flush=True)


def report(result) -> None:
    if result is None:
        return  # the first process of torchrun reports
    best = "none" if result.best is None else f"{result.best:.4f}"
    print(
        f"{result.steps} steps ({result.steps_per_s:.2f} a second), best {best}, {result.skipped} skipped, "
        f"{100 * result.data_wait_share:.0f} % of the time waiting for data; weights in {result.folder}"
    )
