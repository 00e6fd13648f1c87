"""The command line: it parses arguments and calls the package, nothing more.

Each command is a dataclass of `binaural_core.commands` whose fields are its options (their docstrings the help) and whose
``run`` does it.
"""

from __future__ import annotations

import logging
import sys
import warnings

import tyro

from binaural_core.commands.data import Frames, Mels, Scenes
from binaural_core.commands.infer import Infer
from binaural_core.commands.measure import (
    BenchRecipes,
    BenchScenes,
    BenchSystems,
    BenchVocoder,
    EvaluateAudio,
    EvaluateLocalizer,
    EvaluateMels,
    EvaluateStage1,
    EvaluateSystems,
)
from binaural_core.commands.train import TrainLocalizer, TrainMono2Binaural, TrainStage1, TrainStage2
from binaural_core.errors import InputError

COMMANDS = {
    "scenes": Scenes,
    "frames": Frames,
    "train stage1": TrainStage1,
    "train stage2": TrainStage2,
    "train localizer": TrainLocalizer,
    "train mono2binaural": TrainMono2Binaural,
    "mels": Mels,
    "infer": Infer,
    "evaluate audio": EvaluateAudio,
    "evaluate mels": EvaluateMels,
    "evaluate stage1": EvaluateStage1,
    "evaluate systems": EvaluateSystems,
    "evaluate localizer": EvaluateLocalizer,
    "bench scenes": BenchScenes,
    "bench vocoder": BenchVocoder,
    "bench recipes": BenchRecipes,
    "bench systems": BenchSystems,
}


def joined(arguments: list[str]) -> list[str]:
    """``train stage1 …`` as one command name."""
    pair = " ".join(arguments[:2])
    return [pair, *arguments[2:]] if pair in COMMANDS else arguments


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, and turn a user's mistake into one screen. Returns the exit status; a command may say its own."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="binaural",
        description="Binaural sound from a mono recording and its video.",
        args=joined(list(sys.argv[1:] if arguments is None else arguments)),
        use_underscores=True,
    )
    try:
        status = command.run()
    except InputError as error:
        print(f"binaural: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("binaural: stopped", file=sys.stderr)
        return 130
    return status or 0
