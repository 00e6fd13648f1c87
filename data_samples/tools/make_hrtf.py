"""Write `hrtf/mit_kemar.sofa`: MIT KEMAR (710 directions, both ears, 512 taps at 44.1 kHz) as a compact SOFA file.

The measurements come with the PyPI package `slab`, which is a tool here and no dependency of this package:

    python3 -m venv /tmp/kemar && /tmp/kemar/bin/pip install slab==1.8.2 sofar==1.3.0     # Debian: libportaudio2
    /tmp/kemar/bin/python data_samples/tools/make_hrtf.py

The values are 16-bit integers / 32768, as measured, so that the compressed file is small and exact. The set was
measured with the left ear's normal pinna; the right ear is its mirror image.
"""

from pathlib import Path

import numpy as np
import slab
import sofar

FILE = Path(__file__).resolve().parent.parent / "hrtf" / "mit_kemar.sofa"
DIRECTIONS_PER_RING = {
    -40: 56,
    -30: 60,
    -20: 72,
    -10: 72,
    0: 72,
    10: 72,
    20: 72,
    30: 60,
    40: 56,
    50: 45,
    60: 36,
    70: 24,
}
DIRECTIONS_PER_RING |= {80: 12, 90: 1}  # elevation in degrees -> measured azimuths, evenly spaced from 0
DISTANCE_M = 1.4


def positions() -> np.ndarray:
    """(710, 3): azimuth (degrees, positive left), elevation, distance, in the order of the measurements."""
    return np.array(
        [
            (360 * step / count, elevation, DISTANCE_M)
            for elevation, count in DIRECTIONS_PER_RING.items()
            for step in range(count)
        ]
    )


def check_sense(position_M3: np.ndarray, response_MRN: np.ndarray) -> None:
    """Stop unless 90 degrees to the left is louder and earlier in the left ear, and the two sides mirror each other."""
    left = response_MRN[np.flatnonzero((position_M3[:, 0] == 90) & (position_M3[:, 1] == 0))[0]]
    energy, peak = (left**2).sum(-1), np.abs(left).argmax(-1)
    assert energy[0] > 4 * energy[1], energy
    assert 25 < peak[1] - peak[0] < 36, peak
    first = 0
    for count in DIRECTIONS_PER_RING.values():
        ring = response_MRN[first : first + count]
        assert np.array_equal(ring, ring[-np.arange(count) % count][:, ::-1])
        first += count


def main() -> None:
    kemar = slab.HRTF.kemar()
    position_M3 = positions()
    assert np.abs(kemar.sources.vertical_polar - position_M3).max() < 0.15  # slab rounds to half precision
    response_MRN = np.stack([kemar.data[i].data.T for i in range(len(position_M3))])
    assert np.array_equal(response_MRN * 32768, np.round(response_MRN * 32768))
    check_sense(position_M3, response_MRN)

    sofa = sofar.Sofa("SimpleFreeFieldHRIR")
    sofa.GLOBAL_Title = "HRTF measurements of a KEMAR dummy-head microphone"
    sofa.GLOBAL_DatabaseName = "MIT KEMAR, normal pinna"
    sofa.GLOBAL_ListenerShortName = "KEMAR"
    sofa.GLOBAL_AuthorContact = "Bill Gardner and Keith Martin, MIT Media Laboratory"
    sofa.GLOBAL_Organization = "MIT Media Laboratory, Perceptual Computing"
    sofa.GLOBAL_License = (
        "Copyright 1994 by the MIT Media Laboratory. Provided free with no restrictions on use, provided the authors "
        "are cited when the data is used in any research or commercial application."
    )
    sofa.GLOBAL_References = (
        "W. G. Gardner and K. D. Martin, HRTF measurements of a KEMAR dummy-head microphone, MIT Media Lab Perceptual "
        "Computing Technical Report 280, 1994; and HRTF measurements of a KEMAR, J. Acoust. Soc. Am. 97(6), "
        "3907-3908, 1995."
    )
    sofa.GLOBAL_Origin = "MIT Media Laboratory, through the Python package slab"
    sofa.GLOBAL_Comment = (
        "Normal pinna, left ear; the right ear is its mirror image. Values are 16-bit integers / 32768."
    )
    sofa.GLOBAL_DateCreated = sofa.GLOBAL_DateModified = "1994-05-18 00:00:00"
    sofa.SourcePosition = position_M3
    sofa.Data_IR = response_MRN
    sofa.Data_SamplingRate = 44_100
    sofa.Data_Delay = np.zeros((1, 2))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    sofar.write_sofa(FILE, sofa, compression=9)
    print(f"{FILE}: {FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
