"""The parameters of the course's notebooks, one class for each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from binaural_core.errors import need
from binaural_core.notebooks.parameters import Between, Parameters
from binaural_core.places import outputs


def _need_root(dataset: str, data_root: str) -> None:
    need(
        dataset == "scenes" or bool(data_root),
        f"parameter data_root is empty with dataset {dataset!r}",
        why="its recordings lie in a folder of yours",
        fix="name that folder, or take scenes",
    )


def _need_id(name: str) -> None:
    need(bool(name), "parameter id is empty", why="folders of trainings have that name", fix="give it a name")


@dataclass(frozen=True, kw_only=True)
class SetUp(Parameters):
    """00: what the headphone check plays."""

    notebook: ClassVar[str] = "00_setup_and_headphones"
    seconds: Annotated[float, Between(0.5, 6.0)] = 2.0
    quiet_db: Annotated[float, Between(-60.0, -10.0)] = -40.0


@dataclass(frozen=True, kw_only=True)
class DataLoading(Parameters):
    """01: which clips are read and how windows are cut."""

    notebook: ClassVar[str] = "01_data_loading"
    window_frames: Annotated[int, Between(16, 512)] = 80
    pictures: Annotated[int, Between(1, 30)] = 5
    objects: Annotated[int, Between(1, 16)] = 4
    batch_size: Annotated[int, Between(1, 64)] = 4


@dataclass(frozen=True, kw_only=True)
class MelSpectrograms(Parameters):
    """02: the sound that the table is measured on."""

    notebook: ClassVar[str] = "02_mel_spectrograms"
    sound: Literal["noise", "speaker", "piano", "drum"] = "noise"
    seconds: Annotated[float, Between(0.5, 10.0)] = 1.5
    griffin_lim_steps: Annotated[int, Between(1, 200)] = 16


@dataclass(frozen=True, kw_only=True)
class DiffusionTheory(Parameters):
    """03: the small world of known mels, and how many samples are drawn from it."""

    notebook: ClassVar[str] = "03_ddpm_and_ddim"
    sounds: Annotated[int, Between(2, 8)] = 4
    azimuth_step_deg: Annotated[float, Between(2.5, 37.5)] = 15.0
    starts: Annotated[int, Between(16, 512)] = 64
    paths: Annotated[int, Between(1000, 100_000)] = 4000


@dataclass(frozen=True, kw_only=True)
class Conditioning(Parameters):
    """04: whose weights are looked at, and on how many sounds and scenes they are measured."""

    notebook: ClassVar[str] = "04_unet_and_conditioning"
    weights: str = ""
    sounds: Annotated[int, Between(1, 7)] = 2
    widest_deg: Annotated[float, Between(20.0, 60.0)] = 60.0
    scenes: Annotated[int, Between(1, 100)] = 3

    @property
    def folder(self) -> str | None:
        """Of a trained stage 1; None: the shipped one."""
        return self.weights or None


@dataclass(frozen=True, kw_only=True)
class TrainingStage1(Parameters):
    """05: a training of stage 1, from a minute's on rendered scenes to the original's on a recorded data set."""

    notebook: ClassVar[str] = "05_training_stage1"
    dataset: Literal["scenes", "fairplay", "realbinaural"] = "scenes"
    data_root: str = ""
    scenes: Annotated[int, Between(4, 100_000)] = 12
    recipe: Literal["bridge", "diffbinaural"] = "bridge"
    epochs: Annotated[int, Between(1, 100_000)] = 12
    batch_size: Annotated[int, Between(1, 1024)] = 4
    learning_rate: Annotated[float, Between(1e-6, 0.1)] = 0.003
    dim: Annotated[int, Between(8, 512)] = 16
    patch: Annotated[int, Between(1, 4)] = 2
    context: Annotated[int, Between(8, 2048)] = 64
    encoder: Literal["small", "resnet18", "resnet50"] = "small"
    crop_px: Annotated[int, Between(16, 512)] = 32
    id: str = "stage1"
    ckpt: str = ""
    num_gpus: Annotated[int, Between(1, 64)] = 1
    workers: Annotated[int, Between(0, 64)] = 0

    def validate(self) -> None:
        super().validate()
        _need_root(self.dataset, self.data_root)
        _need_id(self.id)

    @property
    def validate_epochs(self) -> int:
        """Validated every ten epochs, and three times in a short run."""
        return max(1, min(10, self.epochs // 3))


@dataclass(frozen=True, kw_only=True)
class ManyGpus(Parameters):
    """06: how many processes train together, and for how long."""

    notebook: ClassVar[str] = "06_many_gpus"
    processes: Annotated[int, Between(2, 8)] = 2
    batch_size: Annotated[int, Between(1, 64)] = 2
    epochs: Annotated[int, Between(1, 1000)] = 3
    steps_per_epoch: Annotated[int, Between(2, 1000)] = 3
    seconds: Annotated[float, Between(5.0, 600.0)] = 60.0


@dataclass(frozen=True, kw_only=True)
class TrainingVocoder(Parameters):
    """07: a training of stage 2, from half a minute's on rendered scenes to the original's on a recorded data set."""

    notebook: ClassVar[str] = "07_bigvgan"
    dataset: Literal["scenes", "fairplay", "realbinaural"] = "scenes"
    data_root: str = ""
    scenes: Annotated[int, Between(4, 100_000)] = 28
    vocoder: str = "bigvgan_tiny_22khz_80band.json"
    epochs: Annotated[int, Between(1, 100_000)] = 10
    rounds: Annotated[int, Between(1, 100)] = 4
    segment: Annotated[int, Between(2048, 1_048_576)] = 2048
    batch_size: Annotated[int, Between(1, 1024)] = 4
    learning_rate: Annotated[float, Between(1e-6, 0.1)] = 0.005
    mel_steps: Annotated[int, Between(0, 10_000_000)] = 224
    mrd: bool = False
    id: str = "stage2"
    ckpt: str = ""
    num_gpus: Annotated[int, Between(1, 64)] = 1

    def validate(self) -> None:
        super().validate()
        _need_root(self.dataset, self.data_root)
        _need_id(self.id)
        need(
            self.segment % 256 == 0,
            f"parameter segment is {self.segment}",
            why="a mel frame stands for 256 samples, and a segment is made of whole frames",
            fix=f"give a multiple of 256, such as {self.segment // 256 * 256}",
        )

    @property
    def validate_epochs(self) -> int:
        """Validated every ten epochs, and twice in a short run."""
        return min(10, (self.epochs + 1) // 2)


@dataclass(frozen=True, kw_only=True)
class ScheduledSampling(Parameters):
    """08: stage 2b beside stage 2a gone on with, from seconds on rendered scenes to the original's training."""

    notebook: ClassVar[str] = "08_scheduled_sampling"
    dataset: Literal["scenes", "fairplay", "realbinaural"] = "scenes"
    data_root: str = ""
    weights: str = ""
    scenes: Annotated[int, Between(4, 100_000)] = 24
    dull_db: Annotated[float, Between(0.0, 40.0)] = 13.0
    start_from: str = ""
    vocoder: str = "bigvgan_tiny_22khz_80band.json"
    discriminators: Literal["none", "mpd", "both"] = "none"
    segment: Annotated[int, Between(2048, 1_048_576)] = 2048
    batch_size: Annotated[int, Between(1, 1024)] = 4
    learning_rate: Annotated[float, Between(1e-6, 0.1)] = 0.005
    more_learning_rate: Annotated[float, Between(1e-6, 0.1)] = 0.003
    epochs: Annotated[int, Between(1, 100_000)] = 15
    more_epochs: Annotated[int, Between(1, 100_000)] = 5
    schedule: Literal["linear", "piecewise"] = "linear"
    seeds: Annotated[int, Between(1, 100)] = 2
    dull_seeds: Annotated[int, Between(0, 100)] = 1
    id: str = "stage2"
    ckpt: str = ""
    num_gpus: Annotated[int, Between(1, 64)] = 1

    def validate(self) -> None:
        super().validate()
        _need_root(self.dataset, self.data_root)
        _need_id(self.id)
        need(
            self.segment % 256 == 0 and self.segment <= 76 * 256,
            f"parameter segment is {self.segment}",
            why="a segment is made of whole frames of 256 samples, and stage 1 writes windows of 80 of them, whose two"
            " frames at either end are left out",
            fix="give a multiple of 256 up to 19456, such as 16384",
        )

    @property
    def judges(self) -> tuple[str, ...]:
        """The discriminators as `Stage2Config` names them."""
        return {"none": (), "mpd": ("mpd",), "both": ("mpd", "mrd")}[self.discriminators]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Parameters):
    """09: which systems are measured on which clips, and how much is simulated."""

    notebook: ClassVar[str] = "09_evaluation"
    EPOCHS: ClassVar[int] = 20
    """Of Mono2Binaural, whatever the number of updates."""
    BATCH: ClassVar[int] = 8
    dataset: Literal["scenes", "fairplay", "realbinaural"] = "scenes"
    data_root: str = ""
    split: str = "test"
    clips: Annotated[int, Between(0, 100_000)] = 12
    seconds: Annotated[float, Between(1.0, 60.0)] = 1.5
    systems: str = "mono,warp,ours:mono_phase"
    updates: Annotated[int, Between(0, 100_000)] = 60
    sets: Annotated[int, Between(20, 10_000)] = 400
    listeners: Annotated[int, Between(8, 1000)] = 20

    def validate(self) -> None:
        super().validate()
        _need_root(self.dataset, self.data_root)
        need(
            self.dataset != "scenes" or self.clips >= 2,
            f"parameter clips is {self.clips}",
            why="so many scenes are rendered, and one clip has no spread",
            fix="give 2 or more (0 means all clips of a recorded data set)",
        )
        need(
            "mono" in self.names and len(self.names) > 1,
            f"parameter systems is {self.systems!r}",
            why="all are compared with the mono copy",
            fix="give mono and at least one other, such as mono,warp,ours:mono_phase",
        )
        need(
            self.updates % self.EPOCHS == 0,
            f"parameter updates is {self.updates}",
            why=f"the baseline is trained for {self.EPOCHS} epochs of whole batches",
            fix=f"give a multiple of {self.EPOCHS}",
        )
        need(
            not self.updates or self.dataset == "scenes",
            f"parameter updates is {self.updates} with dataset {self.dataset!r}",
            why="the notebook trains on rendered scenes alone",
            fix="give 0, and name a folder of `binaural train mono2binaural` in systems: mono2binaural=FOLDER",
        )

    @property
    def names(self) -> list[str]:
        """The systems' entries as `binaural_core.evaluation.systems` reads them."""
        return [name.strip() for name in self.systems.split(",") if name.strip()]

    @property
    def scenes(self) -> int:
        """How many Mono2Binaural is trained on: an epoch sees each once."""
        return self.updates * self.BATCH // self.EPOCHS


@dataclass(frozen=True, kw_only=True)
class DemoResult(Parameters):
    """demo: the folder that `make demo` filled."""

    notebook: ClassVar[str] = "demo"
    folder: str = ""

    @property
    def made(self) -> Path:
        return Path(self.folder) if self.folder else outputs() / "demo"
