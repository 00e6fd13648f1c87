"""Views for notebooks: thin layers over pure functions that are tested without a browser."""

from binaural_core.widgets.player import Player, player
from binaural_core.widgets.steps import Steps, step_slider

__all__ = ["Player", "Steps", "player", "step_slider"]
