import numpy as np
import pytest

from binaural_core.scene.geometry import unit_vectors
from binaural_core.scene.sphere import SphereNet

RING_DEG = np.arange(-180.0, 180.0, 10.0)


def scattered(count, seed):
    points = np.random.default_rng(seed).standard_normal((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_weights_point_where_asked():
    measured, wanted = scattered(200, 0), scattered(300, 1)
    index, weight = SphereNet(measured).weights(wanted)
    np.testing.assert_allclose(weight.sum(axis=1), 1)
    assert (weight >= 0).all()
    mixed = np.einsum("sv,svx->sx", weight, measured[index])
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    np.testing.assert_allclose(mixed, wanted, atol=1e-6)


def test_a_corner_has_all_the_weight():
    measured = scattered(200, 0)
    index, weight = SphereNet(measured).weights(measured)
    assert weight.max(axis=1) == pytest.approx(1)
    assert (index[np.arange(200), weight.argmax(axis=1)] == np.arange(200)).all()


def test_a_ring_is_interpolated_along_it_and_held_above():
    net = SphereNet(unit_vectors(RING_DEG, 0.0))
    for elevation_deg in (0.0, 20.0, 60.0, -60.0):
        index, weight = net.weights(unit_vectors([5.0, 32.0], elevation_deg))
        azimuth = (weight * RING_DEG[index]).sum(axis=1)
        assert azimuth == pytest.approx([5.0, 32.0], abs=0.1)


def test_half_a_sphere_holds_its_rim_behind():
    front = unit_vectors(*np.meshgrid(np.arange(-80.0, 81.0, 10.0), np.arange(-30.0, 31.0, 10.0))).reshape(-1, 3)
    index, weight = SphereNet(front).weights(unit_vectors([120.0, 180.0, -120.0], 0.0))
    assert weight.sum(axis=1) == pytest.approx(1)
    strongest = front[index[np.arange(3), weight.argmax(axis=1)]]
    assert strongest[0, 1] > 0.9
    assert strongest[2, 1] < -0.9


def test_areas_share_the_sphere():
    uneven = unit_vectors(*np.meshgrid(np.arange(0.0, 360.0, 10.0), np.arange(-80.0, 81.0, 10.0))).reshape(-1, 3)
    share = SphereNet(uneven).areas()
    assert share.sum() == pytest.approx(1)
    assert share @ uneven[:, 2] ** 2 == pytest.approx(1 / 3, abs=0.01)  # the mean of z squared over the sphere
