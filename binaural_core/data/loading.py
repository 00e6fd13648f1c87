"""From clips to batches: `cut` takes a window out of a clip, `Windows` is the data set of them, `loader` its batches.

Every random choice is keyed by (seed, purpose, epoch, sample), never by the process, so one process and many, and a
run that was stopped and resumed, see the same windows. A clip that cannot be read is reported once, by name, and left
out or refused as the config says: in training another clip takes its place, else the window is missing.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from binaural_core.audio.io import is_silent
from binaural_core.audio.mel import MelConfig
from binaural_core.data import augment
from binaural_core.data.config import DataConfig
from binaural_core.data.crops import sight
from binaural_core.data.sample import Batch, Clip, Sample, collate
from binaural_core.errors import InputError, need
from binaural_core.seeds import numpy_stream

__all__ = ["DataConfig", "Loader", "Mix", "Windows", "cut", "loader"]


def cut(
    clip: Clip, start_s: float, data: DataConfig, mel: MelConfig, *, generator: np.random.Generator | None = None
) -> Sample:
    """The window of ``clip`` that begins at ``start_s``: sound and object crops.

    With a generator the window is varied (colour, picture crop, mirroring); without, it is as recorded.
    Returns mono_N and binaural_EN of N = window_frames * hop_samples samples at the mel's rate. Raises InputError, with
    the clip's files named, when the window cannot be read.
    """
    window_s = data.window_frames * mel.hop_samples / mel.sample_rate_hz
    mono, ears = clip.sound(start_s, window_s, mel.sample_rate_hz)
    times = start_s + (np.arange(data.frames_per_window) + 0.5) * window_s / max(data.frames_per_window, 1)
    views = clip.look([float(t) for t in times]) if data.frames_per_window else []
    region, colour, mirrored = augment.WHOLE, None, False
    if generator is not None:
        region = augment.random_region(data.image_crop, generator)
        colour = augment.random_colour(data.colour_jitter, generator)
        mirrored = generator.random() < data.mirror
    sample = Sample(clip.clip_id, start_s, mono, ears, sight(views, data, region=region, colour=colour))
    if mirrored:
        sample = augment.mirror(sample)
    if ears is not None and data.target != "both":
        ear = 0 if data.target == "left" else 1
        sample = replace(sample, binaural_EN=sample.binaural_EN[ear : ear + 1])
    return sample


class Windows(Dataset):
    """Windows of a list of clips: in training at random places and varied, otherwise evenly spread and as recorded."""

    def __init__(self, clips: Sequence[Clip], data: DataConfig, mel: MelConfig, *, seed: int = 0, train: bool = True):
        need(
            len(clips) > 0,
            "the list of clips is empty",
            why="there is nothing to load",
            fix="check the folder and split",
        )
        self.clips, self.data, self.mel, self.seed, self.train = list(clips), data, mel, seed, train
        self.epoch = 0
        # One flag per clip and kind of report, shared with worker processes so that each thing is said once.
        self._said = torch.zeros(len(self.clips), 2, dtype=torch.uint8).share_memory_()

    @property
    def window_s(self) -> float:
        return self.data.window_frames * self.mel.hop_samples / self.mel.sample_rate_hz

    def __len__(self) -> int:
        return len(self.clips) * self.data.windows_per_clip

    def __getitem__(self, index: int) -> Sample | None:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.draw(index, self.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Which epoch's random choices `__getitem__` and the next pass of a loader make."""
        self.epoch = epoch

    def draw(self, index: int, epoch: int, key: int | None = None) -> Sample | None:
        """Window ``index`` of an epoch; ``key`` keys its random choices where it differs (see `Mix`).

        None only where the clip is broken, this is no training and the config says skip.
        """
        key = index if key is None else key
        failure = None
        for number in self._candidates(index // self.data.windows_per_clip, epoch, key):
            try:
                return replace(self._several(number, index, epoch, key), index=key)
            except InputError as error:
                if self.data.on_broken == "refuse":
                    raise
                failure = error
                self._say_once(number, 0, f"clip {self.clips[number].clip_id} is left out: {error}")
        if not self.train:
            return None
        raise InputError(
            f"none of {len(self.clips)} clips can be read",
            why=f"the last one said: {failure}",
            fix="check that the data set's folders belong together",
        )

    def _candidates(self, number: int, epoch: int, key: int) -> Iterator[int]:
        yield number
        if self.train:
            others = numpy_stream(self.seed, "replacement", epoch, key).permutation(len(self.clips))
            yield from (int(other) for other in others if other != number)

    def _several(self, number: int, index: int, epoch: int, key: int) -> Sample:
        """The clip's window, in training together with those of other clips where the config says so."""
        window = self._window(number, index, epoch, key)
        if not self.train or self.data.together == 1:
            return window
        draw = numpy_stream(self.seed, "together", epoch, key)
        more = int(draw.integers(0, self.data.together))
        others = [self._window(int(draw.integers(len(self.clips))), index, epoch, f"{key}+{i}") for i in range(more)]
        return augment.together([window, *others], [1.0, *(10 ** draw.uniform(-0.4, 0.4, more))])

    def _window(self, number: int, index: int, epoch: int, key: int | str) -> Sample:
        clip, rate = self.clips[number], self.mel.sample_rate_hz
        spare_s = clip.duration_s - self.window_s
        need(
            spare_s >= -0.5 / rate,
            f"clip {clip.clip_id} lasts {clip.duration_s:.2f} s",
            why=f"a window of {self.data.window_frames} mel frames needs {self.window_s:.2f} s",
            fix="leave the clip out, or lower window_frames",
        )
        if self.train:
            start_s = augment.random_start_s(
                clip.duration_s, self.window_s, rate, numpy_stream(self.seed, "window", epoch, key)
            )
            variation = numpy_stream(self.seed, "variation", epoch, key)
        else:
            part = (index % self.data.windows_per_clip + 0.5) / self.data.windows_per_clip
            start_s, variation = max(int(part * spare_s * rate + 1e-6), 0) / rate, None
        sample = cut(clip, start_s, self.data, self.mel, generator=variation)
        if is_silent(sample.mono_N):
            stretch = f"{start_s:.2f} s to {start_s + self.window_s:.2f} s"
            self._say_once(number, 1, f"clip {clip.clip_id} is silent from {stretch}: there is nothing to learn there")
        return sample

    def _say_once(self, number: int, kind: int, message: str) -> None:
        if not self._said[number, kind]:
            self._said[number, kind] = 1
            warnings.warn(message, stacklevel=4)


class Mix(Dataset):
    """Several data sets as one: each gives its share of an epoch's windows.

    weights : share of each set; None means as many as it has. A set that gives fewer windows than it has gives others
    in the next epoch; one that gives more varies them anew each time.
    """

    def __init__(self, parts: Sequence[Windows], weights: Sequence[float] | None = None):
        need(len(parts) > 0, "the mix is empty", why="there is nothing to load", fix="name one data set or more")
        weights = [len(part) for part in parts] if weights is None else list(weights)
        need(
            len(weights) == len(parts) and min(weights) >= 0 and sum(weights) > 0,
            f"the mix of {len(parts)} data sets has the weights {weights}",
            why="each data set needs one share",
            fix="give one number, 0 or more, for each",
        )
        for part in parts[1:]:
            need(
                _shape(part.data) == _shape(parts[0].data),
                "the data sets of the mix differ in their windows",
                why=f"{_shape(part.data)} and {_shape(parts[0].data)} cannot stand in one batch",
                fix="give them the same window, objects, crop_px and target",
            )
        self.parts, self.seed, self.train, self.epoch = list(parts), parts[0].seed, parts[0].train, 0
        ends = np.round(np.cumsum(weights) / sum(weights) * sum(len(part) for part in parts)).astype(int)
        self._starts = [0, *(int(end) for end in ends)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Sample | None:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.draw(index, self.epoch)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def draw(self, index: int, epoch: int) -> Sample | None:
        """Window ``index`` of an epoch."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        share = self._starts[part + 1] - self._starts[part]
        # The part's windows in one random order after another, without end; each epoch goes on where the last ended.
        turn, place = divmod(epoch * share + index - self._starts[part], len(self.parts[part]))
        order = numpy_stream(self.seed, "mix", part, turn).permutation(len(self.parts[part]))
        sample = self.parts[part].draw(int(order[place]), epoch, key=index)
        return None if sample is None else replace(sample, index=index)


def _shape(data: DataConfig) -> dict[str, int | str]:
    return {n: getattr(data, n) for n in ("window_frames", "frames_per_window", "objects", "crop_size", "target")}


class Loader:
    """Batches of `Windows` or a `Mix`, for one of ``world`` processes; made by `loader`."""

    def __init__(
        self, windows: Windows | Mix, batch_size: int, workers: int, rank: int, world: int, drop_last: bool, start: int
    ):
        self.windows, self.batch_size, self.rank, self.world, self.drop_last = (
            windows,
            batch_size,
            rank,
            world,
            drop_last,
        )
        self._start, self._plan = start, _Plan()
        self._loader = DataLoader(
            _ByEpoch(windows),
            batch_sampler=self._plan,
            num_workers=workers,
            collate_fn=_collate,
            # A fork out of a process that used OpenMP or CUDA hangs.
            multiprocessing_context="forkserver" if workers else None,
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.plan(0))

    def __iter__(self) -> Iterator[Batch]:
        """One pass over the epoch that ``windows.set_epoch`` chose; the first begins at ``start_batch``."""
        start, self._start = self._start, 0
        return self.pass_over(self.windows.epoch, start)

    def pass_over(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from ``start_batch`` on."""
        self._plan.batches = [[(epoch, index) for index in batch] for batch in self.plan(epoch)[start_batch:]]
        for batch in self._loader:
            if isinstance(batch, dict):
                raise InputError(batch["what"], why=batch["why"], fix=batch["fix"])
            if batch is not None:
                yield batch

    def plan(self, epoch: int) -> list[list[int]]:
        """This process's sample indices, batch by batch. Together the processes see every sample once."""
        count, together = len(self.windows), self.batch_size * self.world
        order = (
            numpy_stream(self.windows.seed, "order", epoch).permutation(count) if self.windows.train else range(count)
        )
        order = [int(index) for index in order]
        whole = count - count % together if self.drop_last else count
        batches = (order[at : min(at + together, whole)] for at in range(0, whole, together))
        mine = ([int(i) for i in np.array_split(batch, self.world)[self.rank]] for batch in batches)
        return [batch for batch in mine if batch]


def loader(
    windows: Windows | Mix,
    batch_size: int,
    *,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    drop_last: bool = False,
    start_batch: int = 0,
) -> Loader:
    """Batches for process ``rank`` of ``world``, shuffled anew each epoch in training.

    batch_size counts one process's samples. Without ``drop_last`` the last batch is smaller, and some processes may
    have none; training in many processes needs ``drop_last``. Raises InputError where no batch would be left.
    """
    need(
        batch_size >= 1 and 0 <= rank < world,
        f"batch_size={batch_size}, rank={rank}, world={world} cannot be",
        why="a batch holds a sample or more, and ranks count from 0",
        fix="give batch_size >= 1 and 0 <= rank < world",
    )
    need(
        not drop_last or len(windows) >= batch_size * world,
        f"{len(windows)} windows do not fill one batch of {batch_size} in each of {world} processes",
        why="incomplete batches are dropped, so nothing would be left to train on",
        fix="lower the batch size, raise windows_per_clip, or add clips",
    )
    return Loader(windows, batch_size, workers, rank, world, drop_last, start_batch)


class _Plan:
    """The batches of one pass as (epoch, index) pairs, so that lasting workers need not be told the epoch."""

    def __init__(self):
        self.batches: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _ByEpoch(Dataset):
    """An InputError travels from a worker as data: across processes torch would turn it into another error."""

    def __init__(self, windows: Windows | Mix):
        self.windows = windows

    def __getitem__(self, key: tuple[int, int]) -> Sample | dict[str, str] | None:
        epoch, index = key
        try:
            return self.windows.draw(index, epoch)
        except InputError as error:
            return {"what": error.what, "why": error.why, "fix": error.fix}


def _collate(samples: list[Sample | dict[str, str] | None]) -> Batch | dict[str, str] | None:
    for sample in samples:
        if isinstance(sample, dict):
            return sample
    there = [sample for sample in samples if sample is not None]
    return collate(there) if there else None
