"""The contest at toy size: what is trained on what, what is kept, what it cost, and a table that its rows bear out."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from binaural_core import InputError, cli, contest
from binaural_core.contest import ContestConfig, Cost
from binaural_core.pipeline import window_starts_s
from binaural_core.places import REPOSITORY, config_file, data_samples
from binaural_core.training import stage1

TOY = {
    "dataset": {
        "kind": "scenes",
        "scenes": {"train": 4, "val": 2, "test": 2},
        "rendered": {
            "width_px": 64,
            "height_px": 36,
            "scene": {"duration_s": 1.1, "sources": [1, 1], "reverberant": 0.0},
        },
    },
    "trainings": {
        "small": {
            "kind": "stage1",
            "config": "shipped_stage1.yaml",
            "about": "a toy",
            "set": {
                "model.unet.dim": 16,
                "model.unet.mults": [1],
                "model.visual.width": 4,
                "data.crop_px": 16,
                "data.objects": 1,
                "data.together": 1,
                "run.epochs": 1,
                "run.batch_size": 2,
                "run.workers": 0,
                "run.device": "cpu",
            },
        },
        "vocoder": {
            "kind": "stage2",
            "config": "shipped_stage2.yaml",
            "set": {
                "vocoder": "bigvgan_tiny_22khz_80band.json",
                "run.epochs": 1,
                "run.batch_size": 4,
                "pesq_clips": 0,
                "validation_frames": 16,
            },
        },
        "vocoder_2b": {
            "kind": "stage2",
            "config": "shipped_stage2.yaml",
            "begins_with": "vocoder",
            "hears": "small",
            "set": {
                "vocoder": "bigvgan_tiny_22khz_80band.json",
                "run.epochs": 1,
                "run.batch_size": 4,
                "pesq_clips": 0,
                "validation_frames": 16,
            },
        },
    },
    "systems": [
        "mono",
        "warp",
        "ours@ours:mono_phase={trained}/small",
        "2b@ours:bigvgan={trained}/small+{trained}/vocoder_2b/g_best",
        "truth@truth:mono_phase={trained}/small",
    ],
    "tests": {
        "alike": {"about": "As in training."},
        "two": {"protocol": "windows", "set": {"rendered.scene.sources": [2, 2], "scenes": {"test": 1}}},
    },
    "pairs": [["truth", "ours"]],
}


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    out = tmp_path_factory.mktemp("contest")
    config = ContestConfig.from_dict(TOY)
    return config, out, contest.run(config, out)


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def test_all_are_trained_on_the_one_data_set_and_2b_begins_with_2a_and_hears_predictions(held):
    config, out, _ = held
    for name in config.trainings:
        assert config.training(name, out).dataset == config.dataset
    two_b = config.training("vocoder_2b", out)
    assert (two_b.start_from, two_b.mel_pred_dir) == (str(out / "trained" / "vocoder"), str(out / "mels" / "small"))
    assert len(list((out / "mels" / "small" / "left" / "train").glob("*.npy"))) >= 4
    assert list(config.rounds()) == [["small", "vocoder"], ["vocoder_2b"]]


def test_the_table_is_what_the_rows_say(held):
    _, out, found = held
    said = (out / "measures.md").read_text()
    assert said == found.markdown()
    rows = rows_of(out / "alike" / "measures.csv")
    assert [row["system"] for row in rows[:5]] == ["mono", "warp", "ours", "2b", "truth"]
    for system in ("mono", "warp", "ours", "2b", "truth"):
        mean = np.mean([float(row["ild_error_db"]) for row in rows if row["system"] == system])
        line = next(line for line in said.splitlines() if line.startswith(f"| {system} "))
        assert line.split("|")[2].split()[0] == f"{mean:.2f}"
    kinds = said.split("by the kind of scene")[1]
    line = next(line for line in kinds.splitlines() if line.startswith("| warp "))
    means = [
        np.mean([float(row[n]) for row in rows if row["system"] == "warp"]) for n in ("ild_error_db", "itd_error_us")
    ]
    assert f"one, {rows[0]['room']} (2)" in kinds
    assert line.split("|")[2].strip() == f"{means[0]:.2f}, {means[1]:.0f}"
    apart = [
        float(truth["ild_error_db"]) - float(ours["ild_error_db"])
        for ours, truth in zip(rows[2::5], rows[4::5], strict=True)
    ]
    pair = next(line for line in said.splitlines() if line.startswith("| truth  | ours |"))
    assert pair.split("|")[3].split()[0] == f"{np.mean(apart):+.2f}"
    windows = rows_of(out / "two" / "measures.csv")
    assert {row["sources"] for row in windows} == {"2.0"}
    assert "stft_distance_normalized" in windows[0]
    assert "ild_error_db" not in windows[0]


def test_what_is_kept_gives_the_same_tables(held, tmp_path):
    config, _, found = held
    found.keep(tmp_path)
    again = contest.kept(config, tmp_path)
    assert again.markdown() == found.markdown()
    assert "mel_l2" not in rows_of(tmp_path / "alike.csv")[0]
    torn = replace(found.tests["alike"], broken={"test/x, mono": "it is torn"})
    incomplete = replace(found, tests=found.tests | {"alike": torn})
    incomplete.keep(tmp_path)
    assert "Not measured: 1" in incomplete.markdown()
    assert contest.kept(config, tmp_path).markdown() == incomplete.markdown()
    (tmp_path / "alike.csv").write_text((tmp_path / "alike.csv").read_text().replace(",1.0,", ",one,", 1))
    with pytest.raises(InputError, match=r"alike\.csv cannot be read"):
        contest.kept(config, tmp_path)
    found.keep(tmp_path)
    (tmp_path / "alike.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"alike\.csv cannot be read"):
        contest.kept(config, tmp_path)
    (tmp_path / "alike.csv").write_text("clip,system\na,b\n")
    with pytest.raises(InputError, match=r"alike\.csv .* has other columns.* azimuth_deg"):
        contest.kept(config, tmp_path)
    found.keep(tmp_path)
    for spoiled in ("{", "{}", '{"machine": "here", "trainings": {"small": {}}}'):
        (tmp_path / "costs.json").write_text(spoiled)
        with pytest.raises(InputError, match=r"costs\.json cannot be read"):
            contest.kept(config, tmp_path)
    (tmp_path / "two.csv").unlink()
    with pytest.raises(InputError, match=r"has no two\.csv"):
        contest.kept(config, tmp_path)


def test_a_system_that_was_measured_nowhere_costs_its_own_lines_alone(held, tmp_path):
    config, _, found = held
    found.keep(tmp_path)
    for gone in ("truth", ""):  # one system, then every row
        lines = (tmp_path / "alike.csv").read_text().splitlines()
        (tmp_path / "alike.csv").write_text(
            "\n".join([lines[0], *(x for x in lines[1:] if gone and f",{gone}," not in x), ""])
        )
        said = contest.kept(config, tmp_path).markdown()
        assert "| truth  | ours | –" in said
        assert ("| warp   | 2" in said) == bool(gone)
        assert "**two**" in said


def test_true_mels_keep_the_level_difference_that_the_mono_copy_has_lost(held):
    _, _, found = held
    results = found.tests["alike"].results
    for key in results.by_key:
        row = results.by_key[key]
        assert row["truth"]["ild_error_db"] < 0.2 * row["mono"]["ild_error_db"]
        assert row["truth"]["mel_l1"] < 0.2
    less_mono = results.differences()
    assert less_mono["truth"]["ild_error_db"].value < 0
    assert less_mono.keys() == {"warp", "ours", "2b", "truth"}


def test_costs_are_kept_and_what_is_trained_is_not_trained_again(held):
    config, out, found = held
    assert all(cost.finished and cost.cpu_s > 0 and cost.parameters > 0 for cost in found.costs.values())
    assert found.costs["vocoder"].updates == 2  # 4 clips, two segments of each, 4 at a time
    assert found.costs["vocoder_2b"].updates == 4  # two segments of each of two windows
    weights = out / "trained" / "small" / "unet_best.pth"
    before = weights.stat().st_mtime_ns, (out / "trained" / "small" / "cost.json").read_text()
    again = contest.run(config, out)
    assert (weights.stat().st_mtime_ns, (out / "trained" / "small" / "cost.json").read_text()) == before
    assert again.markdown() == found.markdown()
    assert f"| small      | a toy | {found.costs['small'].parameters / 1e6:.2f} M" in found.markdown()


def test_a_training_that_is_stopped_goes_on_and_its_time_is_counted(tmp_path, monkeypatch):
    config = ContestConfig.from_dict(TOY | {"systems": ["mono"], "pairs": []})

    def stopped(full, *, progress):
        raise KeyboardInterrupt

    train = stage1.train
    monkeypatch.setattr(stage1, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        contest.learn(config, "small", tmp_path, progress=False)
    first = Cost.load(contest.cost_file(tmp_path, "small"))
    assert not first.finished
    assert first.wall_s > 0
    checked = first.replace(cpu_s=1000.0)
    checked.save(contest.cost_file(tmp_path, "small"))
    monkeypatch.setattr(stage1, "train", train)
    contest.learn(config, "small", tmp_path, progress=False)
    done = Cost.load(contest.cost_file(tmp_path, "small"))
    assert done.finished
    assert done.updates == 2
    assert 1000 < done.cpu_s < 2000


def test_what_was_made_from_other_weights_is_refused(held, tmp_path):
    config, whole, _ = held
    shutil.copytree(whole, tmp_path / "out")
    out = tmp_path / "out"
    assert set(Cost.load(contest.cost_file(out, "vocoder_2b")).made_from) == {"small", "vocoder"}
    contest.train(config, out)
    weights = out / "trained" / "small" / "frame_best.pth"
    weights.write_bytes(weights.read_bytes() + b"trained on")
    with pytest.raises(InputError, match="vocoder_2b began with other weights of small"):
        contest.train(config, out)
    shutil.rmtree(out / "trained" / "vocoder_2b")
    with pytest.raises(InputError, match="holds mels of other weights than"):
        contest.train(config, out)


def test_a_finished_training_of_other_settings_is_refused(held):
    config, out, _ = held
    changed = config.to_dict()
    changed["trainings"]["small"]["set"]["lr_unet"] = 0.5
    with pytest.raises(InputError, match="lr_unet"):
        contest.learn(ContestConfig.from_dict(changed), "small", out, progress=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"begins_with": "nobody"}, "the trainings nobody are not there"),
        ({"begins_with": "vocoder_2b"}, "wait for each other"),
        ({"kind": "stage1", "hears": "small"}, "begins with or hears small"),
    ],
)
def test_trainings_that_cannot_be_ordered_are_refused(change, said):
    trainings = TOY["trainings"] | {"vocoder": TOY["trainings"]["vocoder"] | change}
    with pytest.raises(InputError, match=said):
        ContestConfig.from_dict(TOY | {"trainings": trainings})


def test_pairs_are_of_known_systems():
    with pytest.raises(InputError, match="the pairs name nobody"):
        ContestConfig.from_dict(TOY | {"pairs": [["ours", "nobody"]]})


def test_the_readmes_tables_are_what_the_kept_measures_say():
    """Every number of them is computed from the rows again."""
    config = ContestConfig.load(config_file("systems.yaml"))
    readme = (REPOSITORY / "README.md").read_text()
    between = readme.split("<!-- systems:begin -->\n")[1].split("<!-- systems:end -->")[0]
    assert between == contest.kept(config, data_samples() / "measured" / "systems").markdown()


def test_the_command_writes_reports_and_says_the_tables(held, capsys):
    config, out, found = held
    file = out / "toy.yaml"
    config.save(file)
    assert cli.main(["bench", "systems", "--config", str(file), "--out", str(out), "--processes", "1"]) == 0
    assert found.markdown() in capsys.readouterr().out
    assert all((out / name / "report.html").stat().st_size > 10_000 for name in config.tests)


def test_the_shipped_contest_gives_all_the_same_scenes_and_the_same_budget(tmp_path):
    config = ContestConfig.load(config_file("systems.yaml"))
    scenes = config.dataset.scenes["train"]
    for name, one in config.trainings.items():
        full = config.training(name, tmp_path)
        assert full.dataset == config.dataset
        a_pass = scenes * getattr(full, "rounds", 1) // full.run.batch_size
        if not one.begins_with:
            assert a_pass * full.run.epochs == pytest.approx(1750, abs=10)
    longer, sampled = (config.training(name, tmp_path) for name in ("vocoder_2a", "vocoder_2b"))
    windows = len(window_starts_s(longer.dataset.rendered.scene.duration_s, 80 * 256 / 22_050))
    assert longer.rounds == windows * sampled.rounds  # which has a segment of each window that stage 1 predicted
    apart = {"run", "rounds", "mel_pred_dir", "use_scheduled_sampling", "schedule"}
    plain = [{k: v for k, v in one.to_dict().items() if k not in apart} for one in (longer, sampled)]
    assert plain[0] == plain[1]
    assert longer.run.replace(id="same") == sampled.run.replace(id="same")
