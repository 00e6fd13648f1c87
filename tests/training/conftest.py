"""Recordings for the tests of stage 2's training."""

import pytest
from tiny_vocoder import HOP, RATE, TINY

from binaural_core.audio import log_mel, read_audio, write_audio
from binaural_core.data.mel_pairs import write_mels
from binaural_core.models.bigvgan import BigVGANConfig
from binaural_core.seeds import numpy_stream


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A plain folder of stereo files (48 kHz), their true mels, and "predicted" ones that are half a neper off."""
    root = tmp_path_factory.mktemp("recordings")
    for number in range(5):
        draw, split = numpy_stream(1, "sound", number), "train" if number < 4 else "val"
        ears_EN = 0.1 * draw.standard_normal((2, int(1.2 * 48_000)))
        write_audio(root / "wav" / f"clip{number}.wav", ears_EN, 48_000)
        wave_EN = read_audio(root / "wav" / f"clip{number}.wav", sample_rate_hz=RATE).wave_CN
        mel_EMF = log_mel(wave_EN[:, : 80 * HOP], BigVGANConfig.from_public(TINY).mel).numpy()
        write_mels(root / "true", split, f"clip{number}", 0.0, mel_EMF)
        write_mels(root / "predicted", split, f"clip{number}", 0.0, mel_EMF + 0.5)
    return root
