"""Rendered scenes as files, in the layouts of FAIR-Play and RealBinaural, with the truth beside them.

Both layouts get ``places.csv`` (true positions and boxes at every picture) and ``scenes/{id}.json`` (the scene itself,
from which sound and pictures can be rendered again). A layout grows split by split: each call adds one.
"""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from PIL import Image

from binaural_core.audio.io import write_audio
from binaural_core.checkpoint import save_json, write_whole
from binaural_core.config import Config
from binaural_core.data.film import write_film
from binaural_core.data.objects import DETECTION_COLUMNS, PLACE_COLUMNS
from binaural_core.data.real_binaural import EARS, MONO
from binaural_core.data.rendered import RenderedClip, RenderedConfig, Split, clips
from binaural_core.errors import InputError, need
from binaural_core.scene.plan import Scene
from binaural_core.scene.video import shown
from binaural_core.scene.view import View

FOREIGN_PREFIX = "/data/fairplay/binaural_audios/"  # published lists carry the path of another machine
JPG_QUALITY = 80


@dataclass(frozen=True, kw_only=True)
class SceneFilesConfig(Config):
    """What `write_scenes` writes."""

    out: str
    """Folder of the data set; made where it is not there, grown where it is."""
    layout: Literal["fairplay", "realbinaural"] = "fairplay"
    split: Split = "train"
    count: int = 8
    seed: int = 0
    rendered: RenderedConfig = field(default_factory=RenderedConfig)


def write_scenes(
    config: SceneFilesConfig, on_clip: Callable[[int, int, RenderedClip], None] | None = None
) -> list[str]:
    """Render one split of scenes into a folder; returns the new video ids. ``on_clip(done, total, clip)`` after each.

    The split's list is written last: until it is there, no reader sees a split that was cut short.
    Raises InputError when the folder holds this split already, or the other layout.
    """
    root, layout = Path(config.out), LAYOUTS[config.layout]
    _need_room(root, config.layout, config.split)
    taken = [int(path.stem.rpartition("_")[2]) for path in (root / "scenes").glob("*.json")]
    plans = clips(config.split, config.count, config.seed, config.rendered)
    video_ids, places, detections = [], [], []
    for done, plan in enumerate(plans, start=1):
        video_id, times_s = layout.name(max(taken, default=0) + done), plan.frame_times_s
        views, shown_LO = plan.look(times_s), shown(plan.scene, times_s)
        layout.write(root, video_id, plan, views)
        for number, (time_s, view, shown_O) in enumerate(zip(times_s, views, shown_LO, strict=True), start=1):
            places += _places(video_id, time_s, view, np.flatnonzero(shown_O))
            detections += _detections(video_id, number, view)
        truth = {"video_id": video_id, "split": config.split}
        truth |= {"scene": plan.scene.to_dict(), "rendered": plan.config.to_dict()}
        save_json(root / "scenes" / f"{video_id}.json", truth)
        video_ids.append(video_id)
        if on_clip:
            on_clip(done, len(plans), plan)
    _append(root / "places.csv", PLACE_COLUMNS, places)
    if layout.detections:
        _append(root / layout.detections, DETECTION_COLUMNS, detections)
    layout.write_list(root, config.split, video_ids, plans)
    return video_ids


def read_scene(path: str | Path) -> RenderedClip:
    """The clip that a ``scenes/{id}.json`` describes, to be rendered again. Raises InputError when it is none."""
    path = Path(path)
    need(path.is_file(), f"scene {path} is not there", why="it says what to render", fix="check the path")
    try:
        tree = json.loads(path.read_text())
        return RenderedClip(
            tree["video_id"], Scene.from_dict(tree["scene"]), RenderedConfig.from_dict(tree["rendered"])
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no scene file", why=str(error), fix="write it again with 'binaural scenes'"
        ) from error


class FairPlay:
    """``binaural_audios``, ``videos``, h5 and txt splits, as published; the film replaces frames."""

    mark = "binaural_audios"
    lists = ("splits/split1/{split}.h5", "new_splits/split1/{split}.txt")
    detections = None

    @staticmethod
    def name(number: int) -> str:
        return f"{number:06d}"

    @staticmethod
    def write(root: Path, video_id: str, plan: RenderedClip, views: Sequence[View]) -> None:
        sound = plan.rendered()
        write_audio(root / "binaural_audios" / f"{video_id}.wav", sound.binaural_EN, sound.sample_rate_hz)
        images, rate = (view.image_HW3 for view in views), plan.config.frames_per_s
        write_film(root / "videos" / f"{video_id}.mp4", images, rate, sound.binaural_EN, sound.sample_rate_hz)

    @classmethod
    def write_list(cls, root: Path, split: str, video_ids: Sequence[str], plans: Sequence[RenderedClip]) -> None:
        h5, txt = (root / place.format(split=split) for place in cls.lists)

        def write_h5(temporary: Path) -> None:
            with h5py.File(temporary, "w") as file:
                file["audio"] = [f"{FOREIGN_PREFIX}{video_id}.wav".encode() for video_id in video_ids]

        write_whole(txt, lambda temporary: temporary.write_text("\n".join(f"{v}.mp3" for v in video_ids)))
        write_whole(h5, write_h5)


class RealBinaural:
    """``processed`` with mono, binaural and frames, csv splits, and detections: here the true boxes."""

    mark = "processed"
    lists = ("splits/{split}.csv",)
    detections = "action_detection_results/detection_results.csv"

    @staticmethod
    def name(number: int) -> str:
        return f"scene_{number:06d}"

    @staticmethod
    def write(root: Path, video_id: str, plan: RenderedClip, views: Sequence[View]) -> None:
        sound, home = plan.rendered(), root / "processed"
        write_audio(home / EARS / f"{video_id}.wav", sound.binaural_EN, sound.sample_rate_hz)
        write_audio(home / MONO / f"{video_id}.wav", sound.mono_N[None], sound.sample_rate_hz)
        for number, view in enumerate(views, start=1):
            path = home / "frames" / video_id / f"frame_{number:06d}.jpg"
            write_whole(path, lambda temporary, view=view: save_jpg(temporary, view))

    @classmethod
    def write_list(cls, root: Path, split: str, video_ids: Sequence[str], plans: Sequence[RenderedClip]) -> None:
        rows = []
        for video_id, plan in zip(video_ids, plans, strict=True):
            labels = "+".join(dict.fromkeys(source.label for source in plan.scene.sources))
            rows.append([video_id, "0.00", f"{plan.duration_s:.2f}", labels])
        _append(root / cls.lists[0].format(split=split), ("video_id", "start_time", "end_time", "action_label"), rows)


LAYOUTS = {"fairplay": FairPlay, "realbinaural": RealBinaural}


def save_jpg(path: Path, view: View) -> None:
    Image.fromarray(view.image_HW3).save(path, "JPEG", quality=JPG_QUALITY, optimize=True)


def _need_room(root: Path, layout: str, split: str) -> None:
    others = [name for name, other in LAYOUTS.items() if name != layout and (root / other.mark).exists()]
    need(
        not others,
        f"{root} holds a {' and a '.join(others)} data set",
        why="two layouts in one folder cannot be told apart",
        fix="choose another folder",
    )
    for place in LAYOUTS[layout].lists:
        path = root / place.format(split=split)
        need(
            not path.exists(),
            f"{path} is there already",
            why="a split is written once; writing it again would mix old and new clips",
            fix="choose another folder, or delete this one",
        )


def _places(video_id: str, time_s: float, view: View, sources: Sequence[int]) -> list[list]:
    rows = []
    for source, label, place, box in zip(sources, view.labels, view.positions_O3, view.boxes_O4, strict=True):
        azimuth_deg, elevation_deg, distance_m = place
        where = [f"{azimuth_deg:.3f}", f"{elevation_deg:.3f}", f"{distance_m:.4f}"]
        rows.append([video_id, f"{time_s:.3f}", source, label, *where, *(f"{edge:.5f}" for edge in box)])
    return rows


def _detections(video_id: str, number: int, view: View) -> list[list]:
    """The true boxes as a sure detector would give them: in pixels."""
    height, width = view.image_HW3.shape[:2]
    rows = []
    for label, score, box in zip(view.labels, view.scores_O, view.boxes_O4, strict=True):
        rows.append(
            [video_id, number, label, f"{score:.2f}", *(f"{e:.1f}" for e in box * (width, height, width, height))]
        )
    return rows


def _append(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Add rows to a csv file, with its header where it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(columns)
        writer.writerows(rows)
