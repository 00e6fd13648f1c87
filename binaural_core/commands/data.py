"""Commands that make data: rendered scenes, frames of videos, stage 1's mels of whole data sets."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from binaural_core.commands.options import dataset_of, say, settings
from binaural_core.errors import need


@dataclass(kw_only=True)
class Scenes:
    """Render scenes into a folder, as a FAIR-Play or a RealBinaural data set with the truth beside it."""

    out: str
    """Folder of the data set; made where it is not there."""
    layout: Literal["fairplay", "realbinaural"] = "fairplay"
    """How the files lie."""
    split: Literal["train", "val", "test"] = "train"
    """Which dry sounds are used, and which list is written."""
    count: int = 8
    """How many scenes."""
    seed: int = 0
    """The same seed renders the same scenes."""
    config: str | None = None
    """YAML file with more settings (binaural_core.data.rendered.RenderedConfig)."""
    set: tuple[str, ...] = ()
    """Single settings, such as scene.duration_s=5 scene.sources=[1,1]."""

    def run(self) -> None:
        from binaural_core.data.rendered import RenderedConfig
        from binaural_core.data.scene_files import SceneFilesConfig, write_scenes

        rendered = (RenderedConfig.load(self.config) if self.config else RenderedConfig()).replace(**settings(self.set))
        plan = SceneFilesConfig(
            out=self.out, layout=self.layout, split=self.split, count=self.count, seed=self.seed, rendered=rendered
        )
        write_scenes(plan, on_clip=lambda done, total, clip: say(done, total, clip.clip_id))


@dataclass(kw_only=True)
class Frames:
    """Extract the frames of a video, or of all videos in a folder."""

    video: str
    """A video file, or a folder of them."""
    out: str
    """Folder that gets one folder of frames per video."""
    fps: float = 10.0
    """Frames per second."""
    height_px: int | None = None
    """Height of the frames; the video's own when left out."""

    def run(self) -> None:
        from binaural_core.data.frames import extract_all
        from binaural_core.data.splits import VIDEO_SUFFIXES

        video = Path(self.video)
        found = sorted(p for p in video.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES) if video.is_dir() else [video]
        need(bool(found), f"{video} holds no video", why="there is nothing to extract", fix="check the folder")
        result = extract_all(
            found, self.out, fps=self.fps, height_px=self.height_px, on_video=lambda n, total, v: say(n, total, v.name)
        )
        print(f"{len(result.made)} extracted, {len(result.kept)} were complete, {len(result.broken)} failed")
        for error in result.broken.values():
            print(f"  {error}", file=sys.stderr)
        need(not result.broken, "some videos could not be read", why="they are named above", fix="copy them again")


@dataclass(kw_only=True)
class Mels:
    """Write stage 1's mels of a whole data set, for training stage 2 on them."""

    out: str
    """Folder; files are {out}/{left,right}/{split}/{video_id}_{start_s}_{left,right}.npy."""
    weights: str | None = None
    """Folder of a trained stage 1; the shipped one when left out, "demo" for the demo's."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    dataset: Literal["fairplay", "realbinaural", "scenes", "mix"] | None = None
    """Which data set; scenes when neither this nor --config says."""
    data_root: str | None = None
    config: str | None = None
    """YAML file of a training, whose data set is taken; a path, or a shipped one."""
    splits: tuple[str, ...] = ("train", "val")
    steps: int | None = None
    """Of the sampler."""
    seed: int = 0
    set: tuple[str, ...] = ()
    """Settings of the data set, such as scenes_seed=1."""
    num_gpus: int = 1
    """Processes, each with its share of the clips."""

    def run(self) -> None:
        from binaural_core.predicting import PredictConfig
        from binaural_core.training.distributed import launch

        dataset = dataset_of(self.config, self.dataset, self.data_root, self.set)
        config = PredictConfig(
            weights=self.weights, dataset=dataset, device=self.device, steps=self.steps, seed=self.seed
        )
        written_by_split = launch(_write_mels, config, self.out, self.splits, processes=self.num_gpus) or {}
        for split, written in written_by_split.items():
            print(f"{split}: {written} windows written to {self.out}")


def _write_mels(config, out: str, splits: tuple[str, ...], world) -> dict[str, int]:
    """What each process of `Mels` does."""
    from binaural_core import predicting

    return predicting.write(config, out, splits, world, on_clip=say)
