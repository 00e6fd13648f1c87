"""Noise, x0 and v: the same thing said in three ways."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core.diffusion import parameterization, schedule
from binaural_core.errors import InputError

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "diffusion" / "conversions.npz")
NAMES = {"noise": "eps", "x0": "x0", "v": "v"}
COSINE = schedule.cosine(1000)


def golden(name: str) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[name])


@pytest.mark.parametrize("given,wanted", [(g, w) for g, w in product(NAMES, NAMES) if g != w])
def test_conversions(given, wanted):
    made = parameterization.convert(
        golden(NAMES[given]), golden("x_t"), golden("t"), COSINE, given=given, wanted=wanted
    )
    np.testing.assert_allclose(made, GOLDEN[f"{NAMES[wanted]}_from_{NAMES[given]}_f64"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("predicts", list(NAMES))
def test_what_the_network_should_say_leads_back_to_the_data(predicts):
    generator = torch.Generator().manual_seed(0)
    x_0, noise = torch.randn(2, 4, 2, 3, 5, generator=generator, dtype=torch.float64)
    t_B = torch.tensor([3, 400, 800, 990])
    a, b = COSINE.signal_noise(t_B, x_0)
    said = parameterization.target(x_0, noise, t_B, COSINE, predicts)
    back = parameterization.to_x0(said, a * x_0 + b * noise, t_B, COSINE, predicts)
    torch.testing.assert_close(back, x_0, rtol=1e-8, atol=1e-8)


def test_noise_says_nothing_where_no_signal_is_left():
    rescaled = schedule.zero_terminal_snr(COSINE)
    x = torch.ones(1, 2, 3, 4)
    with pytest.raises(InputError, match="no signal left"):
        parameterization.to_x0(x, x, 999, rescaled, "noise")
    torch.testing.assert_close(parameterization.to_x0(x, x, 999, rescaled, "v"), -x)
