"""The localiser's training: from pictures to a heat map of what sounds in them.

A `Stage` for `loop.fit` with one player. It learns from rendered scenes, seen by narrow and wide cameras, or from any
data set whose boxes are known. Pictures are gathered first and held in memory; there is no sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as fn
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from tqdm import tqdm

from binaural_core import checkpoint
from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.pictures import Gallery, PictureBatch, VariedConfig, gather, varied
from binaural_core.data.sample import Clip
from binaural_core.errors import need
from binaural_core.models.localizer import CELL_PX, COARSEST_PX, Localizer, LocalizerConfig, Maps, peaks
from binaural_core.seeds import first_weights, numpy_stream
from binaural_core.training.distributed import ALONE, World
from binaural_core.training.loop import Result, fit
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Draw, Player, Shown
from binaural_core.training.state import State

ALPHA, BETA = 2, 4  # exponents of the focal loss, Zhou et al. 2019
SPREAD = 0.06  # of a peak, as a part of its box's side
NEAR = 0.3  # cells whose target is at least this high learn the shift and the size too
FAR = 0.1  # a peak this far from an object's middle, as a part of the picture's width, is none of it


@dataclass(frozen=True, kw_only=True)
class LocalizerTraining(Config):
    """One training of the localiser: saved as ``config.yaml`` beside its weights."""

    dataset: DatasetConfig = DatasetConfig()
    data: DataConfig = DataConfig()
    model: LocalizerConfig = LocalizerConfig()
    run: RunConfig = field(default_factory=lambda: RunConfig(id="localizer"))
    varied: VariedConfig = VariedConfig()
    pictures_px: tuple[int, int] = (256, 144)
    """Width and height of the pictures in training."""
    pictures_per_clip: int = 2
    all_around: float = 0.2
    """Share of the scenes whose sources stand all around, most of them out of the picture: there may be nothing to find."""
    lr: float = 2e-3
    clip_norm: float = 5.0
    weight_decay: float = 0.01
    shift_weight: float = 1.0
    size_weight: float = 0.3

    def validate(self) -> None:
        need(
            all(side >= COARSEST_PX and side % COARSEST_PX == 0 for side in self.pictures_px),
            f"pictures_px={self.pictures_px}",
            why=f"the network's coarsest cells are {COARSEST_PX} pixels wide",
            fix=f"give multiples of {COARSEST_PX}, such as (256, 144)",
        )
        need(
            self.pictures_per_clip >= 1 and 0 <= self.all_around <= 1,
            f"pictures_per_clip={self.pictures_per_clip} or all_around={self.all_around:g}",
            why="a clip gives a picture or more, and a share is a part of the whole",
            fix="give such as 2 and 0.2",
        )


@dataclass(frozen=True)
class Work:
    """What one step is computed from."""

    pictures_B3HW: Tensor
    targets: Targets
    watched: dict[str, Tensor] = field(default_factory=dict)  # what must be finite


@dataclass(frozen=True)
class Targets:
    """What the maps should be, in which cells the shift and the size count, and how many objects each picture has."""

    heat_BHW: Tensor
    shift_B2HW: Tensor
    size_B2HW: Tensor
    weight_BHW: Tensor
    objects_B: Tensor


class LocalizerStage:
    """Trains a `Localizer`; satisfies `stage.Stage`."""

    averaged = ("localizer",)
    best_by = "loss"

    def __init__(self, config: LocalizerTraining):
        self.config = config
        with first_weights(config.run.seed):
            self.model = Localizer(config.model)
        self.modules = {"localizer": self.model}
        groups = [{"params": list(self.model.parameters()), "lr": config.lr}]
        self.players = (Player("localizer", groups, self.loss, config.clip_norm, weight_decay=config.weight_decay),)

    def inputs(self, batch: PictureBatch) -> dict[str, Tensor]:
        return {"the pictures": batch.pictures_B3HW}

    def prepare(self, batch: PictureBatch, draw: Draw, step: int) -> Work:
        pairs = [
            varied(picture, boxes, self.config.varied, generator)
            for picture, boxes, generator in zip(batch.pictures_B3HW, batch.boxes_BO4, draw("varied"), strict=True)
        ]
        pictures_B3HW = torch.stack([picture for picture, _ in pairs])
        return work(pictures_B3HW, torch.stack([boxes for _, boxes in pairs]))

    def loss(self, work: Work) -> dict[str, Tensor]:
        maps = self.model(work.pictures_B3HW)
        work.watched["the heat map"] = maps.heat_BHW
        heat, shift, size = losses(maps, work.targets)
        total = heat + self.config.shift_weight * shift + self.config.size_weight * size
        return {"total": total, "heat": heat, "shift": shift, "size": size}

    def validate(self, batch: PictureBatch, draw: Draw) -> dict[str, float | tuple[float, float]]:
        """The loss on pictures as they are; the part of the objects that is missed, false peaks per picture, and how far
        off the others are across, as a part of the picture's width."""
        scores = {"loss": float(self.loss(work(batch.pictures_B3HW, batch.boxes_BO4))["total"])}
        objects = hits = false = 0
        errors: list[float] = []
        found = peaks(self.model(batch.pictures_B3HW), self.config.model)
        for (found_O4, _), boxes_O4 in zip(found, batch.boxes_BO4, strict=True):
            true_O4 = boxes_O4[boxes_O4.isfinite().all(dim=1)]
            off = matched(across(found_O4.cpu().numpy()), across(true_O4.cpu().numpy()))
            near = off[off <= FAR].tolist()
            objects, hits, false = objects + len(true_O4), hits + len(near), false + len(found_O4) - len(near)
            errors += near
        scores["false_peaks"] = false / len(batch)
        if objects:
            scores["missed"] = 1 - hits / objects, objects
        if errors:
            scores["error_across"] = float(np.mean(errors)), len(errors)
        return scores

    def show(self, batch: PictureBatch, draw: Draw) -> Shown:
        return Shown()

    def export(self, folder: Path, tag: str, weights: Mapping[str, dict[str, Tensor]], state: State) -> list[Path]:
        checkpoint.write_whole(folder / "config.yaml", self.config.save)
        return [checkpoint.save(folder / f"{name}_{tag}.pth", dict(tensors)) for name, tensors in weights.items()]


def work(pictures_B3HW: Tensor, boxes_BO4: Tensor) -> Work:
    high, wide = pictures_B3HW.shape[2:]
    return Work(pictures_B3HW, targets(boxes_BO4, (high // CELL_PX, wide // CELL_PX)))


def targets(boxes_BO4: Tensor, cells: Sequence[int]) -> Targets:
    """The maps that show the boxes: a bump of height 1 in the cell of each middle, as wide as a part of the box."""
    high, wide = cells
    size_cells = boxes_BO4.new_tensor([wide, high])
    there_BO = boxes_BO4.isfinite().all(dim=2)
    boxes_BO4 = torch.where(there_BO[..., None], boxes_BO4, 0.0)
    middle_BO2 = (boxes_BO4[..., :2] + boxes_BO4[..., 2:]) / 2 * size_cells
    side_BO2 = ((boxes_BO4[..., 2:] - boxes_BO4[..., :2]) * size_cells).clamp(min=0.5)
    y_H, x_W = (torch.arange(n, device=boxes_BO4.device, dtype=boxes_BO4.dtype) for n in (high, wide))
    spread_BO2 = 0.5 + SPREAD * side_BO2
    away_x_BOW = (x_W - middle_BO2[..., :1].floor()) / spread_BO2[..., :1]
    away_y_BOH = (y_H - middle_BO2[..., 1:].floor()) / spread_BO2[..., 1:]
    bump_BOHW = torch.exp(-(away_x_BOW[:, :, None].square() + away_y_BOH[..., None].square()) / 2)
    bump_BOHW = bump_BOHW * there_BO[..., None, None]
    heat_BHW, owner_BHW = bump_BOHW.max(dim=1)

    def of_owner(x_BO2: Tensor) -> Tensor:
        at = owner_BHW.flatten(1)[..., None].expand(-1, -1, 2)
        return x_BO2.gather(1, at).unflatten(1, (high, wide)).permute(0, 3, 1, 2)

    centre_2HW = torch.stack([x_W.expand(high, -1), y_H[:, None].expand(-1, wide)]) + 0.5
    shift_B2HW = of_owner(middle_BO2) - centre_2HW
    weight_BHW = heat_BHW * (heat_BHW >= NEAR)
    return Targets(heat_BHW, shift_B2HW, of_owner(side_BO2.log()), weight_BHW, there_BO.sum(dim=1))


def losses(maps: Maps, truth: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Of the heat map (focal), the shift (L1, cells) and the size (L1, ln): the mean over pictures, each for itself."""
    logit_BHW = maps.heat_BHW.float()
    yes, no, heat = fn.logsigmoid(logit_BHW), fn.logsigmoid(-logit_BHW), logit_BHW.sigmoid()
    at_middle = (1 - heat) ** ALPHA * yes
    elsewhere = (1 - truth.heat_BHW) ** BETA * heat**ALPHA * no
    focal = torch.where(truth.heat_BHW == 1, at_middle, elsewhere)  # Zhou et al. 2019, eq. 1
    weight_B1HW = truth.weight_BHW[:, None]
    cells_B = weight_B1HW.flatten(1).sum(dim=1).clamp(min=1)

    def off(maps_B2HW: Tensor, truth_B2HW: Tensor) -> Tensor:
        return (((maps_B2HW.float() - truth_B2HW).abs() * weight_B1HW).flatten(1).sum(dim=1) / cells_B).mean()

    heat_B = -focal.flatten(1).sum(dim=1) / truth.objects_B.clamp(min=1)
    shift = off(maps.shift_B2HW, truth.shift_B2HW)  # the same, eq. 2
    size = off(maps.size_B2HW, truth.size_B2HW)  # the same, eq. 3, of the ln
    return heat_B.mean(), shift, size


def across(boxes_O4: np.ndarray) -> np.ndarray:
    """The middles of boxes, from left (0) to right (1)."""
    return (boxes_O4[:, 0] + boxes_O4[:, 2]) / 2


def matched(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distances of the pairs of found and true values that are nearest on the whole; each is in one pair at most."""
    distances = np.abs(np.asarray(found)[:, None] - np.asarray(true)[None])
    return distances[linear_sum_assignment(distances)]


def seen_clips(config: LocalizerTraining, split: str) -> list[Clip]:
    """The clips of a split; of scenes, a share with sources all around."""
    dataset = config.dataset
    if dataset.kind != "scenes":
        return open_clips(dataset, split, config.data)
    around = round(dataset.scenes[split] * config.all_around)
    found: list[Clip] = []
    for number, (reach_deg, count) in enumerate(
        ((dataset.rendered.scene.max_azimuth_deg, dataset.scenes[split] - around), (180.0, around))
    ):
        if count:
            one = dataset.replace(
                scenes=dataset.scenes | {split: count},
                scenes_seed=dataset.scenes_seed + number,
                **{"rendered.scene.max_azimuth_deg": reach_deg},
            )
            found += open_clips(one, split, config.data)
    return found


class PictureData:
    """Training and validation pictures as `stage.Data`; in many processes each has its share of every batch."""

    def __init__(self, config: LocalizerTraining, world: World = ALONE, *, progress: bool = True):
        self.config, self.world = config, world
        self._training, self._validation = (
            self._gallery(split, progress and world.first) for split in ("train", "val")
        )
        self.batch_size = config.run.batch_size if world.size > 1 else min(config.run.batch_size, len(self._training))
        self.batches_per_epoch = len(self._training) // (self.batch_size * world.size)

    def _gallery(self, split: str, progress: bool) -> Gallery:
        clips = seen_clips(self.config, split)
        with tqdm(total=len(clips), desc=f"{split} pictures", disable=not progress, unit="clip") as bar:
            return gather(
                clips,
                self.config.pictures_per_clip,
                self.config.pictures_px,
                h_fov_deg=self.config.data.h_fov_deg,
                on_clip=bar.update,
            )

    def training(self, epoch: int, start_batch: int) -> Iterator[PictureBatch]:
        order = numpy_stream(self.config.run.seed, "order", epoch).permutation(len(self._training)).tolist()
        together = self.batch_size * self.world.size
        for number in range(start_batch, self.batches_per_epoch):
            first = number * together + self.world.rank * self.batch_size
            yield self._training.batch(order[first : first + self.batch_size])

    def validation(self) -> Iterator[PictureBatch]:
        mine = self.world.share(range(len(self._validation)))
        for first in range(0, len(mine), self.batch_size):
            yield self._validation.batch(mine[first : first + self.batch_size])


def train(config: LocalizerTraining, world: World = ALONE, *, progress: bool = True) -> tuple[LocalizerStage, Result]:
    """Train the localiser as ``config`` says, or go on where its folder left off."""
    stage = LocalizerStage(config)
    data, tree = PictureData(config, world, progress=progress), config.to_dict()
    return stage, fit(stage, data, config.run, tree=tree, world=world, progress=progress)


def run(config: LocalizerTraining, world: World = ALONE) -> Result:
    """`train` for `distributed.launch`: what comes back from another process is the result alone."""
    return train(config, world)[1]
