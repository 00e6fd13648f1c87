"""The UNet of stage 1: noisy mels of both ears and the mono mel in, the recipe's prediction out.

The convolutions are told where they stand on the mel axis (a gain between the ears depends on frequency), time and
visual context arrive by FiLM at every block, and the context may move from video frame to video frame. At full
resolution FiLM varies over the bands too, so that a source's level difference is within easy reach. With
``cross_attention`` the cells in the middle also look at the objects themselves, each at those that matter to it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from binaural_core.config import Config
from binaural_core.errors import need
from binaural_core.models.blocks import (
    Attention,
    CrossAttention,
    LinearAttention,
    ResBlock,
    StandardConv2d,
    TimeEmbedding,
    fourier_features,
)
from binaural_core.shapes import check

MEL_OCTAVES = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Config):
    ears: int = 2  # 1 for networks that make one ear only
    dim: int = 32  # channels at full resolution; the original has 64 to 128
    patch: int = 2  # patch x patch cells go through as one; 1, as in the original, takes three times as long
    mults: tuple[int, ...] = (1, 2, 4)  # channels of each level over dim; each level halves mel and time
    groups: int = 8
    context_dim: int = 128  # features of the visual context; the original has 512
    condition_dim: int = 128  # features that FiLM reads
    film_bands: int = 8  # cosines over the mel axis of FiLM at full resolution
    heads: int = 4
    head_dim: int = 16
    cross_attention: bool = False  # the middle looks at the single objects too, not only at their summary
    object_dim: int = 128  # features of an object, for cross_attention; must equal the visual net's

    def validate(self) -> None:
        need(len(self.mults) >= 1, "mults is empty", why="a UNet has at least one level", fix="give (1, 2, 4)")
        for mult in self.mults:
            need(
                self.dim * mult % self.groups == 0,
                f"dim={self.dim} times {mult} is no multiple of groups={self.groups}",
                why="group norm splits the channels evenly",
                fix=f"make dim a multiple of {self.groups}",
            )
        counted = (
            "ears",
            "dim",
            "patch",
            "context_dim",
            "condition_dim",
            "film_bands",
            "heads",
            "head_dim",
            "object_dim",
        )
        for name in counted:
            value = getattr(self, name)
            need(value >= 1, f"{name}={value}", why="it counts features", fix="give 1 or more")

    @property
    def multiple(self) -> int:
        """Mels and frames are padded to a multiple of this inside."""
        return self.patch * 2 ** (len(self.mults) - 1)


class UNet(nn.Module):
    """``unet(noisy_BEMF, t_B, mono_B1MF, context_BLD) -> (B, E, M, F)`` for any M and F.

    With ``cross_attention`` it takes objects_BLOD and mask_BLO too.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        widths = [config.dim * m for m in config.mults]
        self.time = TimeEmbedding(config.condition_dim)
        self.context = nn.Linear(config.context_dim, config.condition_dim)
        self.condition = nn.Sequential(
            nn.SiLU(),
            nn.Linear(config.condition_dim, config.condition_dim),
            nn.SiLU(),
        )
        inputs = (config.ears + 1 + 1 + 2 * len(MEL_OCTAVES)) * config.patch**2
        self.stem = nn.Conv2d(inputs, config.dim, 5 if config.patch == 1 else 3, padding="same")

        def block(inputs: int, outputs: int, bands: int = 1) -> ResBlock:
            return ResBlock(inputs, outputs, config.condition_dim, config.groups, bands)

        def look_around(level: int) -> nn.Module:
            """Linear attention below full resolution, where it would take most of the time."""
            return LinearAttention(widths[level], config.heads, config.head_dim) if level else nn.Identity()

        levels = range(len(widths))
        self.down = nn.ModuleList(block(widths[i], widths[i], config.film_bands if i == 0 else 1) for i in levels[:-1])
        self.down_attention = nn.ModuleList(look_around(i) for i in levels[:-1])
        self.shrink = nn.ModuleList(StandardConv2d(widths[i], widths[i + 1], 2, stride=2) for i in levels[:-1])
        self.middle1 = block(widths[-1], widths[-1])
        self.middle_attention = Attention(widths[-1], config.heads, config.head_dim)
        self.middle2 = block(widths[-1], widths[-1])
        self.grow = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in levels[:-1])
        self.up = nn.ModuleList(
            block(2 * widths[i], widths[i], config.film_bands if i == 0 else 1) for i in levels[:-1]
        )
        self.up_attention = nn.ModuleList(look_around(i) for i in levels[:-1])
        self.out = nn.Conv2d(config.dim, config.ears * config.patch**2, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if config.cross_attention:
            self.middle_objects = CrossAttention(widths[-1], config.object_dim, config.heads, config.head_dim)

    def forward(
        self,
        noisy_BEMF: Tensor,
        t_B: Tensor,
        mono_B1MF: Tensor,
        context_BLD: Tensor,
        objects_BLOD: Tensor | None = None,
        mask_BLO: Tensor | None = None,
    ) -> Tensor:
        """The network's raw output; what it means is the recipe's affair.

        t_B in [0, 1]; context, objects and mask as `Seen` holds them, one view per video frame evenly over the window.
        The objects count only with ``cross_attention``. Raises InputError when shapes contradict each other.
        """
        sizes = check(noisy_BEMF, f"B {self.config.ears} M F", "noisy mels")
        check(mono_B1MF, f"{sizes['B']} 1 {sizes['M']} {sizes['F']}", "mono mel")
        check(context_BLD, f"{sizes['B']} L {self.config.context_dim}", "visual context")
        if self.config.cross_attention:
            need(
                objects_BLOD is not None and mask_BLO is not None,
                "the UNet was given no objects",
                why="it was made with cross_attention and looks at each of them",
                fix="pass objects_BLOD and mask_BLO, as `VisualNet` gives them",
            )
            seen = check(objects_BLOD, f"{sizes['B']} L O {self.config.object_dim}", "objects")
            check(mask_BLO, f"{sizes['B']} {seen['L']} {seen['O']}", "object mask")
        condition_BLD = self.condition(self.time(t_B)[:, None] + self.context(context_BLD))

        x = torch.cat([noisy_BEMF, mono_B1MF, self._height(mono_B1MF)], dim=1)
        mels, frames = sizes["M"], sizes["F"]
        x = fn.pad(x, (0, -frames % self.config.multiple, 0, -mels % self.config.multiple), mode="replicate")
        reach_MF = x.shape[2] / mels, x.shape[3] / frames
        x = self.stem(fn.pixel_unshuffle(x, self.config.patch))
        passed = []
        for block, attention, shrink in zip(self.down, self.down_attention, self.shrink, strict=True):
            x = attention(block(x, condition_BLD, reach_MF))
            passed.append(x)
            x = shrink(x)
        x = self.middle_attention(self.middle1(x, condition_BLD, reach_MF))
        if self.config.cross_attention:
            x = self.middle_objects(x, objects_BLOD, mask_BLO, reach_MF)
        x = self.middle2(x, condition_BLD, reach_MF)
        for level in reversed(range(len(passed))):
            x = fn.interpolate(self.grow[level](x), scale_factor=2.0, mode="nearest")
            x = self.up_attention[level](self.up[level](torch.cat([x, passed[level]], dim=1), condition_BLD, reach_MF))
        return fn.pixel_shuffle(self.out(x), self.config.patch)[..., :mels, :frames]

    def _height(self, mono_B1MF: Tensor) -> Tensor:
        """Channels that say where on the mel axis a cell stands: its height in [-1, 1] and Fourier features of it."""
        batch, _, mels, frames = mono_B1MF.shape
        height_M1 = torch.linspace(-1, 1, mels, device=mono_B1MF.device, dtype=mono_B1MF.dtype)[:, None]
        features_MC = torch.cat([height_M1, fourier_features(height_M1, [k - 1 for k in MEL_OCTAVES])], dim=1)
        return features_MC.T[None, :, :, None].expand(batch, -1, -1, frames)
