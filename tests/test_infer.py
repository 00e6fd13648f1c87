"""Sound from mels that are there already: files and windows, any length, in batches, and what is refused."""

import json
import shutil
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core import InputError, cli, synthesis
from binaural_core.audio import LOG_FLOOR, MelConfig, audio_info, log_mel, read_audio, write_audio
from binaural_core.data.mel_pairs import write_mels
from binaural_core.data.stored_mels import mel_files, mel_windows
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.models.vocoding import MonoPhase, PerEar
from binaural_core.pipeline import Binauralizer, window_starts_s
from binaural_core.seeds import first_weights, numpy_stream
from binaural_core.synthesis import open_vocoder, stretches, synthesize

MEL = MelConfig()
RATE, HOP = MEL.sample_rate_hz, MEL.hop_samples
WINDOW = 80
GOLDEN = Path(__file__).parent / "golden" / "bigvgan" / "gen_v2_tiny"
STEP_16 = 1.01 / 32768  # one step of a 16-bit file


@pytest.fixture(scope="module")
def golden() -> PerEar:
    """The published format, as read from its files: 38 frames of context."""
    return PerEar.open(GOLDEN / "bigvgan_generator.pt")


@pytest.fixture(scope="module")
def vocoder() -> PerEar:
    """A small and quick one."""
    table = json.loads((GOLDEN / "config.json").read_text())
    table |= {"upsample_initial_channel": 16, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}
    with first_weights(0):
        return PerEar(BigVGAN(BigVGANConfig.from_public(table)).remove_weight_norm(), MEL)


def noise(seconds: float, *key) -> np.ndarray:
    """Both ears, (2, N), with a level that rises and falls."""
    count = int(seconds * RATE)
    swell = 0.02 + 0.08 * np.sin(np.pi * np.arange(count) / RATE) ** 2
    wave_EN = numpy_stream(0, "noise", *key).normal(0, 1, (2, count)) * swell * np.array([[1.0], [0.5]])
    return wave_EN.astype(np.float32)


def mel_of(wave_EN: np.ndarray) -> np.ndarray:
    return log_mel(wave_EN, MEL).numpy()


def drawn(frames: int, *key, ears: int = 2) -> np.ndarray:
    """Mels of nothing in particular."""
    return numpy_stream(0, "mel", *key).normal(-4, 1.5, (ears, 80, frames)).astype(np.float32)


def store(folder: Path, name: str, mel_EMF: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ear, mel_MF in zip(("left", "right"), mel_EMF, strict=True):
        np.save(folder / f"{name}_{ear}.npy", mel_MF)


def whole(vocoder: PerEar, mel_EMF: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return vocoder.generator(torch.from_numpy(mel_EMF))[:, 0].numpy()


def heard(path: Path) -> np.ndarray:
    return read_audio(path).wave_CN


class Recorder:
    """Stands before a generator and notes what it is given."""

    def __init__(self, generator, monkeypatch):
        self.shapes, forward = [], generator.forward
        monkeypatch.setattr(generator, "forward", lambda mel: self.shapes.append(tuple(mel.shape)) or forward(mel))


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


# Windows of stage 1


def cut_windows(out: Path, video_id: str, wave_EN: np.ndarray, starts_s, split: str = "val") -> None:
    for start_s in starts_s:
        first = round(start_s * RATE)
        write_mels(out, split, video_id, start_s, mel_of(wave_EN[:, first : first + WINDOW * HOP]))


@pytest.mark.parametrize("starts_s", [(0.0, 0.5, 0.92, 0.93, 1.4, 2.07), (0.0, 0.93, 1.86, 2.79), (0.01, 0.02)])
def test_a_steady_mel_comes_back_from_its_windows_whatever_their_starts(tmp_path, starts_s):
    """Windows that lie 0.93 s apart leave a tenth of a frame between them, which is no gap."""
    for start_s in starts_s:
        write_mels(tmp_path, "val", "steady", start_s, np.full((2, 80, WINDOW), -3.0))
    (recording,) = mel_windows(tmp_path, MEL).recordings
    assert recording.samples == round(starts_s[-1] * RATE) + WINDOW * HOP
    assert recording.frames == -(-recording.samples // HOP)
    assert not list(recording.gaps())
    np.testing.assert_allclose(recording.read(0, recording.frames), -3.0, atol=1e-6)


def test_windows_on_the_grid_are_returned_to_the_last_digit(tmp_path):
    mel_EMF = drawn(WINDOW)
    write_mels(tmp_path, "val", "one", 0.0, mel_EMF)
    (recording,) = mel_windows(tmp_path, MEL).recordings
    np.testing.assert_array_equal(recording.read(0, WINDOW), mel_EMF)
    np.testing.assert_array_equal(recording.read(7, 31), mel_EMF[..., 7:31])


def test_a_window_between_frames_is_read_between_its_own(tmp_path):
    """A mel that is a line in time stays that line on the recording's grid; rounding the start would shift it."""
    start_s, slope = 0.29, 0.01  # 0.29 s are 24.977 frames
    begin = round(start_s * RATE) / HOP
    line_EMF = np.broadcast_to(slope * (begin + np.arange(WINDOW)), (2, 80, WINDOW))
    write_mels(tmp_path, "val", "one", start_s, line_EMF)
    (recording,) = mel_windows(tmp_path, MEL).recordings
    frames = np.arange(26, 100)
    np.testing.assert_allclose(recording.read(26, 100)[1, 5], slope * frames, atol=1e-6)


def test_overlapping_windows_fade_into_each_other(tmp_path):
    for start_s, level in ((0.0, -2.0), (0.46, -4.0)):
        write_mels(tmp_path, "val", "one", start_s, np.full((2, 80, WINDOW), level))
    (recording,) = mel_windows(tmp_path, MEL).recordings
    level_F = recording.read(0, recording.frames)[0, 0]
    begin = round(0.46 * RATE) / HOP
    assert (level_F[:39] == -2.0).all()
    assert (level_F[WINDOW:] == -4.0).all()
    fade = level_F[39:81]
    assert (np.diff(fade) < 0).all()
    middle = (begin + WINDOW) / 2 - 0.5
    assert np.interp(middle, np.arange(len(level_F)), level_F) == pytest.approx(-3.0, abs=0.01)


def test_windows_of_a_recording_come_near_to_its_own_mel(tmp_path):
    """As `binaural mels` cuts it, at hundredths of a second; a mel whose starts were rounded to frames is further away."""
    wave_EN = np.stack([np.convolve(row, np.ones(24) / 24, "same") for row in noise(4.0)]).astype(np.float32)
    starts = window_starts_s(4.0, WINDOW * HOP / RATE)
    cut_windows(tmp_path, "one", wave_EN, starts)
    (recording,) = mel_windows(tmp_path, MEL).recordings
    frames = recording.frames - 1
    true_EMF = mel_of(wave_EN)[..., :frames]
    rounded_EMF = np.empty_like(true_EMF)
    for start_s in starts:
        first, at = round(start_s * RATE), round(start_s * RATE / HOP)
        mel_EMF = mel_of(wave_EN[:, first : first + WINDOW * HOP])
        rounded_EMF[..., at : at + WINDOW] = mel_EMF[..., : frames - at]
    error, rounded = (np.abs(mel - true_EMF).mean() for mel in (recording.read(0, frames), rounded_EMF))
    assert error < 0.8 * rounded


def test_reading_in_parts_is_reading_the_whole(tmp_path):
    cut_windows(tmp_path, "one", noise(3.0), window_starts_s(3.0, WINDOW * HOP / RATE))
    (recording,) = mel_windows(tmp_path, MEL).recordings
    parts = [recording.read(at, min(at + 37, recording.frames)) for at in range(0, recording.frames, 37)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), recording.read(0, recording.frames))


def test_windows_become_one_recording_and_gaps_are_named_and_silent(vocoder, tmp_path):
    for start_s in (0.5, 1.42, 4.0):
        write_mels(tmp_path / "mels", "val", "holed", start_s, drawn(WINDOW, start_s))
    for split, start_s in (("train", 0.0), ("val", 0.92)):
        write_mels(tmp_path / "mels", split, "whole", start_s, drawn(WINDOW, split))
    with pytest.warns(UserWarning, match="holed has no mels") as told:
        made = synthesize(mel_windows(tmp_path / "mels", MEL), tmp_path / "out", vocoder)
    assert [str(one.message) for one in told] == ["holed has no mels of 0.00-0.50 s, 2.36-3.99 s: silence there"]
    assert sorted(path.name for path in made) == ["holed.wav", "whole.wav"]
    wave_EN = heard(tmp_path / "out" / "holed.wav")
    assert wave_EN.shape == (2, round(4.0 * RATE) + WINDOW * HOP)
    for first_s, last_s, silent in ((0, 0.45, True), (0.55, 2.3, False), (2.4, 3.95, True), (4.05, 4.9, False)):
        assert (not wave_EN[:, round(first_s * RATE) : round(last_s * RATE)].any()) == silent
    assert heard(tmp_path / "out" / "whole.wav").shape == (2, round(0.92 * RATE) + WINDOW * HOP)


def test_a_broken_window_breaks_its_recording_only(vocoder, tmp_path):
    for video_id in ("bad", "good"):
        for start_s in (0.0, 0.92):
            write_mels(tmp_path, "val", video_id, start_s, drawn(WINDOW))
    np.save(tmp_path / "left" / "val" / "bad_0.92_left.npy", np.full((80, WINDOW), np.nan, np.float32))
    np.save(tmp_path / "left" / "val" / "nameless.npy", drawn(WINDOW)[0])
    with pytest.warns(UserWarning, match="left out"), pytest.raises(InputError, match=r"2 of 3 .*\(bad, nameless\)"):
        synthesize(mel_windows(tmp_path, MEL), tmp_path / "out", vocoder)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.wav"]
    with pytest.raises(InputError, match="does not say where it begins"):
        raise mel_windows(tmp_path, MEL).broken["nameless"]


def test_with_the_recordings_mono_phase_makes_both_ears(tmp_path):
    """A mono whose ears differ by level alone is returned with the true levels; the sound has another rate."""
    mono_N = noise(3.0)[0]
    ears_EN = np.stack([mono_N * 1.5, mono_N * 0.5])
    cut_windows(tmp_path / "mels", "one", ears_EN, window_starts_s(3.0, WINDOW * HOP / RATE))
    write_audio(tmp_path / "sound" / "one.wav", ears_EN, RATE)  # its mean is the mono
    made = synthesize(
        mel_windows(tmp_path / "mels", MEL), tmp_path / "out", MonoPhase(MEL), audio_dir=tmp_path / "sound"
    )
    wave_EN = heard(made[0])
    inside = slice(4096, wave_EN.shape[1] - 4096)
    error_EN = wave_EN[:, inside] - ears_EN[:, inside]
    assert 20 * np.log10(np.std(error_EN[0]) / np.std(ears_EN[0])) < -25
    assert abs(audio_info(made[0]).duration_s - 3.0) < 0.011


def test_mels_of_one_window_take_their_own_stretch_of_the_recording(tmp_path):
    mono_N = noise(3.0)[0]
    ears_EN = np.stack([mono_N, mono_N])
    cut_windows(tmp_path / "mels", "one", ears_EN, [1.37])
    write_audio(tmp_path / "sound" / "one.wav", ears_EN, RATE)
    made = synthesize(mel_files(tmp_path / "mels", MEL), tmp_path / "out", MonoPhase(MEL), audio_dir=tmp_path / "sound")
    assert made[0].name == "one_1.37.wav"
    first = round(1.37 * RATE)
    assert np.abs(heard(made[0])[0] - mono_N[first : first + WINDOW * HOP])[1024:-1024].max() < 2e-3


def test_the_vocoder_is_silent_where_the_recording_is(vocoder, tmp_path):
    wave_EN = noise(2.0)
    wave_EN[:, RATE:] = 0
    store(tmp_path / "mels", "one", drawn(170))
    store(tmp_path / "mels", "two", drawn(170))
    write_audio(tmp_path / "sound" / "one.wav", wave_EN, RATE)
    write_audio(tmp_path / "sound" / "two.wav", noise(2.0), RATE)
    found = mel_files(tmp_path / "mels", MEL)
    synthesize(found, tmp_path / "out", vocoder, audio_dir=tmp_path / "sound")
    quiet, loud = (heard(tmp_path / "out" / f"{name}.wav")[:, RATE + 3 * HOP :] for name in ("one", "two"))
    assert not quiet.any()
    assert np.abs(loud).max() > 1e-3


def test_sound_that_does_not_belong_to_the_mels_is_named(vocoder, tmp_path):
    store(tmp_path / "mels", "one", drawn(200))
    store(tmp_path / "mels", "two", drawn(200))
    np.save(tmp_path / "mels" / "mono.npy", drawn(200)[0])
    np.save(tmp_path / "mels" / "short.npy", drawn(3))
    write_audio(tmp_path / "sound" / "one.wav", noise(1.0), RATE)
    for name in ("mono", "short"):
        write_audio(tmp_path / "sound" / f"{name}.wav", noise(3.0), RATE)
    found = mel_files(tmp_path / "mels", MEL)
    with pytest.warns(UserWarning, match="left out") as told, pytest.raises(InputError, match="4 of 4"):
        synthesize(found, tmp_path / "out", MonoPhase(MEL), audio_dir=tmp_path / "sound")
    said = " ".join(str(one.message) for one in told)
    for complaint in (
        "one.wav lasts 1.00 s",
        "holds no recording two",
        "the mel of mono is mono",
        "short has 3 frames",
    ):
        assert complaint in said
    with pytest.raises(InputError, match="mono_phase was given no recordings"):
        synthesize(found, tmp_path / "out", MonoPhase(MEL))
    with pytest.raises(InputError, match="nowhere is not a folder"):
        synthesize(found, tmp_path / "out", vocoder, audio_dir=tmp_path / "nowhere")
    with pytest.raises(InputError, match="batch_size=0"):
        synthesize(found, tmp_path / "out", vocoder, batch_size=0)


# Which vocoder, and the command line


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
