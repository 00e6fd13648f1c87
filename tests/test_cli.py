"""The command line: what it offers, what it refuses, and that it does what it says."""

import subprocess
import sys

import numpy as np
import pytest

from binaural_core import cli
from binaural_core.audio import read_audio, write_audio
from binaural_core.commands import options
from binaural_core.errors import InputError
from binaural_core.seeds import numpy_stream


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "binaural_core", *arguments], capture_output=True, text=True)


def test_help_names_every_command():
    said = run("--help")
    assert said.returncode == 0
    for command in (
        "scenes",
        "frames",
        "train stage1",
        "train stage2",
        "train localizer",
        "mels",
        "infer",
        "evaluate audio",
        "evaluate stage1",
        "evaluate systems",
        "bench",
    ):
        assert command in said.stdout


def test_a_mistake_is_one_sentence_and_exit_2(tmp_path):
    said = run("infer", "--audio", str(tmp_path / "no.wav"), "--out", str(tmp_path / "out.wav"))
    assert said.returncode == 2
    assert said.stderr.startswith("binaural: ")
    assert "no.wav is not there" in said.stderr
    assert "To fix:" in said.stderr
    assert "Traceback" not in said.stderr


def test_the_originals_training_flags_are_there(capsys):
    for command, flags in {
        "stage1": "id list_train list_val data_root ckpt batch_size_per_gpu num_epoch lr_unet lr_frame eval_epoch "
        "learning_rate_decrease_itr decay_factor weighted_loss num_mels audLen weights_unet weights_frame "
        "num_gpus img_pool arch_frame",
        "stage2": "audio_dir checkpoint_path config training_epochs checkpoint_interval validation_interval mel_pred_dir "
        "use_scheduled_sampling",
    }.items():
        with pytest.raises(SystemExit):
            cli.main(["train", command, "--help"])
        said = capsys.readouterr().out
        for flag in flags.split():
            assert f"--{flag} " in said, flag


def test_flags_reach_the_config(monkeypatch):
    from binaural_core.training import stage1

    taken = []

    def train(config, world, progress):
        taken.append(config)
        raise InputError("seen", why="enough", fix="none")

    monkeypatch.setattr(stage1, "train", train)
    flags = "--dataset realbinaural --data_root d --lr_unet 0.01 --audLen 0.93 --num_epoch 7 --set model.unet.dim=16"
    flags += " --img_pool max --arch_frame resnet18"
    assert cli.main(["train", "stage1", *flags.split()]) == 2
    config = taken[0]
    assert (config.dataset.kind, config.dataset.root) == ("realbinaural", "d")
    assert (config.lr_unet, config.run.epochs, config.model.unet.dim) == (0.01, 7, 16)
    assert (config.model.visual.pool, config.model.visual.encoder) == ("max", "resnet18")
    assert config.data.window_frames == 85  # 80.1 frames, rounded up to five pictures' worth
    assert cli.main(["train", "stage1", "--set", "model.unet.dimm=16"]) == 2


@pytest.mark.parametrize("command", ["train stage1", "train stage2", "mels", "evaluate stage1", "evaluate systems"])
def test_as_many_processes_are_started_as_asked_for(monkeypatch, command):
    from binaural_core.training import distributed

    started = []

    def launch(function, *arguments, processes):
        started.append(processes)
        raise InputError("seen", why="enough", fix="none")

    monkeypatch.setattr(distributed, "launch", launch)
    more = ["--out", "somewhere"] if command in ("mels", "evaluate systems") else []
    assert cli.main([*command.split(), *more, "--num_gpus", "3"]) == 2
    assert started == [3]


def test_scenes_frames_and_evaluation_work_together(tmp_path, capsys):
    data = tmp_path / "data"
    small = ["--set", "width_px=64", "height_px=36", "scene.duration_s=1.0", "scene.reverberant=0"]
    assert cli.main(["scenes", "--out", str(data), "--split", "val", "--count", "1", "--seed", "3", *small]) == 0
    assert cli.main(["frames", "--video", str(data / "videos"), "--out", str(tmp_path / "frames"), "--fps", "5"]) == 0
    assert len(list((tmp_path / "frames").rglob("*.jpg"))) == 5
    wav = next((data / "binaural_audios").glob("*.wav"))
    copy = tmp_path / "pred" / wav.name
    sound = read_audio(wav)
    write_audio(copy, np.repeat(sound.wave_CN.mean(0, keepdims=True), 2, axis=0), sound.sample_rate_hz)
    write_audio(tmp_path / "pred" / "extra.wav", sound.wave_CN, sound.sample_rate_hz)
    folders = ["--pred_dir", str(tmp_path / "pred"), "--gt_dir", str(data / "binaural_audios")]
    assert cli.main(["evaluate", "audio", *folders, "--out", str(tmp_path / "report")]) == 0
    said = capsys.readouterr()
    assert "1 predictions without a reference: extra\n" in said.err
    assert "ILD error" in said.out
    assert (tmp_path / "report" / "measures.csv").read_text().startswith("clip,system,files,")
    assert (tmp_path / "report" / "report.html").is_file()


def test_mel_folders_are_compared_by_name(tmp_path, capsys):
    mel = numpy_stream(0, "mel").normal(0, 1, (80, 80)).astype(np.float32)
    for room, shift in (("pred", 0.5), ("true", 0.0)):
        (tmp_path / room / "left").mkdir(parents=True)
        np.save(tmp_path / room / "left" / "a.npy", mel + np.float32(shift))
    assert cli.main(["evaluate", "mels", "--pred_dir", str(tmp_path / "pred"), "--gt_dir", str(tmp_path / "true")]) == 0
    assert "mel_rmse 0.5000, mel_l1 0.5000, mel_l2 0.2500 (1 files)" in capsys.readouterr().out
    assert cli.main(["evaluate", "mels", "--pred_dir", str(tmp_path / "none"), "--gt_dir", str(tmp_path / "true")]) == 2


def test_positions_are_read_from_text():
    assert options.numbers("30,0,1.5;-30,0,2", 3).tolist() == [[30, 0, 1.5], [-30, 0, 2]]
    with pytest.raises(InputError, match="does not hold 3 numbers"):
        options.numbers("30,0", 3)
    with pytest.raises(InputError, match="cannot be read"):
        options.numbers("left", 3)


def test_recorded_data_sets_are_trained_as_the_original_unless_a_config_is_named(monkeypatch):
    from binaural_core.training import stage1

    taken = []

    def train(config, world, progress):
        taken.append(config)
        raise InputError("seen", why="enough", fix="none")

    monkeypatch.setattr(stage1, "train", train)
    for more in ([], ["--config", "shipped_stage1.yaml"]):
        assert cli.main(["train", "stage1", "--dataset", "fairplay", "--data_root", "d", *more]) == 2
    assert cli.main(["train", "stage1"]) == 2
    recipes = [(c.dataset.kind, c.model.recipe.name, c.model.visual.encoder) for c in taken]
    assert recipes == [
        ("fairplay", "diffbinaural", "resnet18"),
        ("fairplay", "bridge", "small"),
        ("scenes", "bridge", "small"),
    ]
    original = taken[0].model.recipe.diffusion
    assert (original.predicts, original.distance, original.schedule) == ("noise", "l1", "cosine")
    assert (original.sampler, original.steps, original.timesteps) == ("ddim", 25, 1000)


def test_a_trainings_data_set_is_taken_with_what_the_flags_say():
    dataset = options.dataset_of("shipped_stage1.yaml", None, None, ("scenes_seed=5",))
    assert (dataset.kind, dataset.scenes["train"], dataset.scenes_seed) == ("scenes", 1000, 5)
    dataset = options.dataset_of("shipped_stage1.yaml", "fairplay", "d", ())
    assert (dataset.kind, dataset.root) == ("fairplay", "d")
    assert options.dataset_of(None, None, None, ()).kind == "scenes"


def test_no_process_is_too_few(capsys):
    assert cli.main(["train", "stage1", "--num_gpus", "0"]) == 2
    assert "0 processes" in capsys.readouterr().err
