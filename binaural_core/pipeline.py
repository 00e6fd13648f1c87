"""A mono recording and what its video shows -> binaural sound. All that a user needs to import.

>>> bc.Binauralizer.from_pretrained().binauralize(wave_N, 22050, video="clip.mp4").save("out.wav")  # doctest: +SKIP

How long sound is made. Everything lives on one grid of mel frames. Stage 1 sees windows of W frames that overlap by the
time between two pictures; overlapping windows start from the same noise (it is keyed by the frame, not by the window) and
are cross-faded. Stage 2 makes a span of frames at a time with as much context on both sides as it needs, so a join is
where the two spans agree to the sample. Nothing longer than a span and its windows is held: memory does not grow with the
recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from binaural_core import checkpoint
from binaural_core.audio import AudioWriter, MelConfig, log_mel, read_audio, resample, stream_audio, write_audio
from binaural_core.audio.scaling import from_unit, to_unit
from binaural_core.config import Config
from binaural_core.data.config import DataConfig
from binaural_core.data.eyes import Eyes, open_eyes
from binaural_core.errors import InputError, need
from binaural_core.models.bigvgan import BigVGAN
from binaural_core.models.bigvgan_config import BigVGANConfig
from binaural_core.models.diffbinaural import DiffBinaural, DiffBinauralConfig
from binaural_core.models.vocoding import MonoPhase, PerEar, Places, Vocoder
from binaural_core.places import outputs
from binaural_core.seeds import stream

SPAN_FRAMES = 640  # made at a time: 7.4 s
WINDOWS_AT_ONCE = 8
EDGE_FRAMES = 4  # read beyond a stretch so that its mel has no edge


@dataclass(frozen=True)
class Binaural:
    """Both ears of one recording."""

    wave_EN: np.ndarray  # (2, N) float32, row 0 the left ear
    sample_rate_hz: int
    mel_EMF: np.ndarray  # natural log, what stage 1 predicted

    def save(self, path: str | Path, *, video: str | Path | None = None) -> Path:
        """Write a sound file, or with an .mp4 name the pictures of ``video`` with this sound."""
        if Path(path).suffix.lower() == ".mp4":
            from binaural_core.data.movies import with_sound

            need(
                video is not None,
                f"{path} is a video but no pictures were named",
                why="an mp4 holds pictures and sound",
                fix="give video=..., or a name that ends in .wav",
            )
            return with_sound(video, self.wave_EN, self.sample_rate_hz, path)
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
    ):
        need(
            data.window_frames % max(data.frames_per_window, 1) == 0,
            f"window_frames={data.window_frames} is no multiple of frames_per_window={data.frames_per_window}",
            why="windows overlap by the time between two pictures",
            fix="change one of them in the config the weights were trained with",
        )
        self.device = torch.device(device)
        self.stage1 = stage1.to(self.device).eval()
        self.mel, self.data, self.vocoders, self.default_stage2 = mel, data, vocoders, default_stage2

    @classmethod
    def from_pretrained(cls, path_or_name: str | Path | None = None, *, device: str = "cpu") -> Binauralizer:
        """Load a folder that holds ``stage1/`` (config.yaml, unet_best.pth, frame_best.pth) and perhaps ``stage2/``.

        ``stage2/`` holds config.json and g_best. Without a path: the networks that `make demo` trained.
        Raises InputError when files are missing or do not belong together.
        """
        folder = Path(path_or_name) if path_or_name else outputs() / "demo" / "checkpoints"
        stage1 = folder / "stage1" if (folder / "stage1").is_dir() else folder
        need(
            (stage1 / "unet_best.pth").is_file(),
            f"{stage1} holds no trained stage 1",
            why="weights do not ship with the repository yet; unet_best.pth, frame_best.pth and config.yaml are needed",
            fix="run `make demo` once (it trains small networks in minutes), or name the folder of a training",
        )
        config = StoredConfig.read(stage1 / "config.yaml")
        model = DiffBinaural(config.model)
        checkpoint.load_into(model.unet, checkpoint.load(stage1 / "unet_best.pth"), name="unet_best.pth")
        checkpoint.load_into(model.frame, checkpoint.load(stage1 / "frame_best.pth"), name="frame_best.pth")
        vocoders: dict[str, Vocoder] = {"mono_phase": MonoPhase(config.mel)}
        stage2 = folder / "stage2"
        if (stage2 / "g_best").is_file():
            vocoder_config = BigVGANConfig.from_json(stage2 / "config.json")
            need(
                vocoder_config.mel == config.mel,
                f"the vocoder in {stage2} was trained on other mels than stage 1",
                why=f"{vocoder_config.mel} is not {config.mel}",
                fix="train both stages with one mel config",
            )
            generator = BigVGAN.from_checkpoint(stage2 / "g_best", vocoder_config)
            generator.remove_weight_norm()
            vocoders["bigvgan"] = PerEar(generator.to(device), config.mel)
        return cls(model, config.mel, config.data, vocoders, device=device)

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
        frames : a folder of pictures or (L, H, W, 3) uint8; video : a file. Pictures spread evenly over the sound.
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
        duration_s = len(mono_N) / self.mel.sample_rate_hz
        eyes = open_eyes(
            self.data,
            duration_s,
            frames=frames,
            video=video,
            positions=positions,
            image_positions=image_positions,
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
        seed: int = 0,
        steps: int | None = None,
        stage2: str | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> Path:
        """Binaural sound of a file into a file, at constant memory however long it is.

        out : .wav is written as it is made; other sound formats and .mp4 (with ``video``) are made from that.
        on_progress : called with the seconds done. Other arguments as in `binauralize`.
        """
        out, rate = Path(out), self.mel.sample_rate_hz
        from binaural_core.audio import audio_info

        eyes = open_eyes(
            self.data,
            audio_info(audio).duration_s,
            frames=frames,
            video=video,
            positions=positions,
            image_positions=image_positions,
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
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with AudioWriter(wav, rate, channels=2) as writer:
                blocks = stream_audio(audio, sample_rate_hz=rate, block_samples=SPAN_FRAMES * self.mel.hop_samples)
                done = 0
                for span in self.spans(blocks, eyes, seed=seed, steps=steps, stage2=stage2):
                    writer.write(span.wave_EN)
                    done += span.wave_EN.shape[1]
                    if on_progress:
                        on_progress(done / rate)
            if suffix == ".mp4":
                from binaural_core.data.movies import with_sound_file

                with_sound_file(video if video is not None else frames, wav, out)
            elif suffix != ".wav":
                write_audio(out, read_audio(wav).wave_CN, rate)
        finally:
            if wav != out:
                wav.unlink(missing_ok=True)
        return out

    def spans(
        self,
        blocks: Iterator[np.ndarray],
        eyes: Eyes,
        *,
        seed: int = 0,
        steps: int | None = None,
        stage2: str | None = None,
    ) -> Iterator[Binaural]:
        """Binaural sound span by span. ``blocks``: (C, n) at the mel's rate, one after the other."""
        mode = stage2 or self.default_stage2
        need(
            mode in self.vocoders,
            f"there is no stage 2 named {mode!r} here",
            why=f"these weights offer {', '.join(sorted(self.vocoders))}",
            fix="choose one of them, or train stage 2",
        )
        vocoder, mono = self.vocoders[mode], RollingMono(blocks)
        passage = Passage(self, mono, eyes, seed, steps)
        ahead = vocoder.context_frames + self.data.window_frames + EDGE_FRAMES
        start = 0
        while True:
            samples = mono.fill_to((start + SPAN_FRAMES + ahead) * self.mel.hop_samples)
            stop = min(start + SPAN_FRAMES, -(-samples // self.mel.hop_samples))
            if stop <= start:
                return
            yield passage.make(start, stop, vocoder)
            start = stop


class RollingMono:
    """The part of a sound that is still needed: filled from the front, forgotten behind."""

    def __init__(self, blocks: Iterator[np.ndarray]):
        self.blocks, self.first, self.kept_N = blocks, 0, np.zeros(0, np.float32)

    def fill_to(self, sample: int) -> int:
        """Hold sound up to ``sample``; returns where it ends if that is earlier, else ``sample`` or later."""
        pieces = [self.kept_N]
        have = self.first + len(self.kept_N)
        while have < sample and (block_CN := next(self.blocks, None)) is not None:
            pieces.append(block_CN.mean(axis=0, dtype=np.float32))
            have += len(pieces[-1])
        self.kept_N = np.concatenate(pieces)
        return have

    def read(self, start: int, stop: int) -> Tensor:
        """Samples start … stop - 1, zero before the beginning and after the end."""
        low, high = start - self.first, stop - self.first
        assert low >= 0 or self.first == 0, "that part was forgotten"
        inside_N = self.kept_N[max(low, 0) : max(high, 0)]
        return torch.from_numpy(np.pad(inside_N, (max(-low, 0), stop - start - max(-low, 0) - len(inside_N))))

    def forget_before(self, sample: int) -> None:
        drop = max(0, min(sample - self.first, len(self.kept_N)))
        self.first += drop
        self.kept_N = self.kept_N[drop:]


class Passage:
    """One recording on its way through both stages; remembers the windows that the next span shares."""

    def __init__(self, owner: Binauralizer, mono: RollingMono, eyes: Eyes, seed: int, steps: int | None):
        self.owner, self.mono, self.eyes, self.seed, self.steps = owner, mono, eyes, seed, steps
        self.window = owner.data.window_frames
        self.pictures_per_window = max(owner.data.frames_per_window, 1)
        self.overlap = self.window // self.pictures_per_window  # frames between two pictures
        self.hop = self.window - self.overlap if self.window > self.overlap else self.window
        self.windows: dict[int, Tensor] = {}  # number of the window -> (2, M, W) in unit scale
        ramp_W = torch.ones(self.window)
        slope = (torch.arange(self.overlap) + 0.5) / self.overlap
        ramp_W[: self.overlap] *= slope
        ramp_W[-self.overlap :] *= slope.flip(0)
        self.ramp_W = ramp_W

    @torch.no_grad()
    def make(self, start: int, stop: int, vocoder: Vocoder) -> Binaural:
        """Frames start … stop - 1."""
        hop, context = self.owner.mel.hop_samples, vocoder.context_frames
        low, high = max(0, start - context), stop + context
        mel_EMF = from_unit(self.mel(low, high))
        mono_N = self.mono.read(low * hop, high * hop).to(self.owner.device)
        wave_EN = vocoder(mel_EMF, mono_N, self.places(low, high))
        end = min(stop * hop, self.mono.first + len(self.mono.kept_N))
        keep = slice((start - low) * hop, end - low * hop)
        piece = Binaural(
            wave_EN[:, keep].float().cpu().numpy(),
            self.owner.mel.sample_rate_hz,
            mel_EMF[:, :, start - low : stop - low].float().cpu().numpy(),
        )
        oldest = max(0, (stop - context - self.window) // self.hop)
        self.windows = {k: v for k, v in self.windows.items() if k >= oldest}
        self.mono.forget_before((oldest * self.hop - EDGE_FRAMES) * hop)
        return piece

    def mel(self, low: int, high: int) -> Tensor:
        """Cross-faded predictions for frames low … high - 1, (2, M, F) in unit scale."""
        numbers = [k for k in range(high // self.hop + 1) if k * self.hop < high and k * self.hop + self.window > low]
        missing = [k for k in numbers if k not in self.windows]
        for i in range(0, len(missing), WINDOWS_AT_ONCE):
            self._predict(missing[i : i + WINDOWS_AT_ONCE])
        shape = self.windows[numbers[0]].shape
        sum_EMF = torch.zeros(shape[0], shape[1], high - low, device=self.owner.device)
        weight_F = torch.zeros(high - low, device=self.owner.device)
        ramp_W = self.ramp_W.to(self.owner.device)
        for k in numbers:
            first = k * self.hop
            inside = slice(max(first, low) - first, min(first + self.window, high) - first)
            there = slice(max(first, low) - low, min(first + self.window, high) - low)
            sum_EMF[:, :, there] += self.windows[k][:, :, inside] * ramp_W[inside]
            weight_F[there] += ramp_W[inside]
        return sum_EMF / weight_F

    def _predict(self, numbers: list[int]) -> None:
        """Stage 1 on windows of these numbers, in one batch."""
        owner, hop = self.owner, self.owner.mel.hop_samples
        mono_BN = torch.stack(
            [
                self.mono.read((k * self.hop - EDGE_FRAMES) * hop, (k * self.hop + self.window + EDGE_FRAMES) * hop)
                for k in numbers
            ]
        )
        mono_BMF = log_mel(mono_BN.to(owner.device), owner.mel)[:, :, EDGE_FRAMES : EDGE_FRAMES + self.window]
        noise_BEMF = torch.stack([self._noise(k, mono_BMF.shape[1]) for k in numbers]).to(owner.device)
        sights = [self.eyes.sight(self._picture_times(k * self.hop, self.pictures_per_window)) for k in numbers]
        seen = [
            torch.from_numpy(np.stack([getattr(s, name) for s in sights])).to(owner.device)
            for name in ("crops_LOCHW", "image_positions_LO2", "positions_LO3", "mask_LO")
        ]
        mel_BEMF = owner.stage1.sample(to_unit(mono_BMF)[:, None], seen, noise_BEMF=noise_BEMF, steps=self.steps)
        self.windows.update(zip(numbers, mel_BEMF.float(), strict=True))

    def _noise(self, window: int, bands: int) -> Tensor:
        """Keyed by stretches of `overlap` frames, so that windows share the noise of the frames they share."""
        first = window * self.hop // self.overlap
        return torch.cat(
            [
                torch.randn(2, bands, self.overlap, generator=stream(self.seed, "noise", block))
                for block in range(first, first + self.pictures_per_window)
            ],
            dim=2,
        )

    def _picture_times(self, first_frame: int, count: int) -> list[float]:
        seconds = self.owner.mel.hop_samples / self.owner.mel.sample_rate_hz
        return [(first_frame + (i + 0.5) * self.overlap) * seconds for i in range(count)]

    def places(self, low: int, high: int) -> Places:
        """Where the sources are at every frame: interpolated between the pictures that show them."""
        first = low // self.overlap * self.overlap
        times = self._picture_times(first, -(-(high - first) // self.overlap))
        sight = self.eyes.sight(times)
        seconds = self.owner.mel.hop_samples / self.owner.mel.sample_rate_hz
        return interpolated(np.array(times), (np.arange(low, high) + 0.5) * seconds, sight.positions_LO3, sight.mask_LO)


def interpolated(times_L: np.ndarray, at_F: np.ndarray, positions_LO3: np.ndarray, mask_LO: np.ndarray) -> Places:
    """Positions at other times: linear between the pictures that show an object, held beyond the first and the last.

    An object counts as there at a time when the nearest picture shows it. Azimuths turn the short way round.
    """
    objects = positions_LO3.shape[1]
    places_FO3 = np.full((len(at_F), objects, 3), np.nan, np.float32)
    nearest_F = np.abs(times_L[None] - at_F[:, None]).argmin(axis=1)
    for o in range(objects):
        shown_L = ~mask_LO[:, o] & np.isfinite(positions_LO3[:, o, 0])
        if not shown_L.any():
            continue
        azimuth_L = np.rad2deg(np.unwrap(np.deg2rad(positions_LO3[shown_L, o, 0].astype(np.float64))))
        places_FO3[:, o, 0] = np.interp(at_F, times_L[shown_L], azimuth_L)
        for c in (1, 2):
            places_FO3[:, o, c] = np.interp(at_F, times_L[shown_L], positions_LO3[shown_L, o, c])
    return Places(places_FO3, mask_LO[nearest_F])


@dataclass(frozen=True, kw_only=True)
class StoredConfig(Config):
    """What inference needs of a training's ``config.yaml``; its other settings are passed over."""

    model: DiffBinauralConfig
    mel: MelConfig
    data: DataConfig

    @classmethod
    def read(cls, path: Path) -> StoredConfig:
        import yaml

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
