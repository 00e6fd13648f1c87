"""Folders of predictions against folders of references, in whatever layout they are.

Files belong together when their paths below the folder agree but for the suffix; what is left over is matched by its bare
name where that is unique on both sides. Two mono files ``x_left`` and ``x_right`` (side by side, or in folders ``left`` and
``right``) are the ears of one recording ``x``. Letters with accents are the same however they are composed. What has no
partner is listed, never passed over in silence; what cannot be read is named with the reason, and the others go on. Only
files whose names begin with a dot are not looked at.

A prediction may end a hop before or after its reference (vocoders give whole hops). More is a mistake worth hearing of:
such a pair is named with both lengths, not measured. Only with ``common`` is it measured over what both have.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import soundfile

from binaural_core.audio import read_audio
from binaural_core.audio.interaural import LOWEST_RATE_HZ
from binaural_core.checkpoint import save_json, write_whole
from binaural_core.data.splits import AUDIO_SUFFIXES
from binaural_core.errors import InputError, need
from binaural_core.evaluation.bands import ild_error_by_band_db, named_bands
from binaural_core.evaluation.journal import Journal, Row, fingerprint
from binaural_core.evaluation.results import Results, machine
from binaural_core.evaluation.wording import not_measured
from binaural_core.metrics import mel_l1, mel_l2, mel_rmse
from binaural_core.metrics.azimuth import AzimuthMatcher
from binaural_core.metrics.pairs import LENGTH_TOLERANCE
from binaural_core.metrics.summary import CUES, FIELD, MELS, SPEECH, summarize

EARS = ("left", "right")
PREDICTION, MONO = "prediction", "mono"
BROKEN = (InputError, ValueError, OSError, EOFError, soundfile.LibsndfileError)
TEXT, KEY = ("clip", "system", "files"), ("clip", "system")
MEL_MEASURES = {"mel_rmse": mel_rmse, "mel_l1": mel_l1, "mel_l2": mel_l2}
OnFile = Callable[[int, int], None]


@dataclass(frozen=True)
class Item:
    """One recording: a file, or a file for each ear."""

    name: str
    paths: tuple[Path, ...]

    def read(self, sample_rate_hz: int) -> np.ndarray:
        """Both ears (2, N). Raises InputError naming the file."""
        if len(self.paths) == 1:
            return read_audio(self.paths[0], sample_rate_hz=sample_rate_hz, channels=2).wave_CN
        ears = [_one_ear(path, sample_rate_hz) for path in self.paths]
        lengths = [len(ear_N) for ear_N in ears]
        need(
            max(lengths) - min(lengths) <= LENGTH_TOLERANCE,
            f"{self.paths[0]} has {lengths[0]} samples and {self.paths[1]} {lengths[1]}",
            why="they are the ears of one recording",
            fix="replace the one that is cut off",
        )
        return np.stack([ear_N[: min(lengths)] for ear_N in ears])

    @property
    def state(self) -> str:
        """Changes whenever a file does; empty where one is gone, such as a link to nowhere."""
        try:
            return ",".join(f"{(at := path.stat()).st_size}:{at.st_mtime_ns}" for path in self.paths)
        except OSError:
            return ""


@dataclass(frozen=True)
class Matched:
    """Pairs by name, and what has no partner."""

    pairs: dict[str, tuple[Item, Item]]
    only_predicted: list[str]
    only_reference: list[str]
    broken: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Measures by file, files without a partner, and files that could not be measured with the reason."""

    rows: dict[str, dict[str, float]]
    only_predicted: list[str]
    only_reference: list[str]
    broken: dict[str, str]
    results: Results | None = None

    @property
    def mean(self) -> dict[str, float]:
        """Files for which a measure is not defined are left out of it; nothing measured: nothing."""
        names = next(iter(self.rows.values()), {})
        return {name: _mean([row[name] for row in self.rows.values()]) for name in names}

    @property
    def complete(self) -> bool:
        """Whether every reference had a prediction, and every pair was measured."""
        return bool(self.rows) and not self.broken and not self.only_reference

    def save(self, folder: str | Path) -> None:
        """``summary.json`` and ``measures.md`` beside ``measures.csv``, which is written where it is not there."""
        folder = Path(folder)
        if self.results is not None:
            if not (folder / "measures.csv").is_file():
                self.results.write_csv(folder / "measures.csv")
            text = "\n\n".join([self.results.markdown(), *listed(self)]) + "\n"
            write_whole(folder / "measures.md", lambda t: t.write_bytes(text.encode("utf-8", "backslashreplace")))
        unmatched = {"only_predicted": self.only_predicted, "only_reference": self.only_reference}
        summary = self.results.summary() if self.results is not None else {}
        found = {"mean": self.mean, "files": len(self.rows), "broken": self.broken} | unmatched
        save_json(folder / "summary.json", found | summary)


def evaluate_audio(
    pred_dir: str | Path,
    gt_dir: str | Path,
    *,
    sample_rate_hz: int = 22_050,
    speech: bool = False,
    common: bool = False,
    mono: bool = False,
    matcher: AzimuthMatcher | None = None,
    out: str | Path | None = None,
    on_file: OnFile | None = None,
) -> Report:
    """Every standard measure of the sound files of two folders, at ``sample_rate_hz``.

    speech : PESQ and STOI too.   common : pairs of different length are measured over what both have.
    mono : beside each prediction, a copy of its reference's mono (the mean of both ears): what not trying gives.
    matcher : a head's cues, for the azimuth error.
    out : a folder that gets every row as soon as it is measured; a stopped run goes on there, and files that have changed
    are measured again. `Report.save` writes the rest.
    Raises InputError when a folder is missing or no name matches.
    """
    need(
        sample_rate_hz >= LOWEST_RATE_HZ,
        f"sample_rate_hz is {sample_rate_hz}",
        why=f"both sides are brought to it, and no cue is left under {LOWEST_RATE_HZ}",
        fix="give the rate in Hz, such as 22050",
    )
    speaking = SPEECH if speech else ()
    placing = ["azimuth_error_deg"] if matcher else []
    known = [f.__name__ for f in (*CUES, *MELS, *FIELD)]
    names = ["duration_s", "reference_s", *known[:4], *placing, *known[4:], *speaking, *named_bands(sample_rate_hz)]

    def measure(predicted: Item, true: Item) -> dict[str, dict[str, float]]:
        waves = [item.read(sample_rate_hz) for item in (predicted, true)]
        lengths = [wave_EN.shape[1] for wave_EN in waves]
        need(
            common or abs(lengths[0] - lengths[1]) <= LENGTH_TOLERANCE,
            f"the prediction lasts {lengths[0] / sample_rate_hz:.3f} s, the reference {lengths[1] / sample_rate_hz:.3f} s",
            why=f"up to {LENGTH_TOLERANCE} samples may be missing; more means a cut or another recording",
            fix="predict the whole recording, or measure over what both have (--common)",
        )
        prediction_EN, reference_EN = (wave_EN[:, : min(lengths)] for wave_EN in waves)
        versions = {PREDICTION: prediction_EN}
        if mono:
            versions[MONO] = np.repeat(reference_EN.mean(axis=0, keepdims=True), 2, axis=0)
        seconds = {"duration_s": lengths[0] / sample_rate_hz, "reference_s": lengths[1] / sample_rate_hz}
        return {
            name: seconds
            | summarize(wave_EN, reference_EN, sample_rate_hz, speech=speech, matcher=matcher)
            | ild_error_by_band_db(wave_EN, reference_EN, sample_rate_hz)
            for name, wave_EN in versions.items()
        }

    settings = {"kind": "audio", "sample_rate_hz": sample_rate_hz, "speech": speech, "common": common, "mono": mono}
    settings |= {"azimuth": matcher is not None}
    systems = (PREDICTION, MONO) if mono else (PREDICTION,)
    matched = matched_audio(pred_dir, gt_dir)
    return _measured(pred_dir, gt_dir, matched, measure, systems, names, settings, out, on_file)


def evaluate_mels(
    pred_dir: str | Path,
    gt_dir: str | Path,
    *,
    out: str | Path | None = None,
    on_file: OnFile | None = None,
) -> Report:
    """Mel RMSE, L1 and L2 (natural log) of the mel files (.npy) of two folders; each ear's file counts by itself."""

    def measure(predicted: Item, true: Item) -> dict[str, dict[str, float]]:
        mels = [_read_mel(item.paths[0])[None] for item in (predicted, true)]
        return {PREDICTION: {name: function(*mels) for name, function in MEL_MEASURES.items()}}

    matched = match(_items(pred_dir, (".npy",), ears=False), _items(gt_dir, (".npy",), ears=False))
    return _measured(
        pred_dir, gt_dir, matched, measure, (PREDICTION,), list(MEL_MEASURES), {"kind": "mels"}, out, on_file
    )


def matched_audio(pred_dir: str | Path, gt_dir: str | Path) -> Matched:
    """The sound files of two folders. Raises InputError when one is missing."""
    return match(_items(pred_dir, AUDIO_SUFFIXES, ears=True), _items(gt_dir, AUDIO_SUFFIXES, ears=True))


def match(predicted: dict[str, list[Item]], true: dict[str, list[Item]]) -> Matched:
    """Bring together what belongs together: names (paths without suffix) first, then bare names that are unique."""
    broken = {}
    for items, whose in ((predicted, "prediction"), (true, "reference")):
        for name, several in list(items.items()):
            if len(several) > 1:
                files = " and ".join(sorted({str(path) for item in several for path in item.paths}))
                broken[name] = f"more than one {whose} has this name: {files}"
                del items[name]
    for name in broken:
        predicted.pop(name, None)
        true.pop(name, None)
    pairs = {name: (predicted[name][0], true[name][0]) for name in true if name in predicted}
    left = [{k: v[0] for k, v in items.items() if k not in pairs} for items in (predicted, true)]
    bare = [_unique_bare(items) for items in left]
    for short, true_name in bare[1].items():
        if short in bare[0]:
            pairs[true_name] = (left[0].pop(bare[0][short]), left[1].pop(true_name))
    return Matched({name: pairs[name] for name in sorted(pairs)}, sorted(left[0]), sorted(left[1]), broken)


def listed(found: Report) -> list[str]:
    """What a reader must hear of, a line each."""
    alone = {
        "predictions without a reference": found.only_predicted,
        "references without a prediction": found.only_reference,
    }
    lines = [
        f"{len(names)} {kind}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        for kind, names in alone.items()
        if names
    ]
    return lines + not_measured(found.broken)


def _items(folder: str | Path, suffixes: Sequence[str], *, ears: bool) -> dict[str, list[Item]]:
    """The recordings of a folder by name."""
    folder = Path(folder)
    need(folder.is_dir(), f"the folder {folder} is not there", why="its files are compared", fix="check the path")
    known = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    files = [path for path in known if not path.is_dir()]
    alone: dict[str, list[Path]] = {}
    sided: dict[str, dict[str, list[Path]]] = {}
    for path in files:
        name = _name(path.relative_to(folder))
        ear, both = _ear(name)
        if ears and ear:
            sided.setdefault(both, {}).setdefault(ear, []).append(path)
        else:
            alone.setdefault(name, []).append(path)
    items: dict[str, list[Item]] = {}
    for both, by_ear in sided.items():
        if set(by_ear) == set(EARS):
            pairs = itertools.product(*(by_ear[ear] for ear in EARS))  # more than one, where an ear is there twice
            items.setdefault(both, []).extend(Item(both, pair) for pair in pairs)
        else:  # a lone name that happens to end so
            for path in next(iter(by_ear.values())):
                alone.setdefault(_name(path.relative_to(folder)), []).append(path)
    for name, paths in alone.items():
        items.setdefault(name, []).extend(Item(name, (path,)) for path in paths)
    return items


def _name(path: Path) -> str:
    """A path without its suffix, as text that can be written: accents composed, bytes that are no UTF-8 as ``\\xff``."""
    name = path.with_suffix("").as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", name)


def _one_ear(path: Path, sample_rate_hz: int) -> np.ndarray:
    """(N,). Raises InputError when the file has both ears."""
    wave_CN = read_audio(path, sample_rate_hz=sample_rate_hz).wave_CN
    need(
        len(wave_CN) == 1,
        f"{path} has {len(wave_CN)} channels",
        why="with a file of the same name for the other ear beside it, it is taken for one ear of a recording",
        fix="keep one channel of it; or rename both files, if they are recordings of their own",
    )
    return wave_CN[0]


def _read_mel(path: Path) -> np.ndarray:
    """(M, F). Raises InputError naming the file when it is broken or something else."""
    try:
        mel_MF = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise InputError(
            f"the mel file {path} cannot be read",
            why=f"it is no array of numbers, or is cut off ({str(error).split('. ')[0].rstrip('.')})",
            fix="write it again, with numpy.save",
        ) from error
    need(
        isinstance(mel_MF, np.ndarray) and mel_MF.ndim == 2 and mel_MF.dtype.kind in "fiu",
        f"the mel file {path} holds {_kind(mel_MF)}",
        why="a log-mel is real numbers (bands, frames), one ear in each file",
        fix="write each ear into its own file, with numpy.save",
    )
    need(
        bool(np.isfinite(mel_MF).all()),
        f"the mel file {path} has NaN or infinite cells",
        why="the measure would be NaN",
        fix="find where they come from",
    )
    return mel_MF


def _kind(found: Any) -> str:
    return f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "several arrays (npz)"


def _ear(name: str) -> tuple[str | None, str]:
    """Which ear a name is of, and the name of both: ``left/val/x_left`` and ``val/x_left`` are the left of ``val/x``."""
    path = PurePosixPath(name)
    for ear in EARS:
        if path.name.lower().endswith(f"_{ear}"):
            rest = [part for part in path.parts[:-1] if part.lower() != ear]
            return ear, PurePosixPath(*rest, path.name[: -len(ear) - 1]).as_posix()
    return None, name


def _unique_bare(items: Mapping[str, Item]) -> dict[str, str]:
    bare = [PurePosixPath(name).name for name in items]
    return {short: name for short, name in zip(bare, items, strict=True) if bare.count(short) == 1}


def _measured(
    pred_dir: str | Path,
    gt_dir: str | Path,
    matched: Matched,
    measure: Callable[[Item, Item], dict[str, dict[str, float]]],
    systems: Sequence[str],
    names: Sequence[str],
    settings: dict[str, Any],
    out: str | Path | None,
    on_file: OnFile | None,
) -> Report:
    count = len(matched.pairs)
    need(
        count > 0 or bool(matched.broken),
        f"no file stands in both {pred_dir} and {gt_dir}",
        why=f"{len(matched.only_predicted)} and {len(matched.only_reference)} recordings were found, and none share a name",
        fix="name predictions as their references; the suffix and the folders between may differ",
    )
    settings = settings | {"pred_dir": str(Path(pred_dir).resolve()), "gt_dir": str(Path(gt_dir).resolve())}
    state = {name: f"{pair[0].state};{pair[1].state}" for name, pair in matched.pairs.items()}
    journal = Journal(out, TEXT, names, KEY)
    done = journal.open(settings, lambda row: state.get(row["clip"]) == row["files"])
    broken = dict(matched.broken)
    for number, (name, pair) in enumerate(matched.pairs.items(), start=1):
        if not all((name, system) in done for system in systems):
            try:
                measured = measure(*pair)
            except BROKEN as error:
                measured, broken[name] = {}, str(error)
            for system, measures in measured.items():
                if (name, system) not in done:
                    journal.append({"clip": name, "system": system, "files": state[name], **measures})
        if on_file:
            on_file(number, count)
    order = {name: number for number, name in enumerate(matched.pairs)}
    journal.rewrite(sorted(journal.read(), key=lambda row: (order[row["clip"]], systems.index(row["system"]))))
    told = {"settings": settings, "fingerprint": fingerprint(settings), "machine": machine(), "broken": broken}
    told |= {"only_predicted": matched.only_predicted, "only_reference": matched.only_reference}
    results = Results(journal.rows, journal.columns, told, text=TEXT)
    rows = {row["clip"]: _numbers(row, names) for row in journal.rows if row["system"] == PREDICTION}
    return Report(rows, matched.only_predicted, matched.only_reference, broken, results)


def _numbers(row: Row, names: Sequence[str]) -> dict[str, float]:
    left_out = {"duration_s", "reference_s"}
    return {
        name: row.get(name, float("nan")) for name in names if name not in left_out and not name.startswith("band_")
    }


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
