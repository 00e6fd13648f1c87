"""The command that makes binaural sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from binaural_core.commands.options import numbers, say
from binaural_core.errors import need


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
