import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from binaural_core.errors import InputError
from binaural_core.scene import Head, Room
from binaural_core.scene.room import DECAY_BY_OCTAVE, OCTAVES_HZ, octave_bands

RATE_HZ = 22_050
ROOM = Room(size_m=(6.0, 5.0, 2.8), rt60_s=0.5)


@pytest.fixture(scope="module")
def kemar():
    return Head.kemar()


def test_eyring():
    assert 0.161 * 84 / (-121.6 * np.log(1 - ROOM.absorption)) == pytest.approx(0.5)
    assert ROOM.volume_m3 == pytest.approx(84)
    assert ROOM.surface_m2 == pytest.approx(121.6)


def test_images_of_first_order_are_mirrored_at_the_six_walls():
    point = np.array([[1.5, 0.7, -0.4]])
    images, gains = ROOM.images(point)
    place, size = ROOM.place_m, np.array(ROOM.size_m)
    expected = []
    for axis in range(3):
        for wall in (0.0, size[axis]):
            mirrored = place + point[0]
            mirrored[axis] = 2 * wall - mirrored[axis]
            expected.append(mirrored - place)
    np.testing.assert_allclose(images[0], point)
    np.testing.assert_allclose(sorted(images[1:7, 0].tolist()), sorted(map(list, expected)), atol=1e-12)
    reflection = np.sqrt(1 - ROOM.absorption)
    np.testing.assert_allclose(gains, [1] + [reflection] * 6 + [reflection**2] * 18)


def test_images_of_second_order_are_images_of_images():
    point = np.array([[1.5, 0.7, -0.4]])
    images = ROOM.images(point)[0][:, 0]
    again = np.concatenate([mirrored_at_all_walls(image) for image in mirrored_at_all_walls(point[0])])
    wanted = np.unique(again.round(9), axis=0)
    wanted = wanted[np.abs(wanted - point).max(axis=1) > 1e-6]
    np.testing.assert_allclose(np.unique(images[7:].round(9), axis=0), wanted, atol=1e-8)
    assert len(np.unique(images.round(9), axis=0)) == 25


def mirrored_at_all_walls(point):
    out = []
    for axis in range(3):
        for wall in (-ROOM.place_m[axis], ROOM.size_m[axis] - ROOM.place_m[axis]):
            mirrored = point.copy()
            mirrored[axis] = 2 * wall - mirrored[axis]
            out.append(mirrored)
    return np.array(out)


def decay_s(energy_N):
    """Reverberation time from the backward-integrated energy between -5 and -35 dB (Schroeder 1965)."""
    left_db = 10 * np.log10(np.cumsum(energy_N[::-1])[::-1] / energy_N.sum())
    begin, end = np.argmax(left_db < -5), np.argmax(left_db < -35)
    return 2 * (end - begin) / RATE_HZ


@pytest.mark.parametrize("rt60_s", [0.3, 0.8])
def test_the_tail_decays_at_rt60_in_every_octave(kemar, rt60_s):
    room = Room(size_m=(6, 5, 2.8), rt60_s=rt60_s)
    tails = np.concatenate([room.tail(kemar, seed) for seed in range(6)])
    assert decay_s((tails**2).sum(axis=0)) == pytest.approx(rt60_s, rel=0.15)
    for centre_hz, share in list(zip(OCTAVES_HZ, DECAY_BY_OCTAVE, strict=True))[1:]:
        band = butter(2, (centre_hz / 1.2, centre_hz * 1.2), "bandpass", fs=RATE_HZ, output="sos")
        backwards = sosfilt(band, tails[:, ::-1])  # so that the filter's ringing does not prolong the decay
        assert decay_s((backwards[:, ::-1] ** 2).sum(axis=0)) == pytest.approx(rt60_s * share, rel=0.12)


def test_the_tail_is_as_loud_as_room_acoustics_says(kemar):
    room = Room(size_m=(9, 7, 3.5), rt60_s=1.2)
    energy = (room.tail(kemar, seed=2).astype(float) ** 2).sum(axis=1).mean() / kemar.diffuse_gain**2
    critical_m = 0.057 * np.sqrt(room.volume_m3 / 1.2)
    after = 10 ** (-6 * (0.5 * room.early_s) / 1.2)  # about half of the onset is left out
    assert 10 * np.log10(energy * critical_m**2 / after) == pytest.approx(0, abs=1.0)


def test_the_tail_has_the_coherence_of_the_diffuse_field(kemar):
    room = Room(size_m=(9, 7, 3.5), rt60_s=4.0)
    tails = [room.tail(kemar, seed)[:, 2000 : 2000 + 90 * 512] for seed in range(4)]
    even = np.stack(tails, axis=1) * np.exp(3 * np.log(10) * np.arange(90 * 512) / RATE_HZ / 4.0)  # undo the decay
    left, right = np.fft.rfft(even.reshape(2, -1, 512) * np.hanning(512))
    coherence = (left * right.conj()).sum(0) / np.sqrt((np.abs(left) ** 2).sum(0) * (np.abs(right) ** 2).sum(0))
    expected = kemar.diffuse_field(512)[1]
    assert np.abs(coherence - expected)[2:240].mean() < 0.07
    assert coherence[3].real > 0.7
    assert np.abs(coherence[40:200]).mean() < 0.15


def test_the_tail_is_keyed_by_its_seed(kemar):
    np.testing.assert_array_equal(ROOM.tail(kemar, 5), ROOM.tail(kemar, 5))
    assert not np.array_equal(ROOM.tail(kemar, 5), ROOM.tail(kemar, 6))


def test_the_third_row_of_an_omni_tail_is_as_loud_as_the_ears(kemar):
    tail = ROOM.tail(kemar, 5, omni=True)
    np.testing.assert_array_equal(tail[:2], ROOM.tail(kemar, 5))
    energy = (tail.astype(float) ** 2).sum(axis=1)
    assert 10 * np.log10(energy[2] / energy[:2].mean()) == pytest.approx(0, abs=1.5)


def test_octave_bands_sum_to_one():
    assert np.sum(octave_bands(np.linspace(0, 11_025, 500)), axis=0) == pytest.approx(1, abs=1e-6)
    assert octave_bands(np.array([1000.0]))[3] == pytest.approx(1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size_m": (1.0, 5.0, 3.0)}, "1.5 to 100"),
        ({"rt60_s": 0.01}, "rt60_s=0.01"),
        ({"head_m": (7.0, 1.0, 1.0)}, "the head is at"),
    ],
)
def test_impossible_rooms_are_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        Room(**wrong)
