"""What a window holds and how it is varied: the settings that `crops`, `augment` and `loading` share."""

from dataclasses import dataclass, field
from typing import Literal

from binaural_core.config import Config
from binaural_core.errors import need


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """Settings of a window of sound with its pictures."""

    window_frames: int = 80
    """Length of a window in mel frames: 80 are 0.93 s at 22,050 Hz and a hop of 256."""
    windows_per_clip: int = 1
    """Windows drawn from each clip per epoch: at random in training, evenly spread otherwise."""
    frames_per_window: int = 5
    """L, pictures per window, evenly over it. 0: no pictures are read (sound alone, as stage 2 needs)."""
    objects: int = 4
    """O, object crops per picture."""
    crop_px: int = 64
    """Side of a crop; 224 is the original's."""
    crop_width_px: int | None = None
    """Width of a crop whose height is ``crop_px``, for pictures that are seen whole; None: square."""
    crop_margin: float = 0.15
    """What a crop shows around the object's box, as a part of the box's longer side."""
    whole_frame: Literal["never", "fallback", "always"] = "fallback"
    """When slot 0 holds the whole picture: never, where nobody looked for objects, or always."""
    min_score: float = 0.3
    """Detections that score less are left out."""
    h_fov_deg: float = 90.0
    """The camera's horizontal field of view: turns image positions into azimuths where no true position is known."""
    fps: float | None = None
    """Rate of the frame folders. None: inferred from the number of frames and the length of the sound."""
    detection_columns: dict[str, str] = field(default_factory=dict)
    """Our column name -> the name in your detection file, for those that differ; such as {"score": "confidence"}."""
    colour_jitter: float = 0.3
    """Brightness, contrast and saturation are each scaled by 1 +- this, at random, once per window."""
    image_crop: float = 0.07
    """Up to this part of the picture's width and height is cut away, at random, once per window."""
    mirror: float = 0.5
    """Probability that a window is mirrored: pictures, positions and ears together."""
    together: int = 1
    """Up to this many windows of different clips are heard and seen at once, at random levels, in training."""
    target: Literal["both", "left", "right"] = "both"
    """Ears in the reference; with one of them ``binaural_EN`` has one row."""
    on_broken: Literal["skip", "refuse"] = "skip"
    """A clip that cannot be read: reported once and left out, or an error."""

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of a crop."""
        return self.crop_px, self.crop_width_px or self.crop_px

    def validate(self) -> None:
        need(
            self.crop_width_px is None or self.crop_width_px >= 1,
            f"DataConfig.crop_width_px is {self.crop_width_px}",
            why="it counts pixels",
            fix="give 1 or more, or leave it out for square crops",
        )
        for name in ("window_frames", "windows_per_clip", "objects", "crop_px", "together"):
            need(
                getattr(self, name) >= 1,
                f"DataConfig.{name} is {getattr(self, name)}",
                why="a window would hold nothing",
                fix="give 1 or more",
            )
        need(
            self.frames_per_window >= 0,
            f"DataConfig.frames_per_window is {self.frames_per_window}",
            why="it counts pictures",
            fix="give 0 or more",
        )
        for name in ("mirror", "image_crop", "colour_jitter", "min_score"):
            value, highest = getattr(self, name), 1.0 if name in ("mirror", "min_score") else 0.9
            need(
                0.0 <= value <= highest,
                f"DataConfig.{name} is {value:g}",
                why="it is a probability or a part of the whole",
                fix=f"give a number from 0 to {highest:g}",
            )
        need(
            0.0 < self.h_fov_deg < 180.0,
            f"DataConfig.h_fov_deg is {self.h_fov_deg:g}",
            why="a pinhole camera sees less than a half-circle",
            fix="give the camera's horizontal field of view in degrees, such as 90",
        )
        need(self.fps is None or self.fps > 0, f"DataConfig.fps is {self.fps}", why="it is a rate", fix="give it in Hz")
        need(
            self.crop_margin >= 0,
            f"DataConfig.crop_margin is {self.crop_margin:g}",
            why="a crop would cut into its object",
            fix="give 0 or more",
        )
