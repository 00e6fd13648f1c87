"""The alias-free activation as one operation with gradients, on the CPU and on CUDA."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from binaural_core.models.kernels.build import library


class AliasFreeFunction(torch.autograd.Function):
    """(x_BCN, alpha_C, scale_C = 1 / beta, taps) -> y_BCN; gradients for x, alpha and scale."""

    @staticmethod
    def forward(x_BCN: Tensor, alpha_C: Tensor, scale_C: Tensor, taps: Tensor) -> Tensor:
        x, alpha, scale, taps = (t.detach().float().contiguous() for t in (x_BCN, alpha_C, scale_C, taps))
        y = torch.empty_like(x)
        _call("alias_free_forward", x, alpha, scale, taps, y, shape=x.shape)
        return y.to(x_BCN.dtype)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy_BCN: Tensor) -> tuple[Tensor | None, ...]:
        dtype = ctx.saved_tensors[0].dtype
        x, alpha, scale, taps = (t.detach().float().contiguous() for t in ctx.saved_tensors)
        dy, dx = dy_BCN.float().contiguous(), torch.empty_like(x)
        rows = torch.zeros(2, *x.shape[:2], dtype=torch.float64, device=x.device)  # sums of alpha and of scale
        _call("alias_free_backward", x, dy, alpha, scale, taps, dx, rows[0], rows[1], shape=x.shape)
        d_alpha, d_scale = rows.sum(dim=1).float()
        return dx.to(dtype), d_alpha, d_scale, None


def _call(name: str, *tensors: Tensor, shape: torch.Size) -> None:
    batch, channels, samples = shape
    device = tensors[0].device.type
    if 0 in shape:
        return
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in tensors]
    sizes = [ctypes.c_int64(n) for n in (batch * channels, channels, samples)]
    if device == "cpu":
        getattr(library("cpu"), name)(*pointers, *sizes, ctypes.c_int(torch.get_num_threads()))
        return
    with torch.cuda.device(tensors[0].device):
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        failed = getattr(library("cuda"), name)(*pointers, *sizes, stream)
    if failed:
        raise RuntimeError(f"the CUDA kernel {name} could not be started (error {failed})")
