"""An exponential moving average of weights: the network one validates and ships."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Ema:
    """Averages of the state of several modules, ``average <- d * average + (1 - d) * weights``.

    The decay starts low and rises to ``decay`` with the number of updates, ``min(decay, (1 + n) / (10 + n))``, so that a
    short training is not averaged with its random start.
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float):
        self.decay, self.updates = decay, 0
        self.average = {
            name: {k: v.detach().clone() for k, v in module.state_dict().items()} for name, module in modules.items()
        }

    @torch.no_grad()
    def update(self, modules: Mapping[str, nn.Module]) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self.average.items():
            for key, value in modules[name].state_dict().items():
                if value.is_floating_point():
                    average[key].lerp_(value, 1 - decay)
                else:
                    average[key].copy_(value)

    def state_dict(self) -> dict[str, int | dict[str, dict[str, Tensor]]]:
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state: dict) -> None:
        self.updates = state["updates"]
        for name, average in self.average.items():
            for key, value in average.items():
                value.copy_(state["average"][name][key])


class swapped:
    """Inside the ``with`` block the modules hold the averaged weights; afterwards their own again."""

    def __init__(self, modules: Mapping[str, nn.Module], ema: Ema):
        self.modules, self.ema = modules, ema

    def __enter__(self) -> None:
        self.kept = {
            name: {k: v.detach().clone() for k, v in self.modules[name].state_dict().items()}
            for name in self.ema.average
        }
        for name, average in self.ema.average.items():
            self.modules[name].load_state_dict(average)

    def __exit__(self, *_: object) -> None:
        for name, own in self.kept.items():
            self.modules[name].load_state_dict(own)
