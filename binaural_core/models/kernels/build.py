"""The kernels in C++ and CUDA, compiled at first use by PyTorch's extension builder and kept for the next time.

`library` gives the compiled functions or None. Where they cannot be built (no compiler, no ninja), one line says why and
that slower paths are taken instead. What was compiled lies in PyTorch's extension folder (TORCH_EXTENSIONS_DIR), under a
name made from the sources, the flags and the processor, so a change of any of them compiles again, and nothing that was
built on another machine is ever run.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

HERE = Path(__file__).parent
NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
CPU_FLAGS = ("-O3", NATIVE, "-fopenmp", "-std=c++17")
LINK_FLAGS = ("-fopenmp",)
CUDA_FLAGS = ("-O3",)


@functools.cache
def library(device: str = "cpu") -> ctypes.CDLL | None:
    """The compiled kernels for ``cpu`` or ``cuda``; None where they cannot be built, which a warning says once."""
    try:
        return ctypes.CDLL(str(_compiled(device)))
    except (OSError, RuntimeError, ImportError, subprocess.SubprocessError) as error:
        reason = _first_line(error)
        warnings.warn(
            f"the fused {device} kernels could not be built ({reason}); the slower polyphase path is used", stacklevel=2
        )
        return None


def _compiled(device: str) -> Path:
    """Path of the shared library; built in a folder of its own first, so that no half-built file or lock is ever met."""
    from torch.utils import cpp_extension  # reads the compilers' paths, which takes a moment

    sources = _sources(device)
    name = f"binaural_{device}_{_fingerprint(device, sources)}"
    root = os.environ.get("TORCH_EXTENSIONS_DIR") or cpp_extension.get_default_build_root()
    kept = Path(root) / name / f"{name}.so"
    if kept.is_file():
        return kept
    building = Path(tempfile.mkdtemp(prefix="binaural_kernels_"))
    with _ninja_found():
        cpp_extension.load(
            building.name,  # a name of its own: the builder takes one that failed in this process for built
            [str(source) for source in sources],
            extra_cflags=list(CPU_FLAGS),
            extra_cuda_cflags=list(CUDA_FLAGS),
            extra_ldflags=list(LINK_FLAGS),
            build_directory=str(building),
            is_python_module=False,
        )
    built = building / f"{building.name}.so"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(built, kept.with_suffix(f".{os.getpid()}"))
        os.replace(kept.with_suffix(f".{os.getpid()}"), kept)
    except OSError:
        return built  # nowhere to keep it: this process has it, the next one builds again
    shutil.rmtree(building, ignore_errors=True)
    return kept


def _sources(device: str) -> list[Path]:
    return sorted(HERE.glob({"cpu": "*.cpp", "cuda": "*.cu"}[device]))


def _fingerprint(device: str, sources: list[Path]) -> str:
    """Changes when what is compiled, how, or for which processor changes."""
    made_of = [source.read_bytes() for source in (*sources, HERE / "simd.h")]
    made_of += [" ".join(CPU_FLAGS + CUDA_FLAGS + LINK_FLAGS).encode(), torch.__version__.encode()]
    made_of.append(_processor().encode() if device == "cpu" else str(torch.cuda.get_device_capability()).encode())
    return hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]


def _processor() -> str:
    """What this machine's CPU can do, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


@contextmanager
def _ninja_found() -> Iterator[None]:
    """The ninja of this environment on the PATH, also where the environment was not activated."""
    import ninja

    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{ninja.BIN_DIR}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _first_line(error: Exception) -> str:
    """What went wrong, in the compiler's own words where it has some."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() and not line.startswith("Error building")]
    return (telling or lines or [type(error).__name__])[0][:160]
