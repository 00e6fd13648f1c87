"""Stage 2's training: BigVGAN on true mels (2a), then with scheduled sampling on predicted ones (2b).

A `Stage` for `loop.fit` with two players: the discriminators and the generator. The ears of a clip are independent
samples, scaled by one gain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from binaural_core import checkpoint, figures, metrics
from binaural_core.audio import log_mel
from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig
from binaural_core.data.config import DataConfig
from binaural_core.data.mel_pairs import CONTEXT_FRAMES, EARS, MelBatch
from binaural_core.errors import need
from binaural_core.models.bigvgan import BigVGAN
from binaural_core.models.bigvgan_config import BigVGANConfig
from binaural_core.models.discriminators import discriminators_of
from binaural_core.models.vocoder_losses import discriminator_loss, generator_losses, mel_l1
from binaural_core.places import config_file
from binaural_core.seeds import first_weights
from binaural_core.training import annealing
from binaural_core.training.distributed import ALONE, World
from binaural_core.training.loop import Result, fit
from binaural_core.training.run import RunConfig
from binaural_core.training.segments import SegmentData
from binaural_core.training.stage import Draw, Player, Shown
from binaural_core.training.state import State
from binaural_core.training.vocoder_start import Start, find_start

PUBLIC_ORDER = ("mrd", "mpd")  # of the discriminators' parameters in a published optim_d
PESQ_SHORTEST_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Stage2Config(Config):
    """One training of stage 2. The vocoder's own settings are in the public BigVGAN format, ``config.json``."""

    vocoder: str = "bigvgan_binaural_22khz_80band_256x.json"  # a shipped config or a path
    freeze_step: int | None = None  # steps with the mel loss alone; None: as the vocoder's config says
    dataset: DatasetConfig = DatasetConfig()
    audio_dir: str | None = None  # a plain folder of stereo files instead of the data set
    mel_left_train_dir: str | None = None  # folders of true mels; None: computed from the sound
    mel_right_train_dir: str | None = None
    mel_left_val_dir: str | None = None
    mel_right_val_dir: str | None = None
    mel_pred_dir: str | None = None  # predicted mels, as `binaural mels` writes them, or ...
    mel_pred_left_dir: str | None = None  # ... a folder for each ear, with train/ and val/ or the files themselves
    mel_pred_right_dir: str | None = None
    use_scheduled_sampling: bool = False  # else predicted mels, where given, are heard always
    schedule: Literal["piecewise", "linear"] = "piecewise"
    start_from: str | None = None  # a generator's file or a run's folder to go on from (2b from 2a)
    data: DataConfig = DataConfig(frames_per_window=0)
    run: RunConfig = RunConfig(id="stage2", decay_epochs=0, ema_decay=0.0)
    rounds: int = 1  # segments per epoch of each clip, or of each window that has mels on disk
    peak: tuple[float, float] = (0.95, 0.95)  # segments are scaled to peak between these, one gain for both ears
    discriminators: tuple[Literal["mpd", "mrd"], ...] = ("mpd", "mrd")  # mrd: the second one, of whichever kind
    early_clip_norm: float | None = (
        None  # clip gradients at this norm in the beginning; 100 is advised for small batches
    )
    early_clip_steps: int = 20_000
    validation_frames: int | None = None  # mel frames of a validation segment; None: as in training
    validation_speech: bool | Literal["auto"] = "auto"  # what PESQ judges: all, none, or what is labelled as speech
    pesq_clips: int = 8  # at most so many

    def validate(self) -> None:
        for what, folders in (("true mels to train on", self._ears("mel_{}_train_dir")),
                              ("true mels to validate on", self._ears("mel_{}_val_dir")),
                              ("predicted mels", self._ears("mel_pred_{}_dir"))):  # fmt: skip
            given = [name for name, folder in folders.items() if folder is not None]
            need(
                len(given) != 1,
                f"of the {what} only {', '.join(given)} is given",
                why="each ear has a folder of its own",
                fix=f"give {' and '.join(folders)}",
            )
        need(
            self.mel_pred_dir is None or self.mel_pred_left_dir is None,
            "predicted mels are named twice, by mel_pred_dir and by mel_pred_left_dir and mel_pred_right_dir",
            why="only one of them can be read",
            fix="leave one out",
        )
        need(
            self.predicts or not self.use_scheduled_sampling,
            "scheduled sampling was asked for without predicted mels",
            why="it mixes predicted mels with true ones",
            fix="name mel_pred_dir (write it with `binaural mels`) or switch scheduled sampling off",
        )
        need(
            (self.early_clip_norm is None or self.early_clip_norm > 0) and self.pesq_clips >= 0 and self.rounds > 0,
            f"early_clip_norm={self.early_clip_norm}, pesq_clips={self.pesq_clips} or rounds={self.rounds}",
            why="a norm and the rounds are above 0, a number of clips is 0 or more",
            fix="correct it",
        )

    def _ears(self, name: str) -> dict[str, str | None]:
        return {name.format(ear): getattr(self, name.format(ear)) for ear in EARS}

    @property
    def predicts(self) -> bool:
        """Whether there are predicted mels."""
        return self.mel_pred_dir is not None or self.mel_pred_left_dir is not None

    @property
    def bigvgan(self) -> BigVGANConfig:
        config = BigVGANConfig.from_json(config_file(self.vocoder))
        return config if self.freeze_step is None else config.replace(freeze_step=self.freeze_step)


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

    def __init__(
        self,
        config: Stage2Config,
        steps_per_epoch: int,
        *,
        start: Start | None = None,
        best_by: str = "mel_l1",
        speech: frozenset[int] = frozenset(),
    ):
        """start : where a new run begins.   speech : indices of the validation segments that PESQ judges."""
        self.config, self.vocoder = config, config.bigvgan
        self.steps_per_epoch, self.best_by, self.speech = steps_per_epoch, best_by, speech
        with first_weights(config.run.seed):
            self.generator = BigVGAN(self.vocoder)
            judges = discriminators_of(self.vocoder, config.discriminators)
        self.judges = {name: judges[name] for name in PUBLIC_ORDER if name in judges}
        if start:
            published = BigVGAN.from_checkpoint(start.generator, self.vocoder).to_public_state()
            self.generator.load_state_dict(published)  # which is trained weight-normed, also from a folded file
            start.load_discriminators(self.judges)
        self.modules = {"generator": self.generator, **self.judges}
        heard = {name: list(judge.parameters()) for name, judge in self.judges.items()}
        judging = self._player(
            "discriminators",
            [p for parameters in heard.values() for p in parameters],
            self.judge_loss,
            from_step=self.vocoder.freeze_step,
            clip_apart=heard if len(heard) > 1 else {},
            moments=(lambda: start.moments("optim_d", self.judges)) if start else None,
        )
        making = self._player(
            "generator",
            list(self.generator.parameters()),
            self.make_loss,
            moments=(lambda: start.moments("optim_g", self.judges)) if start else None,
        )
        self.players = (judging, making) if self.judges else (making,)

    def _player(self, name: str, parameters: list[torch.nn.Parameter], loss: Any, **more: Any) -> Player:
        early, vocoder = self.config.early_clip_norm, self.vocoder
        return Player(
            name,
            [{"params": parameters, "lr": vocoder.learning_rate}],
            loss,
            vocoder.clip_grad_norm,
            (vocoder.adam_b1, vocoder.adam_b2),
            weight_decay=0.01,
            early_clip=None if early is None else (early, self.config.early_clip_steps),
            **more,
        )

    def inputs(self, batch: MelBatch) -> dict[str, Tensor]:
        mels = {"the true mels": batch.true_BEMF, "the predicted mels": batch.predicted_BEMF}
        return {"the ears' sound": batch.context_BEN, **{k: mel for k, mel in mels.items() if mel is not None}}

    def prepare(self, batch: MelBatch, draw: Draw, step: int) -> Work:
        mel_BEMF = self.heard_mels(batch, draw, step)
        real_B1N = batch.wave_BEN.flatten(0, 1)[:, None]
        fake_B1N = self.generator(mel_BEMF.flatten(0, 1))
        adversarial = bool(self.judges) and step >= self.vocoder.freeze_step
        watched = {"the mels": mel_BEMF, "the generated sound": fake_B1N.unflatten(0, mel_BEMF.shape[:2])}
        return Work(real_B1N, fake_B1N, adversarial, batch.gain_B.repeat_interleave(len(EARS)), watched)

    def heard_mels(self, batch: MelBatch, draw: Draw, step: int) -> Tensor:
        """The mels (B, E, M, F) of a step: true ones, or predicted ones with the probability of the schedule.

        Both ears of a clip are drawn together. The losses hear the ears apart, so what is expected of them is the same as
        if each were drawn alone; but an ear from a prediction beside an ear from the truth, with a level difference that
        neither has, is nothing that inference will ever give.
        """
        mel_BEMF, share = true_mels(batch, self.vocoder), self.prediction_share(step)
        if batch.predicted_BEMF is None or share == 0:
            return mel_BEMF
        drawn_B = torch.stack([torch.rand((), generator=g) for g in draw("scheduled sampling")])
        predicted_B = (drawn_B < share).to(mel_BEMF.device)
        return torch.where(predicted_B[:, None, None, None], batch.predicted_BEMF, mel_BEMF)

    def prediction_share(self, step: int) -> float:
        """Probability of a predicted mel at this step; 1 with predicted mels and no scheduled sampling."""
        if not self.config.predicts:
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
        judges = self.judges if work.adversarial else None
        return generator_losses(work.real_B1N, work.fake_B1N, judges, self.vocoder, gain_B=work.gain_B)

    def validate(self, batch: MelBatch, draw: Draw) -> dict[str, float | tuple[float, float]]:
        """What the generator makes from true mels, and from predicted ones where there are some, beside the recording.

        ``mel_l1`` (natural log), ``multi_resolution_stft``, and of some speech ``pesq_left`` and ``pesq_right``; the same
        names with ``_from_predicted``.
        """
        real_BEN = batch.wave_BEN
        scores: dict[str, float | tuple[float, float]] = {}
        for source, fake_BEN in self.generated(batch).items():
            suffix = "" if source == "true" else f"_from_{source}"
            real_B1N, fake_B1N = (wave_BEN.flatten(0, 1)[:, None] for wave_BEN in (real_BEN, fake_BEN))
            scores[f"mel_l1{suffix}"] = float(mel_l1(real_B1N, fake_B1N, self.vocoder.loss_mel))
            found = self.measured(real_BEN.cpu(), fake_BEN.cpu(), batch.indices)
            scores |= {f"{name}{suffix}": mean_of(values) for name, values in found.items() if any_number(values)}
        return scores

    def measured(self, real_BEN: Tensor, fake_BEN: Tensor, indices: tuple[int, ...]) -> dict[str, list[float]]:
        """Measures of each clip of a batch that need its wave."""
        rate = self.vocoder.sampling_rate
        found: dict[str, list[float]] = {"multi_resolution_stft": []}
        for real_EN, fake_EN, index in zip(real_BEN.numpy(), fake_BEN.numpy(), indices, strict=True):
            found["multi_resolution_stft"].append(metrics.multi_resolution_stft(fake_EN, real_EN, rate))
            if index in self.speech and real_EN.shape[1] >= PESQ_SHORTEST_S * rate:
                for ear, name in enumerate(EARS):
                    found.setdefault(f"pesq_{name}", []).append(metrics.pesq(fake_EN[ear], real_EN[ear], rate))
        return found

    @torch.no_grad()
    def generated(self, batch: MelBatch) -> dict[str, Tensor]:
        """Sound (B, E, N) from the true mels, and from the predicted ones where there are some."""
        mels = {"true": true_mels(batch, self.vocoder), "predicted": batch.predicted_BEMF}
        return {
            source: self.generator(mel_BEMF.flatten(0, 1)).float()[:, 0].unflatten(0, mel_BEMF.shape[:2])
            for source, mel_BEMF in mels.items()
            if mel_BEMF is not None
        }

    def show(self, batch: MelBatch, draw: Draw) -> Shown:
        """The first segment as recorded and as generated, both ears: mels to see, stereo to hear."""
        waves = {"recorded": batch.wave_BEN[0]}
        waves |= {f"generated from {source} mels": wave_BEN[0] for source, wave_BEN in self.generated(batch).items()}
        waves = {name: wave_EN.cpu().numpy() for name, wave_EN in waves.items()}
        mels = {name: log_mel(wave_EN, self.vocoder.mel).numpy() for name, wave_EN in waves.items()}
        if batch.predicted_BEMF is not None:
            mels["predicted mels"] = batch.predicted_BEMF[0].cpu().numpy()
        figure = figures.ears_figure(mels, self.vocoder.mel, title=batch.clip_ids[0])
        rate = self.vocoder.sampling_rate
        return Shown({"mels": figure}, {name: (wave_EN, rate) for name, wave_EN in waves.items()})

    def export(self, folder: Path, tag: str, weights: Mapping[str, dict[str, Tensor]], state: State) -> list[Path]:
        """``g_XXXXXXXX`` and ``do_XXXXXXXX`` named by the step, or ``g_best`` and ``do_best``; public BigVGAN format."""
        self.vocoder.save_json(folder / "config.json")
        checkpoint.write_whole(folder / "config.yaml", self.config.save)
        name = "best" if tag == "best" else f"{state.step:08d}"
        files = [checkpoint.save(folder / f"g_{name}", {"generator": dict(weights["generator"])})]
        optimizers = {"optim_g": "generator", "optim_d": "discriminators"}
        others: dict[str, Any] = {judge: dict(weights[judge]) for judge in self.judges}
        others |= {k: self.public(state.optimizers[v]) for k, v in optimizers.items() if v in state.optimizers}
        others |= {"steps": state.step, "epoch": state.step // self.steps_per_epoch}
        return [*files, checkpoint.save(folder / f"do_{name}", others)]

    def public(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """An optimizer's state as published code goes on from it: its schedules ask for the rate they began with."""
        state = optimizer.state_dict()
        groups = [{**group, "initial_lr": self.vocoder.learning_rate} for group in state["param_groups"]]
        return state | {"param_groups": groups}


def true_mels(batch: MelBatch, vocoder: BigVGANConfig) -> Tensor:
    """Mels (B, E, M, F) of the segments: those from disk, else computed with the sound around them.

    Computed in this way no frame is at an edge: they are the whole recording's, not those of a piece cut out of it.
    """
    if batch.true_BEMF is not None:
        return batch.true_BEMF
    mel_BMF = log_mel(batch.context_BEN.flatten(0, 1), vocoder.mel)[:, :, CONTEXT_FRAMES:-CONTEXT_FRAMES]
    return mel_BMF.unflatten(0, batch.context_BEN.shape[:2])


def any_number(values: list[float]) -> bool:
    return any(math.isfinite(value) for value in values)


def mean_of(values: list[float]) -> tuple[float, float]:
    """(mean, how many) of those that are numbers."""
    values = [value for value in values if math.isfinite(value)]
    return sum(values) / len(values), len(values)


def train(config: Stage2Config, world: World = ALONE, *, progress: bool = True) -> tuple[Stage2, Result]:
    """Train stage 2 as ``config`` says, or go on where its folder left off."""
    fresh = world.told(not (config.run.folder / "state_latest.pt").is_file())
    start = find_start(config.start_from) if config.start_from and fresh else None
    if start and progress and world.first:
        print(start.said())
    data = SegmentData(config, world)
    best_by = "mel_l1_from_predicted" if data.predicts else "mel_l1"
    steps_per_epoch = max(1, data.batches_per_epoch // config.run.accumulate)
    stage = Stage2(config, steps_per_epoch, start=start, best_by=best_by, speech=data.speech)
    tree: dict[str, Any] = config.to_dict() | {"bigvgan": config.bigvgan.to_public(), "recordings": data.recordings}
    run = config.run.replace(decay_per_step=config.bigvgan.lr_decay)
    return stage, fit(stage, data, run, tree=tree, world=world, progress=progress)


def run(config: Stage2Config, world: World = ALONE) -> Result:
    """`train` for `distributed.launch`: what comes back from another process is the result alone."""
    return train(config, world)[1]
