"""The straight bridge from the noised mono to both ears."""

import pytest
import torch

from binaural_core.diffusion import bridge
from binaural_core.errors import InputError
from binaural_core.seeds import stream


def test_ends_and_slope_of_the_bridge():
    x_0, x_1 = torch.randn(2, 3, 2, 4, 5, generator=stream(0, "ends"))
    t_B = torch.tensor([0.0, 1.0, 0.25])
    x_t = bridge.point(x_0, x_1, t_B)
    torch.testing.assert_close(x_t[0], x_0[0])
    torch.testing.assert_close(x_t[1], x_1[1])
    torch.testing.assert_close(x_t[2], x_0[2] + 0.25 * bridge.velocity(x_0, x_1)[2])


def test_both_ears_start_at_the_mono_with_noise_of_the_given_size():
    mono = torch.full((1, 1, 80, 400), 0.5)
    noise = torch.randn(1, 2, 80, 400, generator=stream(0, "noise"))
    x_0 = bridge.start(mono, noise, 0.2)
    assert x_0.shape == noise.shape
    torch.testing.assert_close(x_0 - 0.2 * noise, mono.expand_as(noise))
    torch.testing.assert_close(bridge.start(mono, noise, 0.0), mono.expand_as(noise))


@pytest.mark.parametrize("solver", [bridge.euler, bridge.midpoint])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_constant_velocity_is_followed_exactly(solver, steps):
    x_0, x_1 = torch.randn(2, 1, 2, 3, 4, generator=stream(0, "ends"), dtype=torch.float64)
    torch.testing.assert_close(solver(lambda x, t: x_1 - x_0, x_0, steps), x_1)


def test_orders_of_the_solvers():
    """dx/dt = 3 t² from 0: Euler and midpoint have known sums."""
    zero = torch.zeros(1, dtype=torch.float64)
    field = lambda x, t: torch.full_like(x, 3 * t**2)  # noqa: E731
    assert bridge.euler(field, zero, 4).item() == pytest.approx(sum(3 * (i / 4) ** 2 for i in range(4)) / 4)
    assert bridge.midpoint(field, zero, 4).item() == pytest.approx(sum(3 * ((i + 0.5) / 4) ** 2 for i in range(4)) / 4)


@pytest.mark.parametrize("solver,evaluations", [(bridge.euler, 3), (bridge.midpoint, 6)])
def test_evaluations_and_watch(solver, evaluations):
    asked, seen = [], []

    def field(x, t):
        asked.append(t)
        return torch.ones_like(x)

    end = solver(field, torch.zeros(2), 3, watch=lambda t, x, x_1: seen.append((t, x[0].item(), x_1[0].item())))
    assert len(asked) == evaluations
    assert max(asked) < 1
    assert end[0].item() == pytest.approx(1)
    assert [t for t, _, _ in seen] == pytest.approx([0, 1 / 3, 2 / 3])
    assert [x for _, x, _ in seen] == pytest.approx([0, 1 / 3, 2 / 3])
    assert [x_1 for _, _, x_1 in seen] == pytest.approx([1, 1, 1])


def test_naming_the_end_is_naming_the_velocity():
    x_0, x_1 = torch.randn(2, 3, 2, 4, 5, generator=stream(0, "ends"), dtype=torch.float64)
    t_B = torch.tensor([0.0, 0.4, 0.95], dtype=torch.float64)
    x_t = bridge.point(x_0, x_1, t_B)
    torch.testing.assert_close(bridge.velocity_towards(x_1, x_t, t_B), bridge.velocity(x_0, x_1))


def test_no_steps_are_refused():
    with pytest.raises(InputError, match="0 steps"):
        bridge.euler(lambda x, t: x, torch.zeros(1), 0)
