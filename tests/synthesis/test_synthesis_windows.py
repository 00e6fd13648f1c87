"""Stage 1's windows become recordings: read on one grid, cross-faded, gaps named."""

import numpy as np
import pytest
from stored import HOP, MEL, RATE, WINDOW, cut_windows, drawn, heard, mel_of, noise, store

from binaural_core import InputError
from binaural_core.audio import audio_info, write_audio
from binaural_core.data.mel_pairs import write_mels
from binaural_core.data.stored_mels import mel_files, mel_windows
from binaural_core.models.vocoding import MonoPhase
from binaural_core.pipeline import window_starts_s
from binaural_core.synthesis import synthesize


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
