"""Vocoders for the tests of stored mels."""

import json

import pytest
from stored import GOLDEN, MEL

from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.models.vocoding import PerEar
from binaural_core.seeds import first_weights


@pytest.fixture(scope="module")
def golden() -> PerEar:
    """The published format, as read from its files: 38 frames of context."""
    return PerEar.open(GOLDEN / "bigvgan_generator.pt")


@pytest.fixture(scope="module")
def vocoder() -> PerEar:
    """A small and quick one."""
    table = json.loads((GOLDEN / "config.json").read_text())
    table |= {"upsample_initial_channel": 16, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}
    with first_weights(0):
        return PerEar(BigVGAN(BigVGANConfig.from_public(table)).remove_weight_norm(), MEL)
