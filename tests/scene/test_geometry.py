import numpy as np
import pytest

from binaural_core.errors import InputError
from binaural_core.scene.geometry import Camera, angle_between_deg, directions, unit_vectors, wrap_deg


def test_axes_are_ahead_left_up():
    assert unit_vectors(0, 0) == pytest.approx([1, 0, 0])
    assert unit_vectors(90, 0) == pytest.approx([0, 1, 0], abs=1e-12)
    assert unit_vectors(0, 90) == pytest.approx([0, 0, 1], abs=1e-12)


def test_directions_invert_unit_vectors():
    rng = np.random.default_rng(0)
    azimuth_deg, elevation_deg = rng.uniform(-180, 180, 200), rng.uniform(-89, 89, 200)
    got = directions(unit_vectors(azimuth_deg, elevation_deg) * 2.5)
    np.testing.assert_allclose(got, [azimuth_deg, elevation_deg, np.full(200, 2.5)], atol=1e-9)


@pytest.mark.parametrize(("angle", "wrapped"), [(180, -180), (-180, -180), (190, -170), (-190, 170), (720.5, 0.5)])
def test_wrapping(angle, wrapped):
    assert wrap_deg(angle) == pytest.approx(wrapped)


def test_angle_between_is_the_great_circle():
    assert angle_between_deg((170, 0), (-170, 0)) == pytest.approx(20)
    assert angle_between_deg((0, 80), (180, 80)) == pytest.approx(20)
    assert angle_between_deg((30, 10), (30, 10)) == pytest.approx(0)


@pytest.mark.parametrize("h_fov_deg", [60.0, 90.0, 120.0])
def test_camera_formula(h_fov_deg):
    camera = Camera(h_fov_deg=h_fov_deg)
    x = np.linspace(0, 1, 11)
    expected = -np.degrees(np.arctan((2 * x - 1) * np.tan(np.radians(h_fov_deg / 2))))
    np.testing.assert_allclose(camera.azimuth_deg(x), expected, atol=1e-12)
    assert camera.azimuth_deg(0) == pytest.approx(h_fov_deg / 2)  # the left edge is positive


def test_left_is_left_and_up_is_up_in_the_picture():
    x, y = Camera().image_position(20, 10)
    assert x < 0.5
    assert y < 0.5


def test_image_positions_invert():
    camera = Camera(h_fov_deg=75, aspect=4 / 3)
    x, y = np.meshgrid(np.linspace(0.02, 0.98, 9), np.linspace(0.02, 0.98, 7))
    back = camera.image_position(camera.azimuth_deg(x), camera.elevation_deg(x, y))
    np.testing.assert_allclose(back, [x, y], atol=1e-12)


def test_top_edge_follows_the_aspect():
    assert Camera(aspect=2.0).elevation_deg(0.5, 0.0) == pytest.approx(np.degrees(np.arctan(0.5)))


def test_out_of_view_and_behind():
    camera = Camera()
    x, _ = camera.image_position([50.0, 135.0, 180.0], [0.0, 0.0, 0.0])
    assert x[0] < 0
    assert np.isnan(x[1:]).all()
    assert camera.in_view([44.0, 46.0, 135.0, 0.0], [0.0, 0.0, 0.0, 31.0]).tolist() == [True, False, False, False]


@pytest.mark.parametrize("wrong", [{"h_fov_deg": 180.0}, {"h_fov_deg": 0.0}, {"aspect": 0.0}])
def test_impossible_cameras_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Camera(**wrong)
