"""The baseline's training (Gao and Grauman 2019, 1812.04204) through the loop, and on the data, that stage 1 has.

A `Stage` for `loop.fit`: one player, the U-Net and the picture's network with a learning rate each. The loss is the mean
squared error of the spectrum of the ears' difference, real and imaginary parts, in windows that are all brought to one
level. Where the mono is a recording of its own, both ears are made from it all the same and compared with the true ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as fn
from torch import Tensor

from binaural_core import checkpoint, figures
from binaural_core.audio import MelConfig, log_mel
from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig
from binaural_core.data.config import DataConfig
from binaural_core.data.sample import Batch
from binaural_core.errors import need
from binaural_core.models.mono2binaural import Mono2Binaural, Mono2BinauralConfig, ears, masked, to_level
from binaural_core.seeds import first_weights
from binaural_core.training.distributed import ALONE, World
from binaural_core.training.loop import Result, fit
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Draw, Player, Shown
from binaural_core.training.stage1 import WindowData
from binaural_core.training.state import State

WHOLE_FRAME = {"frame": "always", "both": "always", "positions": "never"}  # what slot 0 must hold, by what is seen


def _whole_picture() -> DataConfig:
    return DataConfig(
        window_frames=63,
        frames_per_window=1,
        objects=1,
        crop_px=224,
        crop_width_px=448,
        whole_frame="always",
    )


@dataclass(frozen=True, kw_only=True)
class Mono2BinauralTraining(Config):
    """One training of the baseline: saved as ``config.yaml`` beside its weights."""

    dataset: DatasetConfig = DatasetConfig()
    data: DataConfig = field(default_factory=_whole_picture)
    model: Mono2BinauralConfig = Mono2BinauralConfig()
    run: RunConfig = field(default_factory=lambda: RunConfig(id="mono2binaural"))
    lr_audio: float = 1e-3
    lr_visual: float = 1e-4
    clip_norm: float = 5.0
    weight_decay: float = 0.0005

    def validate(self) -> None:
        data, model = self.data, self.model
        need(
            data.window_frames == model.window_frames and data.frames_per_window == 1 and data.target == "both",
            f"data: window_frames={data.window_frames}, frames_per_window={data.frames_per_window}, target={data.target}",
            why=f"the network hears {model.window_frames} hops with the picture in their middle, and makes both ears",
            fix=f"set them to {model.window_frames}, 1 and both",
        )
        need(
            data.whole_frame == WHOLE_FRAME[model.sight] and (model.sight != "both" or data.objects >= 2),
            f"data: whole_frame={data.whole_frame}, objects={data.objects}",
            why=f"with model.sight={model.sight} slot 0 {'holds' if model.sees_frame else 'does not hold'} the picture",
            fix=f"set data.whole_frame={WHOLE_FRAME[model.sight]}, and data.objects to 1 and the objects beside it",
        )
        need(
            not model.sees_frame or data.crop_size == model.picture_px[::-1],
            f"data: crop_px={data.crop_px}, crop_width_px={data.crop_width_px}; model: picture_px={model.picture_px}",
            why="the picture is a crop of the whole",
            fix=f"set data.crop_px={model.picture_px[1]} and data.crop_width_px={model.picture_px[0]}",
        )
        need(
            not model.sees_frame or data.together == 1,
            f"data: together={data.together}",
            why="whole pictures of several scenes cannot be laid over each other",
            fix="set it to 1, and render scenes of several sources instead",
        )

    @property
    def mel(self) -> MelConfig:
        """The grid on which windows are cut, and in which they are shown; the network hears no mels."""
        model = self.model
        return MelConfig(
            sample_rate_hz=model.sample_rate_hz,
            n_fft=model.n_fft,
            hop_samples=model.hop_samples,
            win_samples=model.win_samples,
        )

    @property
    def locate(self) -> bool:
        """Whether objects are looked for in pictures without boxes."""
        return self.model.told_places


@dataclass(frozen=True)
class Work:
    """What one step is computed from: spectra of sum and difference, and what is seen."""

    sum_B2KF: Tensor
    difference_B2KF: Tensor
    sight: tuple[Tensor, Tensor, Tensor, Tensor]
    watched: dict[str, Tensor] = field(default_factory=dict)  # what must be finite


class Mono2BinauralStage:
    """Trains a `Mono2Binaural`; satisfies `stage.Stage`."""

    averaged = ("mono2binaural",)
    best_by = "difference_mse"

    def __init__(self, config: Mono2BinauralTraining):
        self.config = config
        with first_weights(config.run.seed):
            self.model = Mono2Binaural(config.model)
        self.model.load_encoder_weights()
        self.modules = {"mono2binaural": self.model}
        visual = [] if self.model.picture is None else list(self.model.picture.encoder.parameters())
        theirs = {id(parameter) for parameter in visual}
        audio = [parameter for parameter in self.model.parameters() if id(parameter) not in theirs]
        groups = [{"name": "audio", "params": audio, "lr": config.lr_audio}]
        groups += [{"name": "visual", "params": visual, "lr": config.lr_visual}] if visual else []
        self.players = (Player("mono2binaural", groups, self.loss, config.clip_norm, weight_decay=config.weight_decay),)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        waves = {"the mono sound": batch.mono_BN, "the pictures": batch.crops_BLOCHW}
        return waves if batch.binaural_BEN is None else waves | {"the ears' sound": batch.binaural_BEN}

    def prepare(self, batch: Batch, draw: Draw, step: int) -> Work:
        need(
            batch.binaural_BEN is not None,
            f"{batch.clip_ids[0]} has no binaural recording",
            why="the baseline learns from both ears",
            fix="leave clips without a reference out of the training list",
        )
        gain_B1 = to_level(batch.mono_BN, self.config.model.rms)
        difference_BN = batch.binaural_BEN[:, 0] - batch.binaural_BEN[:, 1]
        sum_B2KF = self.model.spectrum(2 * batch.mono_BN * gain_B1)
        difference_B2KF = self.model.spectrum(difference_BN * gain_B1)[:, :, :-1]
        watched = {"the mono's spectrum": sum_B2KF, "the difference's spectrum": difference_B2KF}
        return Work(sum_B2KF, difference_B2KF, batch.sight, watched)

    def loss(self, work: Work) -> dict[str, Tensor]:
        mask_B2KF = self.model(work.sum_B2KF, *work.sight)
        work.watched["the mask"] = mask_B2KF
        return {"total": fn.mse_loss(masked(mask_B2KF.float(), work.sum_B2KF), work.difference_B2KF)}

    def validate(self, batch: Batch, draw: Draw) -> dict[str, float | tuple[float, float]]:
        """The loss; that of the mono copy, a mask of zeros; and the first as a part of the second, over all samples."""
        work = self.prepare(batch, draw, 0)
        made, nothing = float(self.loss(work)["total"]), float(work.difference_B2KF.square().mean())
        part = {"part_of_mono_copy": (made / nothing, nothing * len(batch))} if nothing > 0 else {}
        return {"difference_mse": made, "mono_copy_mse": nothing} | part

    def show(self, batch: Batch, draw: Draw) -> Shown:
        """The first window's ears beside the true ones."""
        mono_1N, sight = batch.mono_BN[:1], [x[:1] for x in batch.sight]
        made_EN = ears(mono_1N[0].cpu().numpy(), self.model.separate(mono_1N, *sight)[0].cpu().numpy())
        waves = {"predicted": made_EN, "true": batch.binaural_BEN[0].cpu().numpy()}
        rate_hz = self.config.model.sample_rate_hz
        mels = {name: log_mel(torch.from_numpy(np.ascontiguousarray(w)), self.config.mel) for name, w in waves.items()}
        picture = figures.ears_figure(mels, self.config.mel, title=batch.clip_ids[0])
        return Shown({"ears": picture}, {name: (wave_EN, rate_hz) for name, wave_EN in waves.items()})

    def export(self, folder: Path, tag: str, weights: Mapping[str, dict[str, Tensor]], state: State) -> list[Path]:
        checkpoint.write_whole(folder / "config.yaml", self.config.save)
        return [checkpoint.save(folder / f"{name}_{tag}.pth", dict(tensors)) for name, tensors in weights.items()]


def train(
    config: Mono2BinauralTraining, world: World = ALONE, *, progress: bool = True
) -> tuple[Mono2BinauralStage, Result]:
    """Train the baseline as ``config`` says, or go on where its folder left off."""
    stage, tree = Mono2BinauralStage(config), config.to_dict()
    return stage, fit(stage, WindowData(config, world), config.run, tree=tree, world=world, progress=progress)


def run(config: Mono2BinauralTraining, world: World = ALONE) -> Result:
    """`train` for `distributed.launch`: what comes back from another process is the result alone."""
    return train(config, world)[1]
