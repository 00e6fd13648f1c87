"""Recipes side by side: what is measured is what it says, and only the recipe differs."""

import numpy as np
import pytest
import torch

from binaural_core.errors import InputError
from binaural_core.places import CONFIGS
from binaural_core.seeds import stream
from binaural_core.training import comparison
from binaural_core.training.comparison import Comparison, ComparisonConfig, Kept, Sampling, against, judge

SHIPPED = ComparisonConfig.load(CONFIGS / "recipes.yaml")


def small(**changes) -> ComparisonConfig:
    """The shipped measurement, small enough for a test."""
    tiny = {
        "stage.dataset.scenes": {"train": 3, "test": 2},
        "stage.dataset.rendered.scene.duration_s": 0.6,
        "stage.data.window_frames": 32,
        "stage.data.crop_px": 16,
        "stage.model.unet.dim": 8,
        "stage.model.visual.width": 4,
        "stage.run.batch_size": 2,
        "updates": (2, 4),
        "seeds": (0, 1),
        "draws": 2,
        "contenders.diffbinaural.samplings": SHIPPED.contenders["diffbinaural"].samplings[1:3],
        "contenders.bridge.samplings": SHIPPED.contenders["bridge"].samplings[:2],
    }
    return SHIPPED.replace(**(tiny | changes))


@pytest.fixture(scope="module")
def found() -> Comparison:
    return comparison.compare(small())


def draws(k: int, spread: float, *, seed: int = 0, cells=(6, 2, 16, 40)) -> tuple[torch.Tensor, torch.Tensor]:
    """K draws and a truth, which is one more draw from the same distribution of deviation 0.2; draws are ``spread`` wide."""
    middle = torch.randn(cells, generator=stream(seed, "middle"))
    made = torch.randn((k, *cells), generator=stream(seed, "made"))
    truth = torch.randn(cells, generator=stream(seed, "truth"))
    return middle + spread * made, middle + 0.2 * truth


@pytest.mark.parametrize("k", [2, 4, 9])
def test_the_spread_is_right_when_the_truth_is_one_more_draw(k):
    measured = judge(*draws(k, 0.2))
    assert measured["variance"] == pytest.approx(0.04, rel=0.05)
    assert measured["variance"] / measured["variance_called_for"] == pytest.approx(1.0, rel=0.05)


def test_too_sure_and_too_noisy_draws_are_told_apart():
    ratios = [m["variance"] / m["variance_called_for"] for m in (judge(*draws(4, spread)) for spread in (0.02, 0.8))]
    assert ratios[0] < 0.05
    assert ratios[1] > 2.0


def test_errors_are_of_one_draw_and_of_the_mean():
    true_BEMF = torch.zeros(1, 2, 4, 32)
    made_KBEMF = torch.stack([true_BEMF + 0.3, true_BEMF - 0.1])
    measured = judge(made_KBEMF, true_BEMF)
    assert measured["mel_l1"] == pytest.approx(0.2, abs=1e-6)
    assert measured["mean_l1"] == pytest.approx(0.1, abs=1e-6)
    assert measured["variance"] == pytest.approx(0.08, abs=1e-6)
    assert measured["ild_error_db"] == pytest.approx(0.0, abs=1e-5)
    louder = made_KBEMF.clone()
    louder[:, :, 0] += np.log(10) / 20  # the left ear 1 dB louder
    assert judge(louder, true_BEMF)["ild_error_db"] == pytest.approx(1.0, abs=1e-4)


def test_a_solver_is_held_against_a_finer_one():
    made_KBEMF, _ = draws(4, 0.2)
    off = against(made_KBEMF * 1.0 + 0.5, made_KBEMF)
    assert off["mean_off"] == pytest.approx(0.5, abs=1e-5)
    assert off["reference_variance"] == pytest.approx(float(made_KBEMF.var(dim=0).mean()))


def test_evaluations_are_counted_as_the_network_sees_them():
    wanted = {"midpoint": 6, "euler": 3, "ddim": 3, "dpmpp_2m": 3, "heun": 5, "ddpm": 3}
    assert {solver: Sampling(solver=solver, steps=3).evaluations for solver in wanted} == wanted
    asked = []

    def network(x_BEMF, t_B, kept_B2):
        asked.append(len(x_BEMF))
        return torch.zeros_like(x_BEMF)

    for contender in SHIPPED.contenders.values():
        for sampling in contender.samplings:
            asked.clear()
            recipe = comparison.build(sampling.of(contender.recipe))
            recipe.sample(network, torch.zeros(1, 1, 8, 8), noise_BEMF=torch.zeros(1, 2, 8, 8))
            assert len(asked) == sampling.evaluations, sampling


def test_everything_is_measured_once(found):
    config = found.config
    at_the_end = sum(len(c.samplings) for c in config.contenders.values())
    assert len(found.rows) == len(config.seeds) * (len(config.contenders) * (len(config.updates) - 1) + at_the_end)
    for measure in ("mel_l1", "ild_error_db", "spread_ratio"):
        for name, (x, values_SX) in (found.over_updates(measure) | found.over_evaluations(measure)).items():
            assert values_SX.shape == (2, len(x)), name
            assert np.isfinite(values_SX).all()
    assert found.over_evaluations("mel_l1")["bridge, midpoint"][0] == [2, 6]
    assert found.over_updates("mel_l1")["bridge, 6 evaluations"][0] == [2, 4]
    last = found.over_updates("mel_l1")["bridge, 6 evaluations"][1][:, -1]
    assert found.means("bridge", config.contenders["bridge"].samplings[0])["mel_l1"] == pytest.approx(last.mean())
    assert found.parameters > 0
    assert "| bridge | midpoint | 6 |" in comparison.said(found)


def test_only_the_finest_way_has_no_reference(found):
    last = [row for row in found.rows if row.updates == 4]
    assert {row.sampling.evaluations for row in last if row.mean_off is None} == {6, 10}
    assert all(row.mean_off > 0 for row in last if row.sampling.evaluations not in (6, 10))
    assert all(row.mean_off is None for row in found.rows if row.updates == 2)


def test_it_travels_as_json_and_comes_out_the_same_again(found, tmp_path):
    found.save(tmp_path / "found.json")
    assert Comparison.load(tmp_path / "found.json") == found
    again = comparison.compare(small(seeds=(1,)))
    assert again.rows == tuple(row for row in found.rows if row.seed == 1)
    assert again.mono_copy == found.mono_copy


def test_a_bridge_that_learned_nothing_is_about_the_mono_copy(found):
    """Two updates after the start its mels are still the mono's; diffusion's are noise."""
    curves = found.over_updates("mel_l1").items()
    bridge, diffusion = (
        next(values_SX[:, 0].mean() for name, (_, values_SX) in curves if name.startswith(which))
        for which in ("bridge", "diffbinaural")
    )
    assert bridge == pytest.approx(found.mono_copy["mel_l1"], rel=0.15)
    assert diffusion > 5 * bridge


def test_windows_pass_in_whole_turns_and_each_place_has_its_own_noise():
    config = small()
    kept = comparison.kept_windows(config, "train")
    data = Kept(kept, kept, 4, 0, 3)
    batches = [*data.training(0, 0), *data.training(1, 0)]
    indices = [i for batch in batches for i in batch.indices]
    assert indices == list(range(24))
    starts = [(clip, start) for batch in batches for clip, start in zip(batch.clip_ids, batch.starts_s, strict=True)]
    for first in range(0, 24, len(kept)):
        assert len(set(starts[first : first + len(kept)])) == len(kept)
    assert starts[: len(kept)] != starts[len(kept) : 2 * len(kept)], "each turn has an order of its own"
    late = next(iter(data.training(1, 2)))
    torch.testing.assert_close(late.mono_BN, batches[-1].mono_BN)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="rising"):
        small(updates=(4, 2))
    with pytest.raises(InputError, match="One draw has no spread"):
        small(draws=1)
    with pytest.raises(InputError, match="solver"):
        small(**{"contenders.bridge.samplings": (Sampling(solver="ddim", steps=3),)})
