import pickle
from itertools import product

import numpy as np
import pytest

from binaural_core.data import rendered
from binaural_core.data.rendered import RenderedConfig, clips, scene_seed
from binaural_core.data.sample import Clip
from binaural_core.errors import InputError
from binaural_core.scene.render import SceneConfig

RATE = 22_050
MOVING = RenderedConfig(scene=SceneConfig(duration_s=2.0, sources=(2, 2), moving=1.0))


def test_clips_are_clips_and_the_same_every_time():
    first, again = clips("train", 3, 7), clips("train", 3, 7)
    assert all(isinstance(clip, Clip) for clip in first)
    assert [c.scene for c in first] == [c.scene for c in again]
    assert [c.clip_id for c in first] == [c.clip_id for c in again]
    assert clips("train", 5, 7)[:3] == first  # more of them go on
    assert clips("train", 1, 8)[0].scene != first[0].scene


def test_no_seed_and_no_dry_sound_is_shared():
    keys = list(product(rendered.SPLITS, (0, 1, 2, 5), (0, 1, 2, 3, 4, 2**20 - 1)))
    assert len({scene_seed(*key) for key in keys}) == len(keys)
    used = {s: {x.sound for c in clips(s, 30) for x in c.scene.sources} for s in rendered.SPLITS}
    assert not used["train"] & used["val"]
    assert not used["train"] & used["test"]
    assert not used["val"] & used["test"]


def test_sound_is_cut_to_the_sample_and_its_mono_is_the_mean_of_the_ears():
    (clip,) = clips("val", 1, 3)
    mono_N, binaural_EN = clip.sound(0, clip.duration_s, RATE)
    assert binaural_EN.shape == (2, round(clip.duration_s * RATE))
    assert mono_N.dtype == binaural_EN.dtype == np.float32
    np.testing.assert_allclose(mono_N, binaural_EN.mean(0), atol=1e-6)
    part_N, parts_EN = clip.sound(1.0, 0.5, RATE)
    np.testing.assert_array_equal(parts_EN, binaural_EN[:, RATE : RATE + RATE // 2])
    np.testing.assert_array_equal(part_N, mono_N[RATE : RATE + RATE // 2])
    last_N, _ = clip.sound(clip.duration_s - 0.3, 0.3, RATE)
    np.testing.assert_array_equal(last_N, mono_N[-len(last_N) :])


def test_another_rate_is_resampled_from_the_same_sound():
    (clip,) = clips("val", 1, 3)
    high_N, high_EN = clip.sound(0.5, 1.0, 44_100)
    low_N, _ = clip.sound(0.5, 1.0, RATE)
    assert high_EN.shape == (2, 44_100)
    assert np.abs(high_N[::2] - low_N)[100:-100].max() < 0.02 * np.abs(low_N).max()


def test_what_lies_outside_is_refused():
    (clip,) = clips("test", 1)
    for start_s, length_s in ((-0.1, 0.5), (clip.duration_s - 0.2, 0.5), (0.0, 0.0)):
        with pytest.raises(InputError, match=clip.clip_id):
            clip.sound(start_s, length_s, RATE)


def test_pictures_lie_on_the_grid_and_show_where_the_sound_is():
    (clip,) = clips("train", 1, 2, MOVING)
    assert len(clip.frame_times_s) == 20
    early, same, next_one, after = clip.look([0.46, 0.54, 0.56, 99.0])
    np.testing.assert_array_equal(early.image_HW3, same.image_HW3)
    assert (early.image_HW3 != next_one.image_HW3).any()
    np.testing.assert_allclose(early.positions_O3, clip.scene.positions([0.5])[0], atol=1e-5)
    np.testing.assert_allclose(after.positions_O3, clip.scene.positions([1.9])[0], atol=1e-5)
    assert early.image_HW3.shape == (180, 320, 3)
    assert early.labels == tuple(s.label for s in clip.scene.sources)
    small = clips("train", 1, 2, MOVING.replace(width_px=160, height_px=90))[0].look([0.0])[0]
    assert small.image_HW3.shape == (90, 160, 3)


def test_a_clip_travels_to_another_process_as_a_plan():
    (clip,) = clips("train", 1, 4)
    expected_N, _ = clip.sound(0, 1, RATE)
    parcel = pickle.dumps(clip)
    assert len(parcel) < 10_000
    rendered._sounds.forget()
    np.testing.assert_array_equal(pickle.loads(parcel).sound(0, 1, RATE)[0], expected_N)


def test_durations_are_drawn_within_the_range():
    lengths_s = [c.duration_s for c in clips("train", 40, 1, RenderedConfig(duration_s=(3.0, 3.4)))]
    assert {round(10 * s, 6) for s in lengths_s} == {30, 31, 32, 33, 34}
    assert {c.duration_s for c in clips("train", 3, 1, MOVING)} == {2.0}


def test_wrong_wishes_say_what_is_wrong():
    with pytest.raises(InputError, match="train, val, test"):
        clips("exam", 1)
    with pytest.raises(InputError, match="count=0"):
        clips("train", 0)
    with pytest.raises(InputError, match="duration_s"):
        RenderedConfig(duration_s=(4.0, 3.0))
    with pytest.raises(InputError, match="frames_per_s"):
        RenderedConfig(frames_per_s=0)
    with pytest.raises(InputError, match="nowhere"):
        clips("train", 1, 0, RenderedConfig(dry_sounds="nowhere"))


def test_what_was_made_is_kept_up_to_so_many_bytes():
    kept, made = rendered.Kept(100), []

    def get(key):
        return kept.get(key, lambda: made.append(key) or key, lambda value: 1000 if value == "huge" else 40)

    assert [get("a"), get("b"), get("a")] == ["a", "b", "a"]
    assert made == ["a", "b"]
    get("c")  # 120 bytes: the longest unused goes, which is b
    assert (kept.bytes, list(kept.made)) == (80, ["a", "c"])
    get("b")
    assert made == ["a", "b", "c", "b"]
    get("huge")  # what is asked for is given, even if nothing else fits beside it
    assert list(kept.made) == ["huge"]
