"""Stage 1 whole: what is seen and the mono mel in, both ears' mels out.

`DiffBinaural` holds the two networks, ``unet`` and ``frame``, and the recipe that says how they learn and sample. Mels
are in unit scale, [-1, 1], throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from binaural_core.config import Config
from binaural_core.diffusion.guidance import MONO, SIGHT, Network, both_ways
from binaural_core.diffusion.noise import NoiseSource
from binaural_core.diffusion.recipe import Draws, RecipeConfig, Watch, build
from binaural_core.diffusion.silence import keep_silence
from binaural_core.errors import need
from binaural_core.models.unet import UNet, UNetConfig
from binaural_core.models.visual import Seen, VisualConfig, VisualNet, mirror_sight

Sight = Sequence[Tensor]  # crops_BLOCHW, image_positions_BLO2, positions_BLO3, mask_BLO: `Batch.sight`


@dataclass(frozen=True, kw_only=True)
class DiffBinauralConfig(Config):
    unet: UNetConfig = field(default_factory=UNetConfig)
    visual: VisualConfig = field(default_factory=VisualConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    both_ways: bool = False  # sampling asks the network in a mirror too (`guidance.both_ways`); twice the time
    silence_mask: bool = True  # frames in which the mono is silent come out silent (`diffusion.silence`)

    def validate(self) -> None:
        need(
            self.unet.context_dim == self.visual.context_dim,
            f"unet.context_dim={self.unet.context_dim} but visual.context_dim={self.visual.context_dim}",
            why="the one is what the other gives",
            fix="set both to the same number",
        )
        need(
            not self.both_ways or self.unet.ears == 2,
            f"both_ways with {self.unet.ears} ear",
            why="in a mirror the ears change places",
            fix="set unet.ears to 2 or both_ways to false",
        )
        need(
            not self.unet.cross_attention or self.unet.object_dim == self.visual.object_dim,
            f"unet.object_dim={self.unet.object_dim} but visual.object_dim={self.visual.object_dim}",
            why="with cross_attention the one looks at what the other gives",
            fix="set both to the same number",
        )


class DiffBinaural(nn.Module):
    """``.unet`` and ``.frame``, saved apart under these names."""

    def __init__(self, config: DiffBinauralConfig):
        super().__init__()
        self.config = config
        self.unet = UNet(config.unet)
        self.frame = VisualNet(config.visual)
        self.recipe = build(config.recipe)

    def forward(self, x_BEMF: Tensor, t_B: Tensor, mono_B1MF: Tensor, seen: Seen) -> Tensor:
        """The UNet's raw output (B, E, M, F)."""
        return self.unet(x_BEMF, t_B, mono_B1MF, seen.context_BLD, seen.objects_BLOD, seen.mask_BLO)

    def look(
        self, crops_BLOCHW: Tensor, image_positions_BLO2: Tensor, positions_BLO3: Tensor, mask_BLO: Tensor
    ) -> Seen:
        """What the pictures tell the UNet: a context for each, and its objects."""
        return self.frame(crops_BLOCHW, image_positions_BLO2, positions_BLO3, mask_BLO)

    def network(self, mono_B1MF: Tensor, seen: Seen | Tensor) -> Network:
        """The network as a recipe takes it. A hidden mono mel is zeros; hidden sight is "nothing seen".

        seen : what `look` gives; without cross-attention a context_BLD will do.
        """
        seen = Seen(seen) if isinstance(seen, Tensor) else seen

        def network(x_BEMF: Tensor, t_B: Tensor, kept_B2: Tensor) -> Tensor:
            mono = mono_B1MF * kept_B2[:, MONO, None, None, None]
            return self(x_BEMF, t_B, mono, seen.hidden_where(~kept_B2[:, SIGHT], self.frame.null_D))

        return network

    def loss(
        self,
        clean_BEMF: Tensor,
        mono_B1MF: Tensor,
        sight: Sight,
        draws: Draws | Sequence[Generator],
        *,
        weight_BEMF: Tensor | None = None,
    ) -> Tensor:
        """The recipe's loss of each sample (B,)."""
        network = self.network(mono_B1MF, self.look(*sight))
        return self.recipe.loss(network, clean_BEMF, mono_B1MF, draws, weight_BEMF=weight_BEMF)

    @torch.no_grad()
    def sample(
        self,
        mono_B1MF: Tensor,
        sight: Sight,
        *,
        noise_BEMF: Tensor,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        generator: NoiseSource = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """Both ears' mels (B, E, M, F). noise_BEMF: standard normal. None means the recipe's value."""
        network = self.network(mono_B1MF, self.look(*sight))
        if self.config.both_ways:
            network = both_ways(network, self.network(mono_B1MF, self.look(*mirror_sight(sight))))
        mels_BEMF = self.recipe.sample(
            network,
            mono_B1MF,
            noise_BEMF=noise_BEMF,
            steps=steps,
            guidance=guidance,
            temperature=temperature,
            generator=generator,
            watch=watch,
        )
        return keep_silence(mels_BEMF, mono_B1MF) if self.config.silence_mask else mels_BEMF
