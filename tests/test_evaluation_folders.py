"""Two folders: what belongs together, what is missing, extra, shorter or broken, and going on after a stop."""

import csv
import json
import os

import numpy as np
import pytest

from binaural_core import InputError, cli
from binaural_core.audio import read_audio, write_audio
from binaural_core.evaluation import Report, evaluate_audio, evaluate_mels, folders, journal
from binaural_core.evaluation.folders import listed
from binaural_core.metrics.summary import summarize
from binaural_core.seeds import numpy_stream

RATE_HZ = 22_050


def sound(name: str, seconds: float = 0.6) -> np.ndarray:
    return (0.1 * numpy_stream(0, name).standard_normal((2, round(seconds * RATE_HZ)))).astype(np.float32)


def put(folder, name: str, wave_CN: np.ndarray) -> None:
    write_audio(folder / name, wave_CN, RATE_HZ)


@pytest.fixture
def two(tmp_path):
    """a and deep/b match, c is missing, d is extra, e is shorter, f is corrupt."""
    pred, true = tmp_path / "pred", tmp_path / "true"
    for name in ("a", "deep/b", "c", "e", "f"):
        put(true, f"{name}.wav", sound(name))
    put(pred, "a.flac", sound("a") * 0.5)
    put(pred, "other/b.wav", sound("b else"))
    put(pred, "d.wav", sound("d"))
    put(pred, "e.wav", sound("e")[:, : round(0.4 * RATE_HZ)])
    (pred / "f.wav").write_bytes(b"RIFF this is no sound")
    return pred, true


def test_what_is_missing_extra_shorter_or_corrupt_is_named_and_the_others_are_measured(two):
    pred, true = two
    found = evaluate_audio(pred, true)
    assert set(found.rows) == {"a", "deep/b"}
    assert (found.only_reference, found.only_predicted) == (["c"], ["d"])
    assert set(found.broken) == {"e", "f"}
    assert "0.400 s" in found.broken["e"]
    assert "0.600 s" in found.broken["e"]
    assert "f.wav" in found.broken["f"]
    assert not found.complete
    waves = [read_audio(path).wave_CN for path in (pred / "other" / "b.wav", true / "deep" / "b.wav")]
    assert found.rows["deep/b"] == summarize(*waves, RATE_HZ)
    assert found.mean["ild_error_db"] == pytest.approx(np.mean([r["ild_error_db"] for r in found.rows.values()]))


def test_the_command_writes_its_report_and_says_2(two, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["evaluate", "audio", "--pred_dir", str(two[0]), "--gt_dir", str(two[1]), "--out", str(out)]
    assert cli.main(command) == 2
    said = capsys.readouterr()
    for sentence in ("without a reference: d", "without a prediction: c", "not measured: e: ", "not measured: f: "):
        assert sentence in said.err
    assert "ILD error" in said.out
    summary = json.loads((out / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (summary["files"], summary["only_reference"]) == (2, ["c"])
    assert set(summary["broken"]) == {"e", "f"}
    assert "f.wav" in (out / "report.html").read_text()
    rows = list(csv.DictReader((out / "measures.csv").open()))
    assert [(row["clip"], row["system"]) for row in rows] == [
        (name, system) for name in ("a", "deep/b") for system in ("prediction", "mono")
    ]
    for name in ("c", "d", "e", "f"):
        for folder in two:
            for path in folder.rglob(f"{name}.wav"):
                path.unlink()
    assert cli.main(command[:-2]) == 0


def test_only_when_told_a_shorter_prediction_is_measured_over_what_both_have(two):
    found = evaluate_audio(*two, common=True)
    assert found.rows["e"]["stft_distance"] == 0  # the part that is there is right
    row = next(row for row in found.results.rows if row["clip"] == "e")
    assert (row["duration_s"], row["reference_s"]) == pytest.approx((0.4, 0.6), abs=1e-4)


def test_a_hop_more_or_less_is_no_mistake(tmp_path):
    put(tmp_path / "true", "a.wav", sound("a"))
    put(tmp_path / "pred", "a.wav", sound("a")[:, :-256])
    assert evaluate_audio(tmp_path / "pred", tmp_path / "true").complete
    put(tmp_path / "pred", "a.wav", sound("a")[:, :-257])
    assert not evaluate_audio(tmp_path / "pred", tmp_path / "true").complete


def test_a_missing_prediction_alone_is_incomplete_and_an_extra_one_is_not(tmp_path):
    pair = three(tmp_path)
    put(pair[0], "extra.wav", sound("extra"))
    assert evaluate_audio(*pair).complete
    (pair[0] / "b.wav").unlink()
    assert not evaluate_audio(*pair).complete


def test_files_of_single_ears_are_one_recording(tmp_path):
    wave_EN = sound("a")
    put(tmp_path / "true", "a.wav", wave_EN)
    put(tmp_path / "true", "b.wav", sound("b"))
    put(tmp_path / "true", "turn_left.wav", sound("turn"))
    put(tmp_path / "pred", "a_left.wav", wave_EN[:1])
    put(tmp_path / "pred", "a_right.wav", wave_EN[1:])
    put(tmp_path / "pred", "left/val/b_left.flac", sound("b")[:1])
    put(tmp_path / "pred", "right/val/b_right.flac", sound("b")[1:])
    put(tmp_path / "pred", "turn_left.wav", sound("turn"))
    found = evaluate_audio(tmp_path / "pred", tmp_path / "true")
    assert found.complete
    assert set(found.rows) == {"a", "b", "turn_left"}
    assert all(row["wave_l2"] == 0 for row in found.rows.values())


def test_where_nothing_can_be_read_the_report_is_written_all_the_same(tmp_path, capsys):
    put(tmp_path / "true", "a.wav", sound("a"))
    put(tmp_path / "pred", "a.wav", sound("a")[:1])
    command = ["evaluate", "audio", "--pred_dir", str(tmp_path / "pred"), "--gt_dir", str(tmp_path / "true")]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "not measured: a: " in capsys.readouterr().err
    assert "a.wav" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["files"] == 0


def test_a_name_that_two_files_have_is_not_guessed(tmp_path):
    put(tmp_path / "true", "a.wav", sound("a"))
    put(tmp_path / "true", "x/b.wav", sound("b"))
    put(tmp_path / "true", "y/b.wav", sound("b"))
    put(tmp_path / "pred", "a.wav", sound("a"))
    put(tmp_path / "pred", "a.flac", sound("a"))
    put(tmp_path / "pred", "b.wav", sound("b"))
    found = evaluate_audio(tmp_path / "pred", tmp_path / "true")
    assert found.rows == {}
    assert "more than one prediction" in found.broken["a"]
    assert found.only_reference == ["x/b", "y/b"]  # b fits both, so neither


def test_two_stereo_files_named_as_ears_are_not_averaged_into_one(tmp_path):
    for side in ("left", "right"):
        put(tmp_path / "true", f"turn_{side}.wav", sound(side))
        put(tmp_path / "pred", f"turn_{side}.wav", sound(side))
    found = evaluate_audio(tmp_path / "pred", tmp_path / "true")
    assert found.rows == {}
    assert "turn_left.wav has 2 channels" in found.broken["turn"]
    assert "rename both files" in found.broken["turn"]


def test_an_ear_that_is_there_twice_is_not_guessed(tmp_path):
    put(tmp_path / "true", "a.wav", sound("a"))
    for name in ("a_left.wav", "a_left.flac", "a_right.wav"):
        put(tmp_path / "pred", name, sound("a")[:1])
    found = evaluate_audio(tmp_path / "pred", tmp_path / "true")
    assert found.rows == {}
    assert all(name in found.broken["a"] for name in ("a_left.wav", "a_left.flac", "a_right.wav"))


def test_links_to_nowhere_are_named_and_folders_named_like_sounds_are_none(tmp_path):
    pred, true = three(tmp_path)
    for name in "ab":
        (pred / f"{name}.wav").unlink()
    (pred / "a.wav").symlink_to("nowhere.wav")
    (pred / "b.wav").mkdir()
    found = evaluate_audio(pred, true, out=tmp_path / "out")
    assert set(found.rows) == {"c"}
    assert "is not there" in found.broken["a"]
    assert found.only_reference == ["b"]


def test_names_are_the_same_however_their_accents_are_composed(tmp_path):
    put(tmp_path / "true", "caf\u00e9.wav", sound("a"))
    put(tmp_path / "pred", "cafe\u0301.wav", sound("a"))
    found = evaluate_audio(tmp_path / "pred", tmp_path / "true")
    assert (set(found.rows), found.complete) == ({"caf\u00e9"}, True)


def test_names_that_are_no_text_are_written_all_the_same(tmp_path):
    pred, true = three(tmp_path)
    for folder in (pred, true):
        (folder / "a.wav").rename(os.fsdecode(bytes(folder) + b"/a\xff.wav"))
    command = ["evaluate", "audio", "--pred_dir", str(pred), "--gt_dir", str(true), "--out", str(tmp_path / "out")]
    assert cli.main(command) in (0, 2)  # whether such a file can be opened is the system's business
    broken = json.loads((tmp_path / "out" / "summary.json").read_text())["broken"]
    measured = {row["clip"] for row in csv.DictReader((tmp_path / "out" / "measures.csv").open())}
    assert measured | set(broken) == {"a\\xff", "b", "c"}
    assert (tmp_path / "out" / "report.html").is_file()


def test_missing_and_extra_files_stand_in_everything_that_is_written(two, tmp_path):
    out, (pred, true) = tmp_path / "out", two
    cli.main(["evaluate", "audio", "--pred_dir", str(pred), "--gt_dir", str(true), "--out", str(out)])
    page, tables = (out / "report.html").read_text(), (out / "measures.md").read_text()
    assert "<h2>References without a prediction: 1</h2><p><code>c</code></p>" in page
    assert "<h2>Predictions without a reference: 1</h2><p><code>d</code></p>" in page
    assert "1 references without a prediction: c" in tables
    assert "not measured: e: the prediction lasts 0.400 s" in tables


def test_many_broken_files_fit_one_screen(tmp_path):
    broken = {f"clip{number}": "it is cut off" for number in range(25)}
    lines = listed(Report({}, [], [], broken))
    assert len(lines) == 11
    assert lines[-1] == "not measured: 15 more; summary.json (--out) names them all"
    assert len(listed(Report({}, [], [], dict(list(broken.items())[:10])))) == 10


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path, monkeypatch):
    pair, calls = three(tmp_path), counted(monkeypatch)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"nothing can be written to .*file\. File exists"):
        evaluate_audio(*pair, out=tmp_path / "file")
    assert calls == []


def test_a_disk_that_is_full_is_not_a_broken_file(tmp_path, monkeypatch):
    def full(file, line):
        raise OSError(28, "No space left on device")

    pair = three(tmp_path)
    monkeypatch.setattr(journal.os, "write", full)
    with pytest.raises(InputError, match=r"nothing can be written to .*out\. No space left"):
        evaluate_audio(*pair, out=tmp_path / "out")


def test_a_rate_without_cues_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="sample_rate_hz is 0"):
        evaluate_audio(*three(tmp_path), sample_rate_hz=0)


class Stopped(Exception):
    pass


def counted(monkeypatch) -> list:
    calls = []

    def summarized(prediction_EN, *arguments, **settings):
        calls.append(prediction_EN)
        return summarize(prediction_EN, *arguments, **settings)

    monkeypatch.setattr(folders, "summarize", summarized)
    return calls


def three(tmp_path):
    for name in "abc":
        put(tmp_path / "true", f"{name}.wav", sound(name))
        put(tmp_path / "pred", f"{name}.wav", sound(name) * 0.5)
    return tmp_path / "pred", tmp_path / "true"


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    pair, out, calls = three(tmp_path), tmp_path / "out", counted(monkeypatch)

    def stop(done, total):
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate_audio(*pair, out=out, on_file=stop)
    assert len(calls) == 2
    with open(out / "measures.csv", "ab") as table:
        table.write("é".encode()[:1])  # the row that was being written when the power went, in the middle of a letter
    found = evaluate_audio(*pair, out=out)
    assert len(calls) == 3
    assert found.rows == evaluate_audio(*pair).rows
    calls.clear()
    assert evaluate_audio(*pair, out=out).rows == found.rows
    assert calls == []


def test_a_row_with_a_spoiled_number_is_measured_again(tmp_path, monkeypatch):
    pair, out = three(tmp_path), tmp_path / "out"
    found = evaluate_audio(*pair, out=out)
    table = out / "measures.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:2], lines[2].rpartition(",")[0] + ",1.2x", *lines[3:], ""]))
    calls = counted(monkeypatch)
    assert evaluate_audio(*pair, out=out).rows == found.rows
    assert len(calls) == 1


def test_a_file_that_has_changed_is_measured_again(tmp_path, monkeypatch):
    pair, out = three(tmp_path), tmp_path / "out"
    evaluate_audio(*pair, out=out)
    calls = counted(monkeypatch)
    put(pair[0], "b.wav", sound("b"))
    found = evaluate_audio(*pair, out=out)
    assert len(calls) == 1
    assert found.rows["b"]["wave_l2"] == 0


def test_rows_of_other_settings_are_not_mixed(tmp_path):
    pair, out = three(tmp_path), tmp_path / "out"
    evaluate_audio(*pair, out=out)
    with pytest.raises(InputError, match=r"other settings \(common\).*common was false, is true"):
        evaluate_audio(*pair, out=out, common=True)


def test_folders_without_a_common_name_are_refused(tmp_path):
    put(tmp_path / "true", "a.wav", sound("a"))
    put(tmp_path / "pred", "b.wav", sound("b"))
    with pytest.raises(InputError, match="1 and 1 recordings were found, and none share a name"):
        evaluate_audio(tmp_path / "pred", tmp_path / "true")
    with pytest.raises(InputError, match="is not there"):
        evaluate_audio(tmp_path / "nowhere", tmp_path / "true")


def test_mel_folders_are_gone_on_with_too(tmp_path):
    for room, shift in (("pred", 0.5), ("true", 0.0)):
        for name in ("left/a_left", "right/a_right"):
            (tmp_path / room / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / room / f"{name}.npy", np.full((80, 10), shift, np.float32))
    np.save(tmp_path / "true" / "b.npy", np.zeros((80, 10), np.float32))
    (tmp_path / "pred" / "b.npy").write_bytes(b"")
    found = evaluate_mels(tmp_path / "pred", tmp_path / "true", out=tmp_path / "out")
    assert set(found.broken) == {"b"}
    assert [row["mel_rmse"] for row in found.rows.values()] == [0.5, 0.5]
    assert evaluate_mels(tmp_path / "pred", tmp_path / "true", out=tmp_path / "out").rows == found.rows


def test_mel_files_that_are_none_are_named_and_the_others_go_on(tmp_path):
    generator = numpy_stream(0, "mels")
    mel_MF = generator.standard_normal((80, 10)).astype(np.float32)
    pred, true = tmp_path / "pred", tmp_path / "true"
    pred.mkdir()
    true.mkdir()
    for name in ("good", "nan", "both", "text", "cut", "npz", "huge", "short", "names"):
        np.save(true / f"{name}.npy", mel_MF)
        np.save(pred / f"{name}.npy", mel_MF)
    np.save(pred / "nan.npy", np.where(mel_MF > 0, np.nan, mel_MF))
    np.save(pred / "both.npy", np.stack([mel_MF, mel_MF]))
    (pred / "text.npy").write_text("a page about errors")
    (pred / "cut.npy").write_bytes((true / "cut.npy").read_bytes()[:500])
    with (pred / "npz.npy").open("wb") as file:
        np.savez(file, mel=mel_MF)
    whole = (true / "huge.npy").read_bytes()
    (pred / "huge.npy").write_bytes(whole.replace(b"(80, 10), }" + b" " * 18, b"(8000000000000, 1000000), }  "))
    np.save(pred / "short.npy", mel_MF[:, :9])
    np.save(pred / "names.npy", np.array([["a", "b"]]))
    found = evaluate_mels(pred, true)
    assert found.rows == {"good": {"mel_rmse": 0, "mel_l1": 0, "mel_l2": 0}}
    for name in ("nan", "both", "text", "cut", "npz", "huge", "names"):
        assert f"{name}.npy" in found.broken[name]
        assert "To fix: " in found.broken[name]
    assert "float32 of shape (2, 80, 10)" in found.broken["both"]
    assert "several arrays" in found.broken["npz"]
    assert "NaN" in found.broken["nan"]
    assert "(1, 80, 9)" in found.broken["short"]
