"""Exercises of the course: `check` your answer, ask for a `hint`, open the `solution`.

    check("02-ex1", globals())     # "not attempted yet", "not there yet" with a hint, or "right"

A notebook runs to its end whether its exercises are solved or not. One file of exercises for each notebook; an exercise
is a function that looks at the student's answer and returns what is wrong with it, or None.
"""

from __future__ import annotations

import html
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from binaural_core.errors import need

UNATTEMPTED = ..., None  # a stub's value, or what a stub function returns


@dataclass(frozen=True)
class Exercise:
    """The name that the student defines, a check of it, hints from gentle to plain, and the source of an answer."""

    answer: str
    check: Callable[[Any], str | None]
    hints: tuple[str, ...]
    solution: str


@dataclass(frozen=True)
class Verdict:
    """What `check` says; shown as text at the end of a cell."""

    name: str
    state: str  # "not attempted yet", "not there yet" or "right"
    message: str = ""

    def __repr__(self) -> str:
        return f"{self.name}: {self.state}" + (f". {self.message}" if self.message else "")


@dataclass(frozen=True)
class Solution:
    """A solution that stays folded until it is opened."""

    name: str
    source: str

    def _repr_html_(self) -> str:
        return f"<details><summary>Solution of {self.name}</summary><pre>{html.escape(self.source)}</pre></details>"

    def __repr__(self) -> str:
        return f"Solution of {self.name}: print(solution({self.name!r}).source)"


class NotAttempted(Exception):
    """Raised while checking when a stub gives nothing back."""


def check(name: str, namespace: Mapping[str, Any]) -> Verdict:
    """Look at the answer in a notebook's ``globals()``. Never raises for a wrong or missing answer.

    Raises InputError when there is no such exercise.
    """
    exercise = find(name)
    answer = namespace.get(exercise.answer, ...)
    if any(answer is empty for empty in UNATTEMPTED):
        return Verdict(name, "not attempted yet", f"Define `{exercise.answer}` in the cell above")
    try:
        wrong = exercise.check(answer)
    except NotAttempted:
        return Verdict(name, "not attempted yet", f"Complete `{exercise.answer}` in the cell above")
    except Exception as error:  # whatever the student's code raises is the student's to read
        wrong = f"It raised {type(error).__name__}: {error}"
    if wrong is None:
        return Verdict(name, "right")
    return Verdict(name, "not there yet", f"{wrong} Hint 1 of {len(exercise.hints)}: {exercise.hints[0]}")


def hint(name: str, level: int = 1) -> str:
    """Hint number ``level`` of an exercise; the last one nearly gives it away."""
    hints = find(name).hints
    return f"{name}, hint {min(level, len(hints))} of {len(hints)}: {hints[min(level, len(hints)) - 1]}"


def solution(name: str) -> Solution:
    """The folded solution of an exercise."""
    return Solution(name, find(name).solution)


def find(name: str) -> Exercise:
    """An exercise by its name. Raises InputError with the names there are."""
    exercises = all_exercises()
    need(
        name in exercises,
        f"there is no exercise {name!r}",
        why=f"there are {', '.join(sorted(exercises))}",
        fix="check the name",
    )
    return exercises[name]


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of the course by its name, such as ``02-ex1``."""
    from binaural_core.exercises import (
        bigvgan,
        conditioning,
        data_loading,
        diffusion,
        evaluation,
        headphones,
        many_gpus,
        mel_spectrograms,
        scheduled_sampling,
        training,
    )

    return (
        headphones.EXERCISES
        | data_loading.EXERCISES
        | mel_spectrograms.EXERCISES
        | diffusion.EXERCISES
        | conditioning.EXERCISES
        | training.EXERCISES
        | many_gpus.EXERCISES
        | bigvgan.EXERCISES
        | scheduled_sampling.EXERCISES
        | evaluation.EXERCISES
    )


def returned(value: Any) -> Any:
    """The value a student's function gave, unless it gave nothing: then `NotAttempted`."""
    if any(value is empty for empty in UNATTEMPTED):
        raise NotAttempted
    return value


def source_of(function: Callable) -> str:
    """The source of a model answer, to be shown as the solution."""
    return textwrap.dedent(inspect.getsource(function)).strip()
