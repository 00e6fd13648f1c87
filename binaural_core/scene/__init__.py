"""Physically rendered scenes: sound sources around a measured head, in the open or in a room, with their pictures."""

from binaural_core.scene.casting import DrySound, SceneConfig, find_dry_sounds, random_scene
from binaural_core.scene.geometry import Camera
from binaural_core.scene.head import Head
from binaural_core.scene.plan import Keyframe, Scene, Source
from binaural_core.scene.render import RenderedSound, render_sound
from binaural_core.scene.room import Room
from binaural_core.scene.view import View

__all__ = [
    "Camera",
    "DrySound",
    "Head",
    "Keyframe",
    "RenderedSound",
    "Room",
    "Scene",
    "SceneConfig",
    "Source",
    "View",
    "find_dry_sounds",
    "random_scene",
    "render_sound",
]
