"""Diffusion and flow matching as plain functions: the network arrives as a callable, the noise as an argument.

From the schedule to a sample: `schedule` (how much noise at which step), `parameterization` (what the network
predicts), `objective` (the loss), `guidance` (dropping conditions and steering with them), `samplers` (noise to
data), `bridge` (mono to both ears by flow matching), `silence` (kept as it is), `noise` (random numbers keyed per
sample), `recipe` (all of it behind one interface), `exact` (networks that have learned perfectly, by formula).
"""

from binaural_core.diffusion import (
    bridge,
    exact,
    guidance,
    noise,
    objective,
    parameterization,
    recipe,
    samplers,
    schedule,
    silence,
)
from binaural_core.diffusion.recipe import Draws, Recipe, RecipeConfig, build, draw
from binaural_core.diffusion.schedule import Schedule

__all__ = [
    "Draws",
    "Recipe",
    "RecipeConfig",
    "Schedule",
    "bridge",
    "build",
    "draw",
    "exact",
    "guidance",
    "noise",
    "objective",
    "parameterization",
    "recipe",
    "samplers",
    "schedule",
    "silence",
]
