"""How fast scenes are rendered, sound and pictures apart."""

import time
from collections.abc import Callable, Sequence

from binaural_core.errors import need
from binaural_core.scene.casting import DrySound, SceneConfig, random_scene
from binaural_core.scene.head import Head
from binaural_core.scene.plan import Scene
from binaural_core.scene.render import render_sound

PICTURES_PER_S = 5.0


def measure_scenes(
    dry_sounds: Sequence[DrySound],
    *,
    config: SceneConfig | None = None,
    scenes: int = 16,
    seed: int = 0,
    head: Head | None = None,
    width_px: int = 640,
    height_px: int = 360,
    pictures: bool = True,
) -> dict[str, float]:
    """Render random scenes and time them in processor seconds, so that the numbers hold for one core.

    Reading the dry sounds counts; loading the head does not. Returns ``scenes``, ``sound_s``, ``sound_x_real_time`` (of
    all), ``sound_x_real_time_slowest`` (of the slowest scene), ``sound_x_real_time_wall`` (by the clock on the wall) and,
    with pictures, ``pictures_per_s`` and ``pictures_x_real_time`` at five pictures per second of sound.
    """
    need(scenes > 0, f"scenes={scenes}", why="at least one must be timed", fix="give 1 or more")
    config, head = config or SceneConfig(), head or Head.kemar()
    drawn = [random_scene(config, dry_sounds, seed + i) for i in range(scenes)]
    render_sound(drawn[0], head)  # first use prepares the head
    timed = [_timed(render_sound, scene, head) for scene in drawn]
    cpu_s, wall_s = (sum(t[i] for t in timed) for i in (0, 1))
    result = {
        "scenes": float(scenes),
        "sound_s": scenes * config.duration_s,
        "sound_x_real_time": scenes * config.duration_s / cpu_s,
        "sound_x_real_time_slowest": config.duration_s / max(cpu for cpu, _ in timed),
        "sound_x_real_time_wall": scenes * config.duration_s / wall_s,
    }
    return result | (_measure_pictures(drawn, width_px, height_px) if pictures else {})


def _measure_pictures(scenes: Sequence[Scene], width_px: int, height_px: int) -> dict[str, float]:
    from binaural_core.scene.video import draw  # pictures need more libraries than sound does

    count = max(1, round(scenes[0].duration_s * PICTURES_PER_S))
    times_s = [(i + 0.5) / PICTURES_PER_S for i in range(count)]
    draw(scenes[0], times_s[:1], width_px, height_px)
    cpu_s = sum(_timed(draw, scene, times_s, width_px, height_px)[0] for scene in scenes)
    rate = len(scenes) * count / cpu_s
    return {"pictures_per_s": rate, "pictures_x_real_time": rate / PICTURES_PER_S}


def _timed(work: Callable, *arguments) -> tuple[float, float]:
    """(processor seconds, seconds on the wall) of a call."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    work(*arguments)
    return max(time.process_time() - cpu_s, 1e-9), max(time.perf_counter() - wall_s, 1e-9)
