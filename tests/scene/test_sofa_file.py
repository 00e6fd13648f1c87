import numpy as np
import pytest
import sofar

from binaural_core.errors import InputError
from binaural_core.scene.geometry import unit_vectors
from binaural_core.scene.head import Head
from binaural_core.scene.sofa_file import read_hrir

AZIMUTHS_DEG = np.array([0.0, 90.0, 180.0, 270.0])


def spherical():
    return np.stack([AZIMUTHS_DEG, np.zeros(4), np.full(4, 1.5)], axis=1)


def toy(path, *, convention="SimpleFreeFieldHRIR", rate_hz=48_000, change=None):
    """Four directions; the left ear gets a click at sample 40, the right one at sample 50, of half the height."""
    sofa = sofar.Sofa(convention)
    sofa.Data_IR = np.zeros((4, 2, 128))
    sofa.Data_IR[:, 0, 40], sofa.Data_IR[:, 1, 50] = 1.0, 0.5
    sofa.Data_SamplingRate = rate_hz
    sofa.SourcePosition = spherical()
    if change:
        change(sofa)
    sofar.write_sofa(path, sofa)
    return path


def test_reads_directions_ears_and_rate(tmp_path):
    measured = read_hrir(toy(tmp_path / "toy.sofa", rate_hz=96_000))
    np.testing.assert_allclose(measured.directions_D2, [[0, 0], [90, 0], [-180, 0], [-90, 0]])
    assert measured.sample_rate_hz == 96_000
    assert measured.response_DEN[1].argmax(axis=-1).tolist() == [40, 50]


def test_cartesian_positions_are_the_same(tmp_path):
    def cartesian(sofa):
        sofa.SourcePosition = unit_vectors(AZIMUTHS_DEG, np.zeros(4)) * 1.5
        sofa.SourcePosition_Type, sofa.SourcePosition_Units = "cartesian", "metre"

    measured = read_hrir(toy(tmp_path / "cartesian.sofa", change=cartesian))
    np.testing.assert_allclose(unit_vectors(*measured.directions_D2.T), unit_vectors(AZIMUTHS_DEG, 0.0), atol=1e-9)


@pytest.mark.parametrize("delay", [[[0.0, 7.0]], np.tile([[2.0, 9.0]], (4, 1)), [[1.25, 8.25]]])
def test_delays_are_honoured_exactly(tmp_path, delay):
    def delayed(sofa):
        sofa.Data_Delay = np.array(delay)
        sofa.Data_IR = np.zeros((4, 2, 128))
        sofa.Data_IR[:, :, 36:45] = np.hanning(11)[1:-1]

    head = Head.from_sofa(toy(tmp_path / "delayed.sofa", change=delayed), sample_rate_hz=None)
    centre = (head.response_DEN * np.arange(head.taps)).sum(-1) / head.response_DEN.sum(-1)
    expected = 40 + np.broadcast_to(delay, (4, 2))
    np.testing.assert_allclose(centre, expected, atol=0.01)
    assert head.itd_us(0.0) == pytest.approx(7e6 / 48_000, abs=1)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100, 96_000])
def test_any_rate_keeps_time_and_level(tmp_path, rate_hz):
    def smooth(sofa):
        sofa.Data_IR[:, 0, 30:51], sofa.Data_IR[:, 1, 40:61] = np.hanning(21), np.hanning(21) / 2

    head = Head.from_sofa(toy(tmp_path / "toy.sofa", change=smooth), sample_rate_hz=rate_hz)
    assert head.sample_rate_hz == rate_hz
    assert head.itd_us(0.0) == pytest.approx(10e6 / 48_000, abs=1)
    assert head.ild_db(0.0) == pytest.approx(6.02, abs=0.05)
    assert head.response_DEN[0].sum(axis=-1) == pytest.approx([10, 5], rel=0.01)  # the gain at 0 Hz


def test_a_response_that_begins_at_once_survives_resampling(tmp_path):
    def early(sofa):
        sofa.Data_IR = np.zeros((4, 2, 64))
        sofa.Data_IR[:, :, 0] = 1.0

    head = Head.from_sofa(toy(tmp_path / "early.sofa", change=early), sample_rate_hz=22_050)
    assert np.abs(np.fft.rfft(head.response_DEN[0], 512))[:, :200] == pytest.approx(1.0, abs=0.01)


def test_swapped_receivers_are_put_right(tmp_path):
    def swapped(sofa):
        sofa.ReceiverPosition = sofa.ReceiverPosition[::-1]
        sofa.Data_IR = sofa.Data_IR[:, ::-1]
        sofa.Data_Delay = np.array([[3.0, 0.0]])

    measured = read_hrir(toy(tmp_path / "swapped.sofa", change=swapped))
    assert measured.response_DEN[0].argmax(axis=-1).tolist() == [40, 50]
    assert measured.delay_DE[0].tolist() == [0.0, 3.0]


def test_the_farthest_of_several_distances_is_kept(tmp_path):
    def two_distances(sofa):
        sofa.SourcePosition = np.array([[0.0, 0, 0.5], [0, 0, 1.5], [90, 0, 1.5], [90, 0, 0.5]])
        sofa.Data_IR[:, 0, 40] = [1, 2, 3, 4]

    measured = read_hrir(toy(tmp_path / "near.sofa", change=two_distances))
    assert measured.response_DEN[:, 0, 40].tolist() == [2, 3]


def refused(path, *words):
    with pytest.raises(InputError) as error:
        Head.from_sofa(path)
    for word in (path.name, "To fix", *words):
        assert word in str(error.value)


def test_what_is_no_sofa_is_refused_by_name(tmp_path):
    refused(tmp_path / "missing.sofa", "not there")
    wave = tmp_path / "sound.wav"
    wave.write_bytes(b"RIFF....")
    refused(wave, ".sofa")
    text = tmp_path / "text.sofa"
    text.write_text("not a head")
    refused(text, "no SOFA file")
    cut = tmp_path / "cut.sofa"
    cut.write_bytes(toy(tmp_path / "whole.sofa").read_bytes()[:3000])
    refused(cut, "SOFA")


def test_other_conventions_are_refused(tmp_path):
    path = tmp_path / "room.sofa"
    sofar.write_sofa(path, sofar.Sofa("GeneralFIR"))
    refused(path, "GeneralFIR", "SimpleFreeFieldHRIR")


def test_one_receiver_is_refused(tmp_path):
    def one_ear(sofa):
        sofa.Data_IR, sofa.Data_Delay = sofa.Data_IR[:, :1], np.zeros((1, 1))
        sofa.ReceiverPosition = np.zeros((1, 3))

    refused(toy(tmp_path / "one.sofa", change=one_ear), "1 receiver")


def test_broken_numbers_are_refused(tmp_path):
    def nan(sofa):
        sofa.Data_IR[2, 0, 3] = np.nan

    def silent(sofa):
        sofa.Data_IR[2, 0] = 0

    def looks_left(sofa):
        sofa.ListenerView = np.array([[0.0, 1.0, 0.0]])

    refused(toy(tmp_path / "nan.sofa", change=nan), "NaN")
    refused(toy(tmp_path / "silent.sofa", change=silent), "silent")
    refused(toy(tmp_path / "left.sofa", change=looks_left), "+x")
