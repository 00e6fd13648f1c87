"""Stage 1's training: from the mono mel and what is seen to both ears' mels.

A `Stage` for `loop.fit`: one player, the UNet and the visual network with a learning rate each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from binaural_core import checkpoint, figures
from binaural_core.audio import MelConfig, log_mel
from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.loading import Loader, Mix, Windows, loader
from binaural_core.data.locating import Located
from binaural_core.data.sample import Batch
from binaural_core.errors import need
from binaural_core.metrics import mel_ild_error_db
from binaural_core.models.diffbinaural import DiffBinaural, DiffBinauralConfig
from binaural_core.models.localizer import open_localizer
from binaural_core.models.vocoding import MonoPhase, Places
from binaural_core.seeds import first_weights
from binaural_core.training.distributed import ALONE, World
from binaural_core.training.loop import Result, fit
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Draw, Player, Shown
from binaural_core.training.state import State

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
    locate: bool = True  # where a data set knows no objects, the localiser finds them in its pictures
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
    watched: dict[str, Tensor] = field(default_factory=dict)  # what must be finite


class Stage1:
    """Trains a `DiffBinaural`; satisfies `loop.Stage`."""

    averaged = ("unet", "frame")
    best_by = "mel_l2"

    def __init__(self, config: Stage1Config):
        self.config = config
        with first_weights(config.run.seed):
            self.model = DiffBinaural(config.model)
        self.model.frame.load_encoder_weights()
        for part, path in ((self.model.unet, config.weights_unet), (self.model.frame, config.weights_frame)):
            if path:
                checkpoint.load_into(part, checkpoint.load(path), name=path)
        self.modules = {"unet": self.model.unet, "frame": self.model.frame}
        groups = [
            {"name": name, "params": [p for p in part.parameters() if p.requires_grad], "lr": rate}
            for name, part, rate in (
                ("unet", self.model.unet, config.lr_unet),
                ("frame", self.model.frame, config.lr_frame),
            )
        ]
        self.players = (Player("stage1", groups, self.loss, config.clip_norm, weight_decay=config.weight_decay),)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        waves = {"the mono sound": batch.mono_BN, "the object crops": batch.crops_BLOCHW}
        return waves if batch.binaural_BEN is None else waves | {"the ears' sound": batch.binaural_BEN}

    def prepare(self, batch: Batch, draw: Draw, step: int) -> Work:
        mono_B1MF, clean_BEMF = mels(batch, self.config.mel)
        weight_B1MF = 1.0 + (mono_B1MF > LOUD).to(mono_B1MF) if self.config.weighted_loss else None
        gain_B1M1 = random_gains(draw("gain"), self.config.gain_db)[:, None, None, None]
        gain_B1M1 = gain_B1M1 + random_filters(draw("filter"), self.config.filter_db, mono_B1MF.shape[2])
        gain_B1M1 = gain_B1M1.to(mono_B1MF)
        sight = hide(batch.sight, draw("hidden"), self.config.hide_pixels, self.config.hide_positions)
        mono_B1MF, clean_BEMF = to_unit(mono_B1MF + gain_B1M1), to_unit(clean_BEMF + gain_B1M1)
        watched = {"the mono mel": mono_B1MF, "the ears' mels": clean_BEMF}
        return Work(mono_B1MF, clean_BEMF, sight, weight_B1MF, draw("noise"), watched)

    def loss(self, work: Work) -> dict[str, Tensor]:
        seen = self.model.look(*work.sight)
        network = self.model.network(work.mono_B1MF, seen)
        loss_B = self.model.recipe.loss(
            network, work.clean_BEMF, work.mono_B1MF, work.draws, weight_BEMF=work.weight_B1MF
        )
        work.watched.update({"the visual features": seen.context_BLD, "the loss of a clip": loss_B})
        return {"total": loss_B.mean()}

    def validate(self, batch: Batch, draw: Draw) -> dict[str, float | tuple[float, float]]:
        """Errors of sampled mels: mel L1 and L2 in natural-log units, and the mean level error between the ears in dB."""
        true_BEMF = from_unit(to_unit(mels(batch, self.config.mel)[1])).cpu()
        made_BEMF = self.sampled(batch, draw).cpu()
        error_BEMF = made_BEMF - true_BEMF
        scores = {"mel_l1": float(error_BEMF.abs().mean()), "mel_l2": float(error_BEMF.square().mean())}
        if true_BEMF.shape[1] == 2:
            by_clip_db = [mel_ild_error_db(*pair) for pair in zip(made_BEMF, true_BEMF, strict=True)]
            heard_db = [error_db for error_db in by_clip_db if math.isfinite(error_db)]
            scores |= {"mel_ild_error_db": (sum(heard_db) / len(heard_db), len(heard_db))} if heard_db else {}
        return scores

    def sampled(self, batch: Batch, draw: Draw) -> Tensor:
        """Natural-log mels (B, E, M, F) as the network makes them, each sample from noise of its own."""
        mono_B1MF = to_unit(mels(batch, self.config.mel)[0])
        shape = (self.config.model.unet.ears, *mono_B1MF.shape[2:])
        noise_BEMF = torch.stack([torch.randn(shape, generator=g) for g in draw("noise")]).to(mono_B1MF)
        steps = self.config.validation_steps
        return from_unit(self.model.sample(mono_B1MF, batch.sight, noise_BEMF=noise_BEMF, steps=steps).float())

    def show(self, batch: Batch, draw: Draw) -> Shown:
        """The first window's mels beside the true ones, and both as sound: the levels of the mels on the mono's phase."""
        if self.config.model.unet.ears != 2:
            return Shown()
        mel = self.config.mel
        shown = {"predicted": self.sampled(batch, draw)[0].cpu(), "true": mels(batch, mel)[1][0].float().cpu()}
        frames_of_picture = shown["true"].shape[2] // batch.mask_BLO.shape[1]
        positions_FO3 = batch.positions_BLO3[0].cpu().repeat_interleave(frames_of_picture, dim=0).numpy()
        mask_FO = batch.mask_BLO[0].cpu().repeat_interleave(frames_of_picture, dim=0).numpy()
        mono_N, vocoder = batch.mono_BN[0].cpu(), MonoPhase(mel)
        sounds = {
            name: (vocoder(mel_EMF, mono_N, Places(positions_FO3, mask_FO)).numpy(), mel.sample_rate_hz)
            for name, mel_EMF in shown.items()
        }
        pictures = figures.ears_figure({n: m.numpy() for n, m in shown.items()}, mel, title=batch.clip_ids[0])
        return Shown({"mels": pictures}, sounds)

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
    """Training and validation windows of a dataset as `loop.Data`; in many processes each has its share of every batch."""

    def __init__(self, config: Stage1Config, world: World = ALONE):
        size, workers = config.run.batch_size, config.run.workers
        training, held_out = windows(config, "train"), windows(config, "val")
        ranks = {"rank": world.rank, "world": world.size}
        whole = len(training) >= size * world.size or world.size > 1
        self._training: Loader = loader(training, size, workers=workers, drop_last=whole, **ranks)
        self._validation: Loader = loader(held_out, size, **ranks)
        self.batches_per_epoch = len(self._training)

    def training(self, epoch: int, start_batch: int):
        return self._training.pass_over(epoch, start_batch)

    def validation(self):
        return iter(self._validation)


def windows(config: Stage1Config, split: str) -> Windows | Mix:
    """The windows of a split; those for training are drawn at random and varied, and in a mix by the parts' shares."""
    train = split == "train"
    localizer = open_localizer() if config.locate and any(m.kind != "scenes" for m in config.dataset.members) else None
    locate = localizer.locate if localizer else None

    def of(dataset: DatasetConfig) -> Windows:
        clips = open_clips(dataset, split, config.data)
        if locate is not None and dataset.kind != "scenes":
            clips = [Located(clip, locate) for clip in clips]
        return Windows(clips, config.data, config.mel, seed=config.run.seed, train=train)

    shares = [part.share for part in config.dataset.parts]
    if config.dataset.kind == "mix" and train and None not in shares:
        return Mix([of(member) for member in config.dataset.members], shares)
    return of(config.dataset)


def train(config: Stage1Config, world: World = ALONE, *, progress: bool = True) -> tuple[Stage1, Result]:
    """Train stage 1 as ``config`` says, or go on where its folder left off."""
    stage = Stage1(config)
    tree: dict[str, Any] = config.to_dict()
    return stage, fit(stage, WindowData(config, world), config.run, tree=tree, world=world, progress=progress)


def run(config: Stage1Config, world: World = ALONE, *, progress: bool = True) -> Result:
    """`train` for `distributed.launch`: what comes back from another process is the result alone."""
    return train(config, world, progress=progress)[1]
