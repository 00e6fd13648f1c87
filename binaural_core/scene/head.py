"""A head: what both ears hear of a sound from any direction (head-related impulse responses).

Between measured directions the responses are interpolated time-aligned: each measured response is split into its
onset delay and the rest, both are weighted over the three surrounding directions (`sphere`), and the delay is put back
as a fraction of a sample. Mixing the raw responses instead would comb-filter, as their onsets differ. At a measured
direction the result is the measured response.

Conventions: row 0 = left; azimuth positive left; ITD and ILD positive = left.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gcd
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft

from binaural_core import places
from binaural_core.audio import interaural
from binaural_core.errors import need
from binaural_core.scene.geometry import unit_vectors
from binaural_core.scene.sofa_file import Measured, read_hrir
from binaural_core.scene.sphere import SphereNet

KEMAR_FILE = "hrtf/mit_kemar.sofa"
RINGING_SAMPLES = 16
"""Room before and after a resampled or delayed response; 16 samples leave 0.004 dB (RMS over KEMAR) to what is cut."""


@dataclass(frozen=True, eq=False)
class Head:
    """Impulse responses of both ears for D measured directions, and for all between them."""

    directions_D2: np.ndarray  # azimuth in [-180, 180) and elevation, degrees
    response_DEN: np.ndarray  # float32
    sample_rate_hz: int
    name: str

    @classmethod
    def from_sofa(cls, path: str | Path, sample_rate_hz: int | None = 22_050) -> Self:
        """Read any SimpleFreeFieldHRIR file and bring it to ``sample_rate_hz`` (None: leave its own rate).

        Raises InputError naming the file when it is no such file (see `sofa_file.read_hrir`).
        """
        path = Path(path)
        changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
        return _read(cls, path, changed_ns, sample_rate_hz)

    @classmethod
    def kemar(cls, sample_rate_hz: int | None = 22_050) -> Self:
        """The shipped head: MIT KEMAR (Gardner & Martin 1994), 710 directions."""
        return cls.from_sofa(places.data_samples() / KEMAR_FILE, sample_rate_hz)

    def filters(self, azimuth_deg: ArrayLike, elevation_deg: ArrayLike = 0.0) -> np.ndarray:
        """Impulse responses for directions: (E, taps) for one, (..., E, taps) for arrays; float32."""
        vectors = unit_vectors(azimuth_deg, elevation_deg)
        need(
            bool(np.isfinite(vectors).all()),
            "a direction is NaN",
            why="nothing can come from there",
            fix="give azimuth and elevation in degrees",
        )
        index_S3, weight_S3 = self._net.weights(vectors.reshape(-1, 3))
        delay_SE = np.einsum("sv,sve->se", weight_S3, self.delay_DE[index_S3])
        spectrum_SEK = np.einsum("sv,svek->sek", weight_S3.astype(np.float32), self._aligned_DEK[index_S3])
        spectrum_SEK *= _delays(delay_SE, self._n_fft)
        response_SEN = fft.irfft(spectrum_SEK, self._n_fft)[..., : self.taps]
        return np.ascontiguousarray(response_SEN.reshape(*vectors.shape[:-1], 2, self.taps))

    def nearest(self, vectors_S3: np.ndarray) -> np.ndarray:
        """Indices (S,) of the measured directions nearest to unit vectors."""
        return self._net.nearest(vectors_S3)

    def itd_us(self, azimuth_deg: float, elevation_deg: float = 0.0) -> float:
        """Interaural time difference of a direction's filters, in microseconds (`audio.interaural.itd_us`)."""
        middle = round(interaural.FRAME_S * self.sample_rate_hz / 2)  # of the measuring window, where it is flat
        filter_EN = self.filters(azimuth_deg, elevation_deg)
        return interaural.itd_us(
            np.pad(filter_EN, ((0, 0), (middle - self.latency_samples, middle))), self.sample_rate_hz
        )

    def ild_db(self, azimuth_deg: float, elevation_deg: float = 0.0) -> float:
        """Level difference of a direction's filters over the whole band, in dB."""
        return interaural.ild_db(self.filters(azimuth_deg, elevation_deg), self.sample_rate_hz)

    @property
    def taps(self) -> int:
        return self.response_DEN.shape[-1]

    @cached_property
    def delay_DE(self) -> np.ndarray:
        """Onset of each measured response in samples: where it fits its own minimum-phase version best.

        Source: Nam, Abel & Smith 2008, "A method for estimating interaural time difference for binaural synthesis".
        """
        n_fft = fft.next_fast_len(4 * self.taps)
        spectrum = fft.rfft(self.response_DEN, n_fft)
        fit = fft.irfft(spectrum * minimum_phase(np.abs(spectrum), n_fft).conj(), n_fft)[..., : self.taps]
        peak = np.clip(fit.argmax(axis=-1), 1, self.taps - 2)[..., None]
        before, at, after = (np.take_along_axis(fit, peak + step, axis=-1)[..., 0].astype(float) for step in (-1, 0, 1))
        bend = before - 2 * at + after
        return peak[..., 0] + np.clip(np.where(bend < 0, 0.5 * (before - after) / np.minimum(bend, -1e-12), 0.0), -1, 1)

    @cached_property
    def latency_samples(self) -> int:
        """The delay that all responses share: the mean onset over both ears and all directions."""
        return round(float(self._net.areas() @ self.delay_DE.mean(axis=1)))

    def diffuse_field(self, n_fft: int) -> tuple[np.ndarray, np.ndarray]:
        """What the ears hear of sound from everywhere: magnitudes (E, K), and their coherence (K,), complex.

        K = n_fft // 2 + 1. Sums over measured directions, weighted by the share of the sphere each stands for.
        """
        own_fft = fft.next_fast_len(self.taps, real=True)
        left_DK, right_DK = np.moveaxis(fft.rfft(self.response_DEN, own_fft), 1, 0)
        share_D = self._net.areas().astype(np.float32)
        power_EK = np.stack([share_D @ np.abs(left_DK) ** 2, share_D @ np.abs(right_DK) ** 2])
        coherence_K = (share_D @ (left_DK * right_DK.conj())) / np.sqrt(power_EK.prod(axis=0))
        coarse, fine = np.linspace(0, 1, power_EK.shape[1]), np.linspace(0, 1, n_fft // 2 + 1)
        magnitude_EK = np.stack([np.interp(fine, coarse, np.sqrt(power_K)) for power_K in power_EK])
        return magnitude_EK, np.interp(fine, coarse, coherence_K.real) + 1j * np.interp(fine, coarse, coherence_K.imag)

    @cached_property
    def diffuse_gain(self) -> float:
        """RMS gain of the ears for white noise from everywhere."""
        return float(np.sqrt(self._net.areas() @ (self.response_DEN.astype(float) ** 2).sum(axis=2).mean(axis=1)))

    @cached_property
    def _net(self) -> SphereNet:
        return SphereNet(unit_vectors(self.directions_D2[:, 0], self.directions_D2[:, 1]))

    @property
    def _n_fft(self) -> int:
        return fft.next_fast_len(2 * self.taps, real=True)

    @cached_property
    def _aligned_DEK(self) -> np.ndarray:
        return fft.rfft(self.response_DEN, self._n_fft) * _delays(-self.delay_DE, self._n_fft)


def minimum_phase(magnitude_K: np.ndarray, n_fft: int) -> np.ndarray:
    """The minimum-phase spectrum of a magnitude (..., K), through the folded cepstrum (Oppenheim & Schafer, ch. 12)."""
    floor = 1e-5 * magnitude_K.max(axis=-1, keepdims=True)
    cepstrum = fft.irfft(np.log(np.maximum(magnitude_K, floor)), n_fft)
    cepstrum[..., 1 : (n_fft + 1) // 2] *= 2
    cepstrum[..., n_fft // 2 + 1 :] = 0
    return np.exp(fft.rfft(cepstrum, n_fft))


def _delays(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Spectra (..., K) that delay by a number of samples, whole or not."""
    phase = (samples[..., None] * (2 * np.pi * np.arange(n_fft // 2 + 1) / n_fft)).astype(np.float32)
    spectrum = np.empty(phase.shape, np.complex64)
    spectrum.real, spectrum.imag = np.cos(phase), -np.sin(phase)
    return spectrum


@lru_cache(maxsize=8)
def _read(cls: type[Head], path: Path, changed_ns: int, sample_rate_hz: int | None) -> Head:
    measured = read_hrir(path)
    own_hz = round(measured.sample_rate_hz)
    response_DEN = _with_delays(measured)
    if sample_rate_hz not in (None, own_hz):
        response_DEN = _resampled(response_DEN, own_hz, sample_rate_hz)
    return cls(measured.directions_D2, response_DEN.astype(np.float32), sample_rate_hz or own_hz, measured.title)


def _with_delays(measured: Measured) -> np.ndarray:
    """Responses (D, E, N) with Data.Delay put in front of them."""
    if not measured.delay_DE.any():
        return measured.response_DEN
    taps = measured.response_DEN.shape[-1] + int(np.ceil(measured.delay_DE.max()))
    n_fft = fft.next_fast_len(taps + RINGING_SAMPLES, real=True)
    spectrum = fft.rfft(measured.response_DEN, n_fft) * _delays(measured.delay_DE, n_fft)
    return fft.irfft(spectrum, n_fft)[..., :taps]


def _resampled(response_DEN: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """All responses at once through one spectrum, so that none moves against another; filtering keeps its level.

    The band ends in a half cosine over its top tenth; `RINGING_SAMPLES` are kept before and after for what that rings.
    """
    taps = response_DEN.shape[-1]
    step = from_hz // gcd(from_hz, to_hz)
    from_fft = step * -(-2 * (taps + 512) // step)  # whole numbers of samples at both rates
    to_fft = from_fft * to_hz // from_hz
    spectrum = fft.rfft(response_DEN, from_fft)[..., : to_fft // 2 + 1]
    of_nyquist_K = fft.rfftfreq(from_fft, 1 / from_hz)[: spectrum.shape[-1]] / (min(from_hz, to_hz) / 2)
    spectrum = spectrum * np.cos(0.5 * np.pi * np.clip(10 * of_nyquist_K - 9, 0, 1)) ** 2
    response = np.roll(fft.irfft(spectrum, to_fft), RINGING_SAMPLES, axis=-1)
    return response[..., : -(-taps * to_hz // from_hz) + 2 * RINGING_SAMPLES]
