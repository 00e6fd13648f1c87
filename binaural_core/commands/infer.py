"""The command that makes binaural sound: of recordings and what they show, or of mels that are there already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from binaural_core.commands.options import numbers, only_given, say
from binaural_core.errors import need

OF_RECORDINGS = ("video", "frames", "fps", "positions", "image_positions", "steps")
OF_MELS = ("audio_dir", "batch_size", "bf16")


@dataclass(kw_only=True)
class Infer:
    """Make binaural sound of a recording, of all in a folder, or of a list (--audio); or of mels (--mels, --stage1)."""

    out: str
    """A .wav (or .flac, .ogg, .mp3) file, or an .mp4 with the pictures; for a folder, a list or mels: a folder, where wavs
    that are there already are kept, not made again."""
    audio: str | None = None
    """A sound file or a film; a folder of them; or a csv list (audio_path,video_path). Both stages."""
    mels: str | None = None
    """Stage 2 alone: a folder of mel files {name}_left.npy and {name}_right.npy (or in left/ and right/); a wav of each."""
    stage1: str | None = None
    """Stage 2 alone: a folder that `binaural mels` wrote; a wav of each recording, its windows put together."""
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
    vocoder: str | None = None
    """A BigVGAN generator file (g_XXXXXXXX, bigvgan_generator.pt) instead of stage2/g_best of the weights."""
    vocoder_config: str | None = None
    """Its config; config.json beside it when left out."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    stage2: Literal["mono_phase", "bigvgan"] | None = None
    """How mels become waves: mono_phase unless a vocoder is named for --audio, bigvgan for mels."""
    steps: int | None = None
    """Of the sampler."""
    seed: int = 0
    audio_dir: str | None = None
    """With mels: the mono recordings by name. The mode mono_phase needs them (its ears differ in level, not in delay)."""
    batch_size: int | None = None
    """With mels: stretches made at once, each with its ears; 4 when left out."""
    bf16: bool = False
    """With mels: the vocoder computes in bfloat16."""

    def run(self) -> None:
        ways = only_given({"audio": self.audio, "mels": self.mels, "stage1": self.stage1})
        need(
            len(ways) == 1,
            f"infer was given {' and '.join(f'--{way}' for way in ways) or 'none of --audio, --mels and --stage1'}",
            why="sound is made of recordings, of mel files, or of stage 1's windows",
            fix="give one of --audio, --mels and --stage1",
        )
        way = next(iter(ways))
        others = OF_MELS if way == "audio" else OF_RECORDINGS
        extra = [f"--{name}" for name in others if getattr(self, name) not in (None, False)]
        need(
            not extra,
            f"{' and '.join(extra)} {'was' if len(extra) == 1 else 'were'} given with --{way}",
            why="only --mels and --stage1 know it"
            if way == "audio"
            else "the mels are made already; only --audio knows it",
            fix="leave it out",
        )
        need(
            self.vocoder is not None or self.vocoder_config is None,
            "--vocoder_config was given without --vocoder",
            why="the weights' own vocoder has its config beside it",
            fix="give both, or neither",
        )
        if way == "audio":
            self._of_recordings()
        else:
            self._of_mels()

    def _of_recordings(self) -> None:
        from binaural_core.pipeline import Binauralizer

        source = Path(self.audio)
        need(source.exists(), f"{source} is not there", why="there is nothing to read", fix="check the path")
        binauralizer = Binauralizer.from_pretrained(
            self.weights, device=self.device, vocoder=self.vocoder, vocoder_config=self.vocoder_config
        )
        common: dict[str, Any] = {"seed": self.seed, "steps": self.steps, "stage2": self.stage2}
        common |= {"positions": numbers(self.positions, 3), "image_positions": numbers(self.image_positions, 2)}
        if source.is_dir() or source.suffix.lower() in (".csv", ".txt", ".h5"):
            need(
                self.video is None and self.frames is None,
                "--video or --frames was given with a folder or a list",
                why="each recording has pictures of its own, found by name",
                fix="leave it out",
            )
            there = set(Path(self.out).glob("*.wav"))
            self._say_made(binauralizer.convert_all(source, self.out, on_clip=say, **common), there)
        else:
            print(binauralizer.convert(source, self.out, video=self.video, frames=self.frames, fps=self.fps, **common))

    def _of_mels(self) -> None:
        from binaural_core import synthesis
        from binaural_core.data.stored_mels import mel_files, mel_windows
        from binaural_core.pipeline import OUT_SUFFIXES

        need(
            Path(self.out).suffix.lower() not in OUT_SUFFIXES,
            f"--out {self.out} is a file",
            why="mels are made into a wav file of each recording",
            fix="name a folder",
        )
        vocoder = synthesis.open_vocoder(
            self.stage2 or "bigvgan",
            weights=self.weights,
            vocoder=self.vocoder,
            vocoder_config=self.vocoder_config,
            device=self.device,
            bf16=self.bf16,
        )
        found = mel_files(self.mels, vocoder.mel) if self.mels else mel_windows(self.stage1, vocoder.mel)
        there = set(Path(self.out).glob("*.wav"))
        made = synthesis.synthesize(
            found,
            self.out,
            vocoder,
            audio_dir=self.audio_dir,
            device=self.device,
            batch_size=synthesis.BATCH_SIZE if self.batch_size is None else self.batch_size,
            on_clip=say,
        )
        self._say_made(made, there)

    def _say_made(self, made: list[Path], there: set[Path]) -> None:
        """made : also what was kept of the files that were there."""
        kept = len(there.intersection(made))
        also = f", {kept} were there already and were kept" if kept else ""
        print(f"{len(made) - kept} written to {self.out}{also}")
