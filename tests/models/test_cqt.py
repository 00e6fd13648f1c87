"""The resampler against its formula, and the constant-Q transform against tones whose place is known."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from binaural_core.errors import InputError
from binaural_core.models.cqt import DoubleRate, constant_q

RATE_HZ = 22_050


def sinc_at(wave_N: np.ndarray, time: float) -> float:
    """The wave between its samples by direct summation: zeros beyond the ends, 6 crossings, Hann, cutoff 0.99."""
    t_N = 0.99 * (time - np.arange(len(wave_N)))
    kernel_N = 0.99 * np.sinc(t_N) * np.cos(np.pi * t_N / 12) ** 2
    return float((wave_N * kernel_N)[np.abs(t_N) < 6].sum())


def test_resampler_is_the_windowed_sinc_up_to_both_ends():
    wave_N = np.random.default_rng(0).standard_normal(40)
    twice = DoubleRate()(torch.from_numpy(wave_N).float()[None, None])
    assert twice.shape == (1, 1, 80)
    np.testing.assert_allclose(twice[0, 0], [sinc_at(wave_N, n / 2) for n in range(80)], rtol=0, atol=2e-6)


@pytest.mark.parametrize("frequency_hz", [100.0, 3000.0, 8000.0])
def test_resampled_tone_is_the_tone_at_twice_the_rate(frequency_hz):
    def tone(rate_hz: int, samples: int) -> torch.Tensor:
        return torch.sin(2 * torch.pi * frequency_hz / rate_hz * torch.arange(samples).double()).float()[None, None]

    twice, wanted = DoubleRate()(tone(RATE_HZ, 2000)), tone(2 * RATE_HZ, 4000)
    torch.testing.assert_close(twice[..., 20:-20], wanted[..., 20:-20], rtol=0, atol=0.02)


def test_each_wave_of_a_batch_is_resampled_alone():
    waves = torch.randn(3, 1, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(DoubleRate()(waves)[1:2], DoubleRate()(waves[1:2]))


@pytest.mark.parametrize("octaves, bins", [(9, 24), (9, 48), (5, 12)])
def test_a_tone_stands_in_its_own_bin(octaves, bins):
    """Bin k is 32.70 Hz * 2^(k / bins); five octaves stop so low that nnAudio lowers the rate first."""
    transform = constant_q(2 * RATE_HZ, 256, octaves, bins)
    k = bins * octaves - bins // 2
    frequency_hz = 32.70 * 2 ** (k / bins)
    phase_N = 2 * torch.pi * frequency_hz / (2 * RATE_HZ) * torch.arange(16384).double()
    wave = torch.stack([phase_N.cos(), 0.5 * phase_N.sin()]).float()[:, None]
    cqt_BKF2 = transform(wave)
    assert cqt_BKF2.shape == (2, octaves * bins, 65, 2)
    spectrum_BKF = torch.view_as_complex(cqt_BKF2.contiguous())[..., 20:-20]
    assert (spectrum_BKF.abs().argmax(1) == k).all()
    quarter_turns = spectrum_BKF[0, k] / spectrum_BKF[1, k]  # a cosine over half a sine
    torch.testing.assert_close(quarter_turns.abs(), torch.full((25,), 2.0), rtol=0.02, atol=0)
    torch.testing.assert_close(quarter_turns.angle().abs(), torch.full((25,), torch.pi / 2), rtol=0, atol=0.05)


def test_building_a_transform_prints_nothing(capfd):
    constant_q(2 * RATE_HZ, 256, 3, 12)
    assert capfd.readouterr() == ("", "")


def test_without_nnaudio_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nnAudio.features.cqt", None)
    with pytest.raises(InputError, match=r"nnAudio cannot be imported.*pip install 'binaural-core\[cqt\]'"):
        constant_q(2 * RATE_HZ, 256, 9, 24)


def test_nnaudio_is_imported_only_when_a_transform_is_built():
    code = "import sys, binaural_core.models.discriminators; sys.exit('nnAudio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
