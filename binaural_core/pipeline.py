"""A mono recording and what its video shows -> binaural sound. All that a user needs to import.

>>> bc.Binauralizer.from_pretrained().binauralize(wave_N, 22050, video="clip.mp4").save("out.wav")  # doctest: +SKIP

Long sound is made in spans (`passage`), at constant memory.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from binaural_core import checkpoint
from binaural_core.audio import (
    AudioWriter,
    MelConfig,
    audio_info,
    log_mel,
    read_audio,
    resample,
    stream_audio,
    write_audio,
)
from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.config import Config
from binaural_core.data import unreferenced
from binaural_core.data.config import DataConfig
from binaural_core.data.dubbing import dub
from binaural_core.data.eyes import Closed, Eyes, clip_eyes, open_eyes
from binaural_core.data.loading import cut
from binaural_core.data.locating import Locate, Located
from binaural_core.data.mel_pairs import EARS, mel_path, write_mels
from binaural_core.data.sample import Clip, collate
from binaural_core.data.splits import VIDEO_SUFFIXES
from binaural_core.errors import InputError, need
from binaural_core.models.diffbinaural import DiffBinaural, DiffBinauralConfig
from binaural_core.models.localizer import open_localizer
from binaural_core.models.vocoding import MonoPhase, PerEar, Vocoder
from binaural_core.passage import EDGE_FRAMES, WINDOWS_AT_ONCE, Passage, RollingMono, Span
from binaural_core.places import data_samples, outputs, pick_device
from binaural_core.seeds import stream

SPAN_FRAMES = 640  # made at a time: 7.4 s
OUT_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".mp4")


@dataclass(frozen=True)
class Binaural:
    """Both ears of one recording."""

    wave_EN: np.ndarray  # (2, N) float32, row 0 the left ear
    sample_rate_hz: int
    mel_EMF: np.ndarray  # natural log, what stage 1 predicted

    def save(self, path: str | Path, *, video: str | Path | None = None) -> Path:
        """Write a sound file, or with an .mp4 name the pictures of ``video`` with this sound."""
        if Path(path).suffix.lower() == ".mp4":
            need(
                video is not None,
                f"{path} is a video but no pictures were named",
                why="an mp4 holds pictures and sound",
                fix="give video=..., or a name that ends in .wav",
            )
            with tempfile.TemporaryDirectory() as folder:
                return dub(video, write_audio(Path(folder) / "ears.wav", self.wave_EN, self.sample_rate_hz), path)
        write_audio(path, self.wave_EN, self.sample_rate_hz)
        return Path(path)


class Binauralizer:
    """Both stages with their weights. `from_pretrained` builds one; `binauralize` takes arrays, `convert` files."""

    def __init__(
        self,
        stage1: DiffBinaural,
        mel: MelConfig,
        data: DataConfig,
        vocoders: dict[str, Vocoder],
        *,
        device: str | torch.device = "cpu",
        default_stage2: str = "mono_phase",
        locate: Locate | None = None,
    ):
        """locate : finds what sounds in pictures that come without boxes; None: they are covered by a grid of crops."""
        need(
            data.window_frames % max(data.frames_per_window, 1) == 0,
            f"window_frames={data.window_frames} is no multiple of frames_per_window={data.frames_per_window}",
            why="windows overlap by the time between two pictures",
            fix="change one of them in the config the weights were trained with",
        )
        self.device = torch.device(device)
        self.stage1 = stage1.to(self.device).eval()
        self.mel, self.data, self.vocoders, self.default_stage2 = mel, data, vocoders, default_stage2
        self.locate = locate

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path | None = None,
        *,
        device: str | torch.device = "cpu",
        vocoder: str | Path | None = None,
        vocoder_config: str | Path | None = None,
    ) -> Binauralizer:
        """Load a folder that holds ``stage1/`` (config.yaml, unet_best.pth, frame_best.pth) and perhaps more.

        ``stage2/`` holds config.json and g_best; ``localizer/`` config.yaml and localizer_best.pth, else the shipped one is
        taken. Without a path: the weights that ship in ``data_samples``; "demo": those that `make demo` trained.
        vocoder : a BigVGAN generator file instead of ``stage2/g_best``, which makes 'bigvgan' the default mode;
        vocoder_config : its config, else ``config.json`` beside it.
        Raises InputError when files are missing or do not belong together.
        """
        device = pick_device(device)
        folder = weights_folder(path_or_name)
        stage1 = folder / "stage1" if (folder / "stage1").is_dir() else folder
        need(
            (stage1 / "unet_best.pth").is_file(),
            f"{stage1} holds no trained stage 1",
            why="unet_best.pth, frame_best.pth and config.yaml are needed",
            fix='name the folder of a training, or "demo" after `make demo`; without a name the shipped weights are taken',
        )
        config = StoredConfig.read(stage1 / "config.yaml")
        need(
            config.model.unet.ears == 2,
            f"{stage1} was trained for one ear",
            why="binaural sound needs both",
            fix="train with data.target=both and model.unet.ears=2",
        )
        model = DiffBinaural(config.model)
        checkpoint.load_into(model.unet, checkpoint.load(stage1 / "unet_best.pth"), name="unet_best.pth")
        checkpoint.load_into(model.frame, checkpoint.load(stage1 / "frame_best.pth"), name="frame_best.pth")
        vocoders: dict[str, Vocoder] = {"mono_phase": MonoPhase(config.mel)}
        generator = Path(vocoder) if vocoder else folder / "stage2" / "g_best"
        if vocoder or generator.is_file():
            per_ear = PerEar.open(generator, vocoder_config, device=device)
            need(
                per_ear.mel.same_as(config.mel),
                f"the vocoder {generator} was trained on other mels than stage 1",
                why=f"{per_ear.mel} is not {config.mel}",
                fix="train both stages with one mel config",
            )
            vocoders["bigvgan"] = per_ear
        localizer = open_localizer(folder)
        locate = localizer.to(device).locate if localizer else None
        stage2 = "bigvgan" if vocoder else "mono_phase"
        return cls(model, config.mel, config.data, vocoders, device=device, default_stage2=stage2, locate=locate)

    def binauralize(
        self,
        wave_N: np.ndarray | Tensor,
        sample_rate_hz: int,
        *,
        frames: str | Path | np.ndarray | None = None,
        video: str | Path | None = None,
        positions: np.ndarray | None = None,
        image_positions: np.ndarray | None = None,
        seed: int = 0,
        steps: int | None = None,
        stage2: str | None = None,
    ) -> Binaural:
        """Binaural sound of a mono wave.

        wave_N : (N,) or (C, N) in [-1, 1] at any rate; several channels are averaged.
        frames : a folder of numbered pictures, or (L, H, W, 3) uint8 spread evenly over the sound; video : a film.
        positions : (3,), (O, 3) or (L, O, 3): azimuth_deg (positive left), elevation_deg, distance_m; NaN where unknown.
        image_positions : (2,), (O, 2) or (L, O, 2) in [0, 1], x right, y down.
        steps : of the sampler; stage2 : 'mono_phase' or 'bigvgan'.   None means the default.
        Raises InputError for sound that is empty or holds NaN, and for pictures that cannot be read.
        """
        wave_CN = np.atleast_2d(np.asarray(wave_N, np.float32))
        need(
            wave_CN.ndim == 2 and wave_CN.shape[1] > 0 and wave_CN.shape[0] <= 16,
            f"the sound has shape {wave_CN.shape}",
            why="it must be (N,) or (channels, N) with at least one sample",
            fix="give the samples along the last axis",
        )
        need(
            bool(np.isfinite(wave_CN).all()),
            "the sound holds NaN or infinity",
            why="nothing can be computed from it",
            fix="repair the recording",
        )
        mono_N = resample(wave_CN.mean(axis=0), sample_rate_hz, self.mel.sample_rate_hz)
        need(len(mono_N) > 0, "the sound is too short", why="no sample is left of it", fix="give a longer recording")
        duration_s = len(mono_N) / self.mel.sample_rate_hz
        eyes = open_eyes(
            self.data,
            duration_s,
            frames=frames,
            video=video,
            positions=positions,
            image_positions=image_positions,
            locate=self.locate,
        )
        pieces = list(self.spans(iter([mono_N[None]]), eyes, seed=seed, steps=steps, stage2=stage2))
        return Binaural(
            np.concatenate([p.wave_EN for p in pieces], axis=1),
            self.mel.sample_rate_hz,
            np.concatenate([p.mel_EMF for p in pieces], axis=2),
        )

    def convert(
        self,
        audio: str | Path,
        out: str | Path,
        *,
        frames: str | Path | None = None,
        video: str | Path | None = None,
        positions: np.ndarray | None = None,
        image_positions: np.ndarray | None = None,
        fps: float | None = None,
        seed: int = 0,
        steps: int | None = None,
        stage2: str | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> Path:
        """Binaural sound of a file into a file; to .wav and .mp4 at constant memory however long it is.

        audio : a sound file or a film, whose own pictures are used unless others, or positions, are given.
        out : .wav is written as it is made; other sound formats and .mp4 are made from that.
        fps : rate of a folder of frames where it cannot be told from the sound's length.
        on_progress : called with the seconds done. Other arguments as in `binauralize`.
        """
        out, rate = Path(out), self.mel.sample_rate_hz
        need(
            out.suffix.lower() in OUT_SUFFIXES,
            f"{out} has no suffix that can be written",
            why=f"the format is chosen by it: {', '.join(OUT_SUFFIXES)}",
            fix="name the file such as out.wav",
        )
        told = (frames, video, positions, image_positions)
        if all(one is None for one in told) and Path(audio).suffix.lower() in VIDEO_SUFFIXES:
            video = audio  # a film shows its own pictures
        eyes = open_eyes(
            self.data,
            audio_info(audio).duration_s,
            frames=frames,
            video=video,
            positions=positions,
            image_positions=image_positions,
            fps=fps,
            locate=self.locate,
        )
        suffix = out.suffix.lower()
        if suffix == ".mp4":
            need(
                video is not None or frames is not None,
                f"{out} is a video but no pictures were named",
                why="an mp4 holds pictures and sound",
                fix="give --video or --frames, or an --out that ends in .wav",
            )
        wav = out if suffix == ".wav" else out.with_name(f".{out.name}.wav")
        try:
            self._write(Path(audio), wav, eyes, seed=seed, steps=steps, stage2=stage2, on_progress=on_progress)
            if suffix == ".mp4":
                dub(video if video is not None else frames, wav, out)
            elif suffix != ".wav":
                write_audio(out, read_audio(wav).wave_CN, rate)
        finally:
            if wav != out:
                wav.unlink(missing_ok=True)
        return out

    def convert_all(
        self,
        source: str | Path,
        out: str | Path,
        *,
        on_clip: Callable[[int, int, Clip], None] | None = None,
        positions: np.ndarray | None = None,
        image_positions: np.ndarray | None = None,
        seed: int = 0,
        steps: int | None = None,
        stage2: str | None = None,
    ) -> list[Path]:
        """``{out}/{clip_id}.wav`` for every recording of a folder or a list; pictures are found by name.

        Files that are there already are kept. A recording that cannot be read is reported and the others go on;
        afterwards an InputError names those that failed.
        """
        clips, made, failed = unreferenced.clips(source), [], {}
        names = [clip.clip_id for clip in clips]
        twice = sorted({name for name in names if names.count(name) > 1})
        need(
            not twice,
            f"{source} names several recordings {', '.join(twice[:3])}",
            why="each is written under its name, so one would replace the other",
            fix="rename them, or make them one by one",
        )
        for number, clip in enumerate(clips, start=1):
            path = Path(out) / f"{clip.clip_id}.wav"
            try:
                if not path.is_file():
                    if positions is not None or image_positions is not None:
                        told = {"positions": positions, "image_positions": image_positions}
                        eyes = open_eyes(self.data, clip.duration_s, **told)
                    else:
                        seeing = clip.pictures is not None
                        eyes = clip_eyes(clip, self.data, self.locate) if seeing else Closed(self.data)
                    self._write(clip.mono or clip.ears, path, eyes, seed=seed, steps=steps, stage2=stage2)
                made.append(path)
            except InputError as error:
                failed[clip.clip_id] = error
            if on_clip:
                on_clip(number, len(clips), clip)
        name_failed(failed, len(clips))
        return made

    def _write(
        self,
        audio: Path,
        wav: Path,
        eyes: Eyes,
        *,
        seed: int,
        steps: int | None,
        stage2: str | None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        rate, done = self.mel.sample_rate_hz, 0
        blocks = stream_audio(audio, sample_rate_hz=rate, block_samples=SPAN_FRAMES * self.mel.hop_samples, channels=1)
        wav.parent.mkdir(parents=True, exist_ok=True)
        with AudioWriter(wav, rate, channels=2) as writer:
            for span in self.spans(blocks, eyes, seed=seed, steps=steps, stage2=stage2):
                writer.write(span.wave_EN)
                done += span.wave_EN.shape[1]
                if on_progress:
                    on_progress(done / rate)

    @torch.no_grad()
    def write_mels(
        self,
        clips: Sequence[Clip],
        out: str | Path,
        split: str,
        *,
        seed: int = 0,
        steps: int | None = None,
        on_clip: Callable[[int, int, Clip], None] | None = None,
    ) -> int:
        """Stage 1's mels of every window of ``clips``, in the files that `data.mel_pairs` describes; returns how many windows.

        Windows whose files are there already are kept, so a stopped run goes on where it was. A clip that cannot be read
        is named and left out, or refused, as the data config says.
        """
        window_s = self.data.window_frames * self.mel.hop_samples / self.mel.sample_rate_hz
        written = 0
        for number, clip in enumerate(clips, start=1):
            clip = Located(clip, self.locate) if self.locate else clip
            try:
                written += self._write_mels_of(clip, Path(out), split, window_s, seed, steps)
            except InputError as error:
                if self.data.on_broken == "refuse":
                    raise
                warnings.warn(f"clip {clip.clip_id} is left out: {error}", stacklevel=2)
            if on_clip:
                on_clip(number, len(clips), clip)
        return written

    def _write_mels_of(self, clip: Clip, out: Path, split: str, window_s: float, seed: int, steps: int | None) -> int:
        starts = [
            s
            for s in window_starts_s(clip.duration_s, window_s)
            if not all(mel_path(out, ear, split, clip.clip_id, s).is_file() for ear in EARS)
        ]
        for first in range(0, len(starts), WINDOWS_AT_ONCE):
            some = starts[first : first + WINDOWS_AT_ONCE]
            batch = collate([cut(clip, s, self.data, self.mel) for s in some]).to(self.device)
            mono_BMF = log_mel(batch.mono_BN, self.mel)
            noise_BEMF = torch.stack(
                [torch.randn(2, *mono_BMF.shape[1:], generator=stream(seed, "mels", clip.clip_id, s)) for s in some]
            ).to(self.device)
            unit_BEMF = self.stage1.sample(to_unit(mono_BMF)[:, None], batch.sight, noise_BEMF=noise_BEMF, steps=steps)
            for s, mel_EMF in zip(some, from_unit(unit_BEMF).float().cpu().numpy(), strict=True):
                write_mels(out, split, clip.clip_id, s, mel_EMF)
        return len(starts)

    def spans(
        self,
        blocks: Iterator[np.ndarray],
        eyes: Eyes,
        *,
        seed: int = 0,
        steps: int | None = None,
        stage2: str | None = None,
    ) -> Iterator[Span]:
        """Binaural sound span by span. ``blocks``: (C, n) at the mel's rate, one after the other."""
        mode = stage2 or self.default_stage2
        need(
            mode in self.vocoders,
            f"there is no stage 2 named {mode!r} here",
            why=f"these weights offer {', '.join(sorted(self.vocoders))}",
            fix="choose one of them, or train stage 2",
        )
        vocoder, mono = self.vocoders[mode], RollingMono(blocks)
        passage = Passage(self.stage1, self.mel, self.data, mono, eyes, seed=seed, steps=steps, device=self.device)
        ahead = vocoder.context_frames + self.data.window_frames + EDGE_FRAMES
        start = 0
        while True:
            samples = mono.fill_to((start + SPAN_FRAMES + ahead) * self.mel.hop_samples)
            stop = min(start + SPAN_FRAMES, -(-samples // self.mel.hop_samples))
            if stop <= start:
                return
            yield passage.make(start, stop, vocoder)
            start = stop


def weights_folder(path_or_name: str | Path | None) -> Path:
    """The folder of trained networks of that path; None: the shipped ones; "demo": those that `make demo` trained."""
    if not path_or_name:
        return data_samples() / "weights"
    return outputs() / "demo" / "checkpoints" if path_or_name == "demo" else Path(path_or_name)


def name_failed(failed: dict[str, InputError], total: int) -> None:
    """Raise InputError when some recordings could not be made."""
    if failed:
        name, error = next(iter(failed.items()))
        raise InputError(
            f"{len(failed)} of {total} recordings could not be made binaural ({', '.join(list(failed)[:5])})",
            why=f"{name}: {error.what}; {error.why}",
            fix=error.fix,
        )


def window_starts_s(duration_s: float, window_s: float) -> list[float]:
    """Starts, in whole hundredths of a second, of windows that cover a clip from its first to its last."""
    last = int(round((duration_s - window_s) * 100, 6))
    if last < 0:
        return []
    step = int(window_s * 100)
    return [s / 100 for s in sorted({*range(0, last + 1, step), last})]


@dataclass(frozen=True, kw_only=True)
class StoredConfig(Config):
    """What inference needs of a training's ``config.yaml``; its other settings are passed over."""

    model: DiffBinauralConfig
    mel: MelConfig
    data: DataConfig

    @classmethod
    def read(cls, path: Path) -> StoredConfig:
        need(path.is_file(), f"{path} is not there", why="it says how the networks are built", fix="restore it")
        tree = yaml.safe_load(path.read_text())
        try:
            return cls.from_dict({name: tree[name] for name in ("model", "mel", "data")})
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path} is not the config of a stage-1 training",
                why="it lacks model, mel or data",
                fix="name the folder of a training",
            ) from error
