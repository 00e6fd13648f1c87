"""Noising, distances and loss weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core.diffusion import objective, parameterization, schedule

GOLDEN = Path(__file__).parents[1] / "golden" / "diffusion"
COSINE = schedule.cosine(1000)


def test_noised_data_and_its_velocity():
    golden = np.load(GOLDEN / "forward.npz")
    x_0, noise, t = (torch.from_numpy(golden[name]) for name in ("x0", "noise", "t"))
    x_t = objective.q_sample(x_0.double(), noise.double(), t, COSINE)
    np.testing.assert_allclose(x_t, golden["x_t_f64"], rtol=1e-9)
    np.testing.assert_allclose(objective.q_sample(x_0, noise, t, COSINE), golden["x_t_lucidrains"], atol=5e-6)
    v = parameterization.target(x_0.double(), noise.double(), t, COSINE, "v")
    np.testing.assert_allclose(v, golden["v_f64"], rtol=1e-9)


@pytest.mark.parametrize("predicts,name", [("noise", "eps"), ("x0", "x0"), ("v", "v")])
def test_min_snr_weights(predicts, name):
    golden = np.load(GOLDEN / "weights.npz")
    np.testing.assert_allclose(
        objective.min_snr_weight(COSINE.log_snr, predicts), golden[f"min_snr_{name}_f64"], rtol=1e-9
    )


def test_p2_weight_is_its_formula():
    snr = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)
    torch.testing.assert_close(objective.p2_weight(snr.log()), 1 / (1 + snr))
    torch.testing.assert_close(objective.p2_weight(snr.log(), gamma=0.5, k=2.0), (2 + snr) ** -0.5)


def test_distances_keep_samples_apart():
    wanted = torch.zeros(2, 2, 3, 4)
    said = torch.stack([torch.full((2, 3, 4), 2.0), torch.full((2, 3, 4), -3.0)])
    assert objective.distance(said, wanted, "l1").tolist() == [2, 3]
    assert objective.distance(said, wanted, "l2").tolist() == [4, 9]


def test_cells_of_weight_zero_do_not_count():
    said, wanted = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    said[:, :, 0], said[:, :, 1] = 5.0, 1.0
    weight = torch.tensor([0.0, 1.0])[None, None, :, None]
    assert objective.distance(said, wanted, "l1", weight).item() == pytest.approx(1)
    weight = torch.tensor([1.0, 3.0])[None, None, :, None]
    assert objective.distance(said, wanted, "l1", weight).item() == pytest.approx((5 + 3 * 1) / 4)
