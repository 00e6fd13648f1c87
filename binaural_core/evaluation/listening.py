"""Which clips of a run are worth hearing, and all versions of each, made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from binaural_core.errors import need
from binaural_core.evaluation import folders
from binaural_core.evaluation.clips import listed
from binaural_core.evaluation.comparing import SystemsConfig, heard, make, rate_of
from binaural_core.evaluation.results import MONO, Key, Results
from binaural_core.evaluation.systems import open_systems, wanted
from binaural_core.evaluation.wording import KNOWN
from binaural_core.places import pick_device
from binaural_core.widgets.player import Player

EXCERPT_S, SHORTEST_S = 5.0, 0.5
REFERENCE = "recorded"
Listen = Callable[[Key], tuple[dict[str, np.ndarray], int]]  # a clip -> (name -> (2, N), rate)


class Pick(NamedTuple):
    """A clip and why it is heard."""

    why: str
    key: Key


def of_systems(config: SystemsConfig) -> Listen:
    """Versions of a clip of a run: every system, mono, and the reference. Opened when the first one is asked for."""
    opened = []

    def listen(key: Key) -> tuple[dict[str, np.ndarray], int]:
        if not opened:
            device = str(pick_device(config.device))
            opened.append({(one.split, one.clip.clip_id): one for one in listed(config.clips)})
            opened.append(open_systems(wanted(config.systems), device=device, seed=config.seed, steps=config.steps))
        clips, systems = opened
        mono_N, reference_EN = heard(clips[key], config.protocol)
        versions = {MONO: np.stack([mono_N, mono_N])}
        versions |= {name: make(system, mono_N, clips[key], config.protocol) for name, system in systems.items()}
        return versions | {REFERENCE: reference_EN}, rate_of(config.protocol)

    return listen


def of_folders(pred_dir: str | Path, gt_dir: str | Path, sample_rate_hz: int) -> Listen:
    """Versions of a recording that lies in two folders: the prediction, the reference's mono, and the reference."""
    pairs = []

    def listen(key: Key) -> tuple[dict[str, np.ndarray], int]:
        if not pairs:
            pairs.append(folders.matched_audio(pred_dir, gt_dir).pairs)
        predicted, true = (item.read(sample_rate_hz) for item in pairs[0][key[1]])
        samples = min(predicted.shape[1], true.shape[1])
        mono_EN = np.repeat(true[:, :samples].mean(axis=0, keepdims=True), 2, axis=0)
        return {
            MONO: mono_EN,
            folders.PREDICTION: predicted[:, :samples],
            REFERENCE: true[:, :samples],
        }, sample_rate_hz

    return listen


def picks(results: Results) -> tuple[str, str, list[Pick]]:
    """(system, measure, its best, median and worst clip); the system is the first of ours, else the last one.

    By level error where it was measured, else by STFT distance. Of fewer than three clips each is heard once.
    """
    others = [s for s in results.systems if s != MONO] or results.systems
    system = next((s for s in others if s.startswith("ours")), others[-1])
    measure = next(
        (name for name in ("ild_error_db", "stft_distance") if name in results.measures), results.measures[0]
    )
    need(measure in KNOWN, f"{measure} is not known", why="clips are ordered by a measure", fix="choose a known one")
    scored = [(results.by_key[k][system][measure], k) for k in results.by_key if system in results.by_key[k]]
    ordered = [k for value, k in sorted(scored) if np.isfinite(value)]
    found: list[Pick] = []
    for why, at in (("best", 0), ("median", (len(ordered) - 1) // 2), ("worst", len(ordered) - 1)):
        if ordered and ordered[at] not in {pick.key for pick in found}:
            found.append(Pick(why, ordered[at]))
    return system, measure, found


def excerpt(versions: dict[str, np.ndarray], sample_rate_hz: int, title: str, most_bytes: float) -> Player:
    """A player of the loudest stretch: 5 s, or as much as fits into so many bytes of text, half a second at least.

    The sound is FLAC, so that no codec touches the ears.
    """
    seconds = min(EXCERPT_S, versions[REFERENCE].shape[1] / sample_rate_hz)
    while True:
        cut = loudest(versions[REFERENCE], max(1, round(seconds * sample_rate_hz)))
        shown = Player({name: wave_EN[:, cut] for name, wave_EN in versions.items()}, sample_rate_hz, title, REFERENCE)
        size = sum(len(source) for source in shown.audio_sources.values())
        if size <= most_bytes or seconds <= SHORTEST_S:
            return shown
        seconds = max(SHORTEST_S, 0.95 * seconds * most_bytes / size)


def loudest(wave_EN: np.ndarray, samples: int) -> slice:
    """Where the stretch of that length with the most energy is."""
    energy_N = np.cumsum(np.concatenate([[0.0], (wave_EN.astype(np.float64) ** 2).sum(axis=0)]))
    if samples >= wave_EN.shape[1]:
        return slice(0, wave_EN.shape[1])
    start = int((energy_N[samples:] - energy_N[:-samples]).argmax())
    return slice(start, start + samples)
