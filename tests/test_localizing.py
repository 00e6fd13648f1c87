"""The measure of the localiser: each peak belongs to one object, what is far off is missed and false."""

import numpy as np

from binaural_core.localizing import Found, measure, off_deg, table


def test_each_peak_belongs_to_one_object():
    errors, false = off_deg(np.array([31.0, -18.0, 70.0]), np.array([30.0, -20.0]))
    assert errors.tolist() == [1.0, 2.0]
    assert false == 1
    errors, false = off_deg(np.array([30.0]), np.array([28.0, 31.0]))  # one peak for two: the nearer has it
    assert errors.tolist() == [np.inf, 1.0]
    assert false == 0
    errors, false = off_deg(np.array([45.0]), np.array([30.0]))  # too far off to be meant
    assert errors.tolist() == [np.inf]
    assert false == 1
    assert off_deg(np.zeros(0), np.array([3.0]))[0].tolist() == [np.inf]


def test_the_table_counts_what_is_missed():
    found = [Found(1, (1.0,), 0), Found(1, (3.0,), 1), Found(2, (2.0, np.inf), 0)]
    lines = table(found).splitlines()
    assert lines[2] == "| one | 2 | 1.0° | 1.0° | 100 % | 0.50 |"
    assert lines[3] == "| two | 2 | 2.0° | 2.0° | 50 % | 0.00 |"
    assert lines[-1].startswith("| all | 4 | 2.0° | 3.0° | 75 %")


class Nobody:
    def locate(self, images):
        return [(np.zeros((0, 4)), np.zeros(0)) for _ in images]


def test_a_localiser_that_finds_nobody_finds_nobody():
    found = measure(Nobody(), scenes=1, width_px=96)
    assert len(found) == 4
    assert all(not np.isfinite(picture.errors_deg).any() and picture.false == 0 for picture in found)
