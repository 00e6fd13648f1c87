"""Stage 2's training: BigVGAN on true mels (2a), then with scheduled sampling on predicted ones (2b).

A `Stage` for `loop.fit` with two players: the discriminators and the generator. The ears of a clip are independent
samples, scaled by one gain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from binaural_core import checkpoint, figures
from binaural_core.audio import log_mel
from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.mel_pairs import CONTEXT_FRAMES, MelBatch, MelPairs, collate_mels
from binaural_core.errors import need
from binaural_core.models.bigvgan import BigVGAN
from binaural_core.models.bigvgan_config import BigVGANConfig
from binaural_core.models.discriminators import MultiPeriodDiscriminator, MultiResolutionDiscriminator
from binaural_core.models.vocoder_losses import discriminator_loss, generator_losses, mel_l1
from binaural_core.places import CONFIGS
from binaural_core.seeds import first_weights, numpy_stream
from binaural_core.training import annealing
from binaural_core.training.distributed import ALONE, World
from binaural_core.training.loop import Result, fit
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Draw, Player, Shown
from binaural_core.training.state import State


@dataclass(frozen=True, kw_only=True)
class Stage2Config(Config):
    """One training of stage 2. The vocoder's own settings are in the public BigVGAN format, ``config.json``."""

    vocoder: str = "bigvgan_binaural_22khz_80band_256x.json"  # a shipped config or a path
    dataset: DatasetConfig = DatasetConfig()
    data: DataConfig = DataConfig(frames_per_window=0)
    run: RunConfig = RunConfig(id="stage2", decay_epochs=0, ema_decay=0.0)
    rounds: int = 1  # segments per clip and epoch
    peak: tuple[float, float] = (0.95, 0.95)  # segments are scaled to peak between these, one gain for both ears
    discriminators: tuple[Literal["mpd", "mrd"], ...] = ("mpd", "mrd")
    start_from: str | None = None  # a g_XXXXXXXX to go on from (2b from 2a)
    mel_pred_dir: str | None = None  # predicted mels, as `binaural mels` writes them
    use_scheduled_sampling: bool = False
    schedule: Literal["piecewise", "linear"] = "piecewise"

    def validate(self) -> None:
        need(
            self.mel_pred_dir is not None or not self.use_scheduled_sampling,
            "scheduled sampling was asked for without predicted mels",
            why="it mixes predicted mels with true ones",
            fix="name mel_pred_dir (write it with `binaural mels`) or switch scheduled sampling off",
        )

    @property
    def bigvgan(self) -> BigVGANConfig:
        shipped = CONFIGS / self.vocoder
        return BigVGANConfig.from_json(shipped if shipped.is_file() else self.vocoder)


@dataclass(frozen=True)
class Work:
    """What both players see of one step; ears are samples of their own."""

    real_B1N: Tensor
    fake_B1N: Tensor
    adversarial: bool
    gain_B: Tensor  # of each ear's sample; silence is judged without it
    watched: dict[str, Tensor]  # what must be finite


class Stage2:
    """Trains a BigVGAN; satisfies `loop.Stage`."""

    averaged = ("generator",)
    best_by = "mel_l1"

    def __init__(self, config: Stage2Config, steps_per_epoch: int):
        self.config, self.vocoder = config, config.bigvgan
        self.steps_per_epoch = steps_per_epoch
        kinds = {"mpd": MultiPeriodDiscriminator, "mrd": MultiResolutionDiscriminator}
        with first_weights(config.run.seed):
            self.generator = BigVGAN(self.vocoder)
            self.judges = {name: kinds[name](self.vocoder) for name in config.discriminators}
        if config.start_from:
            self.generator = BigVGAN.from_checkpoint(config.start_from, self.vocoder)
        self.modules = {"generator": self.generator, **self.judges}
        betas = (self.vocoder.adam_b1, self.vocoder.adam_b2)
        heard = [p for judge in self.judges.values() for p in judge.parameters()]
        rate, clip = self.vocoder.learning_rate, self.vocoder.clip_grad_norm
        judging = Player(
            "discriminators",
            [{"params": heard, "lr": rate}],
            self.judge_loss,
            clip,
            betas,
            weight_decay=0.01,
            from_step=self.vocoder.freeze_step,
        )
        making = Player(
            "generator",
            [{"params": list(self.generator.parameters()), "lr": rate}],
            self.make_loss,
            clip,
            betas,
            weight_decay=0.01,
        )
        self.players = (judging, making) if self.judges else (making,)

    def inputs(self, batch: MelBatch) -> dict[str, Tensor]:
        sound = {"the ears' sound": batch.context_BEN}
        return sound if batch.predicted_BEMF is None else sound | {"the predicted mels": batch.predicted_BEMF}

    def prepare(self, batch: MelBatch, draw: Draw, step: int) -> Work:
        mel_BEMF = true_mels(batch, self.vocoder)
        share = self.prediction_share(step)
        if batch.predicted_BEMF is not None and share > 0:
            drawn_B = torch.stack([torch.rand((), generator=g) for g in draw("scheduled sampling")])
            heard_B = (drawn_B < share).to(mel_BEMF.device)
            mel_BEMF = torch.where(heard_B[:, None, None, None], batch.predicted_BEMF, mel_BEMF)
        real_B1N = batch.wave_BEN.flatten(0, 1)[:, None]
        fake_B1N = self.generator(mel_BEMF.flatten(0, 1))
        adversarial = bool(self.judges) and step >= self.vocoder.freeze_step
        watched = {"the mels": mel_BEMF, "the generated sound": fake_B1N.unflatten(0, mel_BEMF.shape[:2])}
        return Work(real_B1N, fake_B1N, adversarial, batch.gain_B.repeat_interleave(2), watched)

    def prediction_share(self, step: int) -> float:
        """Probability of a predicted mel at this step; 1 with predicted mels and no scheduled sampling."""
        if self.config.mel_pred_dir is None:
            return 0.0
        if not self.config.use_scheduled_sampling:
            return 1.0
        epoch = step // self.steps_per_epoch
        if self.config.schedule == "linear":
            return annealing.linear(epoch, self.config.run.epochs)
        return annealing.piecewise(epoch)

    def judge_loss(self, work: Work) -> dict[str, Tensor]:
        return discriminator_loss(work.real_B1N, work.fake_B1N, self.judges)

    def make_loss(self, work: Work) -> dict[str, Tensor]:
        return generator_losses(work.real_B1N, work.fake_B1N, self.judges if work.adversarial else None, self.vocoder)

    def validate(self, batch: MelBatch, draw: Draw) -> dict[str, float]:
        """Mel L1 (natural log) of what the generator makes from true mels, and from predicted ones where there are some."""
        real_B1N = batch.wave_BEN.flatten(0, 1)[:, None]
        mel_BEMF = true_mels(batch, self.vocoder)
        fake_B1N = self.generator(mel_BEMF.flatten(0, 1))
        scores = {"mel_l1": float(mel_l1(real_B1N, fake_B1N, self.vocoder.loss_mel))}
        if batch.predicted_BEMF is not None:
            fake_B1N = self.generator(batch.predicted_BEMF.flatten(0, 1))
            scores["mel_l1_from_predicted"] = float(mel_l1(real_B1N, fake_B1N, self.vocoder.loss_mel))
        return scores

    def show(self, batch: MelBatch, draw: Draw) -> Shown:
        """The first segment's generated sound beside the recorded one."""
        fake_EN = self.generator(true_mels(batch, self.vocoder)[0]).float()[:, 0]
        waves = {"generated": fake_EN.cpu(), "recorded": batch.wave_BEN[0].cpu()}
        mels = {name: log_mel(wave_EN, self.vocoder.mel).numpy() for name, wave_EN in waves.items()}
        figure = figures.ears_figure(mels, self.vocoder.mel, title=batch.clip_ids[0])
        rate = self.vocoder.sampling_rate
        return Shown({"mels": figure}, {name: (wave_EN.numpy(), rate) for name, wave_EN in waves.items()})

    def export(self, folder: Path, tag: str, weights: Mapping[str, dict[str, Tensor]], state: State) -> list[Path]:
        """``g_best``, or ``g_XXXXXXXX`` and ``do_XXXXXXXX`` named by the step; public BigVGAN format."""
        self.vocoder.save_json(folder / "config.json")
        checkpoint.write_whole(folder / "config.yaml", self.config.save)
        name = "best" if tag == "best" else f"{state.step:08d}"
        files = [checkpoint.save(folder / f"g_{name}", {"generator": dict(weights["generator"])})]
        if tag != "best":
            optimizers = {"optim_g": "generator", "optim_d": "discriminators"}
            others = {judge: dict(weights[judge]) for judge in self.judges}
            others |= {k: state.optimizers[v].state_dict() for k, v in optimizers.items() if v in state.optimizers}
            others |= {"steps": state.step, "epoch": state.step // self.steps_per_epoch}
            files.append(checkpoint.save(folder / f"do_{name}", others))
        return files


def true_mels(batch: MelBatch, vocoder: BigVGANConfig) -> Tensor:
    """Mels (B, E, M, F) of the segments, computed with the sound around them so that no frame is at an edge."""
    mel_BMF = log_mel(batch.context_BEN.flatten(0, 1), vocoder.mel)[:, :, CONTEXT_FRAMES:-CONTEXT_FRAMES]
    return mel_BMF.unflatten(0, batch.context_BEN.shape[:2])


class SegmentData:
    """Training and validation segments as `loop.Data`; in many processes each has its share of every batch."""

    def __init__(self, config: Stage2Config, world: World = ALONE):
        vocoder, self.config, self.world = config.bigvgan, config, world
        frames = vocoder.segment_size // vocoder.hop_size
        predicted = Path(config.mel_pred_dir) if config.mel_pred_dir else None

        def pairs(split: str, rounds: int) -> MelPairs:
            return MelPairs(
                open_clips(config.dataset, split, config.data),
                vocoder.mel,
                frames=frames,
                seed=config.run.seed,
                rounds=rounds,
                predicted_dir=predicted,
                split=split,
                peak=self.config.peak,
            )

        self._training, self._held_out = pairs("train", config.rounds), pairs("val", 1)
        together = config.run.batch_size * world.size
        need(
            world.size == 1 or len(self._training) >= together,
            f"{len(self._training)} segments do not fill one batch in each of {world.size} processes",
            why=f"every process needs {config.run.batch_size} for each step",
            fix="lower the batch size, raise rounds, or add clips",
        )
        self.batches_per_epoch = max(1, len(self._training) // together)

    def training(self, epoch: int, start_batch: int) -> Iterator[MelBatch]:
        self._training.set_epoch(epoch)
        order = numpy_stream(self.config.run.seed, "order", epoch).permutation(len(self._training))
        size = self.config.run.batch_size * self.world.size
        for number in range(start_batch, self.batches_per_epoch):
            yield self._batch(self._training, self._mine(order[number * size : (number + 1) * size]))

    def validation(self) -> Iterator[MelBatch]:
        size, count = self.config.run.batch_size, len(self._held_out)
        batches = [range(first, min(first + size, count)) for first in range(0, count, size)]
        for batch in self.world.share(batches):
            yield self._batch(self._held_out, batch)

    def _mine(self, indices):
        """This process's part of a batch."""
        return np.array_split(indices, self.world.size)[self.world.rank]

    def _batch(self, pairs: MelPairs, indices) -> MelBatch:
        return collate_mels([pairs[int(i)] for i in indices], pairs.mel.hop_samples)


def train(config: Stage2Config, world: World = ALONE, *, progress: bool = True) -> tuple[Stage2, Result]:
    """Train stage 2 as ``config`` says, or go on where its folder left off."""
    data = SegmentData(config, world)
    stage = Stage2(config, max(1, data.batches_per_epoch // config.run.accumulate))
    tree: dict[str, Any] = config.to_dict() | {"bigvgan": config.bigvgan.to_public()}
    run = config.run.replace(decay_per_step=config.bigvgan.lr_decay)
    return stage, fit(stage, data, run, tree=tree, world=world, progress=progress)


def run(config: Stage2Config, world: World = ALONE) -> Result:
    """`train` for `distributed.launch`: what comes back from another process is the result alone."""
    return train(config, world)[1]
