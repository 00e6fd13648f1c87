"""Hidden conditions, and steering by what they change."""

import pytest
import torch

from binaural_core.diffusion.guidance import MONO, SIGHT, guided, keep_conditions

UNIFORM_B2 = torch.tensor([[0.05, 0.5], [0.5, 0.05], [0.5, 0.5], [0.05, 0.05], [0.1, 0.1]])


@pytest.mark.parametrize(
    "dropped,kept",
    [
        ("together", [[False, False], [True, True], [True, True], [False, False], [True, True]]),
        ("apart", [[False, True], [True, False], [True, True], [False, False], [True, True]]),
        ("sight", [[True, True], [True, False], [True, True], [True, False], [True, True]]),
    ],
)
def test_a_condition_is_hidden_below_the_threshold(dropped, kept):
    assert keep_conditions(UNIFORM_B2, 0.1, dropped).tolist() == kept


def test_nothing_is_hidden_at_threshold_zero():
    assert keep_conditions(torch.zeros(3, 2), 0.0, "together").all()


class Recorder:
    """A network whose conditions are worth 10 (mono) and 1 (sight)."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, t_B, kept_B2):
        self.calls.append(kept_B2[0].tolist())
        return x * 0 + 10.0 * kept_B2[:, MONO, None] + 1.0 * kept_B2[:, SIGHT, None]


@pytest.mark.parametrize(
    "scale,dropped,value,calls",
    [
        (1.0, "together", 11, [[True, True]]),
        (0.0, "together", 0, [[False, False]]),
        (2.0, "together", 22, [[False, False], [True, True]]),
        (3.0, "sight", 13, [[True, False], [True, True]]),
        (0.0, "sight", 10, [[True, False]]),
    ],
)
def test_guidance_goes_from_hidden_to_kept_and_beyond(scale, dropped, value, calls):
    network = Recorder()
    output = guided(network, scale, dropped)(torch.zeros(2, 1), torch.zeros(2))
    assert output.flatten().tolist() == [value, value]
    assert network.calls == calls
