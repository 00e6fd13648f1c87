"""Many processes on PyTorch's own engine; no other file knows that there may be several.

A `World` says which process this is and lets the processes agree. `launch` runs a function in several of them, from a
shell or from a notebook; ``torchrun`` starts the same processes on several machines, and `joined` finds out which it is.
Every process draws its own share of each batch, computes its gradients, and `DistributedDataParallel` averages them while
they are being computed, so that all processes take the same step.

Without enough GPUs the processes run on CPUs and talk through gloo; with them, NCCL.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from binaural_core.errors import InputError, need
from binaural_core.places import pick_device

PATIENCE = timedelta(minutes=30)  # how long a process waits for the others: one may be validating or writing


@dataclass(frozen=True)
class World:
    """Process ``rank`` of ``size``. Everything that several processes agree on goes through here."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among the processes of this machine
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device of that name for this process: with several GPUs, each process has one of its own."""
        if name != "cpu" and self.size > 1 and has_gpus(self.local_size):
            return torch.device("cuda", self.local_rank)
        return torch.device("cpu") if name == "auto" and self.size > 1 else pick_device(name)

    def share(self, items: Sequence[Any]) -> list[Any]:
        """Every ``size``-th item; together the processes have each once."""
        return list(items[self.rank :: self.size])

    def gathered(self, value: Any) -> list[Any]:
        """The values of all processes, in their order, in every process. Plain data."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def told(self, value: Any) -> Any:
        """What the first process has, in every process. Plain data or tensors."""
        if self.size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        if self.size == 1:
            return flag
        raised = torch.tensor(float(flag), device=self.device("auto"))
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised)

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module, its gradients averaged over all processes."""
        if self.size == 1:
            return module
        # In some batches nothing is seen, and the encoder has no gradient there.
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)

    def apart(self, module: nn.Module, apart: bool = True):
        """Inside the ``with`` block gradients are gathered in each process alone, to be averaged with the next ones."""
        return module.no_sync() if apart and self.size > 1 else nullcontext()

    def same(self, tensors: dict[str, Tensor]) -> None:
        """Overwrite the tensors with those of the first process."""
        if self.size > 1:
            for name in sorted(tensors):
                dist.broadcast(tensors[name], src=0)


ALONE = World()


def has_gpus(count: int) -> bool:
    return torch.cuda.is_available() and torch.cuda.device_count() >= count


@contextmanager
def joined() -> Iterator[World]:
    """The world that ``torchrun`` or `launch` put this process into; `ALONE` where neither did."""
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    local_rank, local_size = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    gpus = has_gpus(local_size)
    if gpus:
        torch.cuda.set_device(local_rank)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_size))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), dist.get_world_size(), local_rank, local_size)
    finally:
        dist.destroy_process_group()


def launch(function: Callable[..., Any], *arguments: Any, processes: int) -> Any:
    """``function(*arguments, world)`` in that many new processes of this machine; returns what the first one returned.

    function : importable (a function defined in a notebook's cell is not); arguments : plain data or configs.
    Raises InputError when the function did in any process, or when a process died; what was saved stays, so the same call
    goes on from there. With one process the function is simply called; under ``torchrun`` it joins the others, and all but
    the first get None.
    """
    need(processes >= 1, f"{processes} processes", why="nothing would run", fix="ask for 1 or more")
    if processes == 1:
        with joined() as world:
            result = function(*arguments, world)
            return result if world.first else None
    need(
        not dist.is_torchelastic_launched(),
        f"{processes} processes were asked for inside torchrun",
        why="it has started them already",
        fix="give torchrun --nproc_per_node and leave --num_gpus out",
    )
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if not has_gpus(processes):
        print(f"There are no {processes} GPUs here: {processes} processes share the CPU.", file=sys.stderr)
    for noisy in ("torch.distributed.elastic", "torch.multiprocessing"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # `_why` says it in a sentence
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # the new processes would warn of `find_unused_parameters`
    with tempfile.TemporaryDirectory() as notes, _own_signals():
        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id="binaural",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.2,
            start_method="spawn",
        )
        try:
            elastic_launch(settings, _child)(notes, function, arguments)
        except SignalException as stopped:
            if stopped.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            sys.exit(128 + stopped.sigval)
        except ChildFailedError as failed:
            print(file=sys.stderr)  # behind a progress bar that will not end
            raise _why(Path(notes), failed, processes) from None
        return pickle.loads((Path(notes) / "result").read_bytes())  # written by our own process a moment ago


def _child(notes: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What each new process does. A user's mistake travels back as data, not as a traceback."""
    rank = os.environ["RANK"]
    try:
        with joined() as world:
            result = function(*arguments, world)
        if world.first:
            (Path(notes) / "result").write_bytes(pickle.dumps(result))
    except InputError as error:
        said = (error.what, error.why, error.fix)
        (Path(notes) / f"mistake_{rank}").write_bytes(pickle.dumps(said))
        sys.exit(2)
    except Exception:
        (Path(notes) / f"failure_{rank}").write_text(traceback.format_exc())
        sys.exit(1)


def _why(notes: Path, failed: Any, processes: int) -> Exception:
    """The reason for which the processes stopped."""
    for path in sorted(notes.glob("mistake_*")):
        what, why, fix = pickle.loads(path.read_bytes())
        return InputError(what, why=why, fix=fix)
    killed = {rank: -f.exitcode for rank, f in failed.failures.items() if f.exitcode < 0}
    # The launcher ends the others with SIGTERM, and they may abort when a connection breaks: those are not the cause.
    causes = {rank: number for rank, number in killed.items() if number not in (signal.SIGTERM, signal.SIGABRT)}
    first_failures = sorted(notes.glob("failure_*"), key=lambda path: path.stat().st_mtime)
    if first_failures and not causes:
        path = first_failures[0]
        return RuntimeError(f"process {path.name.split('_')[1]} of {processes} failed:\n{path.read_text()}")
    rank, number = next(iter((causes or killed).items()), ("?", signal.SIGTERM))
    return InputError(
        f"process {rank} of {processes} was killed by {signal.Signals(number).name}",
        why="the others cannot go on without it (is the memory full?)",
        fix="start the same command again: it goes on from the last checkpoint",
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """The launcher leaves its own signal handlers behind; in a notebook the stop button would hit those."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watched = [
        signal.SIGTERM,
        signal.SIGINT,
        *(getattr(signal, n) for n in ("SIGHUP", "SIGQUIT") if hasattr(signal, n)),
    ]
    before = {number: signal.getsignal(number) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
