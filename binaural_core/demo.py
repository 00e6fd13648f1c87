"""The whole way once: ``make demo``. A held-out mono clip and its frames become binaural sound, in ``outputs/demo``.

Small networks are trained first, for a few minutes, on scenes rendered from the training sounds, so that all of the way is
gone. What was trained is kept: the second demo only uses it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from binaural_core import checkpoint, figures
from binaural_core.audio import log_mel, write_audio
from binaural_core.config import Config
from binaural_core.data import fair_play, real_binaural, rendered
from binaural_core.data.dubbing import dub
from binaural_core.data.eyes import clip_eyes
from binaural_core.data.recording import RecordingClip
from binaural_core.data.sample import Clip
from binaural_core.data.scene_files import read_scene
from binaural_core.errors import InputError
from binaural_core.metrics.summary import summarize, table
from binaural_core.notebooks import run_notebook
from binaural_core.pipeline import Binaural, Binauralizer
from binaural_core.places import CONFIGS, REPOSITORY, data_samples, outputs
from binaural_core.scene.plan import Scene
from binaural_core.training import stage1, stage2

MODES = ("mono_phase", "bigvgan")


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """What the demo trains and measures; `smoke` is the same with smaller numbers."""

    out: str | None = None  # None: outputs/demo
    stage1_epochs: int | None = None  # None: as the shipped config says
    stage2_epochs: int | None = None
    train_scenes: int | None = None
    shipped_test_clips: int | None = None  # None: all
    test_scenes: tuple[int, int] = (18, 6)  # more from the test sounds: as stage 1 was trained, and of any kind
    clip: str | None = None  # which test clip is written out; None: the single source that moves farthest
    notebook: bool = True


SMOKE = DemoConfig(stage1_epochs=1, stage2_epochs=1, train_scenes=16, shipped_test_clips=1, test_scenes=(1, 1))


def run(config: DemoConfig = DemoConfig()) -> dict[str, dict[str, float]]:
    """Train where needed, make the featured clip, measure the test split. Returns the mean measures by version."""
    out = Path(config.out) if config.out else outputs() / "demo"
    began = time.perf_counter()
    train(config, out / "checkpoints")
    binauralizer = Binauralizer.from_pretrained(out / "checkpoints")

    print("\nThe test split: sounds and scenes that no training saw.")
    clips, kinds = zip(*held_out_clips(config), strict=True)
    featured = pick(clips, config.clip)
    rows: dict[str, list[dict[str, float]]] = {"mono copy": [], **{mode: [] for mode in MODES}}
    for clip in tqdm(clips, desc="test", unit="clip"):
        versions, reference_EN = make(binauralizer, clip)
        if clip is featured:
            feature(clip, versions, reference_EN, binauralizer, out)
        for name, made in versions.items():
            rows[name].append(summarize(made.wave_EN, reference_EN, made.sample_rate_hz))
    means = {name: mean(values) for name, values in rows.items()}
    named = {"clips": [c.clip_id for c in clips], "kinds": kinds, "mean": means, "by_clip": rows}
    checkpoint.save_json(out / "measures.json", named)
    said = f"Mean over {len(clips)} test clips; ↓ less is better, ↑ more is better.\n\n{table(means)}\n"
    said += f"\n{by_kind(kinds, rows)}\n"
    checkpoint.write_whole(out / "measures.md", lambda temporary: temporary.write_text(said))
    print(said)
    print(verdict(means))
    if config.notebook:
        run_notebook(REPOSITORY / "notebooks" / "demo.ipynb", {"folder": str(out.resolve())}, out / "demo.ipynb")
    print(f"\nListen with headphones: {out / 'binaural.mp4'}, {out / 'binaural.wav'} (beside mono.wav, reference.wav).")
    print(
        f"Look: {out / 'mels.png'}, {out / 'demo.ipynb'}. This took {(time.perf_counter() - began) / 60:.1f} minutes."
    )
    return means


def train(config: DemoConfig, checkpoints: Path) -> None:
    """Train both small networks, or keep what an earlier demo trained."""
    one = stage1.Stage1Config.load(CONFIGS / "demo_stage1.yaml")
    two = stage2.Stage2Config.load(CONFIGS / "demo_stage2.yaml")
    changes = {"run.checkpoints": str(checkpoints)}
    if config.train_scenes:
        changes["dataset.scenes"] = one.dataset.scenes | {"train": config.train_scenes, "val": 8}
    one = one.replace(**changes, **({"run.epochs": config.stage1_epochs} if config.stage1_epochs else {}))
    two = two.replace(**changes, **({"run.epochs": config.stage2_epochs} if config.stage2_epochs else {}))
    for stage, room, settings in (("1", stage1, one), ("2", stage2, two)):
        if finished(settings.run.folder, settings.to_dict()):
            print(f"Stage {stage} was trained before: {settings.run.folder}")
            continue
        print(
            f"\nThe demo trains small networks of its own: stage {stage} now, on scenes rendered on the fly"
            f" from the training sounds.\nThe first pass renders and is slower; the bar's estimate settles after it."
        )
        _, result = room.train(settings)
        checkpoint.save_json(
            settings.run.folder / "finished.json", {"steps": result.steps, "config": settings.to_dict()}
        )


def finished(folder: Path, tree: dict) -> bool:
    """Whether that very training was completed in the folder."""
    note = folder / "finished.json"
    return note.is_file() and json.loads(note.read_text())["config"] == json.loads(json.dumps(tree))


def held_out_clips(config: DemoConfig) -> list[tuple[Clip, str]]:
    """The shipped test clips of both layouts, and more scenes of the test sounds, each with its kind."""
    shipped = []
    for name, layout in (("fair_play", fair_play), ("real_binaural", real_binaural)):
        root = data_samples() / name
        for clip in layout.clips(root, "test"):
            shipped.append((clip, kind(read_scene(root / "scenes" / f"{clip.video_id}.json").scene)))
    as_trained = stage1.Stage1Config.load(CONFIGS / "demo_stage1.yaml").dataset.rendered
    alike = rendered.clips("test", config.test_scenes[0], 1, as_trained.replace(**{"scene.duration_s": 4.0}))
    any_kind = rendered.clips("test", config.test_scenes[1], 2)
    return [*shipped[: config.shipped_test_clips], *((clip, kind(clip.scene)) for clip in [*alike, *any_kind])]


def kind(scene: Scene) -> str:
    """What makes a scene easy or hard."""
    return f"{'one source' if len(scene.sources) == 1 else 'several'}, {'in a room' if scene.room else 'in the open'}"


def by_kind(kinds: Sequence[str], rows: dict[str, list[dict[str, float]]]) -> str:
    """The level and time errors between the ears, for each kind of scene."""
    lines = ["| scenes | number | " + " | ".join(f"ILD dB, {n} | ITD µs, {n}" for n in rows) + " |"]
    lines.append("|---|" + "---:|" * (1 + 2 * len(rows)))
    for name in sorted(set(kinds)):
        chosen = [i for i, k in enumerate(kinds) if k == name]
        cells = []
        for values in rows.values():
            part = mean(values[i] for i in chosen)
            cells += [f"{part['ild_error_db']:.2f}", f"{part['itd_error_us']:.0f}"]
        lines.append(f"| {name} | {len(chosen)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pick(clips: Sequence[Clip], clip_id: str | None) -> Clip:
    """The clip to be written out: the named one, else the shipped one whose source moves farthest."""
    shipped = [clip for clip in clips if isinstance(clip, RecordingClip)]
    if clip_id is not None:
        named = [clip for clip in shipped if clip.clip_id == clip_id]
        if not named:
            raise InputError(
                f"there is no shipped test clip {clip_id!r}",
                why=f"there are {', '.join(c.clip_id for c in shipped)}",
                fix="choose one of them",
            )
        return named[0]
    return max(shipped, key=travel_deg)


def travel_deg(clip: Clip) -> float:
    """How far a clip's single source goes from side to side; less than nothing where there are several."""
    views = clip.look(list(np.linspace(0.0, clip.duration_s * 0.98, 9)))
    if any(len(view.labels) != 1 for view in views):
        return -1.0
    azimuth_L = [float(view.positions_O3[0, 0]) for view in views]
    return max(azimuth_L) - min(azimuth_L)


def make(binauralizer: Binauralizer, clip: Clip) -> tuple[dict[str, Binaural], np.ndarray]:
    """Every version of a clip's sound, and the recording of both ears."""
    rate = binauralizer.mel.sample_rate_hz
    mono_N, reference_EN = clip.sound(0.0, clip.duration_s, rate)
    ears_EN = np.stack([mono_N, mono_N])
    versions = {"mono copy": Binaural(ears_EN, rate, log_mel(ears_EN, binauralizer.mel).numpy())}
    eyes = clip_eyes(clip, binauralizer.data)
    for mode in MODES:
        pieces = list(binauralizer.spans(iter([mono_N[None]]), eyes, stage2=mode))
        versions[mode] = Binaural(
            np.concatenate([p.wave_EN for p in pieces], axis=1),
            rate,
            np.concatenate([p.mel_EMF for p in pieces], axis=2),
        )
    return versions, reference_EN


def feature(
    clip: RecordingClip,
    versions: dict[str, Binaural],
    reference_EN: np.ndarray,
    binauralizer: Binauralizer,
    out: Path,
) -> None:
    """Write the clip's sounds, film and picture."""
    rate = binauralizer.mel.sample_rate_hz
    names = {"mono copy": "mono.wav", "mono_phase": "binaural.wav", "bigvgan": "binaural_bigvgan.wav"}
    for name, file in names.items():
        write_audio(out / file, versions[name].wave_EN, rate)
    write_audio(out / "reference.wav", reference_EN, rate)
    pictures = getattr(clip.pictures, "path", None) or clip.pictures.folder
    dub(pictures, out / "binaural.wav", out / "binaural.mp4")
    true_EMF = log_mel(torch.from_numpy(reference_EN), binauralizer.mel).numpy()
    predicted_EMF = versions["mono_phase"].mel_EMF[:, :, : true_EMF.shape[2]]
    figure = figures.ears_figure(
        {"predicted": predicted_EMF, "true": true_EMF}, binauralizer.mel, title=f"Test clip {clip.clip_id}"
    )
    checkpoint.write_whole(out / "mels.png", lambda temporary: figure.savefig(temporary, dpi=130))
    checkpoint.save_json(out / "featured.json", {"clip_id": clip.clip_id, "duration_s": clip.duration_s})


def mean(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """The mean of every measure over clips; clips for which it is not defined are left out."""
    rows = list(rows)
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def verdict(means: dict[str, dict[str, float]]) -> str:
    """What the numbers say, and no more."""
    mono = means["mono copy"]
    lines = []
    for mode in MODES:
        made = means[mode]
        level = made["ild_error_db"] / mono["ild_error_db"]
        delay = made["itd_error_us"] / mono["itd_error_us"]
        lines.append(
            f"{mode}: level error between the ears {level:.2f} x the mono copy's, time error {delay:.2f} x"
            f" ({'both are better' if level < 1 and delay < 1 else 'not better in both'})."
        )
    return "\n".join(lines)


TABLES = {  # marks in a README -> files in outputs
    "results": "demo/measures.md",
    "stage1": "stage1/measures.md",
    "localizer": "localizer/measures.md",
    "vocoder": "vocoder/measures.md",
    "systems": "systems/measures.md",
}


def write_readme(measured: Path, readme: Path) -> None:
    """Put the measured tables that are there between the marks that a README has for them."""
    text = readme.read_text()
    wanted = {mark: measured / name for mark, name in TABLES.items() if f"<!-- {mark}:begin -->" in text}
    found = {mark: file for mark, file in wanted.items() if file.is_file()}
    if not found:
        raise InputError(
            f"{measured} holds no measured tables for {readme.name}",
            why=f"there is none of {', '.join(TABLES[mark] for mark in wanted)}",
            fix="run `make demo`, `make systems`, or `binaural bench vocoder` or `evaluate stage1` with --out",
        )
    for mark, file in found.items():
        before, rest = text.split(f"<!-- {mark}:begin -->")
        after = rest.split(f"<!-- {mark}:end -->")[1]
        text = f"{before}<!-- {mark}:begin -->\n{file.read_text().strip()}\n<!-- {mark}:end -->{after}"
    checkpoint.write_whole(readme, lambda temporary: temporary.write_text(text))


def main() -> int:
    """``python -m binaural_core.demo``; with ``--readme`` the tables measured last are copied into the README."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if sys.argv[1:] == ["--readme"]:
            refused = []
            for readme in (REPOSITORY / "README.md", data_samples() / "README.md"):
                try:
                    write_readme(outputs(), readme)
                except InputError as error:  # what was not measured keeps its old table
                    refused.append(error)
            if len(refused) == 2:
                raise refused[0]
        else:
            run()
    except InputError as error:
        print(f"\nThe demo stopped. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What was trained up to the last checkpoint is kept; `make demo` goes on from there.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
