import numpy as np
import pytest
import soundfile

from binaural_core.scene import SceneConfig, find_dry_sounds
from binaural_core.scene.bench import measure_scenes


@pytest.fixture
def dry_sounds(tmp_path):
    for i in range(3):
        wave = 0.1 * np.random.default_rng(i).standard_normal(5 * 22_050)
        soundfile.write(tmp_path / f"noise_{i}.wav", wave, 22_050)
    return find_dry_sounds(tmp_path)


def test_the_speed_of_sound_is_what_was_rendered_over_the_time_it_took(dry_sounds):
    """How fast it must be is the benchmark's affair, not a test's: machines differ and are busy."""
    hardest = SceneConfig(sources=(3, 3), moving=1.0, reverberant=1.0)
    result = measure_scenes(dry_sounds, config=hardest, scenes=3, pictures=False)
    assert 0 < result["sound_x_real_time_slowest"] <= result["sound_x_real_time"]
    assert result["sound_s"] == 12


def test_pictures_are_reported_apart(dry_sounds):
    result = measure_scenes(dry_sounds, scenes=1, width_px=96, height_px=54)
    assert result["pictures_per_s"] > 0
    assert result["pictures_x_real_time"] == pytest.approx(result["pictures_per_s"] / 5)
