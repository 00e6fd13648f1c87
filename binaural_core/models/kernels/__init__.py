"""Which way a vocoder's layers are computed, and the fused kernels.

Ways: ``plain``, PyTorch's own operations with zeros stuffed between the samples, as published; ``polyphase``, the same sums
without the zeros, for inference where there is no compiler; ``fused``, compiled (`build`): each alias-free activation is
one operation with gradients, and on the CPU inference packs the whole generator (`packed`). Fused is taken where it can be;
`using` or the environment variable BINAURAL_KERNELS choose another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import torch
from torch import Tensor

from binaural_core.errors import need
from binaural_core.models.kernels.build import library

Way = Literal["plain", "polyphase", "fused"]
_asked: ContextVar[Way | None] = ContextVar("way", default=None)


@contextmanager
def using(way: Way) -> Iterator[None]:
    """Inside the ``with`` block layers are computed this way (or ``plain`` where it is not possible)."""
    token = _asked.set(_known(way))
    try:
        yield
    finally:
        _asked.reset(token)


def way_for(x: Tensor, *parameters: Tensor) -> Way:
    """How to compute a layer on ``x``.

    The fused kernels compute in float32; float64 takes the plain way, and so do gradients where nothing is compiled.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or x.dtype == torch.float64 or x.device.type not in ("cpu", "cuda"):
        return "plain"
    way = _asked.get() or _known(os.environ.get("BINAURAL_KERNELS", "fused"))
    if way == "fused" and library(x.device.type) is None:
        way = "polyphase"
    trained = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *parameters))
    return "plain" if way == "polyphase" and trained else way


def _known(way: str) -> Way:
    need(
        way in get_args(Way),
        f"there is no way named {way!r} to compute a vocoder's layers",
        why=f"known are {', '.join(get_args(Way))}",
        fix="choose one of them (BINAURAL_KERNELS, or kernels.using)",
    )
    return way
