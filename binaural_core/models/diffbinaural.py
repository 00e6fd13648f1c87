"""Stage 1 whole: what is seen and the mono mel in, both ears' mels out.

`DiffBinaural` holds the two networks, ``unet`` and ``frame``, and the recipe that says how they learn and sample. Mels
are in unit scale, [-1, 1], throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from binaural_core.config import Config
from binaural_core.diffusion.guidance import MONO, SIGHT, Network
from binaural_core.diffusion.noise import NoiseSource
from binaural_core.diffusion.recipe import Draws, RecipeConfig, Watch, build
from binaural_core.errors import need
from binaural_core.models.unet import UNet, UNetConfig
from binaural_core.models.visual import VisualConfig, VisualNet

Sight = Sequence[Tensor]  # crops_BLOCHW, image_positions_BLO2, positions_BLO3, mask_BLO: `Batch.sight`


@dataclass(frozen=True, kw_only=True)
class DiffBinauralConfig(Config):
    unet: UNetConfig = field(default_factory=UNetConfig)
    visual: VisualConfig = field(default_factory=VisualConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)

    def validate(self) -> None:
        need(
            self.unet.context_dim == self.visual.context_dim,
            f"unet.context_dim={self.unet.context_dim} but visual.context_dim={self.visual.context_dim}",
            why="the one is what the other gives",
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

    def forward(self, x_BEMF: Tensor, t_B: Tensor, mono_B1MF: Tensor, context_BLD: Tensor) -> Tensor:
        """The UNet's raw output (B, E, M, F)."""
        return self.unet(x_BEMF, t_B, mono_B1MF, context_BLD)

    def see(
        self, crops_BLOCHW: Tensor, image_positions_BLO2: Tensor, positions_BLO3: Tensor, mask_BLO: Tensor
    ) -> Tensor:
        """context_BLD of what is seen."""
        return self.frame(crops_BLOCHW, image_positions_BLO2, positions_BLO3, mask_BLO)

    def network(self, mono_B1MF: Tensor, context_BLD: Tensor) -> Network:
        """The network as a recipe takes it. A hidden mono mel is zeros; hidden sight is "nothing seen"."""
        null_BLD = self.frame.nothing(*context_BLD.shape[:2]).to(context_BLD)

        def network(x_BEMF: Tensor, t_B: Tensor, kept_B2: Tensor) -> Tensor:
            mono = mono_B1MF * kept_B2[:, MONO, None, None, None]
            return self(x_BEMF, t_B, mono, torch.where(kept_B2[:, SIGHT, None, None], context_BLD, null_BLD))

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
        network = self.network(mono_B1MF, self.see(*sight))
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
        return self.recipe.sample(
            self.network(mono_B1MF, self.see(*sight)),
            mono_B1MF,
            noise_BEMF=noise_BEMF,
            steps=steps,
            guidance=guidance,
            temperature=temperature,
            generator=generator,
            watch=watch,
        )
