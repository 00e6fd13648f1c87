"""The anti-aliased activation against the public reference, and what it is for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core.errors import InputError
from binaural_core.models.alias_free import AliasFree, DownsampleTwice, Snake, SnakeBeta, UpsampleTwice, kaiser_sinc

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "bigvgan" / "activation" / "activation.npz")
CURVES = {"snake": Snake, "snakebeta": SnakeBeta}


@pytest.mark.parametrize(
    "name, cutoff, half_width, taps",
    [
        ("filter12_up", 0.25, 0.3, 12),
        ("filter12_down", 0.25, 0.3, 12),
        ("kaiser_c0125_h015_k24", 0.125, 0.15, 24),
        ("kaiser_c05_h06_k12", 0.5, 0.6, 12),
        ("kaiser_c02_h03_k7_odd", 0.2, 0.3, 7),
    ],
)
def test_filter_is_the_reference_filter(name, cutoff, half_width, taps):
    np.testing.assert_allclose(kaiser_sinc(cutoff, half_width, taps), GOLDEN[name], atol=1e-7)


def test_filter_refuses_an_impossible_cutoff():
    with pytest.raises(InputError, match=r"cutoff=0\.6"):
        kaiser_sinc(0.6)


def golden_activation(kind: str, scale: str) -> AliasFree:
    curve = CURVES[kind](6, log_scale=scale == "log")
    curve.load_state_dict({k: torch.from_numpy(GOLDEN[f"{kind}_{scale}.{k}"]) for k in curve.state_dict()})
    return AliasFree(curve)


@pytest.mark.parametrize("samples, atol", [(1, 1e-5), (2, 1e-5), (6, 1e-5), (37, 2e-4), (530, 1e-5)])
@pytest.mark.parametrize("scale", ["lin", "log"])
@pytest.mark.parametrize("kind", ["snake", "snakebeta"])
def test_activation_gives_the_reference_output(kind, scale, samples, atol):
    x = torch.from_numpy(GOLDEN[f"{kind}_{scale}.x{samples}"])
    with torch.no_grad():
        y = golden_activation(kind, scale)(x)
    np.testing.assert_allclose(y, GOLDEN[f"{kind}_{scale}.y{samples}"], rtol=0, atol=atol)


@pytest.mark.parametrize("scale", ["lin", "log"])
@pytest.mark.parametrize("kind", ["snake", "snakebeta"])
def test_curve_alone_gives_the_reference_output(kind, scale):
    x = torch.from_numpy(GOLDEN[f"{kind}_{scale}.x530"])
    with torch.no_grad():
        y = golden_activation(kind, scale).act(x)
    np.testing.assert_allclose(y, GOLDEN[f"{kind}_{scale}.pointwise_y530"], rtol=0, atol=1e-5)


def test_new_curves_start_at_alpha_one():
    for curve in (Snake(3, log_scale=True), Snake(3, log_scale=False), SnakeBeta(3, log_scale=True)):
        alpha, beta = curve.curve()
        assert torch.equal(alpha, torch.ones(3))
        assert torch.equal(beta, torch.ones(3))


def test_up_and_down_keep_a_constant_and_a_slow_tone():
    n = torch.arange(400.0)
    x = torch.stack([torch.full((400,), 0.7), torch.sin(2 * torch.pi * 0.02 * n)])[None]
    back = DownsampleTwice()(UpsampleTwice()(x))
    assert back.shape == x.shape
    torch.testing.assert_close(back[0, 0], x[0, 0], rtol=0, atol=1e-6)
    torch.testing.assert_close(back[0, 1, 20:-20], x[0, 1, 20:-20], rtol=0, atol=2e-3)


def test_upsampled_tone_has_no_image():
    n = torch.arange(512.0)
    up = UpsampleTwice()(torch.sin(2 * torch.pi * 64 / 512 * n)[None, None])[0, 0, 256:768]
    spectrum = torch.fft.rfft(up * torch.hann_window(512)).abs()
    assert spectrum[192] < 0.01 * spectrum[32], "the mirror of the tone around the old Nyquist frequency is still there"


def test_curve_aliases_and_the_wrapper_does_not():
    """A tone at 0.15 cycles per sample: sin² doubles it, and its harmonics at 0.6, 0.9 … fold back to 0.4, 0.1 …"""
    n = torch.arange(1000.0)
    tone = 2.0 * torch.sin(2 * torch.pi * 0.15 * n)[None, None]
    curve = Snake(1, log_scale=False)
    with torch.no_grad():
        levels = [
            torch.fft.rfft(act(tone)[0, 0, 200:800] * torch.hann_window(600)).abs() for act in (curve, AliasFree(curve))
        ]
    alias = round(0.4 * 600)  # the fourth harmonic, 0.6, folded
    assert levels[1][alias] < 0.25 * levels[0][alias]


def test_gradients_are_right():
    act = AliasFree(SnakeBeta(2, log_scale=True)).double()
    x = torch.randn(1, 2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    torch.autograd.gradcheck(act, (x,), atol=1e-6)
