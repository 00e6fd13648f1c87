"""Head-related impulse responses out of a SOFA file (AES69), whatever made it.

Conventions: responses (D, E, N) with row 0 the left ear, directions in SOFA's sense (azimuth positive left).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sofar

from binaural_core.errors import InputError, need
from binaural_core.scene.geometry import directions, unit_vectors, wrap_deg

CONVENTION = "SimpleFreeFieldHRIR"


@dataclass(frozen=True)
class Measured:
    """D measured directions."""

    directions_D2: np.ndarray  # azimuth, elevation in degrees
    response_DEN: np.ndarray  # float64, at sample_rate_hz
    delay_DE: np.ndarray  # samples that come before each response
    sample_rate_hz: float
    title: str


def read_hrir(path: str | Path) -> Measured:
    """Read a SimpleFreeFieldHRIR file; of directions measured at several distances the farthest is kept.

    Raises InputError when the file is missing, is no SOFA, follows another convention, has not two ears, or holds NaN.
    """
    path = Path(path)
    sofa = _open(path)
    response_DEN = np.atleast_3d(np.ma.filled(np.asarray(sofa.Data_IR, float), np.nan))
    if response_DEN.shape[1] != 2:
        raise InputError(
            f"{path} has {response_DEN.shape[1]} receiver(s), not 2",
            why="a head has a left and a right ear",
            fix="give a SOFA file measured at both ears",
        )
    need(
        bool(np.isfinite(response_DEN).all()) and bool((np.abs(response_DEN).max(axis=2) > 0).all()),
        f"{path} holds NaN or silent impulse responses",
        why="sound filtered with them would be broken",
        fix="repair or download the file again",
    )
    azimuth_deg, elevation_deg, distance_m = _source_directions(sofa, path)
    need(
        len(azimuth_deg) == len(response_DEN),
        f"{path} has {len(azimuth_deg)} source positions for {len(response_DEN)} measurements",
        why="every measurement needs its direction",
        fix="repair or download the file again",
    )
    rate_hz = np.unique(np.asarray(sofa.Data_SamplingRate, float))
    need(
        len(rate_hz) == 1 and rate_hz[0] > 0,
        f"{path} has the sample rates {rate_hz}",
        why="one rate is needed",
        fix="repair the file",
    )
    delay_DE = np.broadcast_to(np.atleast_2d(np.asarray(sofa.Data_Delay, float)), response_DEN.shape[:2])
    need(
        bool(np.isfinite(delay_DE).all()) and bool((delay_DE >= 0).all()),
        f"{path} has negative or NaN values in Data.Delay",
        why="a response cannot begin before the sound",
        fix="add one constant to all delays",
    )
    keep_D = _farthest_of_each(azimuth_deg, elevation_deg, distance_m)
    ears = _ear_order(sofa)
    return Measured(
        directions_D2=np.stack([azimuth_deg, elevation_deg], axis=1)[keep_D],
        response_DEN=response_DEN[keep_D][:, ears],
        delay_DE=delay_DE[keep_D][:, ears],
        sample_rate_hz=float(rate_hz[0]),
        title=str(getattr(sofa, "GLOBAL_DatabaseName", "") or path.stem),
    )


def _open(path: Path) -> sofar.Sofa:
    need(path.is_file(), f"HRTF file {path} is not there", why="no head can be built without it", fix="check the path")
    why_not = "it is read as SOFA, the exchange format of HRTFs (AES69, a netCDF-4 file ending in .sofa)"
    fix = "give a SOFA file; sofaconventions.org lists databases"
    need(path.suffix.lower() == ".sofa", f"{path} does not end in .sofa", why=why_not, fix=fix)
    with path.open("rb") as file:
        need(file.read(8) == b"\x89HDF\r\n\x1a\n", f"{path} is no SOFA file", why=why_not, fix=fix)
    try:
        sofa = sofar.read_sofa(str(path), verify=False, verbose=False)
        convention = sofa.GLOBAL_SOFAConventions
    except Exception as error:
        raise InputError(f"{path} cannot be read as SOFA", why=str(error).splitlines()[0], fix=fix) from error
    need(
        convention == CONVENTION,
        f"{path} follows the convention {convention}",
        why=f"heads are read from {CONVENTION}: free-field impulse responses of both ears",
        fix=f"give a file of the convention {CONVENTION}",
    )
    return sofa


def _source_directions(sofa: sofar.Sofa, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    view = _cartesian(sofa.ListenerView, sofa.ListenerView_Type, sofa.ListenerView_Units)
    need(
        bool(np.allclose(view / np.linalg.norm(view, axis=1, keepdims=True), (1, 0, 0), atol=1e-3)),
        f"the listener of {path} does not look along +x",
        why="directions are counted from straight ahead",
        fix="turn SourcePosition so that ListenerView is (1, 0, 0)",
    )
    listener = _cartesian(sofa.ListenerPosition, sofa.ListenerPosition_Type, sofa.ListenerPosition_Units)
    if sofa.SourcePosition_Type == "spherical" and not listener.any():  # keep the angles as they were written
        angle = np.atleast_2d(np.asarray(sofa.SourcePosition, float))
        scale = _degrees_per_unit(sofa.SourcePosition_Units)
        return wrap_deg(angle[:, 0] * scale), angle[:, 1] * scale, angle[:, 2]
    return directions(_cartesian(sofa.SourcePosition, sofa.SourcePosition_Type, sofa.SourcePosition_Units) - listener)


def _cartesian(position, kind: str, units: str) -> np.ndarray:
    position = np.atleast_2d(np.asarray(position, float))
    if kind == "cartesian":
        return position
    scale = _degrees_per_unit(units)
    return unit_vectors(position[:, 0] * scale, position[:, 1] * scale) * position[:, 2:]


def _degrees_per_unit(units: str) -> float:
    return float(np.degrees(1.0)) if "rad" in units.lower() else 1.0


def _ear_order(sofa: sofar.Sofa) -> list[int]:
    """Receivers from left to right; the first is the left ear unless their places say otherwise."""
    place = np.asarray(sofa.ReceiverPosition, float)
    place_E3 = place.reshape(2, 3, -1)[:, :, 0] if place.size % 6 == 0 else np.zeros((2, 3))
    left_E = _cartesian(place_E3, sofa.ReceiverPosition_Type, sofa.ReceiverPosition_Units)[:, 1]
    return [1, 0] if left_E[0] < -1e-6 < 1e-6 < left_E[1] else [0, 1]


def _farthest_of_each(azimuth_deg: np.ndarray, elevation_deg: np.ndarray, distance_m: np.ndarray) -> np.ndarray:
    vectors = np.round(unit_vectors(azimuth_deg, elevation_deg), 4) + 0.0
    farthest_first = np.argsort(-distance_m, kind="stable")
    _, first = np.unique(vectors[farthest_first], axis=0, return_index=True)
    return np.sort(farthest_first[first])
