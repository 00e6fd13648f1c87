"""Commands that train. The flags have the names of the original's scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from binaural_core.commands.options import load_config, only_given, report, settings


@dataclass(kw_only=True)
class TrainStage1:
    """Train stage 1 (mono mel and sight to both ears' mels). Goes on where the run of that id left off."""

    config: str | None = None
    """YAML file of a Stage1Config; a path, or a shipped one such as demo_stage1.yaml."""
    set: tuple[str, ...] = ()
    """Single settings, such as model.unet.dim=64 run.precision=fp32."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set."""
    data_root: str | None = None
    """Its folder."""
    list_train: str | None = None
    """A list of training clips instead of the data set's own."""
    list_val: str | None = None
    """A list of validation clips."""
    id: str | None = None
    """Name of the run; its folder is {ckpt}/{id}."""
    ckpt: str | None = None
    """Folder of all runs."""
    batch_size_per_gpu: int | None = None
    num_epoch: int | None = None
    lr_unet: float | None = None
    lr_frame: float | None = None
    eval_epoch: int | None = None
    """Validate every so many epochs."""
    learning_rate_decrease_itr: int | None = None
    """Epochs between two decays of the learning rates."""
    decay_factor: float | None = None
    weighted_loss: bool | None = None
    """Weigh mel cells where the mono mel is above ln 1e-3."""
    num_mels: int | None = None
    audLen: float | None = None
    """Seconds of a window; rounded up to mel frames, a whole number of them for each picture."""
    img_pool: Literal["attention", "avg", "max"] | None = None
    """How the objects of a picture become one."""
    arch_frame: Literal["small", "resnet18", "resnet50"] | None = None
    """The encoder of the object crops."""
    weights_unet: str | None = None
    """Start from these weights."""
    weights_frame: str | None = None
    num_gpus: int = 1
    """Processes on this machine, a GPU each; without GPUs they share the CPU. On several machines: torchrun."""

    def run(self) -> None:
        from binaural_core.training import stage1
        from binaural_core.training.distributed import launch

        recorded = self.dataset in ("fairplay", "realbinaural")
        config = load_config(stage1.Stage1Config, self.config or ("original_stage1.yaml" if recorded else None))
        frames = None
        if self.audLen is not None:
            per_picture = max(config.data.frames_per_window, 1)
            frames = (
                -int(-self.audLen * config.mel.sample_rate_hz // (config.mel.hop_samples * per_picture)) * per_picture
            )
        given = {
            "dataset.kind": self.dataset,
            "dataset.root": self.data_root,
            "dataset.list_train": self.list_train,
            "dataset.list_val": self.list_val,
            "run.id": self.id,
            "run.checkpoints": self.ckpt,
            "run.batch_size": self.batch_size_per_gpu,
            "run.epochs": self.num_epoch,
            "lr_unet": self.lr_unet,
            "lr_frame": self.lr_frame,
            "run.validate_epochs": self.eval_epoch,
            "run.decay_epochs": self.learning_rate_decrease_itr,
            "run.decay_factor": self.decay_factor,
            "weighted_loss": self.weighted_loss,
            "mel.n_mels": self.num_mels,
            "data.window_frames": frames,
            "model.visual.pool": self.img_pool,
            "model.visual.encoder": self.arch_frame,
            "weights_unet": self.weights_unet,
            "weights_frame": self.weights_frame,
        }
        config = config.replace(**(only_given(given) | settings(self.set)))
        report(launch(stage1.run, config, processes=self.num_gpus))


@dataclass(kw_only=True)
class TrainStage2:
    """Train stage 2 (BigVGAN) on true mels, or with scheduled sampling on predicted ones."""

    config: str | None = None
    """YAML file of a Stage2Config; a path, or a shipped one such as demo_stage2.yaml."""
    set: tuple[str, ...] = ()
    """Single settings, such as run.batch_size=4."""
    vocoder: str | None = None
    """BigVGAN's own config (public JSON format); a path or a shipped one."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set the sound comes from."""
    audio_dir: str | None = None
    """Its folder."""
    id: str | None = None
    """Name of the run; its folder is {checkpoint_path}/{id}."""
    checkpoint_path: str | None = None
    """Folder of all runs."""
    training_epochs: int | None = None
    checkpoint_interval: int | None = None
    """Steps between two checkpoints."""
    validation_interval: int | None = None
    """Epochs between two validations."""
    mel_pred_dir: str | None = None
    """Predicted mels, as `binaural mels` writes them."""
    use_scheduled_sampling: bool | None = None
    start_from: str | None = None
    """A g_XXXXXXXX to go on from."""
    num_gpus: int = 1
    """Processes on this machine, a GPU each; without GPUs they share the CPU. On several machines: torchrun."""

    def run(self) -> None:
        from binaural_core.training import stage2
        from binaural_core.training.distributed import launch

        given = {
            "vocoder": self.vocoder,
            "dataset.kind": self.dataset,
            "dataset.root": self.audio_dir,
            "run.id": self.id,
            "run.checkpoints": self.checkpoint_path,
            "run.epochs": self.training_epochs,
            "run.checkpoint_steps": self.checkpoint_interval,
            "run.validate_epochs": self.validation_interval,
            "mel_pred_dir": self.mel_pred_dir,
            "use_scheduled_sampling": self.use_scheduled_sampling,
            "start_from": self.start_from,
        }
        config = load_config(stage2.Stage2Config, self.config).replace(**(only_given(given) | settings(self.set)))
        report(launch(stage2.run, config, processes=self.num_gpus))


@dataclass(kw_only=True)
class TrainLocalizer:
    """Train the localiser (pictures to the places of what sounds). Goes on where the run of that id left off."""

    config: str | None = "localizer.yaml"
    """YAML file of a LocalizerTraining; a path, or a shipped one."""
    set: tuple[str, ...] = ()
    """Single settings, such as model.width=32 all_around=0.1."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set; its boxes must be known."""
    data_root: str | None = None
    """Its folder."""
    id: str | None = None
    """Name of the run; its folder is {ckpt}/{id}."""
    ckpt: str | None = None
    """Folder of all runs; `binaural infer --weights` finds the localiser of a run named localizer in it."""
    batch_size_per_gpu: int | None = None
    num_epoch: int | None = None
    lr: float | None = None
    num_gpus: int = 1
    """Processes on this machine, a GPU each; without GPUs they share the CPU. On several machines: torchrun."""

    def run(self) -> None:
        from binaural_core.training import localizer
        from binaural_core.training.distributed import launch

        given = {
            "dataset.kind": self.dataset,
            "dataset.root": self.data_root,
            "run.id": self.id,
            "run.checkpoints": self.ckpt,
            "run.batch_size": self.batch_size_per_gpu,
            "run.epochs": self.num_epoch,
            "lr": self.lr,
        }
        config = load_config(localizer.LocalizerTraining, self.config)
        config = config.replace(**(only_given(given) | settings(self.set)))
        report(launch(localizer.run, config, processes=self.num_gpus))


@dataclass(kw_only=True)
class TrainMono2Binaural:
    """Train the baseline Mono2Binaural (mono and whole picture to both ears). Goes on where the run of that id left off."""

    config: str | None = None
    """YAML file of a Mono2BinauralTraining; a path, or a shipped one. Without it mono2binaural.yaml, small; for recorded
    data sets original_mono2binaural.yaml, as published."""
    set: tuple[str, ...] = ()
    """Single settings, such as model.width=32 run.seed=1."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set."""
    data_root: str | None = None
    """Its folder."""
    list_train: str | None = None
    """A list of training clips instead of the data set's own."""
    list_val: str | None = None
    """A list of validation clips."""
    id: str | None = None
    """Name of the run; its folder is {ckpt}/{id}."""
    ckpt: str | None = None
    """Folder of all runs."""
    batch_size_per_gpu: int | None = None
    num_epoch: int | None = None
    lr_audio: float | None = None
    lr_visual: float | None = None
    eval_epoch: int | None = None
    """Validate every so many epochs."""
    num_gpus: int = 1
    """Processes on this machine, a GPU each; without GPUs they share the CPU. On several machines: torchrun."""

    def run(self) -> None:
        from binaural_core.training import mono2binaural
        from binaural_core.training.distributed import launch

        given = {
            "dataset.kind": self.dataset,
            "dataset.root": self.data_root,
            "dataset.list_train": self.list_train,
            "dataset.list_val": self.list_val,
            "run.id": self.id,
            "run.checkpoints": self.ckpt,
            "run.batch_size": self.batch_size_per_gpu,
            "run.epochs": self.num_epoch,
            "lr_audio": self.lr_audio,
            "lr_visual": self.lr_visual,
            "run.validate_epochs": self.eval_epoch,
        }
        recorded = self.dataset in ("fairplay", "realbinaural")
        shipped = "original_mono2binaural.yaml" if recorded else "mono2binaural.yaml"
        config = load_config(mono2binaural.Mono2BinauralTraining, self.config or shipped)
        config = config.replace(**(only_given(given) | settings(self.set)))
        report(launch(mono2binaural.run, config, processes=self.num_gpus))
