"""How fast a vocoder is on this machine, way by way: time for a second of sound, memory, largest error.

All ways are timed in one process, in turn, and medians are compared, so that whatever else the machine does slows all alike.
The allocator is told to keep what it has (`PINNED`): else every large tensor costs page faults, which flatter each change.
Those variables are read when a process starts, so `measure` runs this module in processes of its own.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from binaural_core.errors import InputError, need
from binaural_core.models import kernels
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.places import config_file

WAYS: tuple[kernels.Way, ...] = ("plain", "polyphase", "fused")
PINNED = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "67108864",
}
ERROR_S = 0.5  # of sound in float64


@dataclass(frozen=True)
class Timing:
    """One way on one vocoder, length and number of threads (0 on a GPU)."""

    vocoder: str
    way: str
    seconds: float
    threads: int
    batch: int
    s_per_s: float  # median time for a second of sound of all in the batch
    speedup: float  # of the plain way's median
    memory_mb: float | None  # more than before, at most; where the system tells


@dataclass(frozen=True)
class Error:
    """Largest difference from the plain way in float64, as part of the largest sample."""

    vocoder: str
    way: str
    largest: float


@dataclass(frozen=True)
class Measured:
    """What `measure` found."""

    machine: str
    timings: list[Timing]
    errors: list[Error]

    def table(self) -> str:
        """Both tables in markdown."""
        head = "| vocoder | sound | threads | way | s per s of sound | x plain | memory (MB) |"
        lines = [head, "|---|---:|---:|---|---:|---:|---:|"]
        for t in self.timings:
            sound = f"{t.seconds:g} s" + (f" x {t.batch}" if t.batch > 1 else "")
            memory = "–" if t.memory_mb is None else f"{t.memory_mb:.0f}"
            threads = t.threads or "GPU"
            lines.append(
                f"| {t.vocoder} | {sound} | {threads} | {t.way} | {t.s_per_s:.4g} | {t.speedup:.2f} | {memory} |"
            )
        vocoders = list(dict.fromkeys(e.vocoder for e in self.errors))
        ways = list(dict.fromkeys(e.way for e in self.errors))
        found = {(e.vocoder, e.way): e.largest for e in self.errors}
        errors = [f"| largest error in float32 | {' | '.join(ways)} |", "|---|" + "---:|" * len(ways)]
        errors += [f"| {v} | {' | '.join(f'{found[v, w]:.1e}' for w in ways)} |" for v in vocoders]
        return "\n".join([f"Medians on {self.machine}.", "", *lines, "", *errors])


def measure(
    vocoders: tuple[str, ...],
    *,
    seconds: tuple[float, ...] = (2.0, 5.0),
    threads: tuple[int, ...] = (1, 2),
    batches: tuple[int, ...] = (1,),
    repeats: int = 5,
    device: str = "cpu",
) -> Measured:
    """Time new generators of these configs (shipped names or paths) in every way.

    Raises InputError for fewer than five repeats, whose median says little, and for a config that cannot be read.
    """
    need(repeats >= 5, f"repeats={repeats}", why="a median of fewer says little", fix="give 5 or more")
    need(
        device == "cpu" or torch.cuda.is_available(),
        f"the device is {device!r}, and there is none here",
        why="nothing can be timed on it",
        fix="use cpu",
    )
    timings, errors = [], []
    for vocoder in vocoders:
        _config(vocoder)  # says what is wrong with it before anything takes time
        errors += [Error(**found) for found in _apart("errors", vocoder=vocoder, device=device)]
        for length in seconds:
            for batch in batches:
                job = {"vocoder": vocoder, "seconds": length, "batch": batch, "device": device}
                for count in threads if device == "cpu" else (0,):
                    memory = {way: _apart("memory", way=way, threads=count, **job) for way in WAYS}
                    taken = _apart("times", repeats=repeats, threads=count, **job)
                    for way, s in taken.items():
                        per_s, faster = s / (length * batch), taken["plain"] / s
                        timings.append(Timing(_name(vocoder), way, length, count, batch, per_s, faster, memory[way]))
    return Measured(_machine(device), timings, errors)


def _apart(what: str, **settings):
    """A function below, in a process of its own."""
    command = [sys.executable, "-m", "binaural_core.models.kernels.bench", what, json.dumps(settings)]
    threads = {"OMP_NUM_THREADS": str(settings["threads"])} if settings.get("threads") else {}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | PINNED | threads)
    if done.returncode:
        raise InputError(
            f"the measurement of {settings.get('vocoder')} stopped",
            why=(done.stderr.strip().splitlines() or ["it was killed"])[-1],
            fix="try a shorter sound or a smaller vocoder",
        )
    return json.loads(done.stdout.splitlines()[-1])


def times(vocoder: str, seconds: float, batch: int, threads: int, repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each way, timed in turn; the first call of each, which prepares it, is not counted."""
    generator, mel_BMF = _prepared(vocoder, seconds, batch, threads, device)
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(repeats + 1):
        for way in WAYS:
            with kernels.using(way):
                s = _timed(lambda: generator(mel_BMF), device)
            if number:
                taken[way].append(s)
    return {way: statistics.median(found) for way, found in taken.items()}


def memory(vocoder: str, seconds: float, batch: int, threads: int, way: kernels.Way, device: str) -> float | None:
    """Megabytes that one call needs at most beyond the generator and its input; packed layers count."""
    generator, mel_BMF = _prepared(vocoder, seconds, batch, threads, device)
    with kernels.using(way), _highest(device) as more:
        generator(mel_BMF)
    return more()


def errors(vocoder: str, device: str) -> list[dict]:
    """Of every way against the plain way in float64."""
    generator, mel_BMF = _prepared(vocoder, ERROR_S, 1, 0, device)
    made = {}
    for way in WAYS:
        with kernels.using(way):
            made[way] = generator(mel_BMF).double()
    exact = generator.double()(mel_BMF.double())
    largest = float(exact.abs().max())
    return [asdict(Error(_name(vocoder), way, float((y - exact).abs().max()) / largest)) for way, y in made.items()]


def _prepared(vocoder: str, seconds: float, batch: int, threads: int, device: str) -> tuple[BigVGAN, Tensor]:
    torch.set_grad_enabled(False)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)  # this is a process of its own
    config = _config(vocoder)
    generator = BigVGAN(config).remove_weight_norm().eval().to(device)
    frames = round(seconds * config.sampling_rate / config.hop_size)
    return generator, (torch.randn(batch, config.num_mels, frames) * 2 - 5).to(device)


def _timed(call: Callable[[], Tensor], device: str) -> float:
    if device == "cpu":
        began = time.perf_counter()
        call()
        return time.perf_counter() - began
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    call()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / 1000


@contextmanager
def _highest(device: str) -> Iterator[Callable[[], float | None]]:
    """Gives a function that says how much more memory was held inside the ``with`` block than before, at most."""
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: (torch.cuda.max_memory_allocated() - before) / 1e6
        return
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not os.access(reset, os.W_OK):
        yield lambda: None  # only Linux tells
        return

    def held(what: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(what))

    reset.write_text("5")  # forget the highest so far
    before = held("VmRSS")
    yield lambda: (held("VmHWM") - before) * 1024 / 1e6


def _config(vocoder: str) -> BigVGANConfig:
    return BigVGANConfig.from_json(config_file(vocoder))


def _name(vocoder: str) -> str:
    return Path(vocoder).stem.removeprefix("bigvgan_")


def _machine(device: str) -> str:
    if device != "cpu":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = "this CPU"
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, torch {torch.__version__}"


if __name__ == "__main__":
    print(json.dumps({"times": times, "memory": memory, "errors": errors}[sys.argv[1]](**json.loads(sys.argv[2]))))
