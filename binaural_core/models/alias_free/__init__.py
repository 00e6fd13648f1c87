"""Activations that do not alias: twice the rate, the curve, a low-pass, back to the rate."""

from binaural_core.models.alias_free.activation import AliasFree, Snake, SnakeBeta
from binaural_core.models.alias_free.filters import DownsampleTwice, UpsampleTwice, kaiser_sinc

__all__ = ["AliasFree", "DownsampleTwice", "Snake", "SnakeBeta", "UpsampleTwice", "kaiser_sinc"]
