"""Convolutions whose weight can be kept as a direction times a length (Salimans and Kingma 2016, 1602.07868, eq. 2).

w = g v / |v|, one g per index of the weight's first axis. Split, a convolution has the parameters ``weight_g`` and
``weight_v``, as in every published vocoder checkpoint, so state dicts and optimizer states pass both ways without
renaming; folded, it has a plain ``weight``, which is faster. `split` and `fold` go between the two.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def length(weight: Tensor) -> Tensor:
    """|v| per index of the first axis, with the other axes kept as 1."""
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)


class WeightNorm(nn.Module):
    """What the three convolutions below share; not used alone. A new one is folded."""

    def split(self) -> None:
        if "weight" in self._parameters:
            weight = self._parameters.pop("weight").detach()
            self.weight_g, self.weight_v = nn.Parameter(length(weight)), nn.Parameter(weight.clone())

    def fold(self) -> None:
        if "weight" not in self._parameters:
            weight = self.normed().detach()
            del self.weight_g, self.weight_v
            self.weight = nn.Parameter(weight)

    def normed(self) -> Tensor:
        """The weight that the convolution uses."""
        weight = getattr(self, "weight", None)  # a parameter, or what pruning puts in its place
        if weight is not None:
            return weight
        return self.weight_v * (self.weight_g / length(self.weight_v))


class Conv1d(WeightNorm, nn.Conv1d):
    def forward(self, x_BCN: Tensor) -> Tensor:
        return F.conv1d(x_BCN, self.normed(), self.bias, self.stride, self.padding, self.dilation)


class Conv2d(WeightNorm, nn.Conv2d):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.conv2d(x_BCHW, self.normed(), self.bias, self.stride, self.padding, self.dilation)


class ConvTranspose1d(WeightNorm, nn.ConvTranspose1d):
    def forward(self, x_BCN: Tensor) -> Tensor:
        return F.conv_transpose1d(x_BCN, self.normed(), self.bias, self.stride, self.padding)


def split(network: nn.Module) -> None:
    """Keep every convolution's weight as ``weight_g`` and ``weight_v`` (training). The output stays the same."""
    for module in network.modules():
        if isinstance(module, WeightNorm):
            module.split()


def fold(network: nn.Module) -> None:
    """Keep every convolution's weight as ``weight`` (inference). The output stays the same."""
    for module in network.modules():
        if isinstance(module, WeightNorm):
            module.fold()


def split_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict in the published form, ``weight_g`` and ``weight_v``, even where the network is folded."""
    normed = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, WeightNorm)}
    state = {}
    for name, value in network.state_dict().items():
        state |= {f"{name}_g": length(value), f"{name}_v": value} if name in normed else {name: value}
    return state


def published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the published names, also where PyTorch's newer parametrization wrote it."""
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for key, value in state.items():
        for new, old in names.items():
            key = key.removesuffix(new) + old if key.endswith(new) else key
        renamed[key] = value
    return renamed
