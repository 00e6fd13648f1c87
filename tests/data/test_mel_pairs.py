"""Mels on disk and the sound they belong to: names, folders, alignment to the frame, gains, edges, and what is refused."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from binaural_core import InputError
from binaural_core.audio import LOG_FLOOR, MelConfig, log_mel, write_audio
from binaural_core.data.mel_pairs import (
    CONTEXT_FRAMES,
    MelPairs,
    MelShelf,
    collate_mels,
    louder,
    read_mels,
    split_folder,
    write_mels,
)
from binaural_core.data.stereo_folder import held_out, layout_of, stereo_clips
from binaural_core.seeds import numpy_stream

MEL = MelConfig()
RATE, HOP = MEL.sample_rate_hz, MEL.hop_samples


@dataclass(frozen=True)
class NoiseClip:
    """A clip of two different noises; the window from any start is a part of the whole."""

    clip_id: str
    duration_s: float = 2.0
    offset_s: float = 0.0  # where it begins in the noise

    @property
    def whole_EN(self):
        draw = numpy_stream(0, "noise")
        return 0.1 * draw.standard_normal((2, int(4 * RATE))).astype(np.float32)

    def sound(self, start_s, duration_s, sample_rate_hz):
        assert start_s + duration_s <= self.duration_s + 1e-6, "asked for more than there is"
        first, count = round((self.offset_s + start_s) * sample_rate_hz), round(duration_s * sample_rate_hz)
        ears = self.whole_EN[:, first : first + count]
        return ears.mean(axis=0), ears

    def look(self, times_s):
        return []


@dataclass(frozen=True)
class TwoLevels(NoiseClip):
    """The same noise at both ears, the right one half as loud."""

    @property
    def whole_EN(self):
        return super().whole_EN[:1] * np.array([[1.0], [0.5]], np.float32)


def stored(folder, clip, start_s, frames=80, shift_frames=0, scale=1.0, split="train"):
    """The mel of the whole noise from a window's first sample on; shifted, it is another moment's."""
    first = round((clip.offset_s + start_s) * RATE)
    from_there = log_mel(clip.whole_EN[:, first:], MEL).numpy()
    mel_EMF = from_there[:, :, shift_frames:][:, :, :frames]
    return write_mels(folder, split, clip.clip_id, start_s, scale * mel_EMF)


def shelf(folder, kind="predicted", split="train"):
    return MelShelf(folder / "left" / split, folder / "right" / split, kind)


def misfit(pairs, of="predicted", count=4) -> float:
    """Mean difference of the mel from disk and the mel of the segment it is paired with."""
    some = collate_mels([pairs.draw(i % len(pairs), i) for i in range(count)], HOP)
    true_BMF = log_mel(some.context_BEN.flatten(0, 1), MEL)[:, :, CONTEXT_FRAMES:-CONTEXT_FRAMES]
    return float((true_BMF - getattr(some, f"{of}_BEMF").flatten(0, 1)).abs().mean())


def pairs_of(clips, frames=24, **stores):
    return MelPairs(clips, MEL, frames=frames, seed=0, **stores)


@pytest.mark.parametrize("start_s", [0.0, 0.25, 0.37])  # the last two lie between the recording's own frames
def test_mels_from_disk_are_aligned_to_the_frame_and_carry_the_gain(tmp_path, start_s):
    clip = NoiseClip("noise_a")
    stored(tmp_path / "right", clip, start_s)
    stored(tmp_path / "late", clip, start_s, shift_frames=1)
    for kind in ("true", "predicted"):
        assert misfit(pairs_of([clip], **{kind: shelf(tmp_path / "right", kind)}), kind) < 1e-3
    assert misfit(pairs_of([clip], predicted=shelf(tmp_path / "late"))) > 0.2


def test_a_true_and_a_predicted_mel_are_of_the_same_frames(tmp_path):
    clip = NoiseClip("noise_a")
    stored(tmp_path / "true", clip, 0.25)
    stored(tmp_path / "same", clip, 0.25)
    stored(tmp_path / "late", clip, 0.25, shift_frames=1)
    true = shelf(tmp_path / "true", "true")
    both = pairs_of([clip], true=true, predicted=shelf(tmp_path / "same"))[0]
    assert np.array_equal(both.true_EMF, both.predicted_EMF)
    assert both.true_EMF.shape == (2, 80, 24)
    late = pairs_of([clip], true=true, predicted=shelf(tmp_path / "late"))[0]
    assert np.abs(late.true_EMF[:, :, 1:] - late.predicted_EMF[:, :, :-1]).max() < 1e-5
    assert np.abs(late.true_EMF - late.predicted_EMF).mean() > 0.2


def test_one_gain_for_both_ears_and_the_peak_that_was_asked_for(tmp_path):
    clip = NoiseClip("noise_a")
    stored(tmp_path, clip, 0.25)
    segment = pairs_of([clip], predicted=shelf(tmp_path))[0]
    assert np.abs(segment.context_EN).max() == pytest.approx(0.95, abs=1e-5)
    plain = pairs_of([clip], predicted=shelf(tmp_path), peak=None)[0]
    np.testing.assert_allclose(segment.context_EN, plain.context_EN * segment.gain, rtol=1e-5)
    np.testing.assert_allclose(segment.predicted_EMF, plain.predicted_EMF + np.log(segment.gain), atol=1e-5)
    varied = pairs_of([clip], predicted=shelf(tmp_path), rounds=8, peak=(0.05, 0.5))
    peaks = [np.abs(varied[i].context_EN).max() for i in range(8)]
    assert 0.05 <= min(peaks) < 0.2 < max(peaks) <= 0.5


def test_silence_stays_at_the_floor_at_any_gain():
    mel = np.array([LOG_FLOOR, LOG_FLOOR + 0.1, -3.0], np.float32)
    np.testing.assert_allclose(louder(mel, np.exp(2.0)), [LOG_FLOOR, LOG_FLOOR + 2.1, -1.0], atol=1e-5)
    np.testing.assert_allclose(louder(mel, np.exp(-2.0)), [LOG_FLOOR, LOG_FLOOR, -5.0], atol=1e-5)
    sound = np.concatenate([np.zeros(8192), 0.1 * numpy_stream(0, "n").standard_normal(8192)]).astype(np.float32)[None]
    of_louder, then_louder = log_mel(5 * sound, MEL).numpy(), louder(log_mel(sound, MEL).numpy(), 5.0)
    assert np.abs(of_louder - then_louder)[:, :, :28].max() < 1e-5
    assert np.abs(of_louder - then_louder).max() < 0.01


def test_mels_of_the_sound_are_those_of_the_whole_recording_not_of_a_cut_piece():
    clip = NoiseClip("a")
    segment = pairs_of([clip], peak=None)[0]
    whole_EN = clip.whole_EN
    first = int(np.flatnonzero(np.isclose(whole_EN[0], segment.context_EN[0, 0], atol=0, rtol=0))[0])
    first += CONTEXT_FRAMES * HOP
    whole_EMF = log_mel(whole_EN[:, first % HOP :], MEL)[:, :, first // HOP :][:, :, :24]
    some = collate_mels([segment], HOP)
    mel_EMF = log_mel(some.context_BEN[0], MEL)[:, :, CONTEXT_FRAMES:-CONTEXT_FRAMES]
    torch.testing.assert_close(mel_EMF, whole_EMF, atol=1e-4, rtol=0)
    cut_EMF = log_mel(some.wave_BEN[0], MEL)
    assert float((cut_EMF - whole_EMF)[:, :, [0, -1]].abs().mean()) > 0.05  # what the surroundings are for


def test_a_window_that_goes_on_behind_the_recording_gives_segments_before_its_end(tmp_path):
    clip = NoiseClip("a", duration_s=1.0)
    stored(tmp_path, clip, 0.5)  # 80 frames, of which 43 are there
    stored(tmp_path, clip, 0.9)
    with pytest.warns(UserWarning, match="1 windows are left out: their recordings end too early"):
        pairs = pairs_of([clip], predicted=shelf(tmp_path))
    assert len(pairs) == 1
    assert misfit(pairs, count=12) < 1e-3


def test_an_epoch_is_every_window_once(tmp_path):
    clips = [NoiseClip("a"), NoiseClip("b")]
    for clip in clips:
        for start_s in (0.0, 0.5, 1.0):
            stored(tmp_path, clip, start_s)
    pairs = pairs_of(clips, predicted=shelf(tmp_path), rounds=2)
    assert len(pairs) == 12
    assert [(w.clip.clip_id, w.start_s) for w in pairs.windows] == [(c, s) for c in "ab" for s in (0.0, 0.5, 1.0)]
    assert len(pairs_of(clips, rounds=3)) == 6  # without files: every clip
    assert not np.array_equal(pairs.draw(0, 0).context_EN, pairs.draw(0, 1).context_EN)
    assert np.array_equal(pairs.draw(0, 1).context_EN, pairs.draw(0, 1).context_EN)


def test_a_recording_is_found_by_the_windows_name_or_by_the_videos(tmp_path):
    whole, window = NoiseClip("film"), NoiseClip("film_0.50", duration_s=1.0, offset_s=0.5)
    stored(tmp_path, whole, 0.25)
    stored(tmp_path, whole, 0.5)
    found = shelf(tmp_path).windows({"film"})
    assert found == {("film", 0.25): "film_0.25", ("film", 0.5): "film_0.50"}
    assert shelf(tmp_path).windows({"film", "film_0.50"})["film_0.50", 0.0] == "film_0.50"
    assert misfit(pairs_of([whole], predicted=shelf(tmp_path))) < 1e-3
    with pytest.warns(UserWarning, match="1 of 2 predicted mels in .* have no recording"):
        pairs = pairs_of([window], predicted=shelf(tmp_path))
    assert misfit(pairs) < 1e-3


def test_names_without_an_ear_count_where_the_folder_says_the_ear(tmp_path):
    clip = NoiseClip("film_0.50")
    for ear, path in zip(("left", "right"), stored(tmp_path, NoiseClip("film"), 0.5), strict=True):
        (tmp_path / f"plain_{ear}").mkdir()
        path.rename(tmp_path / f"plain_{ear}" / "film_0.50.npy")
    plain = MelShelf(tmp_path / "plain_left", tmp_path / "plain_right", "true")
    assert plain.windows({clip.clip_id}) == {("film_0.50", 0.0): "film_0.50"}


def test_windows_that_lack_a_partner_are_named(tmp_path):
    clip = NoiseClip("a")
    for start_s in (0.0, 0.5):
        stored(tmp_path / "true", clip, start_s)
    stored(tmp_path / "predicted", clip, 0.5)
    stores = {"true": shelf(tmp_path / "true", "true"), "predicted": shelf(tmp_path / "predicted")}
    with pytest.warns(UserWarning, match=r"1 windows have only one .* \(such as a at 0.00 s\)"):
        assert len(pairs_of([clip], **stores)) == 1
    (tmp_path / "predicted" / "left" / "train" / "a_0.50_left.npy").unlink()
    stored(tmp_path / "predicted", clip, 0.3)
    with (
        pytest.warns(UserWarning, match="there for one ear alone"),
        pytest.raises(InputError, match="no window has both"),
    ):
        pairs_of([clip], true=stores["true"], predicted=shelf(tmp_path / "predicted"))
    with pytest.raises(InputError, match=r"none of the 2 true mels in .* belongs to a recording"):
        pairs_of([NoiseClip("b")], true=stores["true"])


@pytest.mark.parametrize(("scale", "kind"), [(8.686, "true"), (8.686, "predicted"), (0.1, "true")])
def test_mels_of_another_scale_are_refused(tmp_path, scale, kind):
    stored(tmp_path, NoiseClip("a"), 0.0, scale=scale)
    with pytest.raises(InputError, match=f"the {kind} mels in .* do not fit their sound"):
        pairs_of([NoiseClip("a")], **{kind: shelf(tmp_path, kind)})


def test_mels_of_another_moment_are_refused_as_true_ones(tmp_path):
    quiet = NoiseClip("a")
    stored(tmp_path, quiet, 0.0)
    for ear in ("left", "right"):
        path = tmp_path / ear / "train" / f"a_0.00_{ear}.npy"
        np.save(path, np.load(path) - 2.0)
    with pytest.raises(InputError, match="the true mels"):
        pairs_of([quiet], true=shelf(tmp_path, "true"))


@pytest.mark.parametrize("kind", ["predicted", "true"])
def test_swapped_ears_are_noticed_without_a_suffix(tmp_path, kind):
    """Near enough to be a prediction's error, or that of true mels; but the other ear's sound is nearer."""
    clips = [TwoLevels(name) for name in "abc"]
    for name in ("swapped", "right"):
        for clip in clips:
            level_EMF = log_mel(clip.whole_EN, MEL).numpy()[:, :, :80]
            for ear, mel_MF in zip(("left", "right"), level_EMF[:: -1 if name == "swapped" else 1] + 0.1, strict=True):
                (tmp_path / name / ear).mkdir(parents=True, exist_ok=True)
                np.save(tmp_path / name / ear / f"{clip.clip_id}_0.00.npy", mel_MF)
    swapped, right = (MelShelf(tmp_path / n / "left", tmp_path / n / "right", kind) for n in ("swapped", "right"))
    if kind == "true":
        with pytest.raises(
            InputError, match=r"fit the other ear better. So it is in 3 of 3 windows.*swap the two folders"
        ):
            pairs_of(clips, true=swapped)
    else:
        with pytest.warns(UserWarning, match="fit the other ear better: so it is in 3 of 3 windows"):
            pairs_of(clips, predicted=swapped)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs_of(clips, **{kind: right})
        one = MelShelf(tmp_path / "right" / "left", tmp_path / "right" / "left", "predicted")  # both ears the same mel
        pairs_of(clips, predicted=one)


def test_mels_of_other_bands_or_windows_shorter_than_a_segment_are_refused(tmp_path):
    stored(tmp_path, NoiseClip("a"), 0.0, frames=26)
    with pytest.raises(InputError, match="the predicted mels of a have 26 frames"):
        pairs_of([NoiseClip("a")], predicted=shelf(tmp_path), on_broken="skip")
    with pytest.raises(InputError, match="has 80 bands and 26 frames"):
        MelPairs([NoiseClip("a")], MEL.replace(n_mels=100), frames=8, seed=0, predicted=shelf(tmp_path))


def test_broken_and_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="left/train is not there"):
        shelf(tmp_path)
    stored(tmp_path, NoiseClip("a"), 0.0)
    (tmp_path / "right" / "train" / "a_0.00_right.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"a_0\.00_right\.npy cannot be read"):
        read_mels(tmp_path, "train", "a", 0.0)
    with pytest.raises(InputError, match=r"a_0\.00_right\.npy cannot be read"):
        pairs_of([NoiseClip("a")], predicted=shelf(tmp_path))[0]
    with pytest.raises(InputError, match="holds mels of the right ear"):
        MelShelf(tmp_path / "right" / "train", tmp_path / "left" / "train", "predicted")


def test_a_window_that_cannot_be_read_is_named_and_another_takes_its_place(tmp_path):
    clips = [NoiseClip("a"), NoiseClip("b")]
    for clip in clips:
        stored(tmp_path, clip, 0.0)
    (tmp_path / "left" / "train" / "a_0.00_left.npy").write_bytes(b"no array")
    pairs = pairs_of(clips, predicted=shelf(tmp_path), on_broken="skip")
    with pytest.warns(UserWarning, match="a segment of a is left out"):
        assert [pairs[0].clip_id, pairs[1].clip_id] == ["b", "b"]
    assert pairs[0].index == 0


@pytest.mark.parametrize("layout", ["{split}", "{ear}/{split}", "{ear}", ""])
def test_the_folder_of_an_ear_may_hold_splits_or_the_files(tmp_path, layout):
    for split in ("train", "val"):
        for ear in ("left", "right"):
            (tmp_path / "out" / layout.format(split=split, ear=ear)).mkdir(parents=True, exist_ok=True)
    folder = tmp_path / "out" if layout != "{ear}" else tmp_path / "out" / "left"
    wanted = tmp_path / "out" / layout.format(split="val", ear="left")
    assert split_folder(folder, "left", "val") == (wanted, "split" in layout)


def test_of_a_splits_folder_the_other_split_stands_beside_it(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    assert split_folder(tmp_path / "train", "left", "train") == (tmp_path / "train", True)
    assert split_folder(tmp_path / "train", "left", "val") == (tmp_path / "val", True)
    assert split_folder(tmp_path / "val", "left", "test") == (None, True)
    assert split_folder(tmp_path, "left", "test") == (None, True)


def test_a_plain_folder_of_stereo_files(tmp_path):
    draw = numpy_stream(0, "wave")
    for name in ("b", "a"):
        write_audio(tmp_path / f"{name}.wav", 0.1 * draw.standard_normal((2, 4410)), 44_100)
    assert [c.clip_id for c in stereo_clips(tmp_path)] == ["a", "b"]
    assert stereo_clips(tmp_path)[0].sound(0.0, 0.05, RATE)[1].shape == (2, round(0.05 * RATE))
    assert layout_of(tmp_path) is None
    write_audio(tmp_path / "c.wav", 0.1 * draw.standard_normal((1, 4410)), 44_100)
    with pytest.raises(InputError, match=r"c\.wav has 1 channel\. Stage 2 learns from both ears"):
        stereo_clips(tmp_path)
    (tmp_path / "FAIR-Play" / "binaural_audios").mkdir(parents=True)
    (tmp_path / "real" / "processed" / "binaural_audios_22050Hz").mkdir(parents=True)
    assert layout_of(tmp_path) == layout_of(tmp_path / "FAIR-Play") == "fairplay"
    assert layout_of(tmp_path / "real") == "realbinaural"


def test_what_is_not_taken_of_a_plain_folder_is_named(tmp_path):
    draw = numpy_stream(0, "wave")
    for name in ("a.wav", "b.wav"):
        write_audio(tmp_path / name, 0.1 * draw.standard_normal((2, 4410)), 44_100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [c.clip_id for c in stereo_clips(tmp_path)] == ["a", "b"]
    for name in ("a.flac", "deeper/c.wav", "deeper/still/d.wav", "deeper/.hidden.wav"):
        write_audio(tmp_path / name, 0.1 * draw.standard_normal((2, 4410)), 44_100)
    same = r"1 sound files in .* \(a\.flac\): another file has the same name"
    with (
        pytest.warns(UserWarning, match=same),
        pytest.warns(
            UserWarning, match=r"2 sound files in .* \(deeper/c\.wav, deeper/still/d\.wav\): they lie in sub-f"
        ),
    ):
        assert [clip.ears.name for clip in stereo_clips(tmp_path)] == ["a.wav", "b.wav"]


def test_what_is_kept_aside_stays_kept_aside_when_recordings_are_added():
    names = [f"clip{i}" for i in range(300)]
    aside = held_out(names)
    assert 15 < len(aside) < 50
    assert held_out(names[:200]) == {name for name in aside if name in names[:200]}
    assert len(held_out(["x", "y"])) == 1
    with pytest.raises(InputError, match="there are 1 recordings"):
        held_out(["x"])


def test_the_context_is_longer_than_half_a_window():
    assert (MEL.n_fft - HOP) // 2 < CONTEXT_FRAMES * HOP
