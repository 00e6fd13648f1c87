"""Sound with pictures but without a reference: what binaural sound is to be made for.

One recording with its video or frames, a folder of them matched by name, or a list (csv with ``audio_path`` and
``video_path``, which may name a frame folder).
"""

from collections.abc import Mapping
from pathlib import Path

from binaural_core.data.fair_play import frame_folders
from binaural_core.data.frames import FrameFolder, VideoFrames
from binaural_core.data.objects import Objects, find_objects
from binaural_core.data.recording import RecordingClip
from binaural_core.data.splits import AUDIO_SUFFIXES, LIST_SUFFIXES, VIDEO_SUFFIXES, Shelf, base_name, read_list
from binaural_core.errors import InputError, need

SOUND_FOLDERS = ("mono_audios_22050Hz", "audio/mono", "mono", "audio", "audios", "processed/mono_audios_22050Hz", "")


def clip(
    audio: str | Path,
    *,
    video: str | Path | None = None,
    frames: str | Path | None = None,
    fps: float | None = None,
    objects: Objects | None = None,
) -> RecordingClip:
    """One recording: a sound file, or a film (then its own pictures are used unless others are given).

    Sound in stereo is mixed down to its mean.   Raises InputError when a file is missing.
    """
    audio = Path(audio)
    need(audio.is_file(), f"sound file {audio} is not there", why="there is nothing to read", fix="check the path")
    need(
        video is None or frames is None,
        f"both a video ({video}) and frames ({frames}) are given",
        why="the pictures can come from one of them only",
        fix="give one",
    )
    if frames is not None:
        need(
            Path(frames).is_dir(),
            f"frame folder {frames} is not there",
            why="it holds the pictures",
            fix="check the path",
        )
        pictures = FrameFolder(Path(frames), fps)
    elif video is not None:
        need(Path(video).is_file(), f"video {video} is not there", why="it holds the pictures", fix="check the path")
        pictures = VideoFrames(Path(video))
    else:
        pictures = VideoFrames(audio) if audio.suffix.lower() in VIDEO_SUFFIXES else None
    name = base_name(audio.name)
    return RecordingClip(clip_id=name, video_id=name, mono=audio, pictures=pictures, objects=objects)


def clips(
    source: str | Path, *, fps: float | None = None, columns: Mapping[str, str] | None = None
) -> list[RecordingClip]:
    """The recordings of a folder, a list, or one file.

    In a folder the sounds are those in it or in its ``mono``, ``audio`` … folder, or the films' own; pictures are found by
    name, in folders with "frame" in their names and among the videos.
    Raises InputError when there is nothing, or a list names what is not there.
    """
    source = Path(source)
    need(source.exists(), f"{source} is not there", why="it holds the sound to work on", fix="check the path")
    if source.is_dir():
        return _of_folder(source, fps, columns)
    if source.suffix.lower() in LIST_SUFFIXES:
        return [_of_entry(entry.audio_path, entry.video_path, source, fps) for entry in read_list(source)]
    return [clip(source, fps=fps)]


def _of_folder(folder: Path, fps: float | None, columns: Mapping[str, str] | None) -> list[RecordingClip]:
    sounds = next((s for name in SOUND_FOLDERS if len(s := Shelf([folder / name], AUDIO_SUFFIXES))), Shelf([], ()))
    videos = Shelf([folder, folder / "video", folder / "videos"], VIDEO_SUFFIXES)
    frames = Shelf(frame_folders(folder), None)
    objects = find_objects([folder, folder / "processed"], columns)
    shelf = sounds if len(sounds) else videos
    need(
        len(shelf) > 0,
        f"{folder} holds no sound",
        why=f"no {', '.join(AUDIO_SUFFIXES)} or video file is in it",
        fix="give a folder of recordings, or one file",
    )
    found = []
    for name in shelf.names():
        seen, film = frames.find(name), videos.find(name)
        found.append(
            clip(shelf.find(name), frames=seen, video=None if seen else film, fps=fps, objects=objects.get(name))
        )
    return found


def _of_entry(audio: str, pictures: str, source: Path, fps: float | None) -> RecordingClip:
    sound = _beside(audio, source)
    if not pictures:
        return clip(sound, fps=fps)
    seen = _beside(pictures, source)
    return clip(sound, frames=seen, fps=fps) if seen.is_dir() else clip(sound, video=seen, fps=fps)


def _beside(text: str, source: Path) -> Path:
    """A path of a list: as it stands, or from the list's folder."""
    path = Path(text)
    for place in (source.parent / path, path):
        if place.exists():
            return place
    raise InputError(f"{path}, named in {source}, is not there", why="it is to be read", fix="correct the list")
