"""The constant-Q transform that a discriminator hears: bins as far apart as the notes of a scale, not as hertz.

A Fourier transform spends most of its bins on the top octaves; here every octave has the same number, so the low notes
are told apart as finely as the high ones, and the high ones in time as finely as their period allows (Brown 1991). The
lower octaves come from the kernels of the top one, applied to the sound at half the rate again and again (Schörkhuber
and Klapuri 2010).

nnAudio computes the transform. It is an extra of this package and is imported when the first transform is built.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from binaural_core.errors import InputError
from binaural_core.models.bigvgan_config import CQT_LOWEST_HZ

CROSSINGS = 6  # zero crossings of the sinc on either side
ROLLOFF = 0.99  # cutoff over half the old rate


class DoubleRate(nn.Module):
    """Resamples a wave (B, 1, N) to twice its rate, (B, 1, 2N), with a Hann-windowed sinc.

    The numbers are those of torchaudio's default resampler, and so is the name of the buffer, ``kernel``.
    """

    def __init__(self):
        super().__init__()
        reach = math.ceil(CROSSINGS / ROLLOFF)
        taps_T = torch.arange(-reach, reach + 1, dtype=torch.float64)
        halves_P = torch.tensor([0.0, 0.5], dtype=torch.float64)  # where the new samples stand between the old ones
        crossings_PT = (ROLLOFF * (taps_T - halves_P[:, None])).clamp(-CROSSINGS, CROSSINGS)
        hann_PT = (crossings_PT * math.pi / (2 * CROSSINGS)).cos().square()
        self.register_buffer("kernel", (ROLLOFF * crossings_PT.sinc() * hann_PT).float()[:, None])

    def forward(self, wave_B1N: Tensor) -> Tensor:
        phases_BPN = F.conv1d(wave_B1N, self.kernel, padding=self.kernel.shape[-1] // 2)
        return phases_BPN.transpose(1, 2).flatten(1)[:, None]


def constant_q(sample_rate_hz: int, hop_samples: int, octaves: int, bins_per_octave: int) -> nn.Module:
    """A fixed transform of waves (B, 1, N) to (B, K, F, 2): K = octaves * bins_per_octave from C1 up, F = 1 + N // hop.

    The last axis is the real and the imaginary part. Its buffers have the names that published checkpoints use.
    Raises InputError where nnAudio is missing.
    """
    try:
        from nnAudio.features.cqt import CQT2010v2
    except ImportError as error:
        raise InputError(
            "nnAudio cannot be imported",
            why=f"the constant-Q discriminator (use_cqtd_instead_of_mrd in the config) is built on it ({error})",
            fix="pip install 'binaural-core[cqt]', or set use_cqtd_instead_of_mrd to false",
        ) from error
    return CQT2010v2(
        sr=sample_rate_hz,
        hop_length=hop_samples,
        fmin=CQT_LOWEST_HZ,
        n_bins=octaves * bins_per_octave,
        bins_per_octave=bins_per_octave,
        pad_mode="constant",
        output_format="Complex",
        verbose=False,
    )
