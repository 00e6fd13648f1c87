"""Interaural cues: what differs between the two ears, and when.

Conventions: waves are (2, N), row 0 the left ear; positive means left: an ITD above 0 says that the left ear hears
first, an ILD above 0 that it is louder. Frames are Hann windows of 2,048 samples at 22,050 Hz (of the same duration at
other rates) every half window, as many as fit; a frame is active within 30 dB of the loudest; T blocks of 8 frames
follow moving sources. All numbers are float64. Silence has no direction: its ITD, ILD and IPD are 0, its IACC is 1 (0
if one ear alone is silent).
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import scipy.signal
from numpy.typing import ArrayLike
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from binaural_core.errors import need
from binaural_core.shapes import check

FRAME_S = 2048 / 22_050
LOWEST_RATE_HZ = 1000
BLOCK_FRAMES = 8
ACTIVE_DB = 30.0
LOWEST_HZ, HIGHEST_HZ = 100.0, 1500.0  # where the ear hears time differences of the fine structure
LONGEST_S = 1e-3
GRID_S = 10e-6
LEAKAGE = 1e-8  # of the loudest bin's power, 80 dB under it
BAND_CENTRES_HZ = 1000.0 * 2.0 ** (np.arange(-9, 10) / 3)  # third octaves, 125 to 8,000 Hz
SPEED_OF_SOUND_M_S = 343.0
EAR_FLOOR = 1e-10  # an ear counts as no quieter than 100 dB under the loudest, so that no ILD is infinite


class Spectra(NamedTuple):
    """Framed spectra of both ears."""

    spectrum_EFK: np.ndarray
    frequencies_hz_K: np.ndarray
    energy_F: np.ndarray  # of both ears

    @property
    def active_F(self) -> np.ndarray:
        """True within 30 dB of the loudest frame; nowhere in silence."""
        return self.energy_F > self.energy_F.max() * 10 ** (-ACTIVE_DB / 10)

    @property
    def low_K(self) -> np.ndarray:
        """The bins from 100 to 1,500 Hz."""
        return (self.frequencies_hz_K >= LOWEST_HZ) & (self.frequencies_hz_K <= HIGHEST_HZ)

    @property
    def low_hz_K(self) -> np.ndarray:
        return self.frequencies_hz_K[self.low_K]


def spectra(wave_EN: ArrayLike, sample_rate_hz: int) -> Spectra:
    """Spectra of the frames that fit; zeros fill a wave shorter than one.

    Raises InputError unless the wave is (2, N) and finite, and the rate at least 1,000 Hz.
    """
    wave_EN = ears(wave_EN)
    need_rate(sample_rate_hz)
    hop = max(1, round(FRAME_S * sample_rate_hz / 2))
    padded_EN = np.pad(wave_EN, ((0, 0), (0, max(0, 2 * hop - wave_EN.shape[1]))))
    framed_EFN = np.lib.stride_tricks.sliding_window_view(padded_EN, 2 * hop, axis=1)[:, ::hop]
    framed_EFN = framed_EFN * scipy.signal.get_window("hann", 2 * hop)
    return Spectra(
        np.fft.rfft(framed_EFN, axis=2), np.fft.rfftfreq(2 * hop, 1 / sample_rate_hz), (framed_EFN**2).sum(axis=(0, 2))
    )


def itd_us(wave_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Interaural time difference of the whole wave (still sources), in microseconds, within +-1 ms.

    Noise and music are within 1 us of a known delay. A bare tone reads too small (1 % near 900 Hz, 3 % near 440, a fifth
    near 200, less in the middle of a bin), because what leaks into neighbouring bins carries the tone's phase and PHAT
    weighs every bin alike.
    """
    framed = spectra(wave_EN, sample_rate_hz)
    phat_K = _phat_FK(_cross_FK(framed)[framed.active_F]).sum(axis=0)
    return float(1e6 * _peak_s(phat_K[None], framed.low_hz_K)[0])


def itd_blocks(
    wave_EN: ArrayLike, sample_rate_hz: int, *, active_F: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(itd_us_T, energy_T): time difference of every block and the energy of its active frames.

    active_F : which frames count, for instance those of a reference; the wave's own when None.
    """
    framed = spectra(wave_EN, sample_rate_hz)
    active_F = framed.active_F if active_F is None else active_F
    cross_FK = _cross_FK(framed) * active_F[:, None]
    starts = range(0, len(cross_FK), BLOCK_FRAMES)
    phat_TK = np.stack([_phat_FK(cross_FK[at : at + BLOCK_FRAMES]).sum(axis=0) for at in starts])
    return 1e6 * _peak_s(phat_TK, framed.low_hz_K), _by_block(framed.energy_F * active_F)


def ild_db(wave_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Interaural level difference of the whole wave over all frequencies, in dB (the rate does not matter)."""
    energy_E = (ears(wave_EN) ** 2).sum(axis=1)
    return float(_level_difference_db(energy_E))


def ild_bands(wave_EN: ArrayLike, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """(ild_db, level_db), each (bands, T): level difference per third octave and block, and level of both ears.

    Bands are those of `band_centres_hz`. Levels are dB re an arbitrary reference, -inf in silence.
    """
    framed = spectra(wave_EN, sample_rate_hz)
    power_EFK = np.abs(framed.spectrum_EFK) ** 2
    edges_hz = [(c * 2 ** (-1 / 6), c * 2 ** (1 / 6)) for c in band_centres_hz(sample_rate_hz)]
    f = framed.frequencies_hz_K
    in_band = np.array([(f >= low) & (f < high) for low, high in edges_hz], np.float64).reshape(-1, len(f))
    energy_EGT = np.stack([_by_block(power_FK @ in_band.T).T for power_FK in power_EFK])
    with np.errstate(divide="ignore"):
        return _level_difference_db(energy_EGT), 10 * np.log10(energy_EGT.sum(axis=0))


def band_centres_hz(sample_rate_hz: int) -> np.ndarray:
    """Centres of the third-octave bands from 125 to 8,000 Hz that lie wholly under half the rate."""
    return BAND_CENTRES_HZ[sample_rate_hz / 2 >= BAND_CENTRES_HZ * 2 ** (1 / 6)]


def cross_spectrum(wave_EN: ArrayLike, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """(cross_KF, frequencies_hz_K): left times conjugate right of every frame, 100 to 1,500 Hz."""
    framed = spectra(wave_EN, sample_rate_hz)
    return _cross_FK(framed).T, framed.low_hz_K


def ipd_rad(wave_EN: ArrayLike, sample_rate_hz: int) -> np.ndarray:
    """Interaural phase difference (K, F) of every bin and frame, 100 to 1,500 Hz, in (-pi, pi]."""
    return np.angle(cross_spectrum(wave_EN, sample_rate_hz)[0])


def iacc(wave_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Interaural coherence: the largest normalised cross-correlation within +-1 ms, below 1.5 kHz.

    1 for one source in the open, less the more diffuse the sound is. The sign counts: -1 where the ears move against each
    other at every lag.
    """
    need_rate(sample_rate_hz)
    left_N, right_N = _low_passed(ears(wave_EN), sample_rate_hz)
    energy_left, energy_right = left_N @ left_N, right_N @ right_N
    if not energy_left or not energy_right:
        return float(energy_left == energy_right)
    reach = min(math.ceil(LONGEST_S * sample_rate_hz), len(left_N) - 1)
    correlation_N = scipy.signal.correlate(left_N, right_N, method="fft")
    centre = len(right_N) - 1
    lags_T = correlation_N[centre - reach : centre + reach + 1] / (math.sqrt(energy_left) * math.sqrt(energy_right))
    return float(min(1.0, _parabola_top(lags_T)))


def spherical_head_itd_s(
    azimuth_deg: ArrayLike, elevation_deg: ArrayLike = 0.0, head_radius_m: float = 0.085
) -> np.ndarray:
    """Time difference of a far source at a rigid sphere with ears at +-90 degrees, in seconds, positive = left ear first.

    It is what `itd_us` measures there: the exact sound field on the sphere from 100 to 1,500 Hz, and the peak of its PHAT
    correlation. Closed formulas are the two ends of it: 3 a/c sin for low notes (Kuhn 1977), a/c (sin + angle) for clicks
    (Woodworth 1938). Mean and largest deviation from the MIT KEMAR head, in us, with the radius that suits it best:
    14 / 23 within 45 degrees of straight ahead, 21 / 51 on the horizontal plane, 25 / 85 over all 710 directions
    (Woodworth at 8.75 cm: 24, 53, 65; Kuhn: 69, 72, 52); `tests/audio/test_audio_spherical_head.py` measures it.
    Any shapes that broadcast; NaN where a direction is NaN.
    """
    side = np.sin(np.radians(azimuth_deg)) * np.cos(np.radians(elevation_deg))
    return np.copysign(np.interp(np.arcsin(np.abs(side).clip(0, 1)), *_sphere_table(float(head_radius_m))), side)


@functools.lru_cache(maxsize=16)
def _sphere_table(head_radius_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(angle off the median plane in rad, ITD in s). Source: Duda and Martens 1998, eq. 2, for a source at infinity."""
    angle_T = np.radians(np.arange(0.0, 90.1, 2.5))
    frequencies_hz_K = np.arange(LOWEST_HZ, HIGHEST_HZ + 1, 50.0)
    ka_K = 2 * np.pi * frequencies_hz_K * head_radius_m / SPEED_OF_SOUND_M_S
    near_TK, far_TK = np.zeros((2, len(angle_T), len(ka_K)), complex)
    for m in range(math.ceil(ka_K.max()) + 12):
        slope_K = spherical_jn(m, ka_K, True) - 1j * spherical_yn(m, ka_K, True)  # h'_m(ka), outgoing
        term_K = (2 * m + 1) * 1j ** (m + 1) / slope_K
        near_TK += eval_legendre(m, np.sin(angle_T))[:, None] * term_K
        far_TK += eval_legendre(m, -np.sin(angle_T))[:, None] * term_K
    cross_TK = near_TK * far_TK.conj()
    return angle_T, _peak_s(cross_TK / np.abs(cross_TK), frequencies_hz_K)


def ears(wave_EN: ArrayLike) -> np.ndarray:
    """The wave as float64. Raises InputError unless it is (2, N), of real numbers, finite and not empty."""
    if hasattr(wave_EN, "detach"):
        wave_EN = wave_EN.detach().cpu()
        wave_EN = wave_EN.double() if wave_EN.is_floating_point() else wave_EN  # numpy knows no bfloat16
    wave_EN = np.asarray(wave_EN)
    need(
        wave_EN.dtype.kind in "fiub",
        f"the wave holds {wave_EN.dtype} values",
        why="sound is real numbers",
        fix="give the wave, not its spectrum or its file's name",
    )
    wave_EN = wave_EN.astype(np.float64)
    check(wave_EN, "2 N", "wave")
    need(wave_EN.shape[1] > 0, "the wave has no samples", why="there is nothing to measure", fix="give a longer one")
    need(
        bool(np.isfinite(wave_EN).all()),
        "the wave has NaN or infinite samples",
        why="every cue would be NaN",
        fix="find where they come from; read_audio refuses such files by name",
    )
    return wave_EN


def need_rate(sample_rate_hz: float) -> None:
    """Raises InputError unless it is a rate in Hz, of 1,000 or more."""
    need(
        isinstance(sample_rate_hz, (int, float, np.number)) and LOWEST_RATE_HZ <= sample_rate_hz < math.inf,
        f"the sample rate is {sample_rate_hz!r}",
        why=f"it is samples in a second, at least {LOWEST_RATE_HZ}; kHz or a window's length may have got here",
        fix="give the sound's rate in Hz, such as 22050",
    )


def _cross_FK(framed: Spectra) -> np.ndarray:
    left_FK, right_FK = framed.spectrum_EFK[:, :, framed.low_K]
    return left_FK * right_FK.conj()


def _phat_FK(cross_FK: np.ndarray) -> np.ndarray:
    """Cross-spectra of unit magnitude (Knapp and Carter 1976, PHAT).

    0 where there is nothing, or only what leaks through the window from a bin 80 dB above.
    """
    magnitude_FK = np.abs(cross_FK)
    heard_FK = magnitude_FK > magnitude_FK.max(initial=0) * LEAKAGE
    return np.where(heard_FK, cross_FK / np.where(heard_FK, magnitude_FK, 1), 0)


def _peak_s(phat_TK: np.ndarray, frequencies_hz_K: np.ndarray) -> np.ndarray:
    """Where r(tau) = Re sum_k G_k exp(-i w_k tau) is largest within +-1 ms: a grid, then Newton's steps on r itself."""
    omega_K = 2 * np.pi * frequencies_hz_K
    grid_G = np.linspace(-LONGEST_S, LONGEST_S, 2 * round(LONGEST_S / GRID_S) + 1)
    grid_G = grid_G[np.argsort(np.abs(grid_G), kind="stable")]  # nothing to hear: the middle wins
    correlation_TG = (phat_TK @ np.exp(-1j * np.outer(omega_K, grid_G))).real
    start_T = grid_G[correlation_TG.argmax(axis=1)]
    tau_T = start_T
    for _ in range(5):
        turned_TK = phat_TK * np.exp(-1j * np.outer(tau_T, omega_K))
        slope_T = (turned_TK.imag * omega_K).sum(axis=1)
        bend_T = -(turned_TK.real * omega_K**2).sum(axis=1)
        step_T = np.where(bend_T < 0, -slope_T / np.where(bend_T < 0, bend_T, 1), 0)
        tau_T = np.clip(tau_T + step_T, start_T - GRID_S, start_T + GRID_S).clip(-LONGEST_S, LONGEST_S)
    return tau_T


def _by_block(values_F: np.ndarray) -> np.ndarray:
    """Sums over blocks of 8 frames along the first axis; the last block may be shorter."""
    return np.add.reduceat(values_F, np.arange(0, len(values_F), BLOCK_FRAMES), axis=0)


def _level_difference_db(energy_E: np.ndarray) -> np.ndarray:
    floored_E = np.maximum(energy_E, max(energy_E.max() * EAR_FLOOR, np.finfo(np.float64).tiny))
    return 10 * np.log10(floored_E[0] / floored_E[1])


def _low_passed(wave_EN: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    if sample_rate_hz <= 2 * HIGHEST_HZ:
        return wave_EN
    sections = scipy.signal.butter(4, HIGHEST_HZ, fs=sample_rate_hz, output="sos")
    return scipy.signal.sosfiltfilt(sections, wave_EN, axis=1, padtype=None)


def _parabola_top(values_T: np.ndarray) -> float:
    """The largest value, between samples where it is not at an end."""
    top = int(values_T.argmax())
    if not 0 < top < len(values_T) - 1:
        return values_T[top]
    before, at, after = values_T[top - 1 : top + 2]
    bend = before - 2 * at + after
    return at if bend == 0 else at - (after - before) ** 2 / (8 * bend)
