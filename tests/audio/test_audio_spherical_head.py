"""The spherical head against its two limits and against a measured head, KEMAR, with our own measure."""

import numpy as np
import pytest

from binaural_core.audio import itd_us, resample, spherical_head_itd_s
from binaural_core.places import REPOSITORY
from binaural_core.seeds import numpy_stream

KEMAR = REPOSITORY / "data_samples" / "hrtf" / "mit_kemar.sofa"


def test_positive_means_left_and_nothing_else_matters():
    assert spherical_head_itd_s(90.0) > 6e-4
    azimuths_deg = np.array([-180.0, -120.0, -60.0, -10.0, 0.0, 10.0, 60.0, 120.0, 180.0])
    itd_s = spherical_head_itd_s(azimuths_deg)
    np.testing.assert_allclose(itd_s, -itd_s[::-1], atol=1e-12)
    assert itd_s[0] == pytest.approx(0, abs=1e-12)
    assert spherical_head_itd_s(120.0) == pytest.approx(float(spherical_head_itd_s(60.0)))  # a sphere has no front
    assert spherical_head_itd_s(77.0, 90.0) == pytest.approx(0, abs=1e-12)
    assert spherical_head_itd_s(90.0, 60.0) == pytest.approx(float(spherical_head_itd_s(30.0)))
    assert np.isnan(spherical_head_itd_s(np.nan))


def test_it_lies_between_low_notes_and_clicks():
    angle = np.radians(np.arange(5.0, 91.0, 5.0))
    itd_s = spherical_head_itd_s(np.degrees(angle), 0.0, 0.0875)
    assert (itd_s < 3 * 0.0875 / 343 * np.sin(angle)).all()  # Kuhn 1977
    assert (itd_s > 2 * 0.0875 / 343 * np.sin(angle)).all()  # Kuhn 1977, high notes ahead
    assert (np.diff(itd_s) > 0).all()


def test_a_small_head_hears_all_notes_as_low():
    for azimuth_deg in (10.0, 45.0, 90.0):
        low_notes_s = 3 * 0.005 / 343 * np.sin(np.radians(azimuth_deg))
        assert spherical_head_itd_s(azimuth_deg, 0.0, 0.005) == pytest.approx(low_notes_s, rel=0.01)


@pytest.mark.skipif(not KEMAR.is_file(), reason="data_samples/hrtf/mit_kemar.sofa is not there")
def test_how_far_it_is_from_kemar():
    """The numbers of the docstring, on every fifth direction."""
    import sofar

    sofa = sofar.read_sofa(str(KEMAR), verbose=False)
    rate_hz = int(np.ravel(sofa.Data_SamplingRate)[0])
    noise = numpy_stream(0, "noise").standard_normal(rate_hz)
    directions, filters = sofa.SourcePosition[::5], sofa.Data_IR[::5]
    spectra = np.fft.rfft(filters, rate_hz) * np.fft.rfft(noise)
    measured_us = np.array([itd_us(resample(np.fft.irfft(s, rate_hz), rate_hz, 22_050), 22_050) for s in spectra])
    azimuth_deg, elevation_deg = directions[:, 0], directions[:, 1]
    off_us = np.abs(1e6 * spherical_head_itd_s(azimuth_deg, elevation_deg) - measured_us)
    level = np.abs(elevation_deg) < 1
    ahead = level & (np.cos(np.radians(azimuth_deg)) > np.cos(np.radians(46)))
    for name, chosen, mean_us, largest_us in (
        ("ahead", ahead, 14, 23),
        ("level", level, 21, 51),
        ("all", off_us >= 0, 25, 85),
    ):
        assert off_us[chosen].mean() < mean_us + 2, name
        assert off_us[chosen].max() < largest_us + 2, name
