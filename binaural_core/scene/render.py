"""The sound of a scene: every source through the head's responses for the places it passes.

A still source is filtered once. A moving one is cut into Hann windows that overlap by half and add up to 1; each goes
through the filter of its own middle, so that one filter fades into the next and nothing clicks. Reflections use the
nearest measured response; the direct sound an interpolated one.

Levels: both ears and the mono recording get one gain, 0 dB unless something would come above `PEAK`; the result says
how much.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import fft

from binaural_core import places
from binaural_core.audio.io import read_audio, resample
from binaural_core.errors import need
from binaural_core.scene.casting import DrySound, SceneConfig, find_dry_sounds, random_scene
from binaural_core.scene.geometry import directions
from binaural_core.scene.head import Head
from binaural_core.scene.plan import Keyframe, Scene, Source
from binaural_core.scene.room import SPEED_OF_SOUND_M_S, Room

__all__ = [
    "DrySound",
    "Keyframe",
    "RenderedSound",
    "Room",
    "Scene",
    "SceneConfig",
    "Source",
    "find_dry_sounds",
    "random_scene",
    "render_sound",
]

PEAK = 0.95
HOP_SAMPLES = 512
FADE_S = 0.005
"""Fade where a recording is entered or left in its middle."""
BLOCK = 64
"""Windows filtered at once: what fits the processor's cache."""


@dataclass(frozen=True)
class RenderedSound:
    """What the microphones of a scene recorded."""

    mono_N: np.ndarray  # float32
    binaural_EN: np.ndarray  # float32, row 0 = left
    sample_rate_hz: int
    gain_db: float  # already applied to all of them, 0 or less


def render_sound(scene: Scene, head: Head, sounds: Mapping[str, np.ndarray] | None = None) -> RenderedSound:
    """Render a scene at the head's sample rate; the same scene and head give the same samples.

    sounds : recordings (N,) by name, at the head's rate, for sources whose `sound` is no file.
    Raises InputError when a source's sound is neither there nor a readable file.
    """
    rate_hz, count = head.sample_rate_hz, round(scene.duration_s * head.sample_rate_hz)
    rows = 3 if scene.mono == "omni" else 2
    dry_ON = [_on_the_timeline(source, count, rate_hz, sounds or {}) for source in scene.sources]
    heard_CN = np.zeros((rows, count), np.float32)
    fixed = []  # pairs of a dry sound and one filter for all of it
    for source, dry_N in zip(scene.sources, dry_ON, strict=True):
        if source.moves:
            heard_CN += _moving(dry_N, source, scene, head, rows)
        else:
            fixed.append((dry_N, source_filters(scene.points(source, [0.0]), head, scene.room, rows)[0]))
    if scene.room is not None:
        fixed.append((np.sum(dry_ON, axis=0), scene.room.tail(head, scene.seed, omni=rows == 3)))
    heard_CN += _convolved(fixed, rows, count)
    binaural_EN = heard_CN[:2]
    mono_N = heard_CN[2] if rows == 3 else binaural_EN.mean(axis=0)
    gain = min(1.0, PEAK / max(float(np.abs(heard_CN).max()), 1e-9))
    return RenderedSound(
        mono_N=(mono_N * np.float32(gain)),
        binaural_EN=binaural_EN * np.float32(gain),
        sample_rate_hz=rate_hz,
        gain_db=float(20 * np.log10(gain)),
    )


def source_filters(points_S3: np.ndarray, head: Head, room: Room | None, rows: int = 2) -> np.ndarray:
    """Filters (S, C, P) for a source at points (S, 3), metres from the head: direct sound and early reflections.

    C = 2 ears, or 3 with an omnidirectional microphone, which hears each path as one sample.
    """
    azimuth_deg, elevation_deg, distance_m = directions(points_S3)
    direct_SEN = head.filters(azimuth_deg, elevation_deg) / distance_m[:, None, None].astype(np.float32)
    if room is None:
        delay_IS, gain_IS = np.zeros((1, len(points_S3)), np.int64), 1 / distance_m[None]
        nearest_IS = None
    else:
        images_IS3, reflection_I = room.images(points_S3)
        path_IS = np.linalg.norm(images_IS3, axis=-1)
        delay_IS = np.rint((path_IS - path_IS[0]) / SPEED_OF_SOUND_M_S * head.sample_rate_hz).astype(np.int64)
        gain_IS = reflection_I[:, None] / path_IS
        nearest_IS = head.nearest((images_IS3 / path_IS[..., None]).reshape(-1, 3)).reshape(path_IS.shape)
    filter_SCP = np.zeros((len(points_S3), rows, head.taps + int(delay_IS.max())), np.float32)
    filter_SCP[:, :2, : head.taps] = direct_SEN
    for reflection in range(1, len(delay_IS)):
        reflected_SEN = (
            gain_IS[reflection, :, None, None].astype(np.float32) * head.response_DEN[nearest_IS[reflection]]
        )
        for ears_EP, delay, reflected_EN in zip(filter_SCP[:, :2], delay_IS[reflection], reflected_SEN, strict=True):
            ears_EP[:, delay : delay + reflected_EN.shape[-1]] += reflected_EN
    if rows == 3:
        step_S = np.arange(len(points_S3))
        for delay_S, gain_S in zip(delay_IS, gain_IS, strict=True):
            filter_SCP[step_S, 2, head.latency_samples + delay_S] += (head.diffuse_gain * gain_S).astype(np.float32)
    return filter_SCP


def _moving(dry_N: np.ndarray, source: Source, scene: Scene, head: Head, rows: int) -> np.ndarray:
    """A moving source (C, N), filtered window by window."""
    hop, windows = HOP_SAMPLES, -(-len(dry_N) // HOP_SAMPLES) + 1
    padded_N = np.zeros((windows + 1) * hop, np.float32)
    padded_N[hop : hop + len(dry_N)] = dry_N
    hann_N = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    cut_SN = np.lib.stride_tricks.sliding_window_view(padded_N, 2 * hop)[::hop] * hann_N
    points_S3 = scene.points(source, np.arange(windows) * hop / head.sample_rate_hz)
    out_CSH = np.zeros((rows, 0, hop), np.float32)
    for first in range(0, windows, BLOCK):
        part = slice(first, first + BLOCK)
        filter_SCP = source_filters(points_S3[part], head, scene.room, rows)
        n_fft = fft.next_fast_len(2 * hop + filter_SCP.shape[-1] - 1, real=True)
        heard_SCK = fft.rfft(cut_SN[part], n_fft)[:, None] * fft.rfft(filter_SCP, n_fft)
        heard_SCN = fft.irfft(heard_SCK, n_fft)
        hops = -(-n_fft // hop)
        heard_SCN = np.pad(heard_SCN, ((0, 0), (0, 0), (0, hops * hop - n_fft)))
        heard_CSXH = heard_SCN.reshape(-1, rows, hops, hop).transpose(1, 0, 2, 3)
        short = first + heard_CSXH.shape[1] + hops - out_CSH.shape[1]
        out_CSH = np.concatenate([out_CSH, np.zeros((rows, max(short, 0), hop), np.float32)], axis=1)
        for later in range(hops):
            out_CSH[:, first + later : first + later + heard_CSXH.shape[1]] += heard_CSXH[:, :, later]
    return out_CSH.reshape(rows, -1)[:, hop : hop + len(dry_N)]


def _convolved(pairs: list[tuple[np.ndarray, np.ndarray]], rows: int, count: int) -> np.ndarray:
    """The sum (C, count) of sounds (N,) through filters (C, P)."""
    if not pairs:
        return np.zeros((rows, count), np.float32)
    n_fft = fft.next_fast_len(count + max(filter_CP.shape[-1] for _, filter_CP in pairs) - 1, real=True)
    heard_CK = sum(fft.rfft(dry_N, n_fft) * fft.rfft(filter_CP, n_fft) for dry_N, filter_CP in pairs)
    return fft.irfft(heard_CK, n_fft)[:, :count]


def _on_the_timeline(source: Source, count: int, rate_hz: int, sounds: Mapping[str, np.ndarray]) -> np.ndarray:
    """The source's recording (count,), its gain applied, silence before and after it."""
    start, begin = round(source.start_s * rate_hz), round(source.from_s * rate_hz)
    room = max(0, count - start)
    if source.sound in sounds:
        whole_N = np.asarray(sounds[source.sound], np.float32)
        need(
            whole_N.ndim == 1 and bool(np.isfinite(whole_N).all()),
            f"the wave given for {source.sound} has shape {whole_N.shape}, or NaN in it",
            why="a source is one channel of finite samples",
            fix="give one channel (N,) at the head's sample rate",
        )
        part_N = whole_N[begin : begin + round(room * source.speed)]
    elif room > 0:
        path = sound_path(source.sound)
        length_s = room / rate_hz * source.speed
        part_N = read_audio(path, sample_rate_hz=rate_hz, channels=1, start_s=source.from_s, duration_s=length_s).mono_N
    else:
        part_N = np.zeros(0, np.float32)
    if source.speed != 1:
        part_N = resample(part_N, round(rate_hz * source.speed), rate_hz)
    part_N = part_N[:room]
    line_N = np.zeros(count, np.float32)
    line_N[start : start + len(part_N)] = part_N * np.float32(10 ** (source.gain_db / 20))
    if begin > 0:
        fade = min(len(part_N), round(FADE_S * rate_hz))
        line_N[start : start + fade] *= (0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))).astype(np.float32)
    return line_N


def sound_path(sound: str) -> Path:
    """The file of a source's sound: as it is, else below data_samples. Raises InputError when it is in neither."""
    path = Path(sound)
    if not path.is_absolute() and not path.is_file():
        path = places.data_samples() / sound
    need(
        path.is_file(),
        f"the sound {sound} is not there",
        why="it is neither a file nor among the sounds given",
        fix="check the path, or pass it in sounds={name: wave}",
    )
    return path
