"""Stage 1's training: from the mono mel and what is seen to both ears' mels.

A `Stage` for `loop.fit`: one player, the UNet and the visual network with a learning rate each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from binaural_core import checkpoint
from binaural_core.audio import MelConfig, log_mel
from binaural_core.audio.scaling import HALF, to_unit
from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.loading import Loader, Windows, loader
from binaural_core.data.sample import Batch
from binaural_core.errors import need
from binaural_core.models.diffbinaural import DiffBinaural, DiffBinauralConfig
from binaural_core.seeds import first_weights
from binaural_core.training.loop import Draw, Player, Result, RunConfig, State, fit

LOUD = math.log(1e-3)  # mel cells above it are weighed by `weighted_loss` and counted in the level error
DB_PER_NEPER = 20 / math.log(10)
FILTER_CURVES = 6
EARS = {"both": slice(0, 2), "left": slice(0, 1), "right": slice(1, 2)}


@dataclass(frozen=True, kw_only=True)
class Stage1Config(Config):
    """One training of stage 1: saved as ``config.yaml`` beside its weights."""

    dataset: DatasetConfig = DatasetConfig()
    data: DataConfig = DataConfig()
    mel: MelConfig = MelConfig()
    model: DiffBinauralConfig = DiffBinauralConfig()
    run: RunConfig = RunConfig()
    lr_unet: float = 1e-4
    lr_frame: float = 1e-4
    clip_norm: float = 5.0
    weight_decay: float = 0.0
    weighted_loss: bool = False  # mel cells where the mono mel is above ln 1e-3 count twice
    gain_db: tuple[float, float] = (0.0, 0.0)  # both ears and the mono louder or softer by a random gain
    filter_db: float = (
        0.0  # deviation of a random smooth filter on both ears and the mono alike: other timbres, same place
    )
    hide_pixels: float = 0.0  # share of samples whose crops are blank, so that positions alone are learned too
    hide_positions: float = 0.0  # share of samples whose positions are unknown, so that pixels alone are
    validation_steps: int | None = None  # of the sampler; None: the recipe's
    weights_unet: str | None = None  # start from these instead of from chance
    weights_frame: str | None = None

    def validate(self) -> None:
        need(
            0 <= self.hide_pixels + self.hide_positions <= 1,
            f"hide_pixels={self.hide_pixels} and hide_positions={self.hide_positions}",
            why="a sample loses one or the other; together they are a share of all",
            fix="let them add up to 1 at most",
        )
        need(
            self.data.frames_per_window > 0 and self.data.window_frames % self.data.frames_per_window == 0,
            f"window_frames={self.data.window_frames} is no multiple of frames_per_window={self.data.frames_per_window}",
            why="long sound is made of windows that overlap by the time between two pictures",
            fix="change one of them",
        )
        need(
            self.model.unet.ears == len(range(2)[EARS[self.data.target]]),
            f"the network makes {self.model.unet.ears} ears but the target is {self.data.target!r}",
            why="each ear of the target is a channel of the network",
            fix="set model.unet.ears to 1 for left or right, to 2 for both",
        )


@dataclass(frozen=True)
class Work:
    """What one step is computed from; mels in unit scale."""

    mono_B1MF: Tensor
    clean_BEMF: Tensor
    sight: tuple[Tensor, Tensor, Tensor, Tensor]
    weight_B1MF: Tensor | None
    draws: list[torch.Generator]


class Stage1:
    """Trains a `DiffBinaural`; satisfies `loop.Stage`."""

    averaged = ("unet", "frame")
    best_by = "mel_l2"

    def __init__(self, config: Stage1Config):
        self.config = config
        with first_weights(config.run.seed):
            self.model = DiffBinaural(config.model)
        for part, path in ((self.model.unet, config.weights_unet), (self.model.frame, config.weights_frame)):
            if path:
                checkpoint.load_into(part, checkpoint.load(path), name=path)
        self.modules = {"unet": self.model.unet, "frame": self.model.frame}
        groups = [
            {"params": [p for p in self.model.unet.parameters() if p.requires_grad], "lr": config.lr_unet},
            {"params": [p for p in self.model.frame.parameters() if p.requires_grad], "lr": config.lr_frame},
        ]
        self.players = (Player("stage1", groups, self.loss, config.clip_norm, weight_decay=config.weight_decay),)

    def prepare(self, batch: Batch, draw: Draw, step: int) -> Work:
        mono_B1MF, clean_BEMF = mels(batch, self.config.mel)
        weight_B1MF = 1.0 + (mono_B1MF > LOUD).to(mono_B1MF) if self.config.weighted_loss else None
        gain_B1M1 = random_gains(draw("gain"), self.config.gain_db)[:, None, None, None]
        gain_B1M1 = gain_B1M1 + random_filters(draw("filter"), self.config.filter_db, mono_B1MF.shape[2])
        gain_B1M1 = gain_B1M1.to(mono_B1MF)
        sight = hide(batch.sight, draw("hidden"), self.config.hide_pixels, self.config.hide_positions)
        return Work(to_unit(mono_B1MF + gain_B1M1), to_unit(clean_BEMF + gain_B1M1), sight, weight_B1MF, draw("noise"))

    def loss(self, work: Work) -> dict[str, Tensor]:
        loss_B = self.model.loss(work.clean_BEMF, work.mono_B1MF, work.sight, work.draws, weight_BEMF=work.weight_B1MF)
        return {"total": loss_B.mean()}

    def validate(self, batch: Batch, draw: Draw) -> dict[str, float]:
        """Errors of sampled mels: mel L1 and L2 in natural-log units, and the mean level error between the ears in dB."""
        mono_B1MF, clean_BEMF = mels(batch, self.config.mel)
        noise_BEMF = torch.stack([torch.randn(clean_BEMF.shape[1:], generator=g) for g in draw("noise")])
        sampled_BEMF = self.model.sample(
            to_unit(mono_B1MF),
            batch.sight,
            noise_BEMF=noise_BEMF.to(mono_B1MF),
            steps=self.config.validation_steps,
        ).float()
        truth_BEMF = to_unit(clean_BEMF)
        error = (sampled_BEMF - truth_BEMF) * HALF
        scores = {"mel_l1": float(error.abs().mean()), "mel_l2": float(error.square().mean())}
        if clean_BEMF.shape[1] == 2:
            loud_BMF = clean_BEMF.amax(dim=1) > LOUD
            ild_BMF = (error[:, 0] - error[:, 1]).abs() * DB_PER_NEPER
            scores["mel_ild_db"] = float((ild_BMF * loud_BMF).sum() / loud_BMF.sum().clamp(min=1))
        return scores

    def export(self, folder: Path, tag: str, weights: Mapping[str, dict[str, Tensor]], state: State) -> list[Path]:
        checkpoint.write_whole(folder / "config.yaml", self.config.save)
        return [checkpoint.save(folder / f"{name}_{tag}.pth", dict(state)) for name, state in weights.items()]


def mels(batch: Batch, mel: MelConfig) -> tuple[Tensor, Tensor]:
    """Natural-log mels of the mono (B, 1, M, F) and of the ears (B, E, M, F). Raises InputError without a reference."""
    need(
        batch.binaural_BEN is not None,
        f"{batch.clip_ids[0]} has no binaural recording",
        why="stage 1 learns from both ears",
        fix="leave clips without a reference out of the training list",
    )
    both_BEN = torch.cat([batch.mono_BN[:, None], batch.binaural_BEN], dim=1)
    all_BEMF = log_mel(both_BEN.flatten(0, 1), mel).unflatten(0, both_BEN.shape[:2])
    return all_BEMF[:, :1], all_BEMF[:, 1:]


def random_gains(generators: list[torch.Generator], gain_db: tuple[float, float]) -> Tensor:
    """ln of a gain per sample, uniform in dB; on a log-mel a gain is a sum."""
    low, high = gain_db
    drawn_B = torch.stack([torch.rand((), generator=g) for g in generators])
    return (low + (high - low) * drawn_B) / DB_PER_NEPER


def random_filters(generators: list[torch.Generator], deviation_db: float, bands: int) -> Tensor:
    """ln of a smooth filter per sample, (B, 1, M, 1): cosines over the mel axis; on a log-mel a filter is a sum."""
    height_M = (torch.arange(bands) + 0.5) / bands
    curves_KM = torch.cos(torch.pi * torch.arange(1, FILTER_CURVES + 1)[:, None] * height_M)
    drawn_BK = torch.stack([torch.randn(FILTER_CURVES, generator=g) for g in generators])
    scale = deviation_db / DB_PER_NEPER * (2 / FILTER_CURVES) ** 0.5  # a cosine's own deviation is 1 / sqrt 2
    return (scale * drawn_BK @ curves_KM)[:, None, :, None]


def hide(
    sight: tuple[Tensor, ...], generators: list[torch.Generator], pixels: float, positions: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Blank the crops of a share of the samples, and make the positions of another share unknown (NaN)."""
    crops_BLOCHW, image_positions_BLO2, positions_BLO3, mask_BLO = sight
    drawn_B = torch.stack([torch.rand((), generator=g) for g in generators]).to(crops_BLOCHW.device)
    blank_B, unknown_B = drawn_B < pixels, drawn_B >= 1 - positions
    return (
        crops_BLOCHW * ~blank_B[:, None, None, None, None, None],
        image_positions_BLO2.masked_fill(unknown_B[:, None, None, None], torch.nan),
        positions_BLO3.masked_fill(unknown_B[:, None, None, None], torch.nan),
        mask_BLO,
    )


class WindowData:
    """Training and validation windows of a dataset as `loop.Data`."""

    def __init__(self, config: Stage1Config):
        training = Windows(
            open_clips(config.dataset, "train", config.data), config.data, config.mel, seed=config.run.seed
        )
        held_out = Windows(
            open_clips(config.dataset, "val", config.data), config.data, config.mel, seed=config.run.seed, train=False
        )
        size, workers = config.run.batch_size, config.run.workers
        self._training: Loader = loader(training, size, workers=workers, drop_last=len(training) >= size)
        self._validation: Loader = loader(held_out, size)
        self.batches_per_epoch = len(self._training)

    def training(self, epoch: int, start_batch: int):
        return self._training.pass_over(epoch, start_batch)

    def validation(self):
        return iter(self._validation)


def train(config: Stage1Config, *, progress: bool = True) -> tuple[Stage1, Result]:
    """Train stage 1 as ``config`` says, or go on where its folder left off."""
    stage = Stage1(config)
    tree: dict[str, Any] = config.to_dict()
    return stage, fit(stage, WindowData(config), config.run, tree=tree, progress=progress)
