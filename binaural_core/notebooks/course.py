"""The parameters of the course's notebooks, one class for each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from binaural_core.notebooks.parameters import Between, Parameters
from binaural_core.places import outputs


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
class DemoResult(Parameters):
    """demo: the folder that `make demo` filled."""

    notebook: ClassVar[str] = "demo"
    folder: str = ""

    @property
    def made(self) -> Path:
        return Path(self.folder) if self.folder else outputs() / "demo"
