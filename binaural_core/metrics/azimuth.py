"""Where a listener with a known head would hear the sound: the azimuth whose cues match best, block by block.

Two cues are compared with those of the head's responses: the phase difference of every frequency from 100 to 1,500 Hz
(time difference, as the head makes it at each frequency) and the level difference of third octaves from 125 to 8,000 Hz.
Where they disagree, time mostly rules, as with listeners (Wightman and Kistler 1992).

Conventions: azimuth in degrees, positive left, on the horizontal plane; frames and blocks (0.4 s) are those of
`binaural_core.audio.interaural`, so sources may move. Of several sources the one that rules the block is found. Two ears
alike (a mono copy) are at 0° for a symmetric head, as is what sounds behind it at 180°: of places that match equally well
the one nearest to straight ahead is taken. Silence is nowhere: NaN. One ear alone is at the side where the head's level
difference is largest. Elevation and, with half a circle, front and back are not told apart: compare lateral angles.

How good it is, on renders with the shipped head (median over blocks; the 28 dry sounds, or every third of them): still
sources 0 to 75° to either side 0.05°, the worst block 1.6°; moving by up to 165° in 3 s 0.6°; white noise 20 dB under the
sound 0.7°, 10 dB 1.8°; in a room with RT60 0.4 s 7.5°, as reflections make the ears more alike; the nearest of two sources
3.2°. Above and below the plane lateral angles are found roughly: within 5° at 20° of elevation, 8° at 60°, for sources up to
60° to either side; nearer to the very side they are not to be trusted.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from binaural_core.audio import interaural as cues
from binaural_core.audio.io import resample
from binaural_core.errors import need
from binaural_core.metrics.pairs import as_float64, pair

STEP_DEG = 1.0
HORIZONTAL_DEG = 1.0  # responses this near to the horizontal plane count as on it
QUIET_DB = 50.0  # bands this far under the block's loudest are not heard beside it
QUIET_BIN = 1e-6  # nor are single frequencies with this part of the loudest one's energy
COMPRESSION = 0.25  # a bin weighs with this power of its energy: between PHAT (0) and plain correlation (1)
LEVEL_SPREAD_DB = 3.0  # how far the level of a third octave may be off without saying much
LEVEL_LIMIT = 9.0  # squared spreads; a band that disagrees wholly says no more
LEVEL_WEIGHT = 0.03
SAME_COST = 1e-9  # costs this near to the lowest are as low


class Azimuths(NamedTuple):
    """What was found in T blocks."""

    azimuth_deg_T: np.ndarray  # NaN in silence
    energy_T: np.ndarray  # of the active frames
    time_s_T: np.ndarray  # middle of each block

    @property
    def overall_deg(self) -> float:
        """The median, weighted by energy (for a still source); NaN in silence."""
        heard_T = (self.energy_T > 0) & np.isfinite(self.azimuth_deg_T)
        if not heard_T.any():
            return math.nan
        order = np.argsort(self.azimuth_deg_T[heard_T])
        share_T = np.cumsum(self.energy_T[heard_T][order])
        return float(self.azimuth_deg_T[heard_T][order][np.searchsorted(share_T, share_T[-1] / 2)])


class AzimuthMatcher:
    """A head's cues by azimuth, and the search among them.

    directions_D2 : azimuth and elevation of measured directions, degrees; those on the horizontal plane are used.
    response_DEN : their impulse responses, row 0 the left ear, onsets kept.
    reach_deg : candidates lie within this of straight ahead; 90 is what a camera may see, 180 is all around.
    Between measured directions phases and levels are interpolated, to 1° steps; the best is refined by a parabola.
    Raises InputError when fewer than three responses are on the plane, or gaps are above 15° (phases would not be told
    apart), or the responses are longer than a frame (93 ms: rooms have more than one direction).

    >>> matcher = AzimuthMatcher(head.directions_D2, head.response_DEN, head.sample_rate_hz)      # doctest: +SKIP
    >>> matcher.azimuths(wave_EN, 22050).azimuth_deg_T                                            # doctest: +SKIP
    """

    def __init__(
        self, directions_D2: ArrayLike, response_DEN: ArrayLike, sample_rate_hz: int, *, reach_deg: float = 90.0
    ):
        directions_D2, response_DEN = as_float64(directions_D2, "directions"), as_float64(response_DEN, "responses")
        frame = 2 * max(1, round(cues.FRAME_S * sample_rate_hz / 2))
        need(
            directions_D2.ndim == 2
            and directions_D2.shape[1] == 2
            and response_DEN.ndim == 3
            and response_DEN.shape[:2] == (len(directions_D2), 2)
            and response_DEN.shape[2] <= frame,
            f"directions have shape {directions_D2.shape}, responses {response_DEN.shape}",
            why=f"they are (D, 2) and (D, 2, N), N at most one frame of {frame} samples",
            fix="give a head's directions_D2 and response_DEN",
        )
        self.sample_rate_hz = sample_rate_hz
        measured_deg_A, chosen_A = _on_the_plane(directions_D2, reach_deg)
        frequencies_hz_K = np.fft.rfftfreq(frame, 1 / sample_rate_hz)
        spectrum_AEK = np.fft.rfft(response_DEN[chosen_A], frame)
        low_K = (frequencies_hz_K >= cues.LOWEST_HZ) & (frequencies_hz_K <= cues.HIGHEST_HZ)
        self._band_KG = _bands(frequencies_hz_K, cues.band_centres_hz(sample_rate_hz))
        phase_AK = np.unwrap(np.angle(spectrum_AEK[:, 0] * spectrum_AEK[:, 1].conj())[:, low_K], axis=0)
        level_db_AG = _level_difference_db(np.moveaxis(np.abs(spectrum_AEK) ** 2 @ self._band_KG, 1, 0))
        reach = (measured_deg_A[0], measured_deg_A[-1])
        self.azimuth_deg_A = np.linspace(*reach, 1 + round((reach[1] - reach[0]) / STEP_DEG))
        self._turn_AK = np.exp(1j * PchipInterpolator(measured_deg_A, phase_AK)(self.azimuth_deg_A))
        self._level_db_AG = PchipInterpolator(measured_deg_A, level_db_AG)(self.azimuth_deg_A)

    def azimuths(self, wave_EN: ArrayLike, sample_rate_hz: int, *, active_F: np.ndarray | None = None) -> Azimuths:
        """The azimuth of every block.

        wave_EN : at any rate; resampled to the head's.   active_F : which frames count (those of a reference); the wave's
        own when None. Where these say that there is sound and the wave has none, it is at 0°.
        Raises InputError unless the wave is (2, N) and finite, and the rate at least 1,000 Hz.
        """
        framed = self.spectra(wave_EN, sample_rate_hz)
        active_F = framed.active_F if active_F is None else active_F
        starts = np.arange(0, len(active_F), cues.BLOCK_FRAMES)
        spectrum_EFK = framed.spectrum_EFK * active_F[:, None]
        cross_TK = np.add.reduceat((spectrum_EFK[0] * spectrum_EFK[1].conj())[:, framed.low_K], starts, axis=0)
        power_ETK = np.add.reduceat(np.abs(spectrum_EFK) ** 2, starts, axis=1)
        energy_ETG = power_ETK @ self._band_KG
        loudest_T = power_ETK.sum(axis=0).max(axis=1)
        cost_TA = self._phase_cost(cross_TK, loudest_T) + LEVEL_WEIGHT * self._level_cost(energy_ETG)
        active_T = np.add.reduceat(active_F.astype(float), starts) > 0
        sounds_T = loudest_T > 0
        found_deg_T = np.where(sounds_T, _lowest(cost_TA, self.azimuth_deg_A), 0.0)
        hop = round(cues.FRAME_S * self.sample_rate_hz / 2)
        last_F = np.minimum(starts + cues.BLOCK_FRAMES, len(active_F)) - 1
        return Azimuths(
            np.where(active_T, found_deg_T, np.nan),
            np.add.reduceat(framed.energy_F * active_F, starts),
            (0.5 * (starts + last_F) + 1) * hop / self.sample_rate_hz,
        )

    def spectra(self, wave_EN: ArrayLike, sample_rate_hz: int) -> cues.Spectra:
        """Framed spectra at the head's rate, whose `active_F` may serve for another wave."""
        cues.need_rate(sample_rate_hz)
        return cues.spectra(resample(cues.ears(wave_EN), sample_rate_hz, self.sample_rate_hz), self.sample_rate_hz)

    def _phase_cost(self, cross_TK: np.ndarray, loudest_T: np.ndarray) -> np.ndarray:
        """1 less the weighted cosine of what is left of the phases when the head's are taken away: 0 to 2."""
        magnitude_TK = np.abs(cross_TK)
        heard_TK = magnitude_TK > loudest_T[:, None] * QUIET_BIN
        weight_TK = np.where(heard_TK, magnitude_TK, 0) ** COMPRESSION
        total_T1 = weight_TK.sum(axis=1, keepdims=True)
        turn_TK = np.exp(1j * np.angle(cross_TK)) * weight_TK
        return 1 - (turn_TK @ self._turn_AK.conj().T).real / np.where(total_T1 > 0, total_T1, 1)

    def _level_cost(self, energy_ETG: np.ndarray) -> np.ndarray:
        """Mean squared level error over bands, in spreads, each band's limited (Geman and McClure 1987)."""
        total_TG = energy_ETG.sum(axis=0)
        heard_TG = total_TG > total_TG.max(axis=1, keepdims=True) * 10 ** (-QUIET_DB / 10)
        weight_TG = np.where(heard_TG, total_TG, 0) ** COMPRESSION
        error_TAG = (_level_difference_db(energy_ETG)[:, None] - self._level_db_AG) / LEVEL_SPREAD_DB
        limited_TAG = error_TAG**2 / (1 + error_TAG**2 / LEVEL_LIMIT)
        sum_T1 = weight_TG.sum(axis=1, keepdims=True)
        return (limited_TAG * weight_TG[:, None]).sum(axis=2) / np.where(sum_T1 > 0, sum_T1, 1)


def azimuth_error_deg(
    prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, matcher: AzimuthMatcher
) -> float:
    """How far the azimuth heard in the prediction is from the one in the reference, in degrees, 0 to 180.

    Mean over blocks, weighted by the reference's energy; the reference says which frames count. A silent prediction is at
    0°, like a mono copy; NaN against a silent reference.
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz, ears=True)
    true = matcher.azimuths(reference_EN, sample_rate_hz)
    active_F = matcher.spectra(reference_EN, sample_rate_hz).active_F
    found = matcher.azimuths(prediction_EN, sample_rate_hz, active_F=active_F)
    error_T = np.abs((found.azimuth_deg_T - true.azimuth_deg_T + 180) % 360 - 180)
    return _mean(error_T, true.energy_T)


def lateral_errors_deg(found: Azimuths, positions_TO3: ArrayLike) -> np.ndarray:
    """How far each block's azimuth is from the nearest source, (T,), as lateral angles: front and back are not told apart.

    positions_TO3 : azimuth, elevation, distance of the sources at ``found.time_s_T`` (`Scene.positions` gives them); NaN
    where a source is not there; (O, 3) for still ones. NaN in silence and where there is no source.
    With several sources any of them may rule a block: the nearest is taken, so chance is better than with one.
    """
    positions_TO3 = as_float64(positions_TO3, "positions")
    shape = positions_TO3.shape
    need(
        len(shape) in (2, 3) and shape[-1] in (2, 3) and (len(shape) == 2 or shape[0] == len(found.time_s_T)),
        f"the positions have shape {shape}",
        why=f"they are (T, O, 3) with T = {len(found.time_s_T)} blocks, or (O, 3)",
        fix="ask the scene for its positions at found.time_s_T",
    )
    apart_TO = np.abs(lateral_deg(found.azimuth_deg_T)[:, None] - lateral_deg(*np.moveaxis(positions_TO3, -1, 0)[:2]))
    nearest_T = np.where(np.isfinite(apart_TO), apart_TO, np.inf).min(axis=1, initial=np.inf)
    return np.where(np.isfinite(nearest_T), nearest_T, np.nan)


def lateral_error_deg(found: Azimuths, positions_TO3: ArrayLike) -> float:
    """The mean of `lateral_errors_deg`, weighted by energy; NaN in silence."""
    return _mean(lateral_errors_deg(found, positions_TO3), found.energy_T)


def lateral_deg(azimuth_deg: ArrayLike, elevation_deg: ArrayLike = 0.0) -> np.ndarray:
    """The angle to the left of the median plane, -90 to 90: what the two ears alone tell of a direction."""
    side = np.sin(np.radians(azimuth_deg)) * np.cos(np.radians(elevation_deg))
    return np.degrees(np.arcsin(np.clip(side, -1, 1)))


def _on_the_plane(directions_D2: np.ndarray, reach_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Azimuths in rising order and the indices of their responses; closed to a circle when all around."""
    wrapped_D = (directions_D2[:, 0] + 180) % 360 - 180
    chosen_A = np.flatnonzero((np.abs(directions_D2[:, 1]) <= HORIZONTAL_DEG) & (np.abs(wrapped_D) <= reach_deg + 1e-6))
    azimuth_deg_A, first = np.unique(wrapped_D[chosen_A], return_index=True)
    chosen_A = chosen_A[first]
    if reach_deg >= 180 and len(chosen_A):
        azimuth_deg_A, chosen_A = np.append(azimuth_deg_A, azimuth_deg_A[0] + 360), np.append(chosen_A, chosen_A[0])
    need(
        len(chosen_A) >= 3 and np.diff(azimuth_deg_A).max() <= 15,
        f"{len(chosen_A)} responses are on the horizontal plane within {reach_deg:g}° of straight ahead",
        why="their phases can be followed from one to the next over 15° at most",
        fix="give a head that was measured in smaller steps, or a wider reach_deg",
    )
    return azimuth_deg_A, chosen_A


def _bands(frequencies_hz_K: np.ndarray, centres_hz_G: np.ndarray) -> np.ndarray:
    low_G, high_G = centres_hz_G * 2 ** (-1 / 6), centres_hz_G * 2 ** (1 / 6)
    return ((frequencies_hz_K[:, None] >= low_G) & (frequencies_hz_K[:, None] < high_G)).astype(np.float64)


def _level_difference_db(energy_E: np.ndarray) -> np.ndarray:
    floored_E = np.maximum(energy_E, max(energy_E.max() * cues.EAR_FLOOR, np.finfo(np.float64).tiny))
    return 10 * np.log10(floored_E[0] / floored_E[1])


def _lowest(cost_TA: np.ndarray, azimuth_deg_A: np.ndarray) -> np.ndarray:
    """Where each row is lowest, nearest to straight ahead, and between the steps where it is not at an end."""
    lowest_TA = cost_TA <= cost_TA.min(axis=1, keepdims=True) + SAME_COST
    best_T = np.where(lowest_TA, np.abs(azimuth_deg_A), np.inf).argmin(axis=1)
    inner_T = best_T.clip(1, len(azimuth_deg_A) - 2)
    before_T, at_T, after_T = (np.take_along_axis(cost_TA, inner_T[:, None] + i, axis=1)[:, 0] for i in (-1, 0, 1))
    bend_T = before_T - 2 * at_T + after_T
    shift_T = 0.5 * (before_T - after_T) / np.where(bend_T > 0, bend_T, np.inf)
    step_deg = azimuth_deg_A[1] - azimuth_deg_A[0]
    return azimuth_deg_A[best_T] + np.where(best_T == inner_T, shift_T.clip(-0.5, 0.5) * step_deg, 0)


def _mean(errors_T: np.ndarray, energy_T: np.ndarray) -> float:
    weight_T = np.where(np.isfinite(errors_T), energy_T, 0)
    return float((np.nan_to_num(errors_T) * weight_T).sum() / weight_T.sum()) if weight_T.sum() > 0 else math.nan
