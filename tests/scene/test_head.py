import time

import numpy as np
import pytest
import sofar

from binaural_core import places
from binaural_core.audio import interaural
from binaural_core.scene.geometry import unit_vectors
from binaural_core.scene.head import KEMAR_FILE, Head, minimum_phase

RATE_HZ = 22_050


@pytest.fixture(scope="module")
def kemar():
    return Head.kemar()


def test_the_shipped_head_names_its_authors():
    sofa = sofar.read_sofa(str(places.data_samples() / KEMAR_FILE), verify=True, verbose=False)
    assert "Gardner" in sofa.GLOBAL_References
    assert "1994" in sofa.GLOBAL_References
    assert "free" in sofa.GLOBAL_License
    assert sofa.Data_IR.shape == (710, 2, 512)
    assert sofa.Data_SamplingRate == 44_100
    assert (places.data_samples() / KEMAR_FILE).stat().st_size < 2.5e6


def test_loading_is_fast_and_cached(kemar):
    before_s = time.process_time()
    Head.from_sofa(places.data_samples() / KEMAR_FILE, sample_rate_hz=16_000).filters(10, 10)
    assert time.process_time() - before_s < 1.0
    assert Head.kemar() is kemar


def test_left_is_earlier_and_louder_from_the_left(kemar):
    assert 650 < kemar.itd_us(90) < 750
    assert kemar.ild_db(90) > 8
    assert kemar.itd_us(-90) == pytest.approx(-kemar.itd_us(90), abs=1)
    assert kemar.ild_db(-90) == pytest.approx(-kemar.ild_db(90), abs=0.05)
    assert abs(kemar.itd_us(0)) < 1
    assert abs(kemar.itd_us(180)) < 1


def test_itd_grows_towards_the_side_as_around_a_sphere(kemar):
    azimuths_deg = np.arange(0, 91, 10)
    itds_us = [kemar.itd_us(a) for a in azimuths_deg]
    sphere_us = interaural.spherical_head_itd_s(azimuths_deg) * 1e6
    assert (np.diff(itds_us) > 0).all()
    np.testing.assert_allclose(itds_us, sphere_us, atol=140)


def test_measured_directions_give_the_measured_responses(kemar):
    azimuth_deg, elevation_deg = kemar.directions_D2.T
    np.testing.assert_allclose(kemar.filters(azimuth_deg, elevation_deg), kemar.response_DEN, atol=2e-6)


def test_own_rate_is_the_file_untouched():
    head = Head.kemar(None)
    sofa = sofar.read_sofa(str(places.data_samples() / KEMAR_FILE), verify=False, verbose=False)
    assert head.sample_rate_hz == 44_100
    np.testing.assert_array_equal(head.response_DEN, sofa.Data_IR.astype(np.float32))


def test_resampling_moves_no_ear_and_keeps_the_gain(kemar):
    own = Head.kemar(None)
    for azimuth_deg in (0, 25, 60, 90, 140, -35):
        assert kemar.itd_us(azimuth_deg) == pytest.approx(own.itd_us(azimuth_deg), abs=1)
    low, high = (np.abs(np.fft.rfft(h.filters(30.0, 0.0), n, axis=-1)) for h, n in ((kemar, 2048), (own, 4096)))
    np.testing.assert_allclose(low[:, 5:900], high[:, 5:900], atol=0.005)  # the same frequencies, up to 9.7 kHz


def test_interpolation_predicts_responses_that_were_left_out(kemar):
    elevation = kemar.directions_D2[:, 1]
    out = np.flatnonzero((elevation > -40) & (elevation < 80))[3::7]
    kept = np.setdiff1d(np.arange(len(elevation)), out)
    partial = Head(kemar.directions_D2[kept], kemar.response_DEN[kept], RATE_HZ, "partial")
    truth, guess = kemar.response_DEN[out], partial.filters(*kemar.directions_D2[out].T)
    nearest = partial.response_DEN[partial.nearest(unit_vectors(*kemar.directions_D2[out].T))]

    def snr_db(prediction):
        return np.mean(10 * np.log10((truth**2).sum((1, 2)) / ((prediction - truth) ** 2).sum((1, 2))))

    assert snr_db(guess) > 23  # 25.3; the raw mixture reaches 17.5
    assert snr_db(nearest) < 12
    itd_errors_us = [abs(partial.itd_us(a, e) - kemar.itd_us(a, e)) for a, e in kemar.directions_D2[out]]
    assert np.mean(itd_errors_us) < 3
    assert np.max(itd_errors_us) < 16


def test_filters_change_continuously(kemar):
    azimuths_deg = np.linspace(-180, 180, 1441)
    filters = kemar.filters(azimuths_deg, np.full(1441, 13.0))
    steps = np.linalg.norm(np.diff(filters, axis=0), axis=(1, 2)) / np.linalg.norm(filters[1:], axis=(1, 2))
    assert steps.max() < 0.12  # a quarter of a degree; 5 degrees to the next measurement


def test_shapes(kemar):
    assert kemar.filters(10.0, 0.0).shape == (2, kemar.taps)
    assert kemar.filters(np.zeros((3, 4)), 0.0).shape == (3, 4, 2, kemar.taps)
    assert kemar.filters(0.0).dtype == np.float32
    with pytest.raises(ValueError, match="NaN"):
        kemar.filters(np.nan, 0.0)


def test_minimum_phase_recovers_a_minimum_phase_filter():
    taps = np.array([1.0, -0.5, 0.2])
    spectrum = np.fft.rfft(taps, 512)
    np.testing.assert_allclose(np.fft.irfft(minimum_phase(np.abs(spectrum), 512))[:3], taps, atol=1e-6)


def test_onset_of_a_delayed_minimum_phase_filter():
    taps = np.zeros((1, 2, 64), np.float32)
    taps[0, 0, 9:12] = taps[0, 1, 20:23] = (1.0, -0.5, 0.2)
    head = Head(np.zeros((1, 2)), taps, RATE_HZ, "toy")
    np.testing.assert_allclose(head.delay_DE, [[9, 20]], atol=0.35)
    assert np.ptp(head.delay_DE) == pytest.approx(11, abs=1e-3)


def test_diffuse_field_is_coherent_below_and_not_above(kemar):
    magnitude_EK, coherence_K = kemar.diffuse_field(512)
    frequency_hz = np.fft.rfftfreq(512, 1 / RATE_HZ)
    assert magnitude_EK.shape == (2, 257)
    assert np.abs(coherence_K).max() <= 1 + 1e-6
    assert coherence_K[frequency_hz < 150].real.min() > 0.85
    assert np.abs(coherence_K[frequency_hz > 2000]).max() < 0.35
