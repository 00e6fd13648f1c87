"""Windows, mirroring, keyed randomness, broken clips, batches over processes and epochs."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from binaural_core.data import augment
from binaural_core.data.loading import DataConfig, Mix, Windows, cut, loader
from binaural_core.data.sample import Sample, Sight
from binaural_core.errors import InputError
from binaural_core.scene.view import View


@dataclass(frozen=True)
class Mel:
    sample_rate_hz: int = 8000
    hop_samples: int = 100


MEL = Mel()
DATA = DataConfig(window_frames=8, frames_per_window=3, objects=2, crop_px=16)
PLAIN = DATA.replace(colour_jitter=0.0, image_crop=0.0, mirror=0.0)


@dataclass(frozen=True)
class FakeClip:
    """Left ear: the time in seconds / 10; right ear: minus that; one object at the left, redder to its right."""

    clip_id: str
    duration_s: float = 2.0
    broken: bool = False
    gain: float = 1.0

    def sound(self, start_s, duration_s, sample_rate_hz):
        if self.broken:
            raise InputError(f"{self.clip_id}.wav cannot be read", why="it is broken", fix="copy it again")
        count = round(duration_s * sample_rate_hz)
        left = ((round(start_s * sample_rate_hz) + np.arange(count)) / sample_rate_hz / 10).astype(np.float32)
        ears = self.gain * np.stack([left, -0.5 * left])
        return ears.mean(axis=0), ears

    def look(self, times_s):
        image = np.zeros((36, 64, 3), np.uint8)
        image[9:27, 8:24, 0] = 8 * np.arange(8, 24)
        box, place = (
            np.array([[8 / 64, 9 / 36, 24 / 64, 27 / 36]], np.float32),
            np.array([[30.0, 5.0, 2.0]], np.float32),
        )
        return [View(image, box, place, np.ones(1, np.float32), ("drum",), True) for _ in times_s]


def clips(count, **settings):
    return [FakeClip(f"c{i}", **settings) for i in range(count)]


def same(one, other):
    assert one.clip_ids == other.clip_ids
    assert one.starts_s == other.starts_s
    for name in ("mono_BN", "binaural_BEN", "crops_BLOCHW", "image_positions_BLO2", "positions_BLO3", "mask_BLO"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0, equal_nan=True)


def test_cut_takes_exactly_the_window():
    sample = cut(FakeClip("a"), 0.5, DATA, MEL)
    assert sample.mono_N.shape == (800,)
    assert sample.binaural_EN.shape == (2, 800)
    assert sample.binaural_EN[0, 0] == np.float32(0.05)
    np.testing.assert_allclose(sample.binaural_EN[0, -1], (4000 + 799) / 80000, rtol=1e-6)
    assert sample.sight.crops_LOCHW.shape == (3, 2, 3, 16, 16)
    np.testing.assert_allclose(sample.sight.image_positions_LO2[:, 0], [[0.25, 0.5]] * 3)
    np.testing.assert_array_equal(sample.sight.positions_LO3[:, 0], [[30, 5, 2]] * 3)
    np.testing.assert_array_equal(sample.sight.mask_LO, [[False, True]] * 3)


def test_pictures_are_taken_evenly_over_the_window():
    asked = []

    class Watcher(FakeClip):
        def look(self, times_s):
            asked.extend(times_s)
            return super().look(times_s)

    cut(Watcher("a"), 1.0, DATA.replace(frames_per_window=4, window_frames=80), MEL)  # a window of 1 s
    np.testing.assert_allclose(asked, [1.125, 1.375, 1.625, 1.875])


def test_no_pictures_are_read_when_none_are_wanted():
    class Blind(FakeClip):
        def look(self, times_s):
            raise AssertionError

    sample = cut(Blind("a"), 0.0, DATA.replace(frames_per_window=0), MEL)
    assert sample.sight.crops_LOCHW.shape == (0, 2, 3, 16, 16)


def test_mirroring_swaps_ears_pictures_positions_and_azimuth_together():
    plain = cut(FakeClip("a"), 0.5, PLAIN, MEL)
    mirrored = cut(FakeClip("a"), 0.5, PLAIN.replace(mirror=1.0), MEL, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(mirrored.binaural_EN, plain.binaural_EN[::-1])
    np.testing.assert_array_equal(mirrored.mono_N, plain.mono_N)
    np.testing.assert_array_equal(mirrored.sight.crops_LOCHW, plain.sight.crops_LOCHW[..., ::-1])
    np.testing.assert_allclose(mirrored.sight.image_positions_LO2[:, 0], [[0.75, 0.5]] * 3)
    np.testing.assert_array_equal(mirrored.sight.positions_LO3[:, 0], [[-30, 5, 2]] * 3)
    np.testing.assert_array_equal(mirrored.sight.image_positions_LO2[:, 1], 0)
    again = augment.mirror(mirrored)
    np.testing.assert_array_equal(again.binaural_EN, plain.binaural_EN)
    np.testing.assert_allclose(again.sight.image_positions_LO2, plain.sight.image_positions_LO2)


def test_one_ear_as_target_is_chosen_after_mirroring():
    plain = cut(FakeClip("a"), 0.5, PLAIN, MEL)
    left = cut(FakeClip("a"), 0.5, PLAIN.replace(target="left"), MEL)
    right = cut(FakeClip("a"), 0.5, PLAIN.replace(target="right"), MEL)
    np.testing.assert_array_equal(left.binaural_EN, plain.binaural_EN[:1])
    np.testing.assert_array_equal(right.binaural_EN, plain.binaural_EN[1:])
    mirrored = cut(FakeClip("a"), 0.5, PLAIN.replace(target="left", mirror=1.0), MEL, generator=np.random.default_rng())
    np.testing.assert_array_equal(mirrored.binaural_EN, plain.binaural_EN[1:])


def test_a_picture_crop_moves_image_positions_and_no_direction():
    sample = cut(FakeClip("a"), 0.5, PLAIN.replace(image_crop=0.2), MEL, generator=np.random.default_rng(1))
    x, y, width, height = augment.random_region(0.2, np.random.default_rng(1))
    assert 0 < x < x + width <= 1
    np.testing.assert_allclose(
        sample.sight.image_positions_LO2[0, 0], [(0.25 - x) / width, (0.5 - y) / height], rtol=1e-6
    )
    np.testing.assert_array_equal(sample.sight.positions_LO3[0, 0], [30, 5, 2])


def test_recolour_does_what_it_says():
    planes = np.array([[[0.2, 0.6], [0.4, 0.4], [0.6, 0.2]]], np.float32)
    np.testing.assert_allclose(augment.recolour(planes, (1, 1, 1)), planes, atol=1e-6)
    np.testing.assert_allclose(augment.recolour(planes, (1.5, 1, 1)), planes * 1.5, atol=1e-6)
    luma = np.einsum("c,pcn->pn", augment.LUMA_3, planes)
    np.testing.assert_allclose(augment.recolour(planes, (1, 1, 0)), np.repeat(luma[:, None], 3, 1), atol=1e-6)
    np.testing.assert_allclose(augment.recolour(planes, (1, 0, 1)), np.full((1, 3, 2), luma.mean()), atol=1e-6)
    assert augment.recolour(planes, (9, 1, 1)).max() == 1.0


def test_training_windows_are_keyed_by_seed_epoch_and_sample():
    one, other = Windows(clips(3), DATA, MEL, seed=7), Windows(clips(3), DATA, MEL, seed=7)
    starts = {}
    for epoch in (0, 1):
        one.set_epoch(epoch)
        other.set_epoch(epoch)
        for index in (2, 0, 1):
            a, b = one[index], other[index]
            assert a.start_s == b.start_s
            assert a.index == index
            np.testing.assert_array_equal(a.sight.crops_LOCHW, b.sight.crops_LOCHW)
            assert 0 <= a.start_s <= 1.9
            starts[epoch, index] = a.start_s
    assert len(set(starts.values())) == 6
    assert Windows(clips(3), DATA, MEL, seed=8)[0].start_s != starts[0, 0]


def test_evaluation_windows_are_evenly_spread_and_as_recorded():
    windows = Windows(clips(2), DATA.replace(windows_per_clip=2), MEL, train=False)
    assert len(windows) == 4
    assert [windows[i].clip_id for i in range(4)] == ["c0", "c0", "c1", "c1"]
    np.testing.assert_allclose([windows[i].start_s for i in (0, 1)], [0.475, 1.425])
    np.testing.assert_array_equal(windows[1].sight.crops_LOCHW, cut(FakeClip("x"), 1.425, DATA, MEL).sight.crops_LOCHW)


def test_a_broken_clip_is_named_once_and_another_takes_its_place():
    windows = Windows([*clips(2), FakeClip("bad", broken=True), FakeClip("short", duration_s=0.05)], DATA, MEL)
    with pytest.warns(UserWarning, match="clip") as said:
        drawn = [[windows.draw(i, epoch) for i in range(4)] for epoch in range(6)]
    messages = [str(w.message) for w in said]
    assert len(messages) == 2
    assert sum("clip bad is left out: bad.wav cannot be read" in m for m in messages) == 1
    assert sum("clip short lasts 0.05 s" in m for m in messages) == 1
    assert {s.clip_id for epoch in drawn for s in epoch} == {"c0", "c1"}
    assert [s.index for s in drawn[3]] == [0, 1, 2, 3]
    fresh = Windows(windows.clips, DATA, MEL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [fresh.draw(2, e).clip_id for e in (5, 4)] == [drawn[5][2].clip_id, drawn[4][2].clip_id]


def test_a_broken_clip_is_missing_from_evaluation_and_can_be_refused():
    mixed = [FakeClip("bad", broken=True), *clips(2)]
    windows = Windows(mixed, DATA, MEL, train=False)
    with pytest.warns(UserWarning, match="bad"):
        batches = list(loader(windows, 2))
    assert [b.clip_ids for b in batches] == [("c0",), ("c1",)]
    refusing = Windows(mixed, DATA.replace(on_broken="refuse"), MEL, train=False)
    with pytest.raises(InputError, match=r"bad\.wav cannot be read"):
        list(loader(refusing, 2))


def test_nothing_but_broken_clips_ends_in_an_error_not_in_a_loop():
    windows = Windows(clips(3, broken=True), DATA, MEL)
    with pytest.warns(UserWarning, match="left out"), pytest.raises(InputError, match="none of 3 clips can be read"):
        windows[0]


def test_silence_in_training_is_said_once_by_name():
    windows = Windows(clips(2, gain=0.0), DATA, MEL)
    with pytest.warns(UserWarning, match="is silent") as said:
        [windows.draw(0, epoch) for epoch in range(3)]
    assert len(said) == 1
    assert "c0" in str(said[0].message)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_together_see_every_sample_once_per_epoch(world):
    windows = Windows(clips(11), DATA, MEL)
    seen = [i for rank in range(world) for batch in loader(windows, 2, rank=rank, world=world) for i in batch.indices]
    assert sorted(seen) == list(range(11))


def test_many_processes_make_the_batches_of_one():
    windows = Windows(clips(12), DATA, MEL)
    together = [b.indices for b in loader(windows, 4)]
    halves = [[b.indices for b in loader(windows, 2, rank=r, world=2)] for r in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == together
    assert together != [b.indices for b in loader(windows, 4).pass_over(1)]


def test_an_epoch_goes_on_from_any_batch():
    windows = Windows(clips(9), DATA, MEL)
    windows.set_epoch(3)
    whole = list(loader(windows, 2, drop_last=True))
    resumed = loader(windows, 2, drop_last=True, start_batch=2)
    assert len(whole) == len(resumed) == 4
    for one, other in zip(whole[2:], resumed, strict=True):
        same(one, other)
    assert len(list(resumed)) == 4  # the next pass is whole


def test_worker_processes_change_nothing_and_carry_errors_home():
    windows = Windows(clips(5), DATA, MEL)
    for one, other in zip(loader(windows, 2), loader(windows, 2, workers=1), strict=True):
        same(one, other)
    refusing = Windows(clips(2, broken=True), DATA.replace(on_broken="refuse"), MEL)
    with pytest.raises(InputError, match=r"c[01]\.wav cannot be read"):
        list(loader(refusing, 2, workers=1))


def test_too_few_windows_for_one_whole_batch_are_refused():
    with pytest.raises(InputError, match="3 windows do not fill one batch of 4"):
        loader(Windows(clips(3), DATA, MEL), 4, drop_last=True)


def test_a_mix_gives_each_part_its_share():
    few, many = (
        Windows(clips(4), DATA, MEL),
        Windows([replace(c, clip_id="m" + c.clip_id) for c in clips(8)], DATA, MEL),
    )
    mix = Mix([few, many], [1, 1])
    assert len(mix) == 12
    samples = [mix[i] for i in range(12)]
    assert [s.index for s in samples] == list(range(12))
    mine = [s for s in samples if s.clip_id.startswith("c")]
    assert len(mine) == 6
    assert len({(s.clip_id, s.start_s) for s in mine}) == 6  # a clip drawn twice gives two windows
    seen = {mix.draw(i, epoch).clip_id for epoch in (0, 1) for i in range(6, 12)}
    assert len(seen) == 8  # what one epoch left out comes in the next
    assert sorted(i for b in loader(mix, 3) for i in b.indices) == list(range(12))
    with pytest.raises(InputError, match="differ in their windows"):
        Mix([few, Windows(clips(1), DATA.replace(crop_px=8), MEL)])


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="objects is 0"):
        DataConfig(objects=0)
    with pytest.raises(InputError, match=r"mirror is 1\.5"):
        DataConfig(mirror=1.5)
    with pytest.raises(InputError, match="list of clips is empty"):
        Windows([], DATA, MEL)


def test_windows_heard_together_add_up_and_share_the_slots():
    def one(value, shown):
        sight = Sight(
            np.full((2, 3, 3, 4, 4), value, np.float32),
            np.full((2, 3, 2), value, np.float32),
            np.full((2, 3, 3), value, np.float32),
            np.array([[o not in shown for o in range(3)]] * 2),
        )
        wave = np.full(8, value, np.float32)
        return Sample(f"c{value}", 0.0, wave, np.stack([wave, -wave]), sight, index=7)

    sum_of_two = augment.together([one(0.25, {1}), one(0.5, {0, 2})], [1.0, 2.0])
    assert np.allclose(sum_of_two.mono_N, 1.25)
    assert np.allclose(sum_of_two.binaural_EN, [[1.25] * 8, [-1.25] * 8])
    assert sum_of_two.sight.mask_LO.tolist() == [[False] * 3] * 2
    assert sum_of_two.sight.positions_LO3[0, :, 0].tolist() == [0.25, 0.5, 0.5]
    assert (sum_of_two.clip_id, sum_of_two.index) == ("c0.25", 7)
    alone = augment.together([one(0.25, {1})], [1.0])
    assert alone.sight.mask_LO[0].tolist() == [False, True, True]
    assert np.isnan(alone.sight.positions_LO3[:, 1:]).all()
    assert not alone.sight.crops_LOCHW[:, 1:].any()


def test_training_windows_are_heard_together_as_the_config_says():
    several = Windows(clips(6), PLAIN.replace(together=3), MEL, train=True)
    plain = Windows(clips(6), PLAIN, MEL, train=True)
    alike = [np.array_equal(plain[i].mono_N, several[i].mono_N) for i in range(6)]
    assert set(alike) == {True, False}
    assert np.array_equal(several[1].mono_N, several[1].mono_N)
    held_out = Windows(clips(6), PLAIN.replace(together=3), MEL, train=False)
    assert np.array_equal(held_out[2].mono_N, Windows(clips(6), PLAIN, MEL, train=False)[2].mono_N)
