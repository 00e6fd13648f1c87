"""Both recipes through their one interface, with networks that know the answer."""

import pytest
import torch

from binaural_core.diffusion import recipe
from binaural_core.diffusion.recipe import BridgeConfig, DiffusionConfig, Draws, RecipeConfig
from binaural_core.errors import InputError
from binaural_core.seeds import stream

SHAPE = (3, 2, 5, 7)


def mels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = stream(0, "mels")
    clean = torch.rand(SHAPE, generator=generator) * 1.6 - 0.8
    return clean, clean.mean(dim=1, keepdim=True)


def generators(purpose: str, count: int = 3) -> list[torch.Generator]:
    return [stream(0, purpose, i) for i in range(count)]


CONFIGS = {
    "bridge": RecipeConfig(),
    "bridge_euler": RecipeConfig(bridge=BridgeConfig(solver="euler", steps=4, distance="l1")),
    "original": RecipeConfig(name="diffbinaural"),
    "v_min_snr": RecipeConfig(name="diffbinaural", diffusion=DiffusionConfig(predicts="v", weighting="min_snr")),
    "x0_p2": RecipeConfig(name="diffbinaural", diffusion=DiffusionConfig(predicts="x0", weighting="p2")),
    "residual": RecipeConfig(
        name="diffbinaural",
        diffusion=DiffusionConfig(
            predicts="v", residual_scale=0.35, sampler="dpmpp_2m", grid="log_sigma", steps=10, zero_terminal_snr=True
        ),
    ),
    "heun_sigmoid": RecipeConfig(
        name="diffbinaural",
        diffusion=DiffusionConfig(schedule="sigmoid", predicts="x0", sampler="heun", grid="leading", steps=5),
    ),
    "ddpm_linear": RecipeConfig(
        name="diffbinaural", diffusion=DiffusionConfig(schedule="linear", timesteps=100, sampler="ddpm", steps=100)
    ),
}


def oracle(made: recipe.Recipe, clean: torch.Tensor, mono: torch.Tensor):
    """A network that always points at ``clean``, whatever the recipe wants to hear."""
    wanted = made.config

    def network(x, t_B, kept_B2):
        if wanted.name == "bridge":
            return (clean - mono) / wanted.bridge.spread
        x_0 = clean if wanted.diffusion.residual_scale is None else (clean - mono) / wanted.diffusion.residual_scale
        steps = (t_B * (len(made.schedule) - 1)).round().long()
        a, b = made.schedule.signal_noise(steps, x)
        noise = (x - a * x_0) / b
        return {"x0": x_0, "noise": noise, "v": a * noise - b * x_0}[wanted.diffusion.predicts]

    return network


@pytest.mark.parametrize("config", list(CONFIGS.values()), ids=list(CONFIGS))
def test_a_network_that_knows_the_answer_has_no_loss_and_samples_it(config):
    clean, mono = mels()
    made = recipe.build(config)
    network = oracle(made, clean, mono)
    loss_B = made.loss(network, clean, mono, generators("draws"))
    assert loss_B.shape == (3,)
    assert loss_B.max() < 1e-3
    sampled = made.sample(
        network,
        mono,
        noise_BEMF=torch.randn(SHAPE, generator=stream(0, "noise")),
        generator=generators("sampling"),
    )
    torch.testing.assert_close(sampled, clean, atol=2e-3, rtol=0)


@pytest.mark.parametrize("config", list(CONFIGS.values()), ids=list(CONFIGS))
def test_random_numbers_are_keyed_by_sample(config):
    """The loss of a sample does not depend on who else is in the batch."""
    clean, mono = mels()
    made = recipe.build(config)

    def network(x, t_B, kept_B2):
        return 0.3 * x + t_B[:, None, None, None] + kept_B2.sum(dim=1)[:, None, None, None]

    together = made.loss(network, clean, mono, generators("draws"))
    for i in range(3):
        alone = made.loss(network, clean[i : i + 1], mono[i : i + 1], [stream(0, "draws", i)])
        torch.testing.assert_close(alone[0], together[i])
    drawn = recipe.draw(generators("draws"), clean)
    torch.testing.assert_close(made.loss(network, clean, mono, drawn), together)


def test_bridge_shows_the_point_and_asks_for_the_end_both_around_the_mono():
    clean, mono = mels()
    made = recipe.build(RecipeConfig(bridge=BridgeConfig(noise_sigma=0.2, spread=0.1, distance="l1")))
    draws = Draws(torch.tensor([0.0, 0.5, 0.9]), torch.ones(3, 2), torch.randn(SHAPE, generator=stream(0, "noise")))
    seen = {}

    def network(x, t_B, kept_B2):
        seen.update(x=x, t=t_B)
        return torch.zeros_like(x)

    loss_B = made.loss(network, clean, mono, draws)
    torch.testing.assert_close(loss_B, ((clean - mono) / 0.1).abs().flatten(1).mean(dim=1))
    torch.testing.assert_close(seen["t"], draws.time_B)
    t = draws.time_B[:, None, None, None]
    x_t = (1 - t) * (mono + 0.2 * draws.noise_BEMF) + t * clean
    torch.testing.assert_close(seen["x"] * ((0.2 * (1 - t)) ** 2 + (0.1 * t) ** 2).sqrt(), x_t - mono)
    torch.testing.assert_close(seen["x"][0], draws.noise_BEMF[0])


def test_a_bridge_that_knows_nothing_ends_at_the_mono():
    """Not in the noise that it started from."""
    _, mono = mels()
    noise = torch.randn(SHAPE, generator=stream(0, "noise"))
    same = recipe.build(RecipeConfig()).sample(lambda x, t, k: torch.zeros_like(x), mono, noise_BEMF=noise)
    torch.testing.assert_close(same, mono.expand(SHAPE), atol=1e-5, rtol=0)


def test_diffusion_sees_every_step_as_a_time_in_0_1():
    clean, mono = mels()
    made = recipe.build(RecipeConfig(name="diffbinaural"))
    draws = Draws(torch.tensor([0.0, 0.5, 0.99999999]), torch.ones(3, 2), torch.zeros(SHAPE))
    seen = {}

    def network(x, t_B, kept_B2):
        seen.update(x=x, t=t_B)
        return torch.zeros_like(x)

    made.loss(network, clean, mono, draws)
    torch.testing.assert_close(seen["t"], torch.tensor([0.0, 500 / 999, 1.0]))
    torch.testing.assert_close(seen["x"][1], clean[1] * made.schedule.alpha_bar[500].sqrt().float())


@pytest.mark.parametrize(
    "config,hidden",
    [
        (RecipeConfig(dropout=0.5), [True, False]),
        (RecipeConfig(dropout=0.5, dropped="together"), [False, False]),
        (RecipeConfig(name="diffbinaural", dropout=0.5), [False, False]),
        (RecipeConfig(name="diffbinaural", dropout=0.5, dropped="apart"), [False, False]),
    ],
)
def test_conditions_are_hidden_as_the_recipe_says(config, hidden):
    clean, mono = mels()
    drops_B2 = torch.tensor([[0.4, 0.4], [0.6, 0.6], [0.6, 0.6]])
    draws = Draws(torch.full((3,), 0.5), drops_B2, torch.zeros(SHAPE))
    seen = []

    def network(x, t_B, kept_B2):
        seen.append(kept_B2.tolist())
        return torch.zeros_like(x)

    recipe.build(config).loss(network, clean, mono, draws)
    assert seen == [[hidden, [True, True], [True, True]]]


def test_weighted_cells():
    clean, mono = mels()
    weight = torch.zeros(3, 1, 5, 7)
    weight[:, :, 2] = 1
    made = recipe.build(RecipeConfig())
    drawn = recipe.draw(generators("draws"), clean)
    elsewhere = clean.clone()
    elsewhere[:, :, [0, 1, 3, 4]] = 0
    zero = lambda x, t, k: torch.zeros_like(x)  # noqa: E731
    loss_B = made.loss(zero, clean, mono, drawn, weight_BEMF=weight)
    torch.testing.assert_close(loss_B, made.loss(zero, elsewhere, mono, drawn, weight_BEMF=weight))
    assert (loss_B - made.loss(zero, clean, mono, drawn)).abs().min() > 1e-4


@pytest.mark.parametrize("name,evaluations", [("bridge", 6), ("original", 25), ("residual", 10)])
def test_evaluations_steps_guidance_and_watch(name, evaluations):
    clean, mono = mels()
    made = recipe.build(CONFIGS[name])
    noise = torch.randn(SHAPE, generator=stream(0, "noise"))
    calls, seen = [], []
    exact = oracle(made, clean, mono)

    def network(x, t_B, kept_B2):
        calls.append(kept_B2.all().item())
        return exact(x, t_B, kept_B2)

    made.sample(network, mono, noise_BEMF=noise, watch=lambda t, x, data: seen.append(data))
    assert len(calls) == evaluations
    assert all(calls)
    torch.testing.assert_close(seen[-1], clean, atol=2e-3, rtol=0)
    calls.clear()
    made.sample(network, mono, noise_BEMF=noise, steps=2, guidance=2.0)
    assert calls == [False, True] * (4 if name == "bridge" else 2)


def test_residual_diffusion_starts_from_the_mono():
    """A network that finds no difference between the ears gives the mono twice."""
    _, mono = mels()
    made = recipe.build(
        RecipeConfig(name="diffbinaural", diffusion=DiffusionConfig(predicts="x0", residual_scale=0.35))
    )
    noise = torch.randn(SHAPE, generator=stream(0, "noise"))
    same = made.sample(lambda x, t, k: torch.zeros_like(x), mono, noise_BEMF=noise)
    torch.testing.assert_close(same, mono.expand(SHAPE), atol=1e-6, rtol=0)


GAUSSIAN = 0.2, 0.15  # mean and deviation of the difference from the mono, of the data in the next tests


def gaussian(made: recipe.Recipe):
    """The perfect network for data N(mono + mean, deviation²), shown a bridge's points or a residual's."""
    (mean, deviation), wanted = GAUSSIAN, made.config

    def network(x, t_B, kept_B2):
        if wanted.name == "bridge":
            t, sigma = t_B[:, None, None, None], wanted.bridge.noise_sigma
            d = x * (((1 - t) * sigma) ** 2 + (t * wanted.bridge.spread) ** 2).sqrt()
            a, variance = t, (t * deviation) ** 2 + ((1 - t) * sigma) ** 2
            return (mean + a * deviation**2 / variance * (d - a * mean)) / wanted.bridge.spread
        a, b = made.schedule.signal_noise((t_B * (len(made.schedule) - 1)).round().long(), x)
        return mean + a * deviation**2 / (a**2 * deviation**2 + b**2) * (x - a * mean)

    return network


@pytest.mark.parametrize(
    "config",
    [
        RecipeConfig(),
        RecipeConfig(name="diffbinaural", diffusion=DiffusionConfig(predicts="x0", residual_scale=1.0, clip=False)),
    ],
    ids=["bridge", "diffbinaural"],
)
def test_temperature_narrows_what_is_sampled_around_its_middle(config):
    """For Gaussian data a sampler is an affine map: a share of the noise gives that share of the spread, one mean."""
    mono = torch.full((3, 1, 5, 7), -0.1)
    noise = torch.randn(SHAPE, generator=stream(0, "noise"))
    made = recipe.build(config)

    def sampled(made=made, **options):
        return made.sample(gaussian(made), mono, noise_BEMF=noise, **options)

    torch.testing.assert_close(sampled(temperature=0.0), mono.expand(SHAPE) + GAUSSIAN[0], atol=0.02, rtol=0)
    around_middle = sampled() - sampled(temperature=0.0)
    assert around_middle.std() > 0.8 * GAUSSIAN[1]
    for share in (0.25, 0.5):
        torch.testing.assert_close(sampled(temperature=share) - sampled(temperature=0.0), share * around_middle)
    torch.testing.assert_close(sampled(recipe.build(config.replace(temperature=0.5))), sampled(temperature=0.5))
    torch.testing.assert_close(sampled(temperature=1.0) - sampled(temperature=0.0), around_middle)


def test_without_noise_a_bridge_starts_at_the_mono_and_nowhere_else():
    _, mono = mels()
    seen = []

    def network(x, t_B, kept_B2):
        seen.append(x)
        return torch.ones_like(x)

    made, noise = recipe.build(RecipeConfig()), torch.randn(SHAPE, generator=stream(0, "noise"))
    first = made.sample(network, mono, noise_BEMF=noise, temperature=0.0)
    assert (seen[0] == 0).all()
    assert (first == made.sample(network, mono, noise_BEMF=-noise, temperature=0.0)).all()


def test_temperature_leaves_what_a_sampler_draws_on_its_way():
    _, mono = mels()
    made = recipe.build(CONFIGS["ddpm_linear"])
    zero = lambda x, t, k: torch.zeros_like(x)  # noqa: E731
    one, two = (
        made.sample(zero, mono, noise_BEMF=torch.zeros(SHAPE), temperature=0.0, generator=generators(purpose))
        for purpose in ("one", "two")
    )
    assert (one - two).abs().max() > 0.1


@pytest.mark.parametrize("predicts", ["noise", "v", "x0"])
def test_samples_stay_in_unit_scale(predicts):
    _, mono = mels()
    made = recipe.build(RecipeConfig(name="diffbinaural", diffusion=DiffusionConfig(predicts=predicts)))
    noise = torch.randn(SHAPE, generator=stream(0, "noise"))
    assert made.sample(lambda x, t, k: 3 * x, mono, noise_BEMF=noise).abs().max() <= 1


def test_config_round_trip(tmp_path):
    for config in CONFIGS.values():
        config.save(tmp_path / "recipe.yaml")
        assert RecipeConfig.load(tmp_path / "recipe.yaml") == config


@pytest.mark.parametrize(
    "wrong,match",
    [
        (lambda: RecipeConfig(dropout=1.0), "dropout"),
        (lambda: RecipeConfig(temperature=1.5), "temperature=1.5"),
        (lambda: RecipeConfig(name="diffbinaural", temperature=0.0), "temperature=0 with the recipe diffbinaural"),
        (lambda: BridgeConfig(noise_sigma=-0.1), "noise_sigma"),
        (lambda: BridgeConfig(steps=0), "steps=0"),
        (lambda: BridgeConfig(spread=0.0), "spread"),
        (lambda: DiffusionConfig(zero_terminal_snr=True), "zero_terminal_snr"),
        (lambda: DiffusionConfig(steps=2000), "steps=2000 of timesteps=1000"),
        (lambda: DiffusionConfig(sampler="heun", eta=0.5), "sampler=heun"),
        (lambda: DiffusionConfig(residual_scale=0.0), "residual_scale"),
    ],
)
def test_configs_say_what_cannot_be(wrong, match):
    with pytest.raises(InputError, match=match):
        wrong()


def test_shapes_are_checked_at_the_door():
    clean, mono = mels()
    made = recipe.build(RecipeConfig())
    with pytest.raises(InputError, match="mono mel"):
        made.loss(lambda x, t, k: x, clean, mono[..., :5], generators("draws"))
    with pytest.raises(InputError, match="temperature=-1"):
        made.sample(lambda x, t, k: x, mono, noise_BEMF=clean, temperature=-1.0)
    with pytest.raises(InputError, match="2 generators for 3 samples"):
        made.loss(lambda x, t, k: x, clean, mono, generators("draws", 2))


def test_the_log_sigma_grid_begins_where_the_config_says():
    """The times the network is asked at, in [0, 1], fall with the first sigma."""
    first = {}
    for high in (10.0, 80.0):
        wanted = DiffusionConfig(grid="log_sigma", sampler="dpmpp_2m", steps=10, predicts="x0", sigma_high=high)
        asked = []

        def network(x, t_B, kept_B2, asked=asked):
            asked.append(float(t_B[0]))
            return torch.zeros_like(x)

        recipe.build(RecipeConfig(name="diffbinaural", diffusion=wanted)).sample(
            network, torch.zeros(1, 1, 4, 4), noise_BEMF=torch.zeros(1, 2, 4, 4)
        )
        assert len(asked) == 10
        first[high] = asked[0]
    assert first[10.0] == pytest.approx(935 / 999)
    assert first[80.0] > 985 / 999
