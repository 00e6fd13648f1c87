"""Errors, shapes, configs, seeds, checkpoints: what everything else stands on."""

import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
import torch

from binaural_core import checkpoint
from binaural_core.config import Config
from binaural_core.errors import InputError, need
from binaural_core.seeds import numpy_stream, stream
from binaural_core.shapes import check


@dataclass(frozen=True, kw_only=True)
class Leaf(Config):
    width: int = 4
    rates: tuple[int, ...] = (2, 2)
    mode: Literal["a", "b"] = "a"
    gain: float | None = None

    def validate(self):
        need(self.width > 0, f"width={self.width}", why="nothing is that narrow", fix="give 1 or more")


@dataclass(frozen=True, kw_only=True)
class Tree(Config):
    leaf: Leaf = Leaf()
    name: str = "oak"


def test_an_error_says_what_why_and_how_to_fix():
    with pytest.raises(InputError, match=r"^the file is empty. It holds no samples. To fix: record again.$"):
        need(False, "the file is empty", why="it holds no samples", fix="record again")


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_config_survives_the_disk(tmp_path, suffix):
    tree = Tree(leaf=Leaf(width=8, rates=(4, 2, 2), mode="b", gain=0.5))
    path = tmp_path / f"config.{suffix}"
    tree.save(path)
    assert Tree.load(path) == tree
    assert suffix == "yaml" or json.loads(path.read_text())["leaf"]["width"] == 8


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"leaf": {"widht": 3}}, "no setting 'widht'"),
        ({"leaf": {"width": "3"}}, "Leaf.width is '3'"),
        ({"leaf": {"width": True}}, "Leaf.width is True"),
        ({"leaf": {"width": 0}}, "nothing is that narrow|Nothing is that narrow"),
        ({"leaf": {"mode": "c"}}, "'a' or 'b'"),
        ({"leaf": {"rates": [2, "x"]}}, r"rates\[1\]"),
        ({"leaf": 3}, "Tree.leaf"),
    ],
)
def test_a_config_refuses_what_does_not_fit(given, complaint):
    with pytest.raises(InputError, match=complaint):
        Tree.from_dict(given)


def test_replace_reaches_into_the_tree():
    assert Tree().replace(**{"leaf.width": 16}).leaf.width == 16
    with pytest.raises(InputError, match=r"no setting 'leaf\.wide'"):
        Tree().replace(**{"leaf.wide": 16})
    with pytest.raises(InputError, match="width=-1"):
        Tree().replace(**{"leaf.width": -1})


def test_shapes_are_checked_by_letter():
    assert check(np.zeros((3, 2, 5)), "B 2 F", "mel") == {"B": 3, "F": 5}
    with pytest.raises(InputError, match=r"mel has shape \(3, 2, 5\), not \(B, 2, B\)"):
        check(np.zeros((3, 2, 5)), "B 2 B", "mel")
    with pytest.raises(InputError):
        check(np.zeros((3, 1, 5)), "B 2 F", "mel")
    with pytest.raises(InputError):
        check(np.zeros((3, 2)), "B 2 F", "mel")


def test_streams_are_keyed_by_everything_in_the_key():
    keys = [(0, "noise", 1, 2), (1, "noise", 1, 2), (0, "time", 1, 2), (0, "noise", 2, 1), (0, "noise", 12)]
    firsts = [torch.rand(1, generator=stream(*key)).item() for key in keys]
    assert len(set(firsts)) == len(keys)
    assert firsts[0] == torch.rand(1, generator=stream(*keys[0])).item()
    assert numpy_stream(0, "a").random() != numpy_stream(0, "b").random()


def test_streams_are_the_same_on_every_machine():
    assert torch.randint(1000, (3,), generator=stream(0, "noise", 1)).tolist() == [92, 29, 909]


def test_a_checkpoint_is_whole_or_not_there(tmp_path):
    path = tmp_path / "weights.pth"
    checkpoint.save(path, {"a": torch.ones(2)})

    def broken(temporary):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoint.write_whole(path, broken)
    assert checkpoint.load(path)["a"].tolist() == [1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pth"]


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run!",))

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="holds code instead of weights"):
        checkpoint.load(tmp_path / "evil.pth")


def test_weights_that_do_not_fit_are_named():
    layer = torch.nn.Linear(2, 3)
    with pytest.raises(InputError, match=r"1 missing \(such as bias\).*1 of another shape \(such as weight\)"):
        checkpoint.load_into(layer, {"weight": torch.zeros(3, 3)}, name="layer")
