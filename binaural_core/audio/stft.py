"""The short-time Fourier transform and its inverse.

Conventions: Hann window, scaled so that nothing is scaled. Two framings: ``"centred"``, where frame f looks at sample
f * hop and zeros lie beyond the ends (F = 1 + N // hop), and ``"mel"``, where frame f looks at sample (f + 1/2) * hop
and the ends are mirrored (F = N // hop): the frames of `binaural_core.audio.mel`.
"""

from typing import Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor

from binaural_core.errors import need
from binaural_core.shapes import check

Framing = Literal["centred", "mel"]


def stft(
    wave_BN: Tensor, n_fft: int = 1024, hop: int = 256, win: int = 1024, *, framing: Framing = "centred"
) -> Tensor:
    """Complex spectra (B, K, F), K = n_fft // 2 + 1; hop and win in samples.

    Raises InputError if the wave is too short.
    """
    check(wave_BN, "B N", "wave")
    pad, samples = _pad(n_fft, hop, framing), wave_BN.shape[1]
    needed = pad + 1 if framing == "mel" else 1
    need(
        samples >= needed,
        f"the wave has {samples} samples",
        why=f"the transform with n_fft={n_fft} and hop={hop} needs {needed}",
        fix="give a longer wave, or pad it with silence",
    )
    padded_BN = nnf.pad(wave_BN[:, None], (pad, pad), "reflect" if framing == "mel" else "constant")[:, 0]
    return torch.stft(padded_BN, n_fft, hop, win, _hann(win, wave_BN), center=False, return_complex=True)


def istft(
    spectrum_BKF: Tensor,
    n_fft: int = 1024,
    hop: int = 256,
    win: int = 1024,
    *,
    length: int,
    framing: Framing = "centred",
) -> Tensor:
    """The wave (B, length) whose `stft` comes nearest to ``spectrum_BKF`` (Griffin and Lim 1984, eq. 6)."""
    check(spectrum_BKF, f"B {n_fft // 2 + 1} F", "spectrum")
    frames, pad = spectrum_BKF.shape[2], _pad(n_fft, hop, framing)
    before = (n_fft - win) // 2
    window = nnf.pad(_hann(win, spectrum_BKF.real), (before, n_fft - win - before))

    def overlap_add(pieces_BSF: Tensor) -> Tensor:
        total = (frames - 1) * hop + n_fft
        return nnf.fold(pieces_BSF, (1, total), (1, n_fft), stride=(1, hop))[:, 0, 0]

    pieces_BSF = torch.fft.irfft(spectrum_BKF, n_fft, dim=1) * window[:, None]
    weight_1N = overlap_add((window**2)[None, :, None].expand(1, n_fft, frames))
    wave_BN = overlap_add(pieces_BSF) / weight_1N.clamp(min=1e-8)
    wave_BN = wave_BN[:, pad : pad + length]
    return nnf.pad(wave_BN, (0, length - wave_BN.shape[1]))


def _pad(n_fft: int, hop: int, framing: Framing) -> int:
    return n_fft // 2 if framing == "centred" else (n_fft - hop) // 2


def _hann(win: int, like: Tensor) -> Tensor:
    return torch.hann_window(win, dtype=like.dtype, device=like.device)
