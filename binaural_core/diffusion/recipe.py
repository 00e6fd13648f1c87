"""How stage 1 learns and how it samples, behind one interface: `bridge` (ours) and `diffbinaural` (the original's).

Conventions: values are in unit scale, log-mels mapped to [-1, 1]; the network is ``network(x_BEMF, t_B, kept_B2)``
with t in [0, 1] and kept_B2 saying which conditions it may use (`guidance`). Everything random arrives as `Draws` or
generators, keyed per sample, so that one process and many see the same numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor

from binaural_core.config import Config
from binaural_core.diffusion import bridge, samplers, schedule
from binaural_core.diffusion.guidance import Dropped, Network, guided, keep_conditions
from binaural_core.diffusion.noise import NoiseSource
from binaural_core.diffusion.objective import Distance, distance, min_snr_weight, p2_weight, q_sample
from binaural_core.diffusion.parameterization import Prediction, target, to_x0
from binaural_core.errors import need
from binaural_core.shapes import check

Watch = Callable[[float, Tensor, Tensor], None]  # (time, x, the data expected from it), in unit scale


@dataclass(frozen=True, kw_only=True)
class BridgeConfig(Config):
    """Flow matching from the noised mono."""

    noise_sigma: float = 0.3
    spread: float = 0.1  # deviation of (ears - mono) in unit scale, the unit that the network works in
    distance: Distance = "l2"
    solver: Literal["euler", "midpoint"] = "midpoint"
    steps: int = 3  # midpoint: 6 evaluations of the network

    def validate(self) -> None:
        need(
            self.noise_sigma > 0 and self.spread > 0,
            f"noise_sigma={self.noise_sigma} and spread={self.spread}",
            why="they are standard deviations, and the network works in their unit",
            fix="give positive numbers",
        )
        need(self.steps >= 1, f"steps={self.steps}", why="nothing would be generated", fix="give 1 or more")


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig(Config):
    """Denoising diffusion; the defaults are the original's."""

    schedule: Literal["cosine", "linear", "sigmoid"] = "cosine"
    timesteps: int = 1000
    zero_terminal_snr: bool = False
    predicts: Prediction = "noise"
    residual_scale: float | None = None  # diffuse (ears - mono) / residual_scale instead of the ears
    distance: Distance = "l1"
    weighting: Literal["none", "min_snr", "p2"] = "none"
    min_snr_gamma: float = 5.0
    sampler: Literal["ddim", "ddpm", "dpmpp_2m", "heun"] = "ddim"
    grid: Literal["trailing", "leading", "linspace", "log_sigma"] = "trailing"
    sigma_high: float = 80.0  # where log_sigma begins: a mel has so many cells that much is decided above 10
    steps: int = 25
    eta: float = 0.0
    clip: bool = True  # keep the data within [-1, 1] at every step; without it noise prediction explodes at the first

    def validate(self) -> None:
        need(
            not (self.zero_terminal_snr and self.predicts == "noise"),
            "zero_terminal_snr with predicts=noise",
            why="the last step holds no signal, so its noise says nothing about the data",
            fix='set predicts to "v" or "x0"',
        )
        need(
            1 <= self.steps <= self.timesteps,
            f"steps={self.steps} of timesteps={self.timesteps}",
            why="a sampler visits each step of the schedule at most once",
            fix=f"give 1 to {self.timesteps}",
        )
        need(
            self.sigma_high > 0.03,
            f"sigma_high={self.sigma_high}",
            why="the grid log_sigma goes from there down to 0.03",
            fix="give 10 to 100",
        )
        need(
            self.residual_scale is None or self.residual_scale > 0,
            f"residual_scale={self.residual_scale}",
            why="the residual is divided by it",
            fix="give a positive number (0.35 suits log-mels in unit scale) or none",
        )
        need(
            self.eta >= 0,
            f"eta={self.eta}",
            why="it scales a standard deviation",
            fix="give 0 (no noise) to 1 (as DDPM)",
        )
        need(
            self.eta == 0 or self.sampler == "ddim",
            f"eta={self.eta} with sampler={self.sampler}",
            why="only DDIM has an eta",
            fix='set eta to 0 or sampler to "ddim"',
        )


@dataclass(frozen=True, kw_only=True)
class RecipeConfig(Config):
    name: Literal["bridge", "diffbinaural"] = "bridge"
    bridge: BridgeConfig = BridgeConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    dropout: float = 0.1  # probability that conditions are hidden from a training sample
    dropped: Dropped | None = None  # None: the recipe's own; the bridge hides sight, the original both together
    guidance: float = 1.0  # 1 = the conditions as learned; above 1 they are exaggerated
    temperature: float = 1.0  # scales the noise that sampling starts from (`cooled`): 1 = as learned, 0 = none

    def validate(self) -> None:
        _checked_temperature(self.temperature)
        need(
            self.name != "diffbinaural" or self.temperature > 0,
            "temperature=0 with the recipe diffbinaural",
            why="diffusion begins with noise alone, and a network that is given none makes nothing like a mel",
            fix="set temperature to 1; only the bridge has a middle to begin with",
        )
        need(
            0 <= self.dropout < 1,
            f"dropout={self.dropout}",
            why="it is the share of training samples whose conditions are hidden",
            fix="give a number from 0 to below 1",
        )

    @property
    def hides(self) -> Dropped:
        return self.dropped or ("sight" if self.name == "bridge" else "together")


@dataclass(frozen=True)
class Draws:
    """All that is random in one training loss."""

    time_B: Tensor  # uniform in [0, 1)
    drop_B2: Tensor  # uniform in [0, 1), one column per condition
    noise_BEMF: Tensor  # standard normal

    def to(self, like: Tensor) -> "Draws":
        return Draws(self.time_B.to(like), self.drop_B2.to(like), self.noise_BEMF.to(like))


def draw(generators: Sequence[Generator], like_BEMF: Tensor) -> Draws:
    """The random numbers of one loss, each sample's from its own generator.

    Raises InputError unless there is one generator per sample.
    """
    need(
        len(generators) == len(like_BEMF),
        f"{len(generators)} generators for {len(like_BEMF)} samples",
        why="every sample draws from its own stream",
        fix="give one generator per sample",
    )
    times, drops, noises = [], [], []
    for generator in generators:
        times.append(torch.rand((), generator=generator))
        drops.append(torch.rand(2, generator=generator))
        noises.append(torch.randn(like_BEMF.shape[1:], generator=generator))
    return Draws(torch.stack(times), torch.stack(drops), torch.stack(noises)).to(like_BEMF)


class Recipe(Protocol):
    """A way to learn and to sample both ears' mels from the mono mel."""

    config: RecipeConfig

    def loss(
        self,
        network: Network,
        clean_BEMF: Tensor,
        mono_B1MF: Tensor,
        draws: Draws | Sequence[Generator],
        *,
        weight_BEMF: Tensor | None = None,
    ) -> Tensor:
        """The loss of each sample (B,). ``weight_BEMF`` (broadcasts) weighs mel cells."""
        ...

    def sample(
        self,
        network: Network,
        mono_B1MF: Tensor,
        *,
        noise_BEMF: Tensor,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        generator: NoiseSource = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """Both ears' mels (B, E, M, F), in the dtype of the noise. None means the config's value."""
        ...


def build(config: RecipeConfig) -> Recipe:
    return Bridge(config) if config.name == "bridge" else Diffusion(config)


class Bridge:
    """Flow matching from the noised mono mel to both ears (`bridge`).

    The network is shown x_t - mono and names the bridge's end as (ears - mono) / spread; the velocity follows.
    """

    def __init__(self, config: RecipeConfig):
        self.config = config

    def loss(self, network, clean_BEMF, mono_B1MF, draws, *, weight_BEMF=None):
        draws = _ready(draws, clean_BEMF, mono_B1MF)
        x_0 = bridge.start(mono_B1MF, draws.noise_BEMF, self.config.bridge.noise_sigma)
        x_t = bridge.point(x_0, clean_BEMF, draws.time_B)
        kept_B2 = keep_conditions(draws.drop_B2, self.config.dropout, self.config.hides)
        output = network(self._asked(x_t, mono_B1MF, draws.time_B), draws.time_B, kept_B2)
        named = (clean_BEMF - mono_B1MF) / self.config.bridge.spread
        return distance(output, named, self.config.bridge.distance, weight_BEMF)

    def sample(
        self, network, mono_B1MF, *, noise_BEMF, steps=None, guidance=None, temperature=None, generator=None, watch=None
    ):  # the bridge draws nothing on its way
        check(mono_B1MF, "B 1 M F", "mono mel")
        scale = self.config.guidance if guidance is None else guidance
        output = guided(network, scale, self.config.hides)
        solve = bridge.midpoint if self.config.bridge.solver == "midpoint" else bridge.euler
        x_0 = bridge.start(mono_B1MF, cooled(noise_BEMF, temperature, self.config), self.config.bridge.noise_sigma)

        def field(x: Tensor, t: float) -> Tensor:
            t_B = torch.full((len(x),), t).to(x)
            difference = self.config.bridge.spread * output(self._asked(x, mono_B1MF, t_B), t_B).to(x)
            return bridge.velocity_towards(mono_B1MF + difference, x, t_B)

        return solve(field, x_0, self.config.bridge.steps if steps is None else steps, watch=watch).clamp(-1, 1)

    def _asked(self, x_t: Tensor, mono_B1MF: Tensor, t_B: Tensor) -> Tensor:
        """What the network is shown: x_t - mono, brought to a deviation of about 1."""
        wanted, t = self.config.bridge, t_B.to(x_t).reshape(-1, 1, 1, 1)
        variance = ((1 - t) * wanted.noise_sigma) ** 2 + (t * wanted.spread) ** 2
        return (x_t - mono_B1MF) * variance.rsqrt()


class Diffusion:
    """Denoising diffusion of both ears' mels, or of their difference from the mono (`schedule`, `samplers`)."""

    def __init__(self, config: RecipeConfig):
        self.config = config
        wanted = config.diffusion
        kinds = {"cosine": schedule.cosine, "linear": schedule.linear, "sigmoid": schedule.sigmoid}
        self.schedule = kinds[wanted.schedule](wanted.timesteps)
        if wanted.zero_terminal_snr:
            self.schedule = schedule.zero_terminal_snr(self.schedule)

    def loss(self, network, clean_BEMF, mono_B1MF, draws, *, weight_BEMF=None):
        draws, wanted = _ready(draws, clean_BEMF, mono_B1MF), self.config.diffusion
        x_0 = self._encode(clean_BEMF, mono_B1MF)
        t_B = (draws.time_B.double().cpu() * len(self.schedule)).long().clamp(max=len(self.schedule) - 1)
        x_t = q_sample(x_0, draws.noise_BEMF, t_B, self.schedule)
        kept_B2 = keep_conditions(draws.drop_B2, self.config.dropout, self.config.hides)
        output = network(x_t, self._network_time(t_B).to(x_t), kept_B2)
        named = target(x_0, draws.noise_BEMF, t_B, self.schedule, wanted.predicts)
        return distance(output, named, wanted.distance, weight_BEMF) * self._step_weight(t_B).to(x_t)

    def sample(
        self, network, mono_B1MF, *, noise_BEMF, steps=None, guidance=None, temperature=None, generator=None, watch=None
    ):
        check(mono_B1MF, "B 1 M F", "mono mel")
        wanted = self.config.diffusion
        x_T = cooled(noise_BEMF, temperature, self.config)
        output = guided(network, self.config.guidance if guidance is None else guidance, self.config.hides)

        def denoise(x: Tensor, t: int) -> Tensor:
            t_B = self._network_time(torch.full((len(x),), t)).to(x)
            x_0 = to_x0(output(x, t_B).to(x), x, t, self.schedule, wanted.predicts)
            return self._encode(self._decode(x_0, mono_B1MF).clamp(-1, 1), mono_B1MF) if wanted.clip else x_0

        grids = {
            "trailing": schedule.trailing,
            "leading": schedule.leading,
            "linspace": schedule.linspace,
            "log_sigma": partial(schedule.log_sigma, high=wanted.sigma_high),
        }
        visited = grids[wanted.grid](wanted.steps if steps is None else steps, self.schedule)
        shown = watch and (lambda t, x, x_0: watch(t, x, self._decode(x_0, mono_B1MF)))
        common = {"generator": generator, "watch": shown}
        if wanted.sampler == "ddim":
            x_0 = samplers.ddim(denoise, x_T, visited, self.schedule, eta=wanted.eta, **common)
        else:
            sampler = {"ddpm": samplers.ddpm, "dpmpp_2m": samplers.dpmpp_2m, "heun": samplers.heun}[wanted.sampler]
            x_0 = sampler(denoise, x_T, visited, self.schedule, **common)
        return self._decode(x_0, mono_B1MF).clamp(-1, 1)

    def _encode(self, ears: Tensor, mono: Tensor) -> Tensor:
        scale = self.config.diffusion.residual_scale
        return ears if scale is None else (ears - mono) / scale

    def _decode(self, x_0: Tensor, mono: Tensor) -> Tensor:
        scale = self.config.diffusion.residual_scale
        return x_0 if scale is None else mono + scale * x_0

    def _network_time(self, t_B: Tensor) -> Tensor:
        """Steps 0 … T - 1 as the network knows them, in [0, 1]."""
        return t_B / (len(self.schedule) - 1)

    def _step_weight(self, t_B: Tensor) -> Tensor:
        wanted, log_snr_B = self.config.diffusion, self.schedule.log_snr[t_B]
        if wanted.weighting == "min_snr":
            return min_snr_weight(log_snr_B, wanted.predicts, wanted.min_snr_gamma)
        return p2_weight(log_snr_B) if wanted.weighting == "p2" else torch.ones_like(log_snr_B)


def cooled(noise_BEMF: Tensor, temperature: float | None, config: RecipeConfig) -> Tensor:
    """The noise that sampling starts from, scaled by ``temperature`` in [0, 1] (None: the config's).

    The bridge then starts nearer to the mono, at 0 exactly there: the path through the middle of what is possible.
    Diffusion starts nearer to the centre of its noise. For Gaussian data both end with the same mean and the deviation
    times ``temperature``; a trained network meets starts quieter than any it has seen. What DDPM, or DDIM with eta above
    0, draws on the way stays as it is.
    """
    return noise_BEMF * _checked_temperature(config.temperature if temperature is None else temperature)


def _checked_temperature(temperature: float) -> float:
    need(
        0 <= temperature <= 1,
        f"temperature={temperature:g}",
        why="it is the share of the learned noise that sampling starts from",
        fix="give 1 (as learned), 0 (no noise) or a number between",
    )
    return temperature


def _ready(draws: Draws | Sequence[Generator], clean_BEMF: Tensor, mono_B1MF: Tensor) -> Draws:
    """Check the shapes at the door and draw what is not drawn yet."""
    sizes = check(clean_BEMF, "B E M F", "target mels")
    check(mono_B1MF, f"{sizes['B']} 1 {sizes['M']} {sizes['F']}", "mono mel")
    return draws.to(clean_BEMF) if isinstance(draws, Draws) else draw(draws, clean_BEMF)
