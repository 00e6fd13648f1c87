"""Silent frames stay silent; everything else is the sampler's."""

import torch

from binaural_core.audio import MelConfig, log_mel
from binaural_core.audio.mel import LOG_FLOOR
from binaural_core.audio.scaling import to_unit
from binaural_core.diffusion.silence import keep_silence, silent_frames
from binaural_core.seeds import stream


def test_only_frames_that_are_silent_in_every_band():
    log_BMF = torch.full((2, 6, 5), LOG_FLOOR)
    log_BMF[0, :, 1] = LOG_FLOOR + 0.09
    log_BMF[0, 2, 2] = LOG_FLOOR + 0.11  # one band is enough to be heard
    log_BMF[0, :, 3] = -12.0  # below the floor, as a gain in training may put it
    log_BMF[1, :, 4] = -3.0
    mono_B1MF = to_unit(log_BMF)[:, None]
    silent = torch.tensor([[True, True, False, True, True], [True, True, True, True, False]])
    assert (silent_frames(mono_B1MF)[:, 0, 0] == silent).all()

    mels_BEMF = torch.randn(2, 2, 6, 5, generator=stream(0, "mels"))
    kept_BEMF = keep_silence(mels_BEMF, mono_B1MF)
    everywhere = silent[:, None, None].expand_as(mels_BEMF)
    assert (kept_BEMF[everywhere] == mono_B1MF.expand_as(mels_BEMF)[everywhere]).all()
    assert (kept_BEMF[~everywhere] == mels_BEMF[~everywhere]).all()


def test_what_counts_as_silence_in_a_sound():
    """Digital silence and noise at -110 dB; not the last bit of a 16-bit file, nor noise at -90 dB."""
    drawn_2N = torch.rand(2, 22_050, generator=stream(0, "noise")) - 0.5
    last_bit_N = drawn_2N.sum(dim=0).round() * 2.0**-15
    white_N = torch.randn(22_050, generator=stream(0, "white"))
    waves_BN = torch.stack([torch.zeros(22_050), white_N * 10 ** (-110 / 20), last_bit_N, white_N * 10 ** (-90 / 20)])
    shares_B = silent_frames(to_unit(log_mel(waves_BN, MelConfig()))[:, None]).float().mean(dim=(1, 2, 3))
    assert shares_B.tolist() == [1, 1, 0, 0]
