"""Which vocoder is taken, and `binaural infer` on stored mels."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from stored import GOLDEN, HOP, MEL, RATE, STEP_16, WINDOW, cut_windows, drawn, heard, noise, store, whole

from binaural_core import InputError, cli, synthesis
from binaural_core.audio import write_audio
from binaural_core.data.stored_mels import mel_windows
from binaural_core.models.vocoding import MonoPhase, PerEar
from binaural_core.pipeline import Binauralizer, window_starts_s
from binaural_core.synthesis import open_vocoder, synthesize


def test_a_vocoder_is_opened_from_weights_or_from_a_file(tmp_path):
    with pytest.raises(InputError, match=r"holds no trained stage 2.*take the shipped ones"):
        open_vocoder(weights=tmp_path)
    mel_EMF = torch.from_numpy(drawn(8))
    expected_EN = PerEar.open(GOLDEN / "bigvgan_generator.pt")(mel_EMF, None)
    shutil.copytree(GOLDEN, tmp_path / "stage2")
    (tmp_path / "stage2" / "bigvgan_generator.pt").rename(tmp_path / "stage2" / "g_best")
    for opened in (open_vocoder(weights=tmp_path), open_vocoder(weights=tmp_path / "stage2")):
        torch.testing.assert_close(opened(mel_EMF, None), expected_EN)
    alone = tmp_path / "g_00000010"
    shutil.copy(GOLDEN / "bigvgan_generator.pt", alone)
    with pytest.raises(InputError, match=r"config\.json is not there"):
        open_vocoder(vocoder=alone)
    with pytest.raises(InputError, match=r"g_00000099"):
        open_vocoder(vocoder=tmp_path / "stage2" / "g_00000099")
    torch.testing.assert_close(
        open_vocoder(vocoder=alone, vocoder_config=GOLDEN / "config.json")(mel_EMF, None), expected_EN
    )
    assert open_vocoder("mono_phase").mel == MEL
    with pytest.raises(InputError, match="and the mode mono_phase"):
        open_vocoder("mono_phase", vocoder=alone)


def test_a_named_vocoder_serves_the_whole_way_too():
    made = Binauralizer.from_pretrained(vocoder=GOLDEN / "bigvgan_generator.pt")
    assert made.default_stage2 == "bigvgan"
    assert sorted(made.vocoders) == ["bigvgan", "mono_phase"]
    assert Binauralizer.from_pretrained().default_stage2 == "mono_phase"


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "was given none of --audio, --mels and --stage1"),
        (["--mels", "m", "--stage1", "s"], "was given --mels and --stage1"),
        (["--audio", "a.wav", "--mels", "m"], "was given --audio and --mels"),
        (["--mels", "m", "--steps", "3"], "--steps was given with --mels"),
        (["--stage1", "m", "--video", "v.mp4", "--positions", "0,0,1"], "--video and --positions were given"),
        (["--audio", "a.wav", "--audio_dir", "d"], "--audio_dir was given with --audio"),
        (["--audio", "a.wav", "--bf16"], "--bf16 was given with --audio"),
        (["--audio", "a.wav", "--batch_size", "2"], "--batch_size was given with --audio"),
        (["--mels", "m", "--vocoder_config", "c.json"], "--vocoder_config was given without --vocoder"),
        (["--mels", "m", "--weights", "nowhere"], "nowhere holds no trained stage 2"),
        (["--mels", "nowhere", "--vocoder", str(GOLDEN / "bigvgan_generator.pt")], "nowhere is not a folder"),
    ],
)
def test_contradictions_are_one_sentence(arguments, complaint, tmp_path, capsys):
    assert cli.main(["infer", "--out", str(tmp_path / "out"), "--device", "cpu", *arguments]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert "To fix:" in said
    assert said.count("\n") == 1


def test_mels_are_not_written_into_one_file(tmp_path, capsys):
    assert cli.main(["infer", "--out", "one.wav", "--mels", str(tmp_path)]) == 2
    assert "--out one.wav is a file" in capsys.readouterr().err


def test_what_stage_1_wrote_becomes_recordings_on_the_command_line(tmp_path, capsys):
    """`--stage1` with the weights' own vocoder, and with the recordings without any network."""
    wave_EN = noise(2.0)
    cut_windows(tmp_path / "mels", "one", wave_EN, window_starts_s(2.0, WINDOW * HOP / RATE), split="train")
    write_audio(tmp_path / "sound" / "one.wav", wave_EN, RATE)
    shutil.copytree(GOLDEN, tmp_path / "mine" / "stage2")
    (tmp_path / "mine" / "stage2" / "bigvgan_generator.pt").rename(tmp_path / "mine" / "stage2" / "g_best")
    common = ["infer", "--stage1", str(tmp_path / "mels"), "--device", "cpu"]
    assert cli.main([*common, "--out", str(tmp_path / "a"), "--weights", str(tmp_path / "mine")]) == 0
    more = ["--stage2", "mono_phase", "--audio_dir", str(tmp_path / "sound")]
    assert cli.main([*common, "--out", str(tmp_path / "b"), *more]) == 0
    (recording,) = mel_windows(tmp_path / "mels", MEL).recordings
    expected_EN = whole(open_vocoder(weights=tmp_path / "mine"), recording.read(0, recording.frames))
    assert np.abs(heard(tmp_path / "a" / "one.wav") - expected_EN[:, : recording.samples]).max() <= STEP_16
    assert heard(tmp_path / "b" / "one.wav").shape == (2, recording.samples)
    assert "1/1 one" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["mels", "audio"])
def test_what_was_there_already_is_kept_and_said_to_be(way, tmp_path, capsys, monkeypatch):
    class Stub:
        def convert_all(self, source, out, **named):
            paths = [Path(out) / f"{name}.wav" for name in ("one", "three", "two")]
            for path in paths:
                if not path.is_file():
                    write_audio(path, noise(0.1), RATE)
            return paths

    monkeypatch.setattr(Binauralizer, "from_pretrained", classmethod(lambda *a, **k: Stub()))
    out = tmp_path / "out"
    for name in ("one", "two", "three"):
        store(tmp_path / "in", name, drawn(10))
    for name in ("one", "another"):
        write_audio(out / f"{name}.wav", noise(0.1), RATE)
    before = (out / "one.wav").read_bytes()
    named = ["--vocoder", str(GOLDEN / "bigvgan_generator.pt")] if way == "mels" else []
    command = ["infer", f"--{way}", str(tmp_path / "in"), "--out", str(out), "--device", "cpu", *named]
    said = [f"2 written to {out}, 1 were there already and were kept", f"0 written to {out}, 3 were there already"]
    for line in said:
        assert cli.main(command) == 0
        assert line in capsys.readouterr().out
    assert (out / "one.wav").read_bytes() == before


def test_what_is_told_of_mels_is_passed_on(tmp_path, monkeypatch):
    told = {}
    monkeypatch.setattr(synthesis, "open_vocoder", lambda mode, **k: told.update(k, mode=mode) or MonoPhase(MEL))
    monkeypatch.setattr(synthesis, "synthesize", lambda found, out, vocoder, **k: told.update(k, out=out) or [])
    store(tmp_path, "one", drawn(10))
    more = "--out o --vocoder g --vocoder_config c --weights w --stage2 bigvgan --bf16 --audio_dir a --batch_size 7"
    assert cli.main(["infer", "--mels", str(tmp_path), "--device", "cpu", *more.split()]) == 0
    assert told.pop("on_clip")
    assert told == {
        "mode": "bigvgan", "weights": "w", "vocoder": "g", "vocoder_config": "c", "device": "cpu", "bf16": True,
        "out": "o", "audio_dir": "a", "batch_size": 7,
    }  # fmt: skip


def test_the_whole_way_is_unchanged(tmp_path, monkeypatch):
    """`--audio` passes on what it is told, to `convert` or `convert_all`."""
    told = {}

    class Stub:
        def convert(self, source, out, **named):
            told.update(named, source=source, out=out)

        def convert_all(self, source, out, **named):
            told.update(named, source=source, out=out)
            return []

    opened = {}
    monkeypatch.setattr(
        Binauralizer, "from_pretrained", classmethod(lambda cls, *a, **k: opened.update(k, weights=a[0]) or Stub())
    )
    write_audio(tmp_path / "in.wav", noise(0.5), RATE)
    more = ["--frames", "f", "--fps", "5", "--steps", "3", "--seed", "2", "--stage2", "bigvgan", "--weights", "w"]
    assert cli.main(["infer", "--audio", str(tmp_path / "in.wav"), "--out", "o.wav", "--device", "cpu", *more]) == 0
    assert told == {
        "source": tmp_path / "in.wav", "out": "o.wav", "video": None, "frames": "f", "fps": 5.0, "steps": 3, "seed": 2,
        "stage2": "bigvgan", "positions": None, "image_positions": None,
    }  # fmt: skip
    assert opened == {"weights": "w", "device": "cpu", "vocoder": None, "vocoder_config": None}
    told.clear()
    assert cli.main(["infer", "--audio", str(tmp_path), "--out", "o"]) == 0
    assert (told["source"], told["stage2"]) == (tmp_path, None)
    assert cli.main(["infer", "--audio", str(tmp_path), "--out", "o", "--video", "v.mp4"]) == 2


def test_no_warning_where_nothing_is_wrong(vocoder, tmp_path):
    cut_windows(tmp_path / "mels", "one", noise(2.0), window_starts_s(2.0, WINDOW * HOP / RATE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        synthesize(mel_windows(tmp_path / "mels", MEL), tmp_path / "out", vocoder)
