import math

import pytest
import torch

from binaural_core.audio import istft, stft
from binaural_core.errors import InputError


@pytest.mark.parametrize("framing, frames", [("centred", 20), ("mel", 19)])
@pytest.mark.parametrize("win", [1024, 800])
def test_the_inverse_gives_the_wave_back(framing, frames, win):
    wave = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spectrum = stft(wave, win=win, framing=framing)
    assert spectrum.shape == (2, 513, frames)
    torch.testing.assert_close(istft(spectrum, win=win, length=5000, framing=framing), wave, rtol=0, atol=1e-9)


@pytest.mark.parametrize("framing, frame, sample", [("centred", 8, 8 * 256), ("mel", 8, int(8.5 * 256))])
def test_where_a_frame_looks(framing, frame, sample):
    click = torch.zeros(1, 8192)
    click[0, sample] = 1.0
    spectrum = stft(click, framing=framing)[0]
    assert spectrum.abs().sum(dim=0).argmax() == frame
    torch.testing.assert_close(spectrum[:, frame].abs(), torch.ones(513), rtol=0, atol=1e-5)


def test_nothing_is_scaled():
    n = torch.arange(4096, dtype=torch.float64)
    spectrum = stft(torch.cos(2 * math.pi * 64 / 1024 * n)[None])
    assert spectrum[0, 64, 8].abs().item() == pytest.approx(256, abs=1e-6)  # half of the Hann window's sum, 512


def test_a_spectrum_that_is_no_stft_gives_the_nearest_wave():
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(1, 4096, generator=generator, dtype=torch.float64)
    bent = stft(wave) * (1 + 0.5 * torch.rand(1, 513, 17, generator=generator, dtype=torch.float64))
    best = istft(bent, length=4096)

    def distance(candidate):
        return (stft(candidate) - bent).abs().square()[:, 1:-1].sum()

    for nudge in torch.randn(3, 1, 4096, generator=generator, dtype=torch.float64):
        assert distance(best) < distance(best + 1e-3 * nudge)


def test_gradients_reach_the_wave():
    wave = torch.randn(1, 2048, requires_grad=True)
    istft(stft(wave) * 2, length=2048).sum().backward()
    torch.testing.assert_close(wave.grad, torch.full_like(wave, 2.0))


def test_too_short_and_misshapen():
    with pytest.raises(InputError, match="384 samples"):
        stft(torch.zeros(1, 384), framing="mel")
    with pytest.raises(InputError, match="shape"):
        istft(torch.zeros(1, 512, 4, dtype=torch.complex64), length=10)
