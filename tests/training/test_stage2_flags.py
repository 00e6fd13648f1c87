"""The original's flags of stage 2's training reach the config."""

import pytest
from tiny_vocoder import config_in, true_folders

from binaural_core import InputError, cli
from binaural_core.places import data_samples
from binaural_core.training import stage2


def taken_by(monkeypatch, *flags) -> stage2.Stage2Config:
    """The config that a command line leads to."""
    taken = []

    def train(config, world, **_):
        taken.append(config)
        raise InputError("seen", why="enough", fix="none")

    monkeypatch.setattr(stage2, "run", train)
    assert cli.main(["train", "stage2", *flags]) == 2
    return taken[0] if taken else None


def test_the_originals_flags_reach_the_config(monkeypatch, tmp_path, recordings):
    public = config_in(tmp_path).bigvgan.replace(batch_size=3, seed=77).save_json(tmp_path / "public.json")
    flags = {f"--{name}": folder for name, folder in true_folders(recordings).items()}
    flags |= {"--mel_pred_left_dir": "pl", "--mel_pred_right_dir": "pr", "--audio_dir": str(recordings / "wav")}
    flags |= {"--checkpoint_path": "c", "--config": str(public), "--training_epochs": "5", "--checkpoint_interval": "6"}
    flags |= {"--validation_interval": "7", "--freeze_step": "8", "--stage1_checkpoint_path": "g_1"}
    words = [word for pair in flags.items() for word in pair]
    config = taken_by(monkeypatch, *words, "--use_scheduled_sampling", "--load_stage1_checkpoint")
    assert {name: getattr(config, name) for name in true_folders(recordings)} == true_folders(recordings)
    assert (config.mel_pred_left_dir, config.mel_pred_right_dir, config.start_from) == ("pl", "pr", "g_1")
    assert (config.audio_dir, config.vocoder, config.run.checkpoints) == (str(recordings / "wav"), str(public), "c")
    run = config.run
    assert (run.epochs, run.checkpoint_steps, run.validate_epochs, run.batch_size, run.seed) == (5, 6, 7, 3, 77)
    assert config.bigvgan.freeze_step == 8
    assert config.use_scheduled_sampling is True
    again = taken_by(monkeypatch, *words, "--use_scheduled_sampling", "False", "--load_stage1_checkpoint", "False")
    assert (again.use_scheduled_sampling, again.start_from) == (False, None)


def test_the_folder_of_sound_is_a_data_set_or_a_plain_folder(monkeypatch, tmp_path, recordings):
    config = taken_by(monkeypatch, "--audio_dir", str(data_samples() / "fair_play"))
    assert (config.dataset.kind, config.dataset.root) == ("fairplay", str(data_samples() / "fair_play"))
    config = taken_by(monkeypatch, "--audio_dir", str(data_samples() / "real_binaural"))
    assert config.dataset.kind == "realbinaural"
    (tmp_path / "plain.yaml").write_text(f"audio_dir: {recordings / 'wav'}\n")
    assert taken_by(monkeypatch, "--config", str(tmp_path / "plain.yaml")).audio_dir == str(recordings / "wav")
    flags = ["--dataset", "fairplay", "--audio_dir", "d", "--config", str(tmp_path / "plain.yaml")]
    config = taken_by(monkeypatch, *flags)
    assert (config.dataset.root, config.audio_dir) == ("d", None)
    config = taken_by(monkeypatch, "--config", "bigvgan_tiny_22khz_80band.json")
    assert config.bigvgan.upsample_initial_channel == 64


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--load_stage1_checkpoint", "without --stage1_checkpoint_path"),
        ("--stage1_checkpoint_path a --start_from b", "they mean the same"),
        ("--dataset scenes --audio_dir d", "leave one of them out"),
        ("--config bigvgan_tiny_22khz_80band.json --vocoder x.json", "two vocoder configs"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(monkeypatch, capsys, flags, said):
    assert taken_by(monkeypatch, *flags.split()) is None
    assert said.lower() in capsys.readouterr().err.lower()
