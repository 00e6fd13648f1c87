"""Commands that train. The flags have the names of the original's scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from binaural_core.commands.options import load_config, only_given, report, settings
from binaural_core.errors import need


def _switch(texts: list[str]) -> bool:
    said = {"true": True, "1": True, "false": False, "0": False}
    if texts and texts[0].lower() not in said:
        raise ValueError(f"{texts[0]} is neither True nor False")
    return said[texts[0].lower()] if texts else True


Switch = Annotated[  # ``--flag`` as the original has it, or ``--flag True``
    bool | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=(0, 1),
        metavar="[True|False]",
        instance_from_str=_switch,
        is_instance=lambda value: value is None or isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    ),
]


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
    """YAML file of a Stage2Config, or BigVGAN's own config (public JSON format, whose batch_size, in clips, and seed are
    taken too); a path, or a shipped one such as demo_stage2.yaml."""
    set: tuple[str, ...] = ()
    """Single settings, such as run.batch_size=4 early_clip_norm=100."""
    vocoder: str | None = None
    """BigVGAN's own config beside a YAML; a path or a shipped one."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set the sound comes from. Without it the layout of audio_dir tells."""
    audio_dir: str | None = None
    """Its folder, or a plain folder of stereo files."""
    id: str | None = None
    """Name of the run; its folder is {checkpoint_path}/{id}."""
    checkpoint_path: str | None = None
    """Folder of all runs."""
    training_epochs: int | None = None
    checkpoint_interval: int | None = None
    """Steps between two checkpoints."""
    validation_interval: int | None = None
    """Epochs between two validations."""
    freeze_step: int | None = None
    """Steps at the beginning with the mel loss alone, instead of what the vocoder's config says."""
    mel_left_train_dir: str | None = None
    """Folders of true mels, {video_id}_{start_s}_left.npy; without them they are computed from the sound."""
    mel_right_train_dir: str | None = None
    mel_left_val_dir: str | None = None
    mel_right_val_dir: str | None = None
    mel_pred_dir: str | None = None
    """Predicted mels, as `binaural mels` writes them: {left,right}/{train,val}/…"""
    mel_pred_left_dir: str | None = None
    """Or a folder of them for each ear, which holds train/ and val/, or the files themselves."""
    mel_pred_right_dir: str | None = None
    use_scheduled_sampling: Switch = None
    """Predicted mels are heard more and more often; without it, always."""
    start_from: str | None = None
    """A checkpoint of an earlier training of the vocoder: a generator's file or a run's folder."""
    stage1_checkpoint_path: str | None = None
    """The same under the original's name, whose 'stage 1' is the vocoder's training on true mels."""
    load_stage1_checkpoint: Switch = None
    """False: begin anew in spite of stage1_checkpoint_path."""
    num_gpus: int = 1
    """Processes on this machine, a GPU each; without GPUs they share the CPU. On several machines: torchrun."""

    def run(self) -> None:
        from binaural_core.training import stage2
        from binaural_core.training.distributed import launch

        given = {
            "run.id": self.id,
            "run.checkpoints": self.checkpoint_path,
            "run.epochs": self.training_epochs,
            "run.checkpoint_steps": self.checkpoint_interval,
            "run.validate_epochs": self.validation_interval,
            "start_from": self._start(),
        }
        same = ("vocoder", "freeze_step", "use_scheduled_sampling", "mel_left_train_dir", "mel_right_train_dir")
        same += ("mel_left_val_dir", "mel_right_val_dir", "mel_pred_dir", "mel_pred_left_dir", "mel_pred_right_dir")
        given |= {name: getattr(self, name) for name in same} | self._sound()
        config = self._config(stage2.Stage2Config)
        if given["dataset.kind"]:
            config = config.replace(audio_dir=None)  # a plain folder that a YAML may name
        config = config.replace(**(only_given(given) | settings(self.set)))
        report(launch(stage2.run, config, processes=self.num_gpus))

    def _config(self, kind):
        """The config that the flags change: a YAML of ours, or the default one with a public JSON in it."""
        from binaural_core.models.bigvgan_config import BigVGANConfig
        from binaural_core.places import config_file

        path = config_file(self.config) if self.config else None
        if path is None or not str(path).endswith(".json"):
            return load_config(kind, self.config)
        need(
            self.vocoder is None,
            f"two vocoder configs are given, {self.config} and {self.vocoder}",
            why="a .json given as --config is BigVGAN's own config",
            fix="leave --vocoder out",
        )
        public = BigVGANConfig.from_json(path)
        return kind().replace(**{"vocoder": str(path), "run.batch_size": public.batch_size, "run.seed": public.seed})

    def _sound(self) -> dict[str, str | None]:
        """Where the sound comes from: a data set, or a plain folder."""
        from binaural_core.data.stereo_folder import layout_of

        need(
            self.audio_dir is None or self.dataset not in ("scenes", "mix"),
            f"--audio_dir {self.audio_dir} is given with --dataset {self.dataset}",
            why="scenes are rendered, and a mix names its own folders",
            fix="leave one of them out",
        )
        if self.audio_dir is None:
            return {"dataset.kind": self.dataset}
        kind = self.dataset or layout_of(self.audio_dir)
        if kind is None:
            return {"dataset.kind": None, "audio_dir": self.audio_dir}
        return {"dataset.kind": kind, "dataset.root": self.audio_dir}

    def _start(self) -> str | None:
        """The checkpoint to begin with, by either name."""
        path = self.stage1_checkpoint_path
        need(
            path is not None or not self.load_stage1_checkpoint,
            "--load_stage1_checkpoint is given without --stage1_checkpoint_path",
            why="there is nothing to load",
            fix="name the run of the vocoder's training on true mels, its folder or its g_XXXXXXXX",
        )
        need(
            path is None or self.start_from is None,
            "both --start_from and --stage1_checkpoint_path are given",
            why="they mean the same",
            fix="leave one out",
        )
        return self.start_from if path is None or self.load_stage1_checkpoint is False else path


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
