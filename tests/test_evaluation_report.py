"""What a run says: statistics computed again from its table, and one HTML file with all in it."""

import base64
import csv
import io
import json
import re
import statistics
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from binaural_core.errors import InputError
from binaural_core.evaluation.comparing import FACTS, TEXT, Compared
from binaural_core.evaluation.listening import excerpt, loudest, picks
from binaural_core.evaluation.report import page, write_report
from binaural_core.evaluation.results import Results
from binaural_core.metrics import bootstrap_interval, difference_interval
from binaural_core.seeds import numpy_stream

MEASURES = ("itd_error_us", "ild_error_db", "azimuth_error_deg", "stft_distance", "snr_db")
BANDS = ("band_ild_error_db_125hz", "band_ild_error_db_1000hz", "band_ild_error_db_8000hz")
SYSTEMS = ("mono", "warp", "ours")
CLIPS = 12


def built() -> Results:
    """Twelve clips: the ILD error is the clip's number, 2 less with ours; a clip has no ITD, another no warp."""
    generator, rows = numpy_stream(0, "rows"), []
    for number in range(CLIPS):
        known = {
            "clip": f"clip{number:02d}",
            "split": "test",
            "cluster": f"sound{number // 2}",
            "room": "room" if number % 3 else "open",
            "motion": "still",
            "sources": 1.0 + (number % 2),
            "azimuth_deg": 15.0 * number - 80.0,
            "duration_s": 1.0,
        }
        for system in SYSTEMS:
            if (number, system) == (5, "warp"):
                continue
            row = known | {"system": system} | {name: float(generator.gamma(2.0)) for name in (*MEASURES, *BANDS)}
            row["ild_error_db"] = number + 3.0 - 2.0 * (system == "ours") + 0.01 * row["snr_db"]
            if number == 7:
                row["itd_error_us"] = float("nan")
            rows.append(row)
    told = {"settings": {"few": 12, "http": "<none>"}, "fingerprint": "abc"}
    return Results(rows, (*TEXT, *FACTS, *MEASURES, *BANDS), told, text=TEXT)


@pytest.fixture(scope="module")
def results() -> Results:
    return built()


@pytest.fixture(scope="module")
def saved(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    Compared(results, {"test/x, ours": "cut off"}).save(folder)
    return folder


def cells(markdown: str, row: str) -> list[str]:
    """The cells of the first line of a table that begins so."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_means_medians_and_counts_are_those_of_the_table(saved):
    rows = list(csv.DictReader((saved / "measures.csv").open()))
    summary = json.loads((saved / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    markdown = (saved / "measures.md").read_text()
    labels = {"itd_error_us": "ITD error ↓", "ild_error_db": "ILD error ↓", "snr_db": "SNR ↑"}
    digits = {"itd_error_us": 1, "ild_error_db": 2, "snr_db": 2}
    for at, system in enumerate(SYSTEMS, start=2):
        for name in MEASURES:
            values = [float(row[name]) for row in rows if row["system"] == system and row[name]]
            found = summary["systems"][system][name]
            assert found["mean"] == pytest.approx(statistics.mean(values))
            assert found["median"] == pytest.approx(statistics.median(values))
            assert found["count"] == len(values)
            assert found["nan"] == (1 if name == "itd_error_us" else 0)
            assert found["low"] < found["mean"] < found["high"]
            if name in labels:
                places = digits[name]
                cell = cells(markdown, labels[name])[at]
                assert cell.startswith(f"{statistics.mean(values):.{places}f} [")
                assert cell.endswith(f"¦ {statistics.median(values):.{places}f}")
    assert summary["broken"] == {"test/x, ours": "cut off"}
    assert summary["fingerprint"] == "abc"


def test_intervals_draw_whole_clusters(results):
    values = [row["ild_error_db"] for row in results.rows if row["system"] == "ours"]
    clusters = [row["cluster"] for row in results.rows if row["system"] == "ours"]
    assert results.statistics["ours"]["ild_error_db"] == bootstrap_interval(values, clusters=clusters)
    assert results.statistics["ours"]["ild_error_db"] != bootstrap_interval(values)
    few = Results(results.rows[:9], results.columns, text=TEXT)  # three clips of two sounds
    assert np.isnan(few.statistics["ours"]["ild_error_db"].low)
    assert "of too few for an interval" in few.heading()


def test_differences_are_paired_with_the_mono_copy(results):
    both = [k for k in results.by_key if "warp" in results.by_key[k]]
    first, second = ([results.by_key[k][s]["ild_error_db"] for k in both] for s in ("warp", "mono"))
    clusters = [results.by_key[k]["warp"]["cluster"] for k in both]
    found = results.differences()
    assert set(found) == {"warp", "ours"}
    assert found["warp"]["ild_error_db"] == difference_interval(first, second, clusters=clusters)
    ours = found["ours"]["ild_error_db"]
    assert ours.value == pytest.approx(-2, abs=0.1)
    assert ours.high < -1.5  # though the clips themselves differ by 12 dB
    markdown = results.markdown()
    less = markdown[markdown.index("Less the mono copy") :]
    assert re.fullmatch(r"-\d\.\d\d \[-\d\.\d\d, -\d\.\d\d\] \*", cells(less, "ILD error ↓")[-1])
    assert Results([r for r in results.rows if r["system"] != "mono"], results.columns, text=TEXT).differences() == {}


def test_kinds_part_the_clips_and_their_spread_is_told(results):
    assert set(results.kinds) == {"room", "sources", "azimuth"}  # one split and no motion: nothing to tell apart
    for kinds in results.kinds.values():
        assert sorted(k for keys in kinds.values() for k in keys) == sorted(results.by_key)
    assert results.kinds["azimuth"]["00 to 15°"] == [("test", "clip05"), ("test", "clip06")]  # -5° and +10°
    summary = results.summary()
    for kind, keys in results.kinds["room"].items():
        told = summary["by_kind"]["room"][kind]
        mean = np.mean([results.by_key[k]["ours"]["ild_error_db"] for k in keys])
        assert told["mean"]["ours"]["ild_error_db"] == pytest.approx(mean)
        assert told["less_mono"]["ours"]["ild_error_db"]["mean"] == pytest.approx(-2, abs=0.1)
        assert told["clips"] == len(keys)
    means = [told["mean"]["ours"]["ild_error_db"] for told in summary["by_kind"]["room"].values()]
    spread = summary["spread"]["room"]["ours"]["ild_error_db"]
    assert (spread["lowest"], spread["highest"]) == pytest.approx((min(means), max(means)))
    assert spread["deviation"] == pytest.approx(statistics.stdev(means))


def test_the_best_the_median_and_the_worst_are_by_level_error_of_ours(results):
    system, measure, chosen = picks(results)
    assert (system, measure) == ("ours", "ild_error_db")
    assert [(p.why, p.key[1]) for p in chosen] == [("best", "clip00"), ("median", "clip05"), ("worst", "clip11")]
    alone = Results(results.rows[:3], results.columns, text=TEXT)
    assert [p.why for p in picks(alone)[2]] == ["best"]


# ---- the file ----

RATE_HZ = 22_050


def listen(key):
    if key[1] == "clip05":
        raise InputError("the clip went away", why="so it did", fix="bring it back")
    wave_EN = 0.1 * numpy_stream(0, key[1]).standard_normal((2, RATE_HZ // 2)).astype(np.float32)
    return {"mono": 0.5 * wave_EN, "warp": 0.7 * wave_EN, "ours": 0.9 * wave_EN, "recorded": wave_EN}, RATE_HZ


class Tree(HTMLParser):
    """Elements with their attributes; fails where one is closed that is not open."""

    EMPTY = ("meta", "img", "input", "br", "link")

    def __init__(self, text: str):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str, **wanted) -> list[dict]:
        return [a for t, a in self.found if t == tag and all(a.get(k.strip("_")) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def text(results, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, results, {"test/x, ours": "cut <off>"}, listen=listen)
    assert path.stat().st_size < 5_000_000
    return path.read_text()


def test_the_report_needs_no_network_and_every_picture_has_words(text):
    tree = Tree(text)
    assert "://" not in text
    assert not tree.all("link")
    for tag, attributes in tree.found:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes.get(name, "")[:40])
    pictures = tree.all("img")
    assert len(pictures) == 4 + 2  # four plots, two players
    assert all(len(picture["alt"]) > 40 for picture in pictures)
    medians = re.search(r"Medians: (.*?)\.\"", text).group(1)
    assert "ours: ILD error (dB)" in medians
    assert "cut &lt;off&gt;" in text
    assert {"All measures, by system", "Differences from the mono copy"} <= set(
        re.findall(r"<caption>(.*?)</caption>", text)
    )


def test_the_report_plays_every_version_at_one_gain(text):
    tree = Tree(text)
    players = tree.all("div", class_="binaural-player")
    assert [player["aria-label"].split(":")[0] for player in players] == ["best", "worst"]
    assert "median: test/clip05" in text  # named, though it cannot be heard any more
    assert "the clip went away" in text
    sounds = tree.all("audio")
    assert [sound["aria-label"] for sound in sounds[:4]] == ["mono", "warp", "ours", "recorded (reference)"]
    waves = []
    for sound in sounds[:4]:
        wave_NE, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(sound["src"].split(",")[1])))
        assert rate_hz == RATE_HZ
        waves.append(wave_NE)
    reference = np.abs(waves[3]).max()
    assert reference == pytest.approx(10 ** (-1 / 20), abs=0.01)  # the loudest is 1 dB under full scale …
    for wave_NE, gain in zip(waves, (0.5, 0.7, 0.9, 1.0), strict=True):
        np.testing.assert_allclose(wave_NE, gain * waves[3], atol=1e-4)  # … and the others as far under it as they were


def test_a_report_of_nothing_says_why(tmp_path):
    nothing = Results([], (*TEXT, *MEASURES), {"fingerprint": "abc"}, text=TEXT)
    tree = Tree(page(nothing, {"a": "it is corrupt"}))
    assert "it is corrupt" in page(nothing, {"a": "it is corrupt"})
    assert not tree.all("img")
    Compared(nothing, {"a": "it is corrupt"}).save(tmp_path)
    assert (tmp_path / "measures.md").read_text() == "Nothing was measured.\n"
    assert json.loads((tmp_path / "summary.json").read_text())["clips"] == 0


def test_excerpts_are_the_loudest_stretch_and_fit():
    quiet_EN = 0.01 * numpy_stream(0, "quiet").standard_normal((2, 8 * RATE_HZ)).astype(np.float32)
    quiet_EN[:, 6 * RATE_HZ : 7 * RATE_HZ] *= 20
    cut = loudest(quiet_EN, 2 * RATE_HZ)
    assert cut.start <= 6 * RATE_HZ < 7 * RATE_HZ <= cut.stop
    versions = {"mono": quiet_EN[::-1], "recorded": quiet_EN}
    assert excerpt(versions, RATE_HZ, "five", 10e6).duration_s == pytest.approx(5)
    small = excerpt(versions, RATE_HZ, "less", 400_000)
    assert 0.5 <= small.duration_s < 5
    assert sum(len(source) for source in small.audio_sources.values()) <= 400_000
    assert excerpt(versions, RATE_HZ, "least", 1_000).duration_s == pytest.approx(0.5)
    short = {name: wave_EN[:, : RATE_HZ // 4] for name, wave_EN in versions.items()}
    assert excerpt(short, RATE_HZ, "short", 10e6).duration_s == pytest.approx(0.25, abs=1e-3)
