"""The command line: it parses arguments and calls the package, nothing more.

Each command is a dataclass whose fields are its options (their docstrings the help) and whose ``run`` does it.
"""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
import yaml

from binaural_core.errors import InputError, need


@dataclass(kw_only=True)
class Scenes:
    """Render scenes into a folder, as a FAIR-Play or a RealBinaural data set with the truth beside it."""

    out: str
    """Folder of the data set; made where it is not there."""
    layout: Literal["fairplay", "realbinaural"] = "fairplay"
    """How the files lie."""
    split: Literal["train", "val", "test"] = "train"
    """Which dry sounds are used, and which list is written."""
    count: int = 8
    """How many scenes."""
    seed: int = 0
    """The same seed renders the same scenes."""
    config: str | None = None
    """YAML file with more settings (binaural_core.data.rendered.RenderedConfig)."""
    set: tuple[str, ...] = ()
    """Single settings, such as scene.duration_s=5 scene.sources=[1,1]."""

    def run(self) -> None:
        from binaural_core.data.rendered import RenderedConfig
        from binaural_core.data.scene_files import SceneFilesConfig, write_scenes

        rendered = (RenderedConfig.load(self.config) if self.config else RenderedConfig()).replace(**settings(self.set))
        plan = SceneFilesConfig(
            out=self.out, layout=self.layout, split=self.split, count=self.count, seed=self.seed, rendered=rendered
        )
        write_scenes(plan, on_clip=lambda done, total, clip: say(done, total, clip.clip_id))


@dataclass(kw_only=True)
class Frames:
    """Extract the frames of a video, or of all videos in a folder."""

    video: str
    """A video file, or a folder of them."""
    out: str
    """Folder that gets one folder of frames per video."""
    fps: float = 10.0
    """Frames per second."""
    height_px: int | None = None
    """Height of the frames; the video's own when left out."""

    def run(self) -> None:
        from binaural_core.data.frames import extract_all
        from binaural_core.data.splits import VIDEO_SUFFIXES

        video = Path(self.video)
        found = sorted(p for p in video.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES) if video.is_dir() else [video]
        need(bool(found), f"{video} holds no video", why="there is nothing to extract", fix="check the folder")
        result = extract_all(
            found, self.out, fps=self.fps, height_px=self.height_px, on_video=lambda n, total, v: say(n, total, v.name)
        )
        print(f"{len(result.made)} extracted, {len(result.kept)} were complete, {len(result.broken)} failed")
        for error in result.broken.values():
            print(f"  {error}", file=sys.stderr)
        need(not result.broken, "some videos could not be read", why="they are named above", fix="copy them again")


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
class Mels:
    """Write stage 1's mels of a whole data set, for training stage 2 on them."""

    out: str
    """Folder; files are {out}/{left,right}/{split}/{video_id}_{start_s}_{left,right}.npy."""
    weights: str | None = None
    """Folder of a trained stage 1; the shipped one when left out, "demo" for the demo's."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set; scenes when neither this nor --config says."""
    data_root: str | None = None
    config: str | None = None
    """YAML file of a training, whose data set is taken; a path, or a shipped one."""
    splits: tuple[str, ...] = ("train", "val")
    steps: int | None = None
    """Of the sampler."""
    seed: int = 0
    set: tuple[str, ...] = ()
    """Settings of the data set, such as scenes_seed=1."""
    num_gpus: int = 1
    """Processes, each with its share of the clips."""

    def run(self) -> None:
        from binaural_core.predicting import PredictConfig
        from binaural_core.training.distributed import launch

        dataset = dataset_of(self.config, self.dataset, self.data_root, self.set)
        config = PredictConfig(
            weights=self.weights, dataset=dataset, device=self.device, steps=self.steps, seed=self.seed
        )
        written_by_split = launch(_write_mels, config, self.out, self.splits, processes=self.num_gpus) or {}
        for split, written in written_by_split.items():
            print(f"{split}: {written} windows written to {self.out}")


@dataclass(kw_only=True)
class Infer:
    """Make binaural sound of a recording, of all in a folder, or of a list."""

    audio: str
    """A sound file or a film; a folder of them; or a csv list (audio_path,video_path)."""
    out: str
    """A .wav (or .flac, .ogg, .mp3) file, or an .mp4 with the pictures; for a folder or list: a folder."""
    video: str | None = None
    """The film of the recording."""
    frames: str | None = None
    """A folder of numbered pictures instead of a film."""
    fps: float | None = None
    """Rate of --frames, where it cannot be told from the sound's length."""
    positions: str | None = None
    """Instead of pictures: 'azimuth,elevation,distance' in degrees (positive left) and metres, several with ';', or a .npy."""
    image_positions: str | None = None
    """'x,y' in [0, 1], x right and y down; several with ';', or a .npy."""
    weights: str | None = None
    """Folder of trained networks; the shipped ones when left out, "demo" for the demo's."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    stage2: Literal["mono_phase", "bigvgan"] | None = None
    """How mels become waves."""
    steps: int | None = None
    """Of the sampler."""
    seed: int = 0

    def run(self) -> None:
        from binaural_core.pipeline import Binauralizer

        source = Path(self.audio)
        need(source.exists(), f"{source} is not there", why="there is nothing to read", fix="check the path")
        binauralizer = Binauralizer.from_pretrained(self.weights, device=self.device)
        common: dict[str, Any] = {"seed": self.seed, "steps": self.steps, "stage2": self.stage2}
        common |= {"positions": numbers(self.positions, 3), "image_positions": numbers(self.image_positions, 2)}
        if source.is_dir() or source.suffix.lower() in (".csv", ".txt", ".h5"):
            need(
                self.video is None and self.frames is None,
                "--video or --frames was given with a folder or a list",
                why="each recording has pictures of its own, found by name",
                fix="leave it out",
            )
            made = binauralizer.convert_all(source, self.out, on_clip=say, **common)
            print(f"{len(made)} written to {self.out}")
        else:
            print(binauralizer.convert(source, self.out, video=self.video, frames=self.frames, fps=self.fps, **common))


@dataclass(kw_only=True)
class EvaluateAudio:
    """Measure a folder of binaural wav files against their references."""

    pred_dir: str
    gt_dir: str
    out: str | None = None
    """Folder for measures.csv and summary.json."""
    speech: bool = False
    """PESQ and STOI too."""

    def run(self) -> None:
        from binaural_core.evaluation import evaluate_audio
        from binaural_core.metrics import table

        found = evaluate_audio(self.pred_dir, self.gt_dir, speech=self.speech, on_file=lambda n, of: say(n, of, ""))
        show_report(found, self.out)
        print(table({f"mean of {len(found.rows)}": found.mean}))


@dataclass(kw_only=True)
class EvaluateStage1:
    """Measure stage 1's mels on a split, by what it is shown, beside the mono copy's."""

    weights: str | None = None
    """Folder of a trained stage 1; the shipped one when left out, "demo" for the demo's."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set; scenes when neither this nor --config says."""
    data_root: str | None = None
    split: str = "test"
    few: int | None = None
    """So many clips only, for a quick look."""
    conditions: str = "none,positions,pixels,both"
    """What it is shown, separated by commas."""
    config: str | None = None
    """YAML file of a training, whose data set is taken; a path, or a shipped one."""
    steps: int | None = None
    """Of the sampler."""
    seed: int = 0
    set: tuple[str, ...] = ()
    """Settings of the data set, such as scenes_seed=1."""
    out: str | None = None
    """Folder for measures.csv and summary.json."""
    num_gpus: int = 1
    """Processes, each with its share of the clips."""

    def run(self) -> None:
        from binaural_core.predicting import PredictConfig
        from binaural_core.training.distributed import launch

        dataset = dataset_of(self.config, self.dataset, self.data_root, self.set)
        config = PredictConfig(
            weights=self.weights,
            dataset=dataset,
            device=self.device,
            steps=self.steps,
            seed=self.seed,
            few=self.few,
        )
        conditions = tuple(name.strip() for name in self.conditions.split(","))
        found = launch(_measure_stage1, config, self.split, conditions, processes=self.num_gpus)
        if found is None:
            return  # the first process of torchrun reports
        if self.out:
            found.save(self.out)
        print(found.said())


@dataclass(kw_only=True)
class EvaluateMels:
    """Measure a folder of predicted mel files against true ones."""

    pred_dir: str
    gt_dir: str
    out: str | None = None
    """Folder for measures.csv and summary.json."""

    def run(self) -> None:
        from binaural_core.evaluation import evaluate_mels

        found = evaluate_mels(self.pred_dir, self.gt_dir)
        show_report(found, self.out)
        print(", ".join(f"{name} {value:.4f}" for name, value in found.mean.items()), f"({len(found.rows)} files)")


@dataclass(kw_only=True)
class BenchScenes:
    """How fast scenes are rendered on this machine, sound and pictures apart."""

    scenes: int = 16
    seed: int = 0

    def run(self) -> None:
        from binaural_core.places import data_samples
        from binaural_core.scene.bench import measure_scenes
        from binaural_core.scene.casting import find_dry_sounds

        measured = measure_scenes(find_dry_sounds(data_samples() / "dry" / "train"), scenes=self.scenes, seed=self.seed)
        for name, value in measured.items():
            print(f"{name:28s} {value:8.1f}")


@dataclass(kw_only=True)
class BenchRecipes:
    """Train the original's recipe and ours alike, and measure both against updates and evaluations of the network."""

    out: str
    """JSON file that gets the measures."""
    config: str = "recipes.yaml"
    """YAML file of a ComparisonConfig; a path, or a shipped one."""
    set: tuple[str, ...] = ()
    """Single settings, such as updates=[50,100] seeds=[0]."""
    processes: int = 2
    """How many trainings run side by side."""

    def run(self) -> None:
        from binaural_core.training.comparison import ComparisonConfig, said
        from binaural_core.training.distributed import launch

        config = load_config(ComparisonConfig, self.config).replace(**settings(self.set))
        found = launch(_compare_recipes, config, processes=self.processes)
        if found is None:
            return  # the first process of torchrun reports
        given = "".join(f' --set "{setting}"' for setting in self.set)
        found = found.replace(
            command=f"binaural bench recipes --config {self.config}{given} --out {Path(self.out).name}"
        )
        found.save(self.out)
        print(said(found))


COMMANDS = {
    "scenes": Scenes,
    "frames": Frames,
    "train stage1": TrainStage1,
    "train stage2": TrainStage2,
    "train localizer": TrainLocalizer,
    "mels": Mels,
    "infer": Infer,
    "evaluate audio": EvaluateAudio,
    "evaluate mels": EvaluateMels,
    "evaluate stage1": EvaluateStage1,
    "bench scenes": BenchScenes,
    "bench recipes": BenchRecipes,
}


def _write_mels(config, out: str, splits: tuple[str, ...], world) -> dict[str, int]:
    """What each process of `Mels` does."""
    from binaural_core import predicting

    return predicting.write(config, out, splits, world, on_clip=say)


def _measure_stage1(config, split: str, conditions: tuple[str, ...], world):
    """What each process of `EvaluateStage1` does."""
    from binaural_core import predicting

    return predicting.measure(config, split, conditions, world, on_clip=say)


def _compare_recipes(config, world):
    """What each process of `BenchRecipes` does."""
    from binaural_core.training import comparison

    return comparison.compare(config, world, on_job=say)


def load_config(kind, path: str | None):
    """A config from a path or, by its bare name, from the shipped ones."""
    from binaural_core.places import CONFIGS

    if path is None:
        return kind()
    return kind.load(CONFIGS / path if (CONFIGS / path).is_file() else path)


def dataset_of(config: str | None, kind: str | None, root: str | None, changes: tuple[str, ...]):
    """The data set of a training's config, or the default one, with what the flags say."""
    from binaural_core.data.catalog import DatasetConfig
    from binaural_core.training.stage1 import Stage1Config

    dataset = load_config(Stage1Config, config).dataset if config else DatasetConfig()
    return dataset.replace(**(only_given({"kind": kind, "root": root}) | settings(changes)))


def settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """``("run.seed=3", "scene.sources=[1,1]")`` as names and values."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        need(bool(equals), f"the setting {text!r} has no value", why="settings are name=value", fix=f"write {text}=…")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"the setting {text!r} cannot be read", why=str(error), fix="quote it") from error
    return values


def only_given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def numbers(text: str | None, count: int):
    """``"30,0,1.5;-30,0,2"`` as an array (objects, count), or what a .npy file holds."""
    import numpy as np

    if text is None:
        return None
    try:
        if text.endswith(".npy"):
            return np.load(text, allow_pickle=False)
        rows = [[float(number) for number in row.split(",")] for row in text.split(";")]
    except (ValueError, OSError) as error:
        raise InputError(f"{text!r} cannot be read", why=str(error), fix="write numbers: 30,0,1.5;-30,0,2") from error
    need(
        all(len(row) == count for row in rows),
        f"{text!r} does not hold {count} numbers for each object",
        why="positions are azimuth,elevation,distance and image positions x,y",
        fix="separate numbers by ',' and objects by ';'",
    )
    return np.array(rows, np.float32)


def say(done: int, total: int, name: object) -> None:
    print(f"{done}/{total} {getattr(name, 'clip_id', name)}", flush=True)


def report(result) -> None:
    if result is None:
        return  # the first process of torchrun reports
    best = "none" if result.best is None else f"{result.best:.4f}"
    print(
        f"{result.steps} steps ({result.steps_per_s:.2f} a second), best {best}, {result.skipped} skipped, "
        f"{100 * result.data_wait_share:.0f} % of the time waiting for data; weights in {result.folder}"
    )


def show_report(found, out: str | None) -> None:
    alone = {
        "predictions without a reference": found.only_predicted,
        "references without a prediction": found.only_reference,
    }
    for kind, names in alone.items():
        if names:
            print(f"{len(names)} {kind}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}", file=sys.stderr)
    for name, why in found.broken.items():
        print(f"not measured: {name}: {why}", file=sys.stderr)
    if out:
        found.save(out)


def joined(arguments: list[str]) -> list[str]:
    """``train stage1 …`` as one command name."""
    pair = " ".join(arguments[:2])
    return [pair, *arguments[2:]] if pair in COMMANDS else arguments


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, and turn a user's mistake into one screen. Returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="binaural",
        description="Binaural sound from a mono recording and its video.",
        args=joined(list(sys.argv[1:] if arguments is None else arguments)),
        use_underscores=True,
    )
    try:
        command.run()
    except InputError as error:
        print(f"binaural: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("binaural: stopped", file=sys.stderr)
        return 130
    return 0
