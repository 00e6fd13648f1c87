"""What is shipped is whole, small, fairly split, and what the renderer makes."""

import csv
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from binaural_core import places
from binaural_core.audio.io import audio_info, read_audio
from binaural_core.checkpoint import digest
from binaural_core.data import fair_play, real_binaural, rendered
from binaural_core.data.rendered import SPLITS
from binaural_core.data.scene_files import read_scene, save_jpg
from binaural_core.scene import backdrop, drawing

SAMPLES = places.data_samples()
SCENES = sorted(SAMPLES.glob("*/scenes/*.json"))
SHORT = {path.stem: path for path in SCENES}
FOLDERS = ("dry", "fair_play", "hrtf", "real_binaural", "weights")
DATA = [path for folder in FOLDERS for path in (SAMPLES / folder).rglob("*")]


def index() -> list[dict[str, str]]:
    with open(SAMPLES / "dry" / "index.csv", newline="") as file:
        return list(csv.DictReader(file))


def split_of_scenes() -> dict[str, list]:
    """Scenes by split, as the lists say, not as the scene files do."""
    found = defaultdict(list)
    for split in SPLITS:
        for layout, folder in ((fair_play, "fair_play"), (real_binaural, "real_binaural")):
            for clip in layout.clips(SAMPLES / folder, split):
                found[split].append(read_scene(SAMPLES / folder / "scenes" / f"{clip.video_id}.json").scene)
    return found


def test_checksums_hold_and_name_every_file():
    listed = dict(reversed(line.split("  ", 1)) for line in (SAMPLES / "SHA256SUMS").read_text().splitlines())
    there = {path.relative_to(SAMPLES).as_posix(): path for path in DATA if path.is_file()}
    assert sorted(listed) == sorted(there)
    assert [name for name, path in there.items() if digest(path) != listed[name]] == []


def test_it_is_small():
    sizes = [path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()]
    assert sum(sizes) < 22e6
    assert max(sizes) < 5e6


def test_dry_sounds_are_enough_dry_and_of_known_kinds():
    rows = index()
    assert sorted(row["file"] for row in rows) == sorted(
        path.relative_to(SAMPLES / "dry").as_posix() for path in (SAMPLES / "dry").rglob("*.flac")
    )
    counts = {split: sum(row["split"] == split for row in rows) for split in SPLITS}
    assert counts["train"] >= 14
    assert counts["val"] >= 4
    assert counts["test"] >= 5
    kinds = {split: {row["label"] for row in rows if row["split"] == split} for split in SPLITS}
    assert kinds["test"] | kinds["val"] <= kinds["train"] <= set(drawing.KINDS)
    assert len({row["file"].split("/")[1] for row in rows}) == len(rows)
    for row in rows:
        path = SAMPLES / "dry" / row["file"]
        assert row["file"].startswith(f"{row['split']}/{row['label']}_")
        sound, info = read_audio(path), audio_info(path)
        assert (info.sample_rate_hz, info.channels) == (22_050, 1)
        assert 4 <= info.duration_s <= 6
        peak = np.abs(sound.wave_CN).max()
        rms = np.sqrt((sound.wave_CN**2).mean())
        assert peak <= 10 ** (-2.9 / 20)
        assert 10 ** (-25 / 20) < rms < 10 ** (-17.9 / 20)
        blocks = sound.wave_CN[0][: len(sound.wave_CN[0]) // 2205 * 2205].reshape(-1, 2205)
        quiet = np.abs(blocks).max(1) < 10 ** (-50 / 20) * peak
        assert not (quiet[:-4] & quiet[1:-3] & quiet[2:-2] & quiet[3:-1] & quiet[4:]).any(), f"{path} pauses for 0.5 s"


def test_no_recording_is_in_two_splits():
    waves = {row["file"]: read_audio(SAMPLES / "dry" / row["file"]).wave_CN[0] for row in index()}
    spectra = {name: np.abs(np.fft.rfft(wave, 1 << 17))[:40_000] for name, wave in waves.items()}
    for one in spectra:
        for other in spectra:
            if one < other:
                alike = spectra[one] @ spectra[other] / np.linalg.norm(spectra[one]) / np.linalg.norm(spectra[other])
                assert alike < 0.9, (one, other)


def test_splits_share_neither_dry_sounds_nor_seeds_and_cover_what_they_should():
    scenes = split_of_scenes()
    assert {split: len(found) for split, found in scenes.items()} == {"train": 8, "val": 4, "test": 5}
    seeds = [scene.seed for found in scenes.values() for scene in found]
    assert len(set(seeds)) == len(seeds) == len(SCENES)
    for split, found in scenes.items():
        for source in (source for scene in found for source in scene.sources):
            assert source.sound.startswith(f"dry/{split}/")
    assert {len(scene.sources) for scene in scenes["test"]} == {1, 2, 3}
    for split, found in scenes.items():
        assert {any(source.moves for source in scene.sources) for scene in found} == {True, False}, split
        assert {scene.room is None for scene in found} == {True, False}, split
        assert all(3 <= scene.duration_s <= 6 for scene in found)


@pytest.mark.parametrize("name", ["000001", "000006", "000008", "scene_000004", "scene_000008"])
def test_rendering_again_gives_the_shipped_samples(name):
    clip, root = read_scene(SHORT[name]), SHORT[name].parent.parent
    _, binaural_EN = clip.sound(0, clip.duration_s, 22_050)
    shipped = next(root.rglob(f"*binaural_audios*/{name}.wav"))
    np.testing.assert_allclose(read_audio(shipped, channels=2).wave_CN, binaural_EN, rtol=0, atol=1.51 / 32_768)


@pytest.mark.parametrize("name", ["scene_000001", "scene_000004", "scene_000008"])
def test_drawing_again_gives_the_shipped_pictures(name, tmp_path):
    clip, frames = read_scene(SHORT[name]), SAMPLES / "real_binaural" / "processed" / "frames" / name
    shipped = sorted(frames.iterdir())
    assert len(shipped) == len(clip.frame_times_s)
    for number in (0, len(shipped) // 2, len(shipped) - 1):
        (view,) = clip.look([clip.frame_times_s[number]])
        save_jpg(tmp_path / "again.jpg", view)
        again, there = (np.asarray(Image.open(path)).astype(int) for path in (tmp_path / "again.jpg", shipped[number]))
        assert (np.abs(again - there) > 2).mean() < 1e-3  # other processors round the last bit of a colour otherwise


def test_the_same_seed_gives_identical_samples_and_pixels_on_one_machine(monkeypatch):
    clip = read_scene(SHORT["scene_000004"])
    first, seen = clip.rendered().binaural_EN.copy(), clip.look([0.0, 2.0])[1].image_HW3.copy()
    for kept in ("_sounds", "_pictures"):
        monkeypatch.setattr(rendered, kept, rendered.Kept(0))
    for cache in (backdrop.backdrop, drawing.sprite):
        cache.cache_clear()
    np.testing.assert_array_equal(clip.rendered().binaural_EN, first)
    np.testing.assert_array_equal(clip.look([0.0, 2.0])[1].image_HW3, seen)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("layout, folder", [(fair_play, "fair_play"), (real_binaural, "real_binaural")])
def test_readers_see_the_scene_as_it_is(layout, folder, split):
    for clip in layout.clips(SAMPLES / folder, split):
        truth = read_scene(SAMPLES / folder / "scenes" / f"{clip.video_id}.json")
        assert clip.duration_s == pytest.approx(truth.duration_s, abs=1e-3)
        mono_N, binaural_EN = clip.sound(0.5, 1.0, 22_050)
        true_N, true_EN = truth.sound(0.5, 1.0, 22_050)
        np.testing.assert_allclose(binaural_EN, true_EN, rtol=0, atol=1.51 / 32_768)
        np.testing.assert_allclose(mono_N, true_N, rtol=0, atol=1.51 / 32_768)
        (view,), (true_view,) = clip.look([1.2]), truth.look([1.2])
        assert view.labels == true_view.labels
        np.testing.assert_allclose(view.positions_O3, true_view.positions_O3, atol=1e-3)
        np.testing.assert_allclose(view.boxes_O4, true_view.boxes_O4, atol=1e-4)
        assert np.abs(view.image_HW3.astype(int) - true_view.image_HW3).mean() < 6
