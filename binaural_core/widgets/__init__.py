"""Views for notebooks: thin layers over pure functions that are tested without a browser."""

from binaural_core.widgets.places import Place, Slider, ear_gains_db, place_slider
from binaural_core.widgets.player import Player, player
from binaural_core.widgets.schedule import ScheduleSlider, schedule_slider
from binaural_core.widgets.steps import Steps, step_slider

__all__ = [
    "Place",
    "Player",
    "ScheduleSlider",
    "Slider",
    "Steps",
    "ear_gains_db",
    "place_slider",
    "player",
    "schedule_slider",
    "step_slider",
]
