"""How a training runs, whatever it trains: how long, how fast, how often things are written down."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from binaural_core.config import Config
from binaural_core.errors import need


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """How long, how fast, how often. Beside the stage's own config in ``config.yaml``."""

    id: str = "stage1"
    checkpoints: str = "checkpoints"  # the run's folder is {checkpoints}/{id}
    seed: int = 0
    epochs: int = 1000
    batch_size: int = 8  # of each process
    accumulate: int = 1  # batches whose gradients make one step: a large batch where memory is small
    warmup_steps: int = 0
    decay_factor: float = 0.94  # the learning rate is multiplied by this ...
    decay_epochs: int = 100  # ... every so many epochs (0: never)
    decay_per_step: float = 1.0
    cool_down: bool = False  # half a cosine from the full learning rate to zero over the whole run
    ema_decay: float = 0.999
    validate_epochs: int = 10
    checkpoint_steps: int = 1000
    keep_epochs: int = 100  # weights kept for good every so many epochs (0: never)
    log_steps: int = 50
    precision: str = "auto"  # fp32, bf16, or auto: bf16 where the device computes in it
    patience: int = 10  # steps that may be skipped in a row for NaN or infinity
    spike: float = 4.0  # a loss this many times its usual value is written down (0: never)
    workers: int = 0  # processes that read data, of each process that trains
    device: str = "auto"

    def validate(self) -> None:
        counts = ("epochs", "batch_size", "accumulate", "log_steps", "validate_epochs", "checkpoint_steps", "patience")
        for name in counts:
            value = getattr(self, name)
            need(value > 0, f"{name}={value}", why="a training needs at least one", fix="give a number above zero")
        need(
            self.precision in ("auto", "fp32", "bf16"),
            f"precision is {self.precision!r}",
            why="known are auto, fp32 and bf16",
            fix="choose one of them",
        )

    @property
    def folder(self) -> Path:
        return Path(self.checkpoints) / self.id

    def autocast(self, device: torch.device):
        """The context the forward pass runs in."""
        if device.type == "cuda":
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            has_bf16 = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        wanted = self.precision == "bf16" or (self.precision == "auto" and has_bf16)
        return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


def learning_rate_factor(run: RunConfig, step: int, epoch: int, total_steps: int) -> float:
    """What every learning rate is multiplied by at this step."""
    factor = run.decay_per_step**step
    if run.decay_epochs:
        factor *= run.decay_factor ** (epoch // run.decay_epochs)
    if run.cool_down:
        factor *= 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * step / total_steps))))
    return factor * min(1.0, (step + 1) / run.warmup_steps) if run.warmup_steps else factor
