"""A shoebox room: early reflections by image sources, and a late tail of decaying noise.

The walls absorb evenly, so that the reverberation time follows from their absorption (Eyring). Reflections of first
and second order are mirror images of the source behind the walls (Allen & Berkley 1979), each heard through its own
response. What comes later is diffuse: Gaussian noise that decays by octave bands, as loud as statistical room acoustics
says, with the colour and the interaural coherence that the head itself has in a diffuse field.

Conventions: the head looks along the room's x axis, y is left, z is up; `head_m` is its place from the corner
(0, 0, 0): back, right, floor. Delays count from the arrival of the direct sound.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import fft

from binaural_core.config import Config
from binaural_core.errors import need
from binaural_core.scene.head import Head
from binaural_core.seeds import numpy_stream

SPEED_OF_SOUND_M_S = 343.0
ORDER = 2
OCTAVES_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
DECAY_BY_OCTAVE = (1.1, 1.05, 1.0, 1.0, 0.95, 0.88, 0.78)
"""Reverberation time of each octave relative to `rt60_s`: furniture and air swallow the high ones first."""
WALL_MARGIN_M = 0.1


@dataclass(frozen=True, kw_only=True)
class Room(Config):
    """A shoebox with even walls and a head in it."""

    size_m: tuple[float, float, float] = (6.0, 5.0, 2.8)
    rt60_s: float = 0.4
    """Time in which the tail falls by 60 dB, at 500-1,000 Hz."""
    head_m: tuple[float, float, float] | None = None
    """None: towards the back, a little right of the middle, at 1.5 m or half the height."""

    def validate(self) -> None:
        need(
            min(self.size_m) >= 1.5 and max(self.size_m) <= 100,
            f"the room measures {self.size_m} m",
            why="rooms of 1.5 to 100 m a side are rendered",
            fix="give length, width and height in metres",
        )
        shortest_s = 0.161 * self.volume_m3 / (self.surface_m2 * -np.log(1 - 0.95))
        need(
            shortest_s <= self.rt60_s <= 10,
            f"rt60_s={self.rt60_s:g} does not fit a room of {self.size_m} m",
            why=f"even walls that swallow 95 % leave {shortest_s:.2f} s",
            fix=f"set rt60_s between {shortest_s:.2f} and 10, or render the scene in the open (room=None)",
        )
        self.need_inside(np.zeros((1, 3)), "the head")

    @property
    def place_m(self) -> np.ndarray:
        """Where the head is (3,), from the corner."""
        if self.head_m is not None:
            return np.array(self.head_m)
        length, width, height = self.size_m
        return np.array([0.3 * length, 0.46 * width, min(1.5, height / 2)])

    @property
    def volume_m3(self) -> float:
        return float(np.prod(self.size_m))

    @property
    def surface_m2(self) -> float:
        length, width, height = self.size_m
        return 2 * (length * width + width * height + height * length)

    @property
    def absorption(self) -> float:
        """Share of the energy that a wall swallows, from rt60 = 0.161 V / (-S ln(1 - a)) (Eyring 1930)."""
        return float(1 - np.exp(-0.161 * self.volume_m3 / (self.surface_m2 * self.rt60_s)))

    @property
    def early_s(self) -> float:
        """When the late tail takes over: the room's mean free path, ORDER + 1 times (Kosten 1960: 4 V / S)."""
        return (ORDER + 1) * 4 * self.volume_m3 / self.surface_m2 / SPEED_OF_SOUND_M_S

    def need_inside(self, points_L3: np.ndarray, name: str) -> None:
        """Raise InputError when a point, in metres from the head, is not in the room."""
        place_L3 = self.place_m + points_L3
        outside = (place_L3 < WALL_MARGIN_M) | (place_L3 > np.array(self.size_m) - WALL_MARGIN_M)
        need(
            not outside.any(),
            f"{name} is at {place_L3[outside.any(axis=1)][:1].round(2).tolist()} m in a room of {self.size_m} m",
            why=f"it must stay {WALL_MARGIN_M} m inside the walls",
            fix="bring it nearer, move the head (head_m), or make the room larger",
        )

    def images(self, points_S3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mirror images of sources up to `ORDER`: points (I, S, 3) in metres from the head, and gains (I,).

        The first image is the source itself. Source: Allen & Berkley 1979, eq. 10, with equal walls.
        """
        size, place = np.array(self.size_m), self.place_m
        orders_I = np.array(_orders())
        flips_I3, shifts_I3 = (orders_I % 2)[:, None], (orders_I + orders_I % 2)[:, None]
        inside_S3 = place + points_S3
        images_IS3 = np.where(flips_I3 == 1, -inside_S3, inside_S3) + shifts_I3 * size - place
        reflection = np.sqrt(1 - self.absorption)
        return images_IS3, reflection ** np.abs(orders_I).sum(axis=1)

    def tail(self, head: Head, seed: int, *, omni: bool = False) -> np.ndarray:
        """Late tail (E, T), or (3, T) with an omnidirectional microphone as last row, for a source of 0 dB at 1 m.

        Energy: a diffuse field is as loud as the direct sound at the critical distance, r_c = 0.057 sqrt(V / rt60)
        (Kuttruff, Room Acoustics, ch. 5), and has decayed by the time the tail sets in, with a smooth onset.
        """
        rate_hz = head.sample_rate_hz
        count = round(1.1 * self.rt60_s * rate_hz)
        n_fft = fft.next_fast_len(count, real=True)
        noise_2K = fft.rfft(numpy_stream(seed, "room tail").standard_normal((2, n_fft), np.float32))
        time_s = np.arange(n_fft) / rate_hz
        decayed_2N = np.zeros((2, n_fft), np.float32)
        for band_K, share in zip(octave_bands(fft.rfftfreq(n_fft, 1 / rate_hz)), DECAY_BY_OCTAVE, strict=True):
            decay_N = np.exp(-3 * np.log(10) * time_s / (self.rt60_s * share))  # -60 dB at rt60
            decayed_2N += fft.irfft(noise_2K * band_K, n_fft) * decay_N.astype(np.float32)
        decayed_2N[:, time_s < self.early_s] *= np.sin(0.5 * np.pi * time_s[time_s < self.early_s] / self.early_s) ** 2
        power_per_sample = 6 * np.log(10) / (self.rt60_s * rate_hz)  # makes the decay's energy 1
        critical_m = 0.057 * np.sqrt(self.volume_m3 / self.rt60_s)
        decayed_2N[:, count:] = 0
        one_K, two_K = fft.rfft(decayed_2N * (np.sqrt(power_per_sample) / critical_m))
        (left_K, right_K), coherence_K = head.diffuse_field(n_fft)
        other_K = coherence_K.conj() * one_K + np.sqrt(np.maximum(0, 1 - np.abs(coherence_K) ** 2)) * two_K
        rows = [left_K * one_K, right_K * other_K]
        if omni:
            rows.append(head.diffuse_gain * (one_K + other_K) / np.sqrt(np.maximum(0.1, 2 + 2 * coherence_K.real)))
        return fft.irfft(np.stack(rows), n_fft)[:, :count].astype(np.float32)


def octave_bands(frequency_hz: np.ndarray) -> list[np.ndarray]:
    """Gains of seven octave bands over frequencies; they sum to 1, and the outer two are open-ended."""
    octave = np.log2(np.maximum(frequency_hz, 1.0) / OCTAVES_HZ[0]).clip(0, len(OCTAVES_HZ) - 1)
    distances = [np.abs(octave - band).clip(0, 1) for band in range(len(OCTAVES_HZ))]
    return [np.cos(0.5 * np.pi * distance).astype(np.float32) ** 2 for distance in distances]


def _orders() -> list[tuple[int, int, int]]:
    """Signed numbers of reflections along x, y, z, the source itself first."""
    walls = range(-ORDER, ORDER + 1)
    orders = [order for order in product(walls, walls, walls) if sum(map(abs, order)) <= ORDER]
    return sorted(orders, key=lambda order: sum(map(abs, order)))
