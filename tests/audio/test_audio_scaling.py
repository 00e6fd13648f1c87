import numpy as np
import pytest
import torch

from binaural_core.audio import LOG_FLOOR, from_unit, to_unit


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_the_ends_and_the_middle(make):
    log_mels = make([-20.0, -12.0, -4.75, 2.5, 9.0])
    assert to_unit(log_mels).tolist() == pytest.approx([-1, -1, 0, 1, 1])
    assert from_unit(make([-3.0, -1.0, 0.0, 1.0, 3.0])).tolist() == pytest.approx([-12, -12, -4.75, 2.5, 2.5])


def test_there_and_back():
    log_mels = torch.linspace(LOG_FLOOR, 2.5, 1000)
    torch.testing.assert_close(from_unit(to_unit(log_mels)), log_mels, rtol=0, atol=2e-6)
    assert to_unit(log_mels).dtype == torch.float32
