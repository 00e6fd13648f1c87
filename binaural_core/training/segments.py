"""What the vocoder is trained and validated on: which recordings and mels belong to which split, in batches.

Sound comes from a data set, or from a plain folder of stereo files; true mels from the sound, or from folders; predicted
ones from folders. The same data in one process and in many, with and without processes that read ahead.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from binaural_core.data.catalog import open_clips
from binaural_core.data.mel_pairs import EARS, MelBatch, MelPairs, MelShelf, Segment, collate_mels, split_folder
from binaural_core.data.sample import Clip
from binaural_core.data.stereo_folder import held_out, stereo_clips
from binaural_core.errors import InputError, need
from binaural_core.seeds import numpy_stream
from binaural_core.training.distributed import ALONE, World

if TYPE_CHECKING:
    from binaural_core.training.stage2 import Stage2Config

SPEECH = re.compile(r"\b(speech|speak|speaks|speaker|speaking|talk|talks|talking|voice|conversation|saying|reading)\b")


class SegmentData:
    """Training and validation segments as `loop.Data`; in many processes each has its share of every batch."""

    def __init__(self, config: Stage2Config, world: World = ALONE):
        self.config, self.world = config, world
        vocoder, run = config.bigvgan, config.run
        frames = vocoder.segment_size // vocoder.hop_size
        mels = {split: stored_mels(config, split) for split in ("train", "val")}
        clips = split_clips(config, mels)

        def pairs(split: str, frames: int, rounds: int) -> MelPairs:
            true, predicted = mels[split]
            return MelPairs(
                clips[split],
                vocoder.mel,
                frames=frames,
                seed=run.seed,
                rounds=rounds,
                true=true,
                predicted=predicted,
                peak=config.peak,
                on_broken=config.data.on_broken,
            )

        self._training = pairs("train", frames, config.rounds)
        self._held_out = pairs("val", config.validation_frames or frames, 1)
        self.predicts = mels["val"][1] is not None  # whether there are predicted mels to validate on
        self.speech = speech_indices(self._held_out, config)
        self.recordings = {"train": self._training.summary(), "val": self._held_out.summary()}
        together = run.batch_size * world.size
        need(
            world.size == 1 or len(self._training) >= together,
            f"{len(self._training)} segments do not fill one batch in each of {world.size} processes",
            why=f"every process needs {run.batch_size} for each step",
            fix="lower the batch size, raise rounds, or add clips",
        )
        self.batches_per_epoch = max(1, len(self._training) // together)
        self._plan: list[list[tuple[int, int]]] = []
        self._loader = self._batches_of(self._training, self._plan, run.workers)

    def training(self, epoch: int, start_batch: int) -> Iterator[MelBatch]:
        order = numpy_stream(self.config.run.seed, "order", epoch).permutation(len(self._training))
        size = self.config.run.batch_size * self.world.size
        self._plan[:] = []
        for number in range(start_batch, self.batches_per_epoch):
            mine = np.array_split(order[number * size : (number + 1) * size], self.world.size)[self.world.rank]
            self._plan.append([(epoch, int(index)) for index in mine])
        yield from _sound(self._loader)

    def validation(self) -> Iterator[MelBatch]:
        size, count = self.config.run.batch_size, len(self._held_out)
        batches = [range(first, min(first + size, count)) for first in range(0, count, size)]
        plan = [[(0, index) for index in batch] for batch in self.world.share(batches)]
        yield from _sound(self._batches_of(self._held_out, plan))

    @staticmethod
    def _batches_of(pairs: MelPairs, plan: list[list[tuple[int, int]]], workers: int = 0) -> DataLoader:
        return DataLoader(
            _ByEpoch(pairs),
            batch_sampler=plan,
            num_workers=workers,
            collate_fn=partial(_collate, hop_samples=pairs.mel.hop_samples),
            # A fork out of a process that used OpenMP or CUDA hangs.
            multiprocessing_context="forkserver" if workers else None,
            persistent_workers=workers > 0,
        )


def stored_mels(config: Stage2Config, split: str) -> tuple[MelShelf | None, MelShelf | None]:
    """The true and the predicted mels on disk for a split; None where they are not on disk."""
    true = predicted = None
    given = [getattr(config, f"mel_{ear}_{split}_dir") for ear in EARS]
    if None not in given:
        true = MelShelf(*map(Path, given), "true")
    given = [config.mel_pred_dir or getattr(config, f"mel_pred_{ear}_dir") for ear in EARS]
    if None not in given:
        found = [split_folder(Path(folder), ear, split) for folder, ear in zip(given, EARS, strict=True)]
        folders = [folder for folder, _ in found]
        if None not in folders:
            predicted = MelShelf(*folders, "predicted", of_split=all(alone for _, alone in found))
        else:
            need(
                split != "train",
                f"{' and '.join(given)} hold no predicted mels of the split {split}",
                why=f"there should be a folder {split}/ for each ear, or the files themselves",
                fix="write them with `binaural mels`, or train on true mels by leaving the folders out",
            )
            warnings.warn(f"no predicted mels for {split}: the validation hears true mels alone", stacklevel=3)
    return true, predicted


def split_clips(
    config: Stage2Config, mels: dict[str, tuple[MelShelf | None, MelShelf | None]]
) -> dict[str, Sequence[Clip]]:
    """The recordings of both splits.

    Of a plain folder those are trained on that the mel files of the split name, and likewise validated on; where no file
    says so a tenth is kept aside by name, and never one that is trained on.
    """
    if config.audio_dir is None:
        return {split: open_clips(config.dataset, split, config.data) for split in ("train", "val")}
    clips = {clip.clip_id: clip for clip in stereo_clips(config.audio_dir)}
    named: dict[str, set[str] | None] = {}
    for split, shelves in mels.items():
        telling = [shelf.recordings(clips) for shelf in shelves if shelf is not None and shelf.of_split]
        named[split] = set.union(*telling) if telling else None
    train, val = named["train"], named["val"]
    if train is None:
        train = set(clips) - (held_out(clips) if val is None else val)
    val = set(clips) - train if val is None else val
    need(
        bool(val),
        f"every recording in {config.audio_dir} is trained on",
        why="none is left to validate on",
        fix="name folders of mels for validation (--mel_left_val_dir, --mel_right_val_dir), or add recordings",
    )
    both = train & val
    if both:
        warnings.warn(f"{len(both)} recordings are trained on and validated on (such as {min(both)})", stacklevel=3)
    return {"train": [clips[name] for name in clips if name in train], "val": [clips[n] for n in clips if n in val]}


def is_speech(clip: Clip) -> bool:
    """Whether everything that sounds in a clip is speech, as far as its labels say."""
    scene = getattr(clip, "scene", None)
    labels = [s.label for s in scene.sources] if scene is not None else getattr(clip, "label", "").split("+")
    return all(SPEECH.search(label.lower().replace("_", " ")) for label in labels)


def speech_indices(held_out: MelPairs, config: Stage2Config) -> frozenset[int]:
    """Which validation segments PESQ judges: the first ``pesq_clips`` of them that hold speech."""
    wanted = config.validation_speech
    if wanted is False:
        return frozenset()
    speech = [i for i in range(len(held_out)) if wanted is True or is_speech(held_out.clip(i))]
    return frozenset(speech[: config.pesq_clips])


class _ByEpoch(Dataset):
    """An InputError travels from a worker as data: across processes torch would turn it into another error."""

    def __init__(self, pairs: MelPairs):
        self.pairs = pairs

    def __getitem__(self, key: tuple[int, int]) -> Segment | dict[str, str]:
        epoch, index = key
        try:
            return self.pairs.draw(index, epoch)
        except InputError as error:
            return {"what": error.what, "why": error.why, "fix": error.fix}


def _collate(segments: Sequence[Any], hop_samples: int) -> MelBatch | dict[str, str]:
    for segment in segments:
        if isinstance(segment, dict):
            return segment
    return collate_mels(segments, hop_samples)


def _sound(batches: DataLoader) -> Iterator[MelBatch]:
    for batch in batches:
        if isinstance(batch, dict):
            raise InputError(batch["what"], why=batch["why"], fix=batch["fix"])
        yield batch
