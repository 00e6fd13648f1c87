"""Sound from mel files that are there already: any length, in batches, and what is refused."""

import tracemalloc

import numpy as np
import pytest
import torch
from stored import GOLDEN, HOP, MEL, RATE, STEP_16, Recorder, drawn, heard, mel_of, noise, store, whole

from binaural_core import InputError, cli, synthesis
from binaural_core.audio import LOG_FLOOR, read_audio
from binaural_core.data.stored_mels import mel_files, mel_windows
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.models.vocoding import PerEar
from binaural_core.synthesis import stretches, synthesize


def test_stored_mels_of_a_wave_become_what_the_published_generator_makes_of_them(tmp_path, capsys):
    mel_EMF = mel_of(noise(1.5))
    store(tmp_path / "mels", "one", mel_EMF)
    vocoder = ["--vocoder", str(GOLDEN / "bigvgan_generator.pt")]
    arguments = ["infer", "--mels", str(tmp_path / "mels"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main([*arguments, *vocoder]) == 0
    said = capsys.readouterr().out
    assert said == f"1/1 one\n1 written to {tmp_path / 'out'}\n"
    sound = read_audio(tmp_path / "out" / "one.wav")
    generator = BigVGAN.from_checkpoint(
        GOLDEN / "bigvgan_generator.pt", BigVGANConfig.from_json(GOLDEN / "config.json")
    )  # weight norm and all
    with torch.no_grad():
        expected_EN = generator(torch.from_numpy(mel_EMF))[:, 0].numpy()
    assert sound.sample_rate_hz == RATE
    assert sound.wave_CN.shape == expected_EN.shape == (2, mel_EMF.shape[2] * HOP)
    assert np.abs(sound.wave_CN - expected_EN).max() <= 0.51 / 32768 + 5e-5
    assert np.abs(expected_EN).max() > 0.1


@pytest.mark.parametrize("frames", [1, 639, 640, 641, 861, 1280, 1281, 5000])
@pytest.mark.parametrize("context", [0, 8, 38])
def test_stretches_are_alike_cover_all_once_and_hear_their_surroundings(frames, context):
    parts = stretches(frames, context)
    assert {part.high - part.low for part in parts} == {parts[0].high - parts[0].low}
    assert [f for part in parts for f in range(part.start, part.stop)] == list(range(frames))
    for part in parts:
        assert part.low == 0 or part.start - part.low >= context
        assert part.high == frames or part.high - part.stop >= context
        assert 0 <= part.low <= part.start < part.stop <= part.high <= frames
        assert part.stop - part.start <= 640
        assert part.high - part.low <= 640 + 2 * context + synthesis.LIKE_FRAMES


def test_a_long_file_in_stretches_equals_the_whole(golden, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis.stretches, "__defaults__", (60,))
    mel_EMF = drawn(310)
    store(tmp_path / "mels", "long", mel_EMF)
    recorder = Recorder(golden.generator, monkeypatch)
    made = synthesize(mel_files(tmp_path / "mels", MEL), tmp_path / "out", golden, batch_size=2)
    assert len(recorder.shapes) == 3  # six stretches
    assert recorder.shapes[0][0] == 4
    assert np.abs(heard(made[0]) - whole(golden, mel_EMF)).max() <= STEP_16


def test_recordings_in_one_batch_do_not_hear_each_other(vocoder, tmp_path, monkeypatch):
    """Files of two lengths, each shared, one of them in several stretches: the same samples as alone, to 1e-6."""
    monkeypatch.setattr(synthesis.stretches, "__defaults__", (100,))
    mels = {"a": drawn(90, 1), "b": drawn(90, 2), "c": drawn(260, 3), "d": drawn(262, 4)}
    for name, mel_EMF in mels.items():
        store(tmp_path / "mels", name, mel_EMF)
    recorder, waves = Recorder(vocoder.generator, monkeypatch), {}
    real = synthesis.AudioWriter.write

    def keep(self, wave_EN):  # before 16 bits round it
        waves.setdefault(self.path.stem, []).append(wave_EN)
        real(self, wave_EN)

    monkeypatch.setattr(synthesis.AudioWriter, "write", keep)
    synthesize(mel_files(tmp_path / "mels", MEL), tmp_path / "out", vocoder, batch_size=4)
    ears = [shape[0] for shape in recorder.shapes]
    assert ears == [4, 8, 4]  # a and b; then six stretches of c and d, whose lengths differ
    for name, mel_EMF in mels.items():
        together_EN = np.concatenate(waves[name], axis=1)
        assert np.abs(together_EN - whole(vocoder, mel_EMF)).max() < 1e-6


def test_the_vocoder_takes_any_number_of_ears(vocoder):
    mel_BMF = torch.from_numpy(drawn(40, ears=5))
    wave_BN = vocoder(mel_BMF, None)
    assert wave_BN.shape == (5, 40 * HOP)
    for row in range(5):
        assert (vocoder(mel_BMF[row : row + 1], None)[0] - wave_BN[row]).abs().max() < 1e-6
    with pytest.raises(InputError, match=r"mel_BMF has shape \(80, 40\)"):
        vocoder(mel_BMF[0], None)


def test_ten_minutes_are_never_held_at_once(vocoder, tmp_path, monkeypatch):
    """No more frames than a batch of stretches are ever read or vocoded, and what is written is passed on at once."""
    frames = 10 * 60 * RATE // HOP
    (tmp_path / "mels").mkdir()
    for ear in ("left", "right"):
        stored = np.lib.format.open_memmap(
            tmp_path / "mels" / f"long_{ear}.npy", mode="w+", dtype=np.float32, shape=(80, frames)
        )
        stored[:] = -4.0
        del stored
    given, written = [], []

    class Counted(PerEar):
        def __call__(self, mel_BMF, mono_BN, places=None):
            given.append(mel_BMF.shape[0] * mel_BMF.shape[2])
            return torch.zeros(mel_BMF.shape[0], mel_BMF.shape[2] * HOP)

    counted = Counted(vocoder.generator, MEL)
    monkeypatch.setattr(synthesis.AudioWriter, "write", lambda self, wave_EN: written.append(wave_EN.shape[1]))
    tracemalloc.start()
    synthesize(mel_files(tmp_path / "mels", MEL), tmp_path / "out", counted, batch_size=2)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 80 * frames * 4 / 2  # half a file of one ear
    most = 2 * 2 * (synthesis.SPAN_FRAMES + 2 * counted.context_frames + synthesis.LIKE_FRAMES)
    assert max(given) <= most < frames / 10
    assert max(written) <= synthesis.SPAN_FRAMES * HOP
    assert sum(written) == frames * HOP


def test_ears_are_found_side_by_side_and_in_folders_of_their_own(vocoder, tmp_path):
    mels = {name: drawn(20, name) for name in ("beside", "apart", "plain", "both", "mono")}
    store(tmp_path, "beside", mels["beside"])
    for row, ear in enumerate(("left", "right")):
        (tmp_path / ear / "val").mkdir(parents=True)
        np.save(tmp_path / ear / "val" / f"apart_{ear}.npy", mels["apart"][row])
        np.save(tmp_path / ear / "plain.npy", mels["plain"][row])
    np.save(tmp_path / "both.npy", mels["both"])
    np.save(tmp_path / "mono.npy", mels["mono"][0])
    made = synthesize(mel_files(tmp_path, MEL), tmp_path / "out", vocoder)
    assert sorted(path.name for path in made) == ["apart.wav", "beside.wav", "both.wav", "mono.wav", "plain.wav"]
    for path in made:
        expected_EN = whole(vocoder, mels[path.stem])
        expected_EN = expected_EN[:1] if path.stem == "mono" else expected_EN
        assert heard(path).shape == expected_EN.shape
        assert np.abs(heard(path) - expected_EN).max() <= STEP_16


def test_what_is_broken_is_named_and_the_others_go_on(vocoder, tmp_path):
    good = drawn(30)
    store(tmp_path, "good", good)
    np.save(tmp_path / "lonely_left.npy", good[0])
    np.save(tmp_path / "uneven_left.npy", good[0])
    np.save(tmp_path / "uneven_right.npy", good[1, :, :29])
    np.save(tmp_path / "bands.npy", good[:, :64])
    np.save(tmp_path / "turned.npy", good[0].T)
    np.save(tmp_path / "three.npy", drawn(30, ears=3))
    np.save(tmp_path / "whole.npy", np.zeros((80, 30), np.int16))
    np.save(tmp_path / "doubled_left.npy", good)
    np.save(tmp_path / "doubled_right.npy", good)
    np.save(tmp_path / "empty.npy", good[..., :0])
    (tmp_path / "torn.npy").write_bytes((tmp_path / "good_left.npy").read_bytes()[:500])
    (tmp_path / "nothing.npy").write_bytes(b"")
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}]), allow_pickle=True)
    for name, value in (("nan", np.nan), ("infinite", -np.inf)):
        spoilt = np.concatenate([drawn(5000, ears=1)[0]], axis=1)
        spoilt[3, 4500] = value
        np.save(tmp_path / f"{name}.npy", spoilt)
    reasons = {
        "lonely": "the right ear of lonely is missing",
        "uneven": "have 30 and 29 frames",
        "bands": r"shape \(2, 64, 30\)",
        "turned": r"shape \(30, 80\)",
        "three": r"shape \(3, 80, 30\)",
        "whole": "holds int16",
        "doubled": "a file of doubled holds two ears",
        "empty": r"shape \(2, 80, 0\)",
        "torn": "cannot be read",
        "nothing": "cannot be read",
        "pickled": "cannot be read",
        "nan": "has NaN or infinite values",
        "infinite": "has NaN or infinite values",
    }
    found = mel_files(tmp_path, MEL)
    assert sorted(found.broken) == sorted(reasons)
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=reason):
            raise found.broken[name]
    told = []
    with (
        pytest.warns(UserWarning, match="is left out: ") as warned,
        pytest.raises(InputError, match=r"13 of 14 recordings could not be made binaural \(bands, doubled"),
    ):
        synthesize(found, tmp_path / "out", vocoder, on_clip=lambda *what: told.append(what))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.wav"]
    assert told == [(14, 14, "good")]
    assert len(warned) == 13


@pytest.mark.parametrize("scale, shift", [(0.2, 0.8), (8.7, 0.0), (-1.0, 3.0)])
def test_mels_on_another_scale_are_told_apart(tmp_path, scale, shift):
    """Scaled to [-1, 1], in decibels, upside down."""
    np.save(tmp_path / "other.npy", scale * drawn(30).clip(-9, 1) + shift)
    with pytest.warns(UserWarning, match="not scaled"):
        mel_files(tmp_path, MEL)


def test_the_exit_status_says_that_some_failed(tmp_path, capsys):
    store(tmp_path / "mels", "good", drawn(10))
    np.save(tmp_path / "mels" / "bad.npy", np.zeros((3, 3), np.float32))
    vocoder = ["--vocoder", str(GOLDEN / "bigvgan_generator.pt"), "--device", "cpu"]
    assert cli.main(["infer", "--mels", str(tmp_path / "mels"), "--out", str(tmp_path / "out"), *vocoder]) == 2
    said = capsys.readouterr()
    assert "1 of 2 recordings could not be made binaural (bad)" in said.err
    assert "2/2 good" in said.out


def test_a_file_that_goes_while_it_is_read_leaves_nothing_behind(vocoder, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis.stretches, "__defaults__", (100,))
    store(tmp_path / "mels", "going", drawn(300, 1))
    store(tmp_path / "mels", "staying", drawn(300, 2))
    found, real = mel_files(tmp_path / "mels", MEL), vocoder.generator.forward

    def take_away(mel_BMF):
        (tmp_path / "mels" / "going_left.npy").unlink(missing_ok=True)
        return real(mel_BMF)

    monkeypatch.setattr(vocoder.generator, "forward", take_away)
    with (
        pytest.warns(UserWarning, match="going is left out"),
        pytest.raises(InputError, match=r"1 of 2 recordings could not be made binaural \(going\)"),
    ):
        synthesize(found, tmp_path / "out", vocoder, batch_size=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["staying.wav"]


def test_a_stop_leaves_nothing_half_written_and_the_next_run_goes_on(vocoder, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis.stretches, "__defaults__", (100,))
    store(tmp_path / "mels", "one", drawn(280, 1))
    store(tmp_path / "mels", "two", drawn(280, 2))
    recorder = Recorder(vocoder.generator, monkeypatch)

    def stop(done, total, name):
        raise KeyboardInterrupt

    found = mel_files(tmp_path / "mels", MEL)
    with pytest.raises(KeyboardInterrupt):
        synthesize(found, tmp_path / "out", vocoder, batch_size=2, on_clip=stop)  # while "two" is begun
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.wav"]
    stretches_before = sum(shape[0] // 2 for shape in recorder.shapes)
    assert len(synthesize(found, tmp_path / "out", vocoder)) == 2
    assert sum(shape[0] // 2 for shape in recorder.shapes) - stretches_before == 3  # those of "two" alone


def test_two_recordings_of_one_name_are_refused(tmp_path):
    for split in ("train", "val"):
        store(tmp_path / split, "one", drawn(10))
    with pytest.raises(InputError, match="have one name"):
        mel_files(tmp_path, MEL)
    with pytest.raises(InputError, match=r"nowhere is not a folder"):
        mel_files(tmp_path / "nowhere", MEL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no mel files"):
        mel_windows(tmp_path / "empty", MEL)
    (tmp_path / "right").mkdir()
    np.save(tmp_path / "right" / "two_left.npy", drawn(10)[0])
    with pytest.raises(InputError, match="is named for the left ear"):
        mel_files(tmp_path, MEL)


def test_silence_in_silence_out(vocoder, tmp_path):
    """Frames at the floor are silent, and the others what the generator makes of them."""
    mel_EMF = drawn(60)
    mel_EMF[0, :, 20:40] = LOG_FLOOR
    store(tmp_path, "pause", mel_EMF)
    wave_EN = heard(synthesize(mel_files(tmp_path, MEL), tmp_path / "out", vocoder)[0])
    assert not wave_EN[0, 22 * HOP : 38 * HOP].any()
    expected_EN = whole(vocoder, mel_EMF)
    assert np.abs(expected_EN[0, 22 * HOP : 38 * HOP]).max() > 1e-3
    for kept in ((0, slice(0, 19 * HOP)), (0, slice(41 * HOP, None)), (1, slice(None))):
        assert np.abs(wave_EN[kept] - expected_EN[kept]).max() <= STEP_16


def test_half_precision_is_asked_for(vocoder):
    mel_EMF = torch.from_numpy(drawn(40))
    exact_EN = vocoder(mel_EMF, None)
    rough_EN = PerEar(vocoder.generator, MEL, bf16=True)(mel_EMF, None)
    assert rough_EN.dtype == torch.float32
    error = (rough_EN - exact_EN).abs().max() / exact_EN.abs().max()
    assert 1e-5 < error < 0.05
