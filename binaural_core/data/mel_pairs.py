"""Segments for the vocoder: a stretch of both ears, and the log-mels that lie on disk for the very same frames.

Mel files are ``{video_id}_{start_s:.2f}_{left,right}.npy``, a folder for each ear: (80, F) float32, natural log, not scaled.
`binaural mels` writes predicted ones as ``{out}/{left,right}/{split}/…``; true ones may come from elsewhere. A window's sound
is ``{video_id}_{start_s}`` where there is a recording of that very name, else ``{video_id}`` from ``start_s`` on, to the
sample (``round(start_s * sample_rate_hz)``): frames are counted from there, not from the recording's beginning, so a start
need not lie on the recording's own grid of frames.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from binaural_core.audio import LOG_FLOOR, MelConfig, log_mel
from binaural_core.checkpoint import write_whole
from binaural_core.data.sample import Clip
from binaural_core.errors import InputError, need
from binaural_core.seeds import numpy_stream

EARS = ("left", "right")
SPLITS = ("train", "val", "test")
NAME = re.compile(r"(?P<video_id>.+)_(?P<start_s>\d+\.\d\d)_(?P<ear>left|right)\.npy")
WINDOW = re.compile(r"(?P<video_id>.+)_(?P<start_s>\d+(\.\d+)?)")
CONTEXT_FRAMES = 2  # more than (n_fft - hop) / 2 samples: a mel's first and last frames know the window's edge
AT_FLOOR = LOG_FLOOR + 1e-4
FITS = {"true": 1.0, "predicted": 3.0}  # mean difference (ln) from the sound's own mel above which it is another mel
SWAPPED = 0.8  # with the ears swapped stored mels differ by less than this share: they are the other ears'
CHECKED = 6  # windows


def mel_path(out: Path, ear: str, split: str, video_id: str, start_s: float) -> Path:
    """Where `binaural mels` writes the mel of one ear of one window."""
    return Path(out) / ear / split / f"{video_id}_{start_s:.2f}_{ear}.npy"


def write_mels(out: Path, split: str, video_id: str, start_s: float, mel_EMF: np.ndarray) -> list[Path]:
    """Write both ears' log-mels of one window, each file whole or not at all."""
    paths = []
    for ear, mel_MF in zip(EARS, np.asarray(mel_EMF, np.float32), strict=True):

        def write(temporary: Path, mel_MF: np.ndarray = mel_MF) -> None:
            with open(temporary, "wb") as file:
                np.save(file, mel_MF)

        paths.append(write_whole(mel_path(out, ear, split, video_id, start_s), write))
    return paths


def read_mels(out: Path, split: str, video_id: str, start_s: float) -> np.ndarray:
    """Both ears' log-mels (2, M, F) of a window that `binaural mels` wrote. Raises InputError as `read_ears` does."""
    return read_ears(*(mel_path(out, ear, split, video_id, start_s) for ear in EARS))


def read_ears(left: Path, right: Path) -> np.ndarray:
    """Both ears' log-mels of one window, (2, M, F). Raises InputError when a file is missing, broken or not finite."""
    mels = []
    for path in (left, right):
        try:
            mel_MF = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"the mel file {path} cannot be read", why=str(error), fix="write it again (`binaural mels`)"
            ) from error
        need(
            mel_MF.ndim == 2 and bool(np.isfinite(mel_MF).all()),
            f"the mel file {path} does not hold a finite (bands, frames) array",
            why="the vocoder would learn from noise",
            fix="write it again (`binaural mels`)",
        )
        mels.append(mel_MF)
    need(
        mels[0].shape == mels[1].shape,
        f"{left.name} and {right.name} have shapes {mels[0].shape} and {mels[1].shape}",
        why="they must be the two ears of the same stretch",
        fix="write them again (`binaural mels`)",
    )
    return np.stack(mels).astype(np.float32)


def split_folder(folder: Path, ear: str, split: str) -> tuple[Path | None, bool]:
    """Where an ear's files of a split lie (None: nowhere), and whether they lie there for this split alone.

    folder : holds the files directly, or ``train/`` and ``val/``, or ``left/`` and ``right/`` with these; or is one of two
    that stand side by side as ``train`` and ``val``.
    """
    for home in (folder / ear, folder):
        if (home / split).is_dir():
            return home / split, True
        if any((home / other).is_dir() for other in SPLITS):
            return None, True
    if folder.name in SPLITS and folder.name != split:
        beside = folder.parent / split
        return (beside if beside.is_dir() else None), True
    return folder, folder.name == split


class MelShelf:
    """Both ears' log-mels of windows on disk, by stem: the file's name without ear and suffix."""

    def __init__(self, left: Path, right: Path, kind: Literal["true", "predicted"], *, of_split: bool = True):
        """of_split : False where the folders hold other splits' files too.

        Raises InputError when a folder is missing or no window is there for both ears; one that is there for one ear
        alone is named.
        """
        self.kind, self.folders, self.of_split = kind, (Path(left), Path(right)), of_split
        by_ear = [_by_stem(folder, ear, kind) for folder, ear in zip(self.folders, EARS, strict=True)]
        stems = sorted(by_ear[0].keys() & by_ear[1].keys())
        need(
            bool(stems),
            f"{left} and {right} have no {kind} mels of the same window",
            why="files are named {video_id}_{start_s}_left.npy in the one and …_right.npy in the other"
            f" (there is {_first(by_ear[0])} and {_first(by_ear[1])})",
            fix="check both folders, or write the mels with `binaural mels`",
        )
        lonely = sorted(by_ear[0].keys() ^ by_ear[1].keys())
        if lonely:
            warnings.warn(
                f"{len(lonely)} {kind} mels are there for one ear alone and left out (such as {lonely[0]})",
                stacklevel=2,
            )
        self.paths = {stem: (by_ear[0][stem], by_ear[1][stem]) for stem in stems}

    @classmethod
    def written(cls, out: Path, split: str) -> MelShelf:
        """What `binaural mels` wrote into ``out`` for a split."""
        left, right = (Path(out) / ear / split for ear in EARS)
        return cls(left, right, "predicted")

    def windows(self, clip_ids: Collection[str]) -> dict[tuple[str, float], str]:
        """(clip, start in seconds) of every window whose recording is among the clips -> its stem."""
        found = {}
        for stem in self.paths:
            match = WINDOW.fullmatch(stem)
            if stem in clip_ids:
                found[stem, 0.0] = stem
            elif match and match["video_id"] in clip_ids:
                found[match["video_id"], round(float(match["start_s"]), 4)] = stem
        return found

    def recordings(self, clip_ids: Collection[str]) -> set[str]:
        """Those of the clips that have windows here."""
        return {clip_id for clip_id, _ in self.windows(clip_ids)}

    def read(self, stem: str, bands: int) -> np.ndarray:
        """A window's mels, (2, M, F). Raises InputError as `read_ears` does, or for another number of bands."""
        mel_EMF = read_ears(*self.paths[stem])
        need(
            mel_EMF.shape[1] == bands,
            f"the mel file {self.paths[stem][0]} has {mel_EMF.shape[1]} bands and {mel_EMF.shape[2]} frames",
            why=f"the vocoder's config says num_mels={bands}",
            fix="write the mels with the vocoder's mel settings, as (bands, frames)",
        )
        return mel_EMF


def louder(mel_EMF: np.ndarray, gain: float) -> np.ndarray:
    """The log-mel of a sound times ``gain``: ln(gain) more. Cells at the floor stay there: silence is silent at any gain."""
    raised_EMF = np.maximum(mel_EMF + np.float32(np.log(gain)), np.float32(LOG_FLOOR))
    return np.where(mel_EMF <= AT_FLOOR, np.float32(LOG_FLOOR), raised_EMF)


@dataclass(frozen=True)
class Segment:
    """A stretch of both ears, one gain for both, and its mels from disk where there are some."""

    clip_id: str
    index: int
    gain: float
    context_EN: np.ndarray  # with CONTEXT_FRAMES more hops on each side
    true_EMF: np.ndarray | None = None  # natural log, the gain added; likewise the predicted one
    predicted_EMF: np.ndarray | None = None


@dataclass(frozen=True)
class MelBatch:
    """B segments of F frames of both ears."""

    clip_ids: tuple[str, ...]
    indices: tuple[int, ...]
    gain_B: Tensor  # what the sound was multiplied by
    wave_BEN: Tensor  # N = F * hop, one gain for both ears
    context_BEN: Tensor  # the same sound with CONTEXT_FRAMES more hops on each side, for mels without edges
    true_BEMF: Tensor | None  # natural log, the wave's gain already added; None: to be computed from the sound
    predicted_BEMF: Tensor | None  # likewise; None: there are none

    def __len__(self) -> int:
        return len(self.clip_ids)

    def to(self, device: str | torch.device) -> MelBatch:
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: t.to(device) for name, t in tensors.items() if isinstance(t, Tensor)})


@dataclass(frozen=True)
class _Window:
    clip: Clip
    start_s: float | None = None  # None: anywhere in the clip
    stems: tuple[str, ...] = ()  # in the order of the stores


class MelPairs:
    """Segments of ``frames`` mel frames: one from every clip, or from every window that has mels on disk, per round.

    Each is scaled by one gain for both ears so that its louder ear peaks at a level drawn from ``peak`` (lowest and highest,
    evenly in dB); ln(gain) is added to mels from disk, which therefore stay the mels of that sound. The first and last
    frames of a stored window, which may know its edges, are never used.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        mel: MelConfig,
        *,
        frames: int,
        seed: int,
        rounds: int = 1,
        true: MelShelf | None = None,
        predicted: MelShelf | None = None,
        peak: tuple[float, float] | None = (0.95, 0.95),
        on_broken: Literal["skip", "refuse"] = "refuse",
    ):
        self.mel, self.frames, self.seed, self.rounds, self.peak = mel, frames, seed, rounds, peak
        self.stores = [store for store in (true, predicted) if store is not None]
        self.on_broken, self._said = on_broken, set()
        needed_s = (frames + 2 * CONTEXT_FRAMES) * mel.hop_samples / mel.sample_rate_hz
        there = list(_windows(clips, self.stores)) if self.stores else [_Window(clip) for clip in clips]
        self.windows = [w for w in there if _lasts(w.clip, (w.start_s or 0.0) + needed_s, self._say_once)]
        need(
            bool(self.windows),
            f"none of {len(there)} {'windows' if self.stores else 'clips'} can give a segment of {frames} frames",
            why=f"a segment and its surroundings last {needed_s:.2f} s",
            fix="choose longer clips or a smaller segment (segment_size in the vocoder's config)",
        )
        if self.stores and len(self.windows) < len(there):
            warnings.warn(
                f"{len(there) - len(self.windows)} windows are left out: their recordings end too early or cannot be read",
                stacklevel=2,
            )
        if self.stores:
            self.check_stores()

    def __len__(self) -> int:
        return len(self.windows) * self.rounds

    def __getitem__(self, index: int) -> Segment:
        return self.draw(index, 0)

    def clip(self, index: int) -> Clip:
        return self.windows[index % len(self.windows)].clip

    def summary(self) -> str:
        """How many windows (or clips), and a digest of their names and starts: another one when any is another."""
        names = [(window.clip.clip_id, window.start_s) for window in self.windows]
        return f"{len(names)} {'windows' if self.stores else 'clips'} ({hashlib.sha256(repr(names).encode()).hexdigest()[:12]})"

    def draw(self, index: int, epoch: int) -> Segment:
        """Segment ``index`` of an epoch. A window that cannot be read is refused, or named and another takes its place."""
        failure = None
        for number in self._candidates(index, epoch):
            try:
                return self._segment(self.windows[number], index, numpy_stream(self.seed, "segment", epoch, index))
            except InputError as error:
                if self.on_broken == "refuse":
                    raise
                failure = error
                self._say_once(f"a segment of {self.windows[number].clip.clip_id} is left out: {error}")
        raise InputError(
            f"none of {len(self.windows)} clips or windows can be read",
            why=f"the last one said: {failure}",
            fix="check that the folders of sound and mels belong together",
        )

    def _candidates(self, index: int, epoch: int) -> Iterator[int]:
        first = index % len(self.windows)
        yield first
        others = numpy_stream(self.seed, "replacement", epoch, index).permutation(len(self.windows))
        yield from (int(other) for other in others if other != first)

    def _segment(self, window: _Window, index: int, draw: np.random.Generator) -> Segment:
        clip, hop, rate = window.clip, self.mel.hop_samples, self.mel.sample_rate_hz
        length = self.frames + 2 * CONTEXT_FRAMES
        mels = {}
        if window.start_s is None:
            start_s = float(draw.uniform(0, clip.duration_s - length * hop / rate))
            wave_EN = both_ears(clip, start_s, length * hop, rate)
        else:
            mels = {s.kind: s.read(stem, self.mel.n_mels) for s, stem in zip(self.stores, window.stems, strict=True)}
            stored = min(mel_EMF.shape[2] for mel_EMF in mels.values())
            need(
                stored >= length,
                f"the {' and '.join(mels)} mels of {clip.clip_id} have {stored} frames",
                why=f"a segment takes {length} with its surroundings",
                fix="lower segment_size in the vocoder's config (or validation_frames), or write mels of longer windows",
            )
            last = min(stored, self._heard(window)) - self.frames - CONTEXT_FRAMES
            offset = int(draw.integers(CONTEXT_FRAMES, last + 1))
            mels = {kind: mel_EMF[:, :, offset : offset + self.frames] for kind, mel_EMF in mels.items()}
            until_EN = both_ears(clip, window.start_s, (offset + self.frames + CONTEXT_FRAMES) * hop, rate)
            wave_EN = until_EN[:, (offset - CONTEXT_FRAMES) * hop :]
        gain = self._gain(wave_EN, draw)
        mels = {f"{kind}_EMF": louder(mel_EMF, gain) for kind, mel_EMF in mels.items()}
        return Segment(clip.clip_id, index, gain, wave_EN * np.float32(gain), **mels)

    def _gain(self, wave_EN: np.ndarray, draw: np.random.Generator) -> float:
        loudest = float(np.abs(wave_EN).max())
        if self.peak is None or loudest < 1e-4:
            return 1.0
        return float(np.exp(draw.uniform(*np.log(self.peak)))) / loudest

    def check_stores(self) -> None:
        """Raise InputError where stored mels are of another kind, or of another sound, than the recordings they name.

        Some windows are looked at, evenly over all; a single one that cannot be read is training's business.
        """
        some = [self.windows[int(i)] for i in np.linspace(0, len(self.windows) - 1, min(CHECKED, len(self.windows)))]
        misfits: list[list[tuple[float, float]]] = []
        failure = None
        for window in some:
            try:
                self._segment(window, 0, numpy_stream(self.seed, "check"))
                misfits.append([self._misfit(window, number) for number in range(len(self.stores))])
            except InputError as error:
                failure = error
        if not misfits and failure is not None:
            raise failure
        for store, pairs in zip(self.stores, np.array(misfits).transpose(1, 0, 2), strict=True):
            misfit, swapped = np.median(pairs[:, 0]), pairs[:, 1] < SWAPPED * pairs[:, 0]
            need(
                misfit <= FITS[store.kind],
                f"the {store.kind} mels in {store.folders[0].parent} do not fit their sound: {misfit:.1f} apart on average",
                why="they are of another scale (this is the natural log of mel magnitudes), of sound at another level, of"
                " other mel settings, of other recordings, or of other starts",
                fix="write them with this package (`binaural mels`, or binaural_core.audio.log_mel), or check the folders",
            )
            if 2 * swapped.sum() > len(swapped):
                what = f"the {store.kind} mels in {store.folders[0]} and {store.folders[1]} fit the other ear better"
                why = f"so it is in {swapped.sum()} of {len(swapped)} windows, as if left and right were swapped"
                fix = "swap the two folders, or the ears of the recordings (row 0 is the left one)"
                need(store.kind == "predicted", what, why=why, fix=fix)
                warnings.warn(f"{what}: {why}; if a good model made them, {fix}", stacklevel=2)

    def _misfit(self, window: _Window, store: int) -> tuple[float, float]:
        """Mean absolute difference of a window's stored mel and its sound's, and the same with the ears swapped."""
        mel_EMF = self.stores[store].read(window.stems[store], self.mel.n_mels)
        hop, frames = self.mel.hop_samples, min(mel_EMF.shape[2], self._heard(window))
        true_EMF = log_mel(both_ears(window.clip, window.start_s, frames * hop, self.mel.sample_rate_hz), self.mel)
        mel_EMF, true_EMF = mel_EMF[:, :, :frames], true_EMF.numpy()
        return float(np.abs(mel_EMF - true_EMF).mean()), float(np.abs(mel_EMF[::-1] - true_EMF).mean())

    def _heard(self, window: _Window) -> int:
        """Frames from a window's start to its recording's end, behind which the window may go on."""
        return int((window.clip.duration_s - window.start_s) * self.mel.sample_rate_hz / self.mel.hop_samples + 1e-6)

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            warnings.warn(message, stacklevel=4)


def collate_mels(segments: Sequence[Segment], hop_samples: int) -> MelBatch:
    """Stack segments into a batch."""
    context_BEN = torch.from_numpy(np.stack([s.context_EN for s in segments]))
    margin = CONTEXT_FRAMES * hop_samples

    def stacked(mels: list[np.ndarray | None]) -> Tensor | None:
        return None if mels[0] is None else torch.from_numpy(np.stack(mels))

    return MelBatch(
        clip_ids=tuple(s.clip_id for s in segments),
        indices=tuple(s.index for s in segments),
        gain_B=torch.tensor([s.gain for s in segments], dtype=torch.float32),
        wave_BEN=context_BEN[..., margin:-margin],
        context_BEN=context_BEN,
        true_BEMF=stacked([s.true_EMF for s in segments]),
        predicted_BEMF=stacked([s.predicted_EMF for s in segments]),
    )


def both_ears(clip: Clip, start_s: float, samples: int, rate: int) -> np.ndarray:
    """(2, samples) of a clip. Raises InputError where there is no binaural recording."""
    _, binaural_EN = clip.sound(start_s, samples / rate, rate)
    need(
        binaural_EN is not None,
        f"{clip.clip_id} has no binaural recording",
        why="the vocoder learns from both ears",
        fix="leave clips without a reference out of the training list",
    )
    return binaural_EN


def _by_stem(folder: Path, ear: str, kind: str) -> dict[str, Path]:
    """An ear's mel files by stem. The other ear's files may not lie there."""
    need(
        folder.is_dir(), f"the folder {folder} is not there", why=f"it holds the {kind} mels of an ear", fix="check it"
    )
    other = EARS[1 - EARS.index(ear)]
    paths = [path for path in sorted(folder.glob("*.npy")) if not path.name.startswith(".")]
    crossed = [path for path in paths if path.stem.endswith(f"_{other}")]
    paths = [path for path in paths if path not in set(crossed)]
    need(
        bool(paths) or not crossed,
        f"{folder} holds mels of the {other} ear (such as {crossed[0].name if crossed else ''})",
        why=f"it was given for the {ear} one",
        fix="swap the two folders",
    )
    return {path.stem.removesuffix(f"_{ear}"): path for path in paths}


def _first(by_stem: dict[str, Path]) -> str:
    return next((path.name for path in by_stem.values()), "nothing")


def _windows(clips: Sequence[Clip], stores: Sequence[MelShelf]) -> Iterator[_Window]:
    """The windows that every store has, clip by clip. Says which have no sound or no partner."""
    by_id = {clip.clip_id: clip for clip in clips}
    found = [store.windows(by_id) for store in stores]
    for store, windows in zip(stores, found, strict=True):
        silent = store.paths.keys() - set(windows.values())
        need(
            bool(windows),
            f"none of the {len(store.paths)} {store.kind} mels in {store.folders[0]} belongs to a recording",
            why=f"the sound of {min(store.paths)} would be a recording of that name, or of the name without the start;"
            f" there is {', '.join(list(by_id)[:3]) or 'none'}{' …' if len(by_id) > 3 else ''}",
            fix="name the folder of the recordings (--audio_dir) or the data set (--dataset)",
        )
        if silent and store.of_split:
            warnings.warn(
                f"{len(silent)} of {len(store.paths)} {store.kind} mels in {store.folders[0]} have no recording"
                f" (such as {min(silent)})",
                stacklevel=4,
            )
    shared = set(found[0]).intersection(*found[1:])
    need(
        bool(shared),
        "no window has both a true and a predicted mel",
        why=f"the first ones are {min(found[0].values())} and {min(found[-1].values())}",
        fix="write both for the same windows, or leave the folders of true mels out: then they are computed from the sound",
    )
    alone = set().union(*found) - shared
    if alone:
        clip_id, start_s = min(alone)
        warnings.warn(
            f"{len(alone)} windows have only one of a true and a predicted mel and are left out"
            f" (such as {clip_id} at {start_s:.2f} s)",
            stacklevel=4,
        )
    starts: dict[str, list[float]] = {}
    for clip_id, start_s in sorted(shared):
        starts.setdefault(clip_id, []).append(start_s)
    for clip_id, clip in by_id.items():
        for start_s in starts.get(clip_id, ()):
            yield _Window(clip, start_s, tuple(windows[clip_id, start_s] for windows in found))


def _lasts(clip: Clip, needed_s: float, say) -> bool:
    """Whether a clip is long enough; one that cannot be read is named and is not."""
    try:
        return clip.duration_s >= needed_s
    except InputError as error:
        say(f"clip {clip.clip_id} is left out: {error}")
        return False
