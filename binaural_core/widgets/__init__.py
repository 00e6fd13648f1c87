"""Views for notebooks: thin layers over pure functions that are tested without a browser."""

from binaural_core.widgets.player import Player, player

__all__ = ["Player", "player"]
