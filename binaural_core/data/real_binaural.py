"""RealBinaural: everyday actions recorded at a real head, in segments of longer videos.

``processed/{mono_audios_22050Hz,binaural_audios_22050Hz}/{video_id}.wav``, ``processed/frames/{video_id}/
frame_000001.jpg``, ``splits/{train,val,test}.csv`` with ``video_id,start_time,end_time,action_label`` (seconds) and
``action_detection_results/detection_results.csv``. The root may be the folder above ``processed`` or ``processed``.
"""

from collections.abc import Mapping
from pathlib import Path

from binaural_core.data.fair_play import frame_folders
from binaural_core.data.frames import FrameFolder, VideoFrames
from binaural_core.data.objects import find_objects
from binaural_core.data.recording import RecordingClip
from binaural_core.data.splits import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Shelf, base_name, number, read_rows
from binaural_core.errors import need

EARS, MONO = "binaural_audios_22050Hz", "mono_audios_22050Hz"


def clips(
    root: str | Path,
    split: str = "train",
    *,
    list_file: str | Path | None = None,
    fps: float | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[RecordingClip]:
    """The segments of a split, named ``{video_id}_{start:.2f}``.

    list_file : a csv to use instead of the split's.   fps : rate of the frame folders where it cannot be inferred.
    columns : see `objects.read_detections`.

    Raises InputError when the folder, the split, or every recording it names is missing. A single missing or broken file
    is named when its clip is read.
    """
    root = Path(root)
    need(root.is_dir(), f"the folder {root} is not there", why="it holds the data set", fix="check the path")
    candidates = [root, root / "processed", root / "real_dataset" / "processed"]
    home = next((place for place in candidates if (place / EARS).is_dir()), None)
    need(
        home is not None,
        f"{root} is no RealBinaural folder",
        why=f"{EARS} is in none of {', '.join(str(place) for place in candidates)}",
        fix="give the folder that holds 'processed'",
    )
    folders = [home, home.parent]
    ears, mono = Shelf([home / EARS], AUDIO_SUFFIXES), Shelf([home / MONO], AUDIO_SUFFIXES)
    frames = Shelf(frame_folders(home), None)
    videos = Shelf([place / "videos" for place in folders], VIDEO_SUFFIXES)
    objects = find_objects(folders, columns)
    source = Path(list_file) if list_file else _split(folders, split)
    found = []
    for line, row in read_rows(source, ("video_id", "start_time", "end_time")):
        video_id = base_name(row["video_id"])
        start_s = number(row, "start_time", source, line)
        end_s = number(row, "end_time", source, line)
        need(
            0 <= start_s < end_s,
            f"{source}, line {line}: the segment of {video_id} goes from {start_s:g} s to {end_s:g} s",
            why="it must begin at 0 or later and end after it begins",
            fix="correct the line",
        )
        folder, video = frames.find(video_id), videos.find(video_id)
        found.append(
            RecordingClip(
                clip_id=f"{video_id}_{start_s:.2f}",
                video_id=video_id,
                ears=ears.find(video_id) or home / EARS / f"{video_id}.wav",
                mono=mono.find(video_id),
                pictures=FrameFolder(folder, fps) if folder else VideoFrames(video) if video else None,
                objects=objects.get(video_id),
                offset_s=start_s,
                until_s=end_s,
                label=row.get("action_label", ""),
            )
        )
    need(bool(found), f"{source} lists no segments", why="there is nothing to read", fix="check how it was written")
    need(
        any(clip.ears.is_file() for clip in found),
        f"none of the recordings in {source} is there (such as {found[0].ears})",
        why="without them there is nothing to learn from",
        fix=f"put the wav files into {home / EARS}",
    )
    return found


def _split(folders: list[Path], split: str) -> Path:
    places = [folder / "splits" / f"{split}.csv" for folder in folders]
    there = [place for place in places if place.is_file()]
    have = sorted({path.stem for place in places for path in place.parent.glob("*.csv")})
    need(
        bool(there),
        f"the split {split!r} is not there: no {places[0]}",
        why=f"the data set comes with {', '.join(have) or 'no splits here'}; a test split is not always among them",
        fix="ask for a split that is there, or write this one (video_id,start_time,end_time,action_label)",
    )
    return there[0]
