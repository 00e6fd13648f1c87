"""Named random streams: the same key gives the same numbers, in any process, on any machine, after any restart.

A stream is keyed by (seed, purpose, index …), for instance ``stream(0, "noise", epoch, sample)``. No function of this
package touches a global seed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def key(seed: int, purpose: str, *index: int | str) -> int:
    """63 bits that identify (seed, purpose, index …)."""
    digest = hashlib.sha256(repr((int(seed), purpose, *index)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(seed: int, purpose: str, *index: int | str) -> torch.Generator:
    """An independent torch generator (CPU) for one purpose."""
    return torch.Generator().manual_seed(key(seed, purpose, *index))


def numpy_stream(seed: int, purpose: str, *index: int | str) -> np.random.Generator:
    """An independent numpy generator for one purpose."""
    return np.random.default_rng(key(seed, purpose, *index))


@contextmanager
def first_weights(seed: int) -> Iterator[None]:
    """Inside the ``with`` block new networks get the same first weights every time; the global state is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "first weights"))
        yield
