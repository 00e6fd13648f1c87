"""Where 2b begins: 2a's weights, discriminators and optimizers; and what a run refuses to go on with."""

import json
import shutil

import pytest
import torch
from tiny_vocoder import TINY, Stop, config_in, sampled

from binaural_core import InputError, checkpoint
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.seeds import stream
from binaural_core.training import stage2
from binaural_core.training.state import begin_with, differences
from binaural_core.training.vocoder_start import find_start


@pytest.fixture(scope="module")
def first(tmp_path_factory, recordings):
    """A finished 2a."""
    folder = tmp_path_factory.mktemp("first")
    return stage2.train(config_in(folder, keep_epochs=1), progress=False)


def test_2b_begins_with_2as_weights_discriminators_and_optimizers(tmp_path, first, recordings, capsys):
    stage_a, result_a = first
    config = sampled(
        tmp_path, recordings, start_from=str(result_a.folder / "g_00000008"), vocoder={"learning_rate": 1e-12}
    )
    stage, _ = stage2.train(config, progress=True)
    assert "g_00000008, discriminators and optimizers from do_00000008" in capsys.readouterr().out
    for name, module in stage.modules.items():  # at such a rate they stay what they were
        for key, value in module.state_dict().items():
            torch.testing.assert_close(value, stage_a.modules[name].state_dict()[key])
    kept = checkpoint.load(result_a.folder / "do_00000008")
    for optimizer, player in (("optim_g", "generator"), ("optim_d", "discriminators")):
        moments = {p.name: p for p in stage.players}[player].moments()
        assert torch.equal(moments[3]["exp_avg"], kept[optimizer]["state"][3]["exp_avg"])
    went_on = checkpoint.load(tmp_path / "two" / "do_00000004")
    assert went_on["optim_g"]["state"][0]["step"] == 8 + 4
    assert went_on["steps"] == 4
    stage2.train(config.replace(start_from="gone"), progress=True)  # a run under way does not read it again


def test_the_best_keeps_its_discriminators_and_moments_however_long_the_run_goes_on(tmp_path, monkeypatch, recordings):
    """The best at the first of three validations: the numbered files of its step are gone at the end."""
    scores = iter((1.0, 2.0, 3.0))
    monkeypatch.setattr(stage2.Stage2, "validate", lambda *_: {"mel_l1": next(scores)})
    at_best, real = {}, stage2.Stage2.export

    def watched(self, folder, tag, weights, state):
        if tag == "best":
            at_best.update({name: module.state_dict()["discriminators.0.conv_post.bias"].clone()
                            for name, module in self.judges.items()})  # fmt: skip
        return real(self, folder, tag, weights, state)

    monkeypatch.setattr(stage2.Stage2, "export", watched)
    config = config_in(tmp_path, audio_dir=str(recordings / "wav"), epochs=3, rounds=1, keep_epochs=0)
    stage, result = stage2.train(config.replace(mel_pred_dir=None), progress=False)
    assert sorted(p.name for p in result.folder.glob("do_*")) == ["do_00000006", "do_best"]
    start = find_start(result.folder)
    assert (start.generator.name, start.others.name) == ("g_best", "do_best")
    assert checkpoint.load(start.others)["steps"] == 2
    assert start.moments("optim_g", stage.judges)[0]["step"] == 2
    begun = stage2.Stage2(config, 2, start=start)
    for name, bias in at_best.items():
        assert torch.equal(begun.judges[name].state_dict()["discriminators.0.conv_post.bias"], bias)


def test_of_a_folder_the_best_is_taken_with_its_do_file(tmp_path, first):
    folder = first[1].folder
    rows = [r for r in json.loads((folder / "training_history.json").read_text())["rows"] if r["kind"] == "validate"]
    step = min(rows, key=lambda row: row["mel_l1"])["step"]
    start = find_start(folder)
    assert (start.generator, start.others) == (folder / "g_best", folder / "do_best")
    for name in ("g_best", f"do_{step:08d}", "training_history.json"):  # as earlier runs left them
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert find_start(tmp_path).others == tmp_path / f"do_{step:08d}"
    (tmp_path / f"do_{step:08d}").unlink()
    assert "so the discriminators begin anew" in find_start(tmp_path).said()
    for name in ("g_00000008", "do_00000008"):  # of an earlier run that went on after its best
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "training_history.json").unlink()
    start = find_start(tmp_path)
    assert (start.generator.name, start.others.name) == ("g_00000008", "do_00000008")
    assert "g_00000008 (g_best has no discriminators left), discriminators and optimizers from do_0" in start.said()
    for name in ("g_best", "do_00000008"):
        (tmp_path / name).unlink()
    for name in ("g_00000004", "do_00000004", "g_00000008", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert find_start(tmp_path).generator == tmp_path / "g_00000008"
    assert "there is no do_00000008 beside it" in find_start(tmp_path).said()
    assert find_start(tmp_path / "g_00000004").others == tmp_path / "do_00000004"
    (tmp_path / "g_00000004").rename(tmp_path / "bigvgan_generator.pt")
    (tmp_path / "do_00000004").rename(tmp_path / "bigvgan_discriminator_optimizer.pt")
    (tmp_path / "g_00000008").unlink()
    start = find_start(tmp_path)
    assert (start.generator.name, start.others.name) == ("bigvgan_generator.pt", "bigvgan_discriminator_optimizer.pt")
    assert len(start.moments("optim_d", {"mpd": None, "mrd": None})) > 0
    assert start.moments("optim_d", {"mpd": None}) == {}  # kept for both together


def test_a_folded_generator_is_trained_weight_normed(tmp_path, first):
    folder = first[1].folder
    folded = BigVGAN.from_checkpoint(folder / "g_best", BigVGANConfig.from_public(TINY)).remove_weight_norm()
    checkpoint.save(tmp_path / "g_folded", {"generator": folded.state_dict()})
    stage = stage2.Stage2(config_in(tmp_path), 4, start=find_start(tmp_path / "g_folded"))
    mel_BMF = torch.randn(1, 80, 5, generator=stream(0, "mel"))
    torch.testing.assert_close(stage.generator(mel_BMF), folded(mel_BMF), atol=1e-5, rtol=0)
    assert "conv_pre.weight_g" in stage.generator.state_dict()


def test_weights_of_the_diffusion_model_are_no_vocoder(tmp_path):
    checkpoint.save(tmp_path / "run" / "stage1" / "unet_best.pth", {"a": torch.zeros(1)})
    for path in ("run", "run/stage1", "run/stage1/unet_best.pth"):
        with pytest.raises(InputError, match=r"weights of the diffusion model.*`binaural mels`"):
            find_start(tmp_path / path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no vocoder's checkpoint"):
        find_start(tmp_path / "empty")
    with pytest.raises(InputError, match="is not there"):
        find_start(tmp_path / "gone")


def test_discriminators_of_another_kind_are_refused(tmp_path, first):
    config = config_in(tmp_path, vocoder={"resolutions": [[512, 128, 512], [256, 64, 256]]})
    with pytest.raises(InputError, match=r"weights of mrd from .* do not fit"):
        stage2.Stage2(config, 4, start=find_start(first[1].folder / "g_00000008"))


def test_moments_of_other_parameters_are_refused():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2))])
    fitting = {
        i: {"step": torch.tensor(5.0), "exp_avg": torch.ones(n), "exp_avg_sq": torch.ones(n)}
        for i, n in ((0, 3), (1, 2))
    }
    begin_with(optimizer, {}, "generator")
    assert not optimizer.state
    begin_with(optimizer, fitting, "generator")
    assert [float(state["exp_avg"].sum()) for state in optimizer.state.values()] == [3, 2]
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (1e-3, (0.9, 0.999))  # its own
    for other in ({0: fitting[0]}, {0: fitting[1], 1: fitting[0]}):
        with pytest.raises(InputError, match="the optimizer of generator was kept for other parameters"):
            begin_with(optimizer, other, "generator")


def test_the_linear_schedule_is_not_bent_by_more_epochs(tmp_path, recordings, monkeypatch):
    stage2.train(sampled(tmp_path, recordings, epochs=1), progress=False)
    with pytest.raises(InputError, match=r"a run of 1 epochs with the linear schedule.*schedule=piecewise"):
        stage2.train(sampled(tmp_path, recordings, epochs=2), progress=False)
    state = checkpoint.load(tmp_path / "two" / "state_latest.pt")
    for change in ({"schedule": "piecewise"}, {"use_scheduled_sampling": False}):  # these ask for no number of epochs
        checkpoint.save(tmp_path / "two" / "state_latest.pt", state | {"config": state["config"] | change})
        with pytest.raises(Stop):
            stopped_at_its_first_step(sampled(tmp_path, recordings, epochs=2, **change), monkeypatch)


def stopped_at_its_first_step(config, monkeypatch):
    def stop(*_):
        raise Stop

    monkeypatch.setattr(stage2.Stage2, "prepare", stop)
    stage2.train(config, progress=False)


def test_a_run_does_not_go_on_with_other_recordings(tmp_path, recordings, monkeypatch):
    for name in ("here", "there"):  # moved, they are the same ones
        shutil.copytree(recordings / "wav", tmp_path / name)
    stage2.train(config_in(tmp_path, audio_dir=str(tmp_path / "here"), epochs=1), progress=False)
    moved = config_in(tmp_path, audio_dir=str(tmp_path / "there"), epochs=2)
    with pytest.raises(Stop):
        stopped_at_its_first_step(moved, monkeypatch)
    state = tmp_path / "two" / "state_latest.pt"
    kept = checkpoint.load(state)
    for change, said in (("add", "4 clips .* then, 5 clips .* now"), ("rename", "4 clips .* then, 4 clips .* now")):
        if change == "add":
            shutil.copy(tmp_path / "there" / "clip0.wav", tmp_path / "there" / "clip10.wav")
        else:
            (tmp_path / "there" / "clip0.wav").unlink()
        with pytest.raises(InputError, match=rf"a run on other recordings \(train: {said}\).*another id"):
            stage2.train(moved, progress=False)
    kept["config"].pop("recordings")  # as earlier versions wrote it
    checkpoint.save(state, kept)
    with pytest.raises(Stop):
        stopped_at_its_first_step(moved, monkeypatch)


def test_a_run_goes_on_where_its_data_moved_but_not_with_other_data():
    here, there = {"audio_dir": "a", "mel_left_val_dir": "m"}, {"audio_dir": "b", "mel_left_val_dir": "n"}
    assert differences(here, there) == set()
    assert differences(here, here | {"audio_dir": None}) == {"audio_dir"}
    assert differences(here | {"schedule": "linear"}, here | {"schedule": "piecewise"}) == {"schedule"}
