"""The whole way, at toy size: networks trained, a clip made, everything left that was promised, and a second run quick."""

import json

import pytest

from binaural_core import demo
from binaural_core.audio import read_audio
from binaural_core.errors import InputError
from binaural_core.notebooks import read_metrics


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("outputs") / "demo"
    return out, demo.run(demo.SMOKE.replace(out=str(out)))


def test_the_demo_leaves_what_it_promises(made):
    out, means = made
    ears = read_audio(out / "binaural.wav", channels=2)
    assert ears.sample_rate_hz == 22050
    assert ears.duration_s == pytest.approx(json.loads((out / "featured.json").read_text())["duration_s"], abs=0.01)
    film = read_audio(out / "binaural.mp4", channels=2)
    assert film.duration_s == pytest.approx(ears.duration_s, abs=0.1)
    for name in ("mono.wav", "reference.wav", "binaural_bigvgan.wav", "mels.png", "measures.md", "demo.ipynb"):
        assert (out / name).stat().st_size > 100, name
    assert set(means) == {"mono copy", "mono_phase", "bigvgan"}
    assert read_metrics(out / "demo.ipynb")["itd_error_us"] == pytest.approx(means["mono_phase"]["itd_error_us"])
    said = (out / "measures.md").read_text()
    assert "Mean over 3 test clips" in said
    assert "one source" in said


def test_a_second_run_uses_what_is_there(made, capsys):
    out, _ = made
    before = (out / "checkpoints" / "stage1" / "unet_best.pth").stat().st_mtime_ns
    demo.run(demo.SMOKE.replace(out=str(out), notebook=False))
    assert "Stage 1 was trained before" in capsys.readouterr().out
    assert (out / "checkpoints" / "stage1" / "unet_best.pth").stat().st_mtime_ns == before


def test_test_clips_are_of_the_test_split_and_the_featured_one_is_named():
    clips = [clip for clip, _ in demo.held_out_clips(demo.DemoConfig(test_scenes=(1, 1)))]
    assert len(clips) == 7
    assert all(clip.clip_id.startswith("test_") for clip in clips[5:])
    assert demo.pick(clips, clips[1].clip_id) is clips[1]
    with pytest.raises(InputError, match="there is no shipped test clip 'nobody'"):
        demo.pick(clips, "nobody")


def test_the_verdict_says_no_more_than_the_numbers():
    mono = {"ild_error_db": 3.0, "itd_error_us": 200.0}
    good = {"ild_error_db": 1.2, "itd_error_us": 20.0}
    bad = {"ild_error_db": 1.2, "itd_error_us": 400.0}
    said = demo.verdict({"mono copy": mono, "mono_phase": good, "bigvgan": bad}).splitlines()
    assert "0.40 x the mono copy's, time error 0.10 x (both are better)" in said[0]
    assert "time error 2.00 x (not better in both)" in said[1]


def test_the_readmes_table_is_the_measured_one(made, tmp_path):
    out, _ = made
    readme = tmp_path / "README.md"
    readme.write_text("above\n<!-- results:begin -->\nold\n<!-- results:end -->\nbelow\n")
    demo.write_readme(out.parent, readme)
    said = readme.read_text()
    assert (out / "measures.md").read_text().strip() in said
    assert "old" not in said
    assert said.startswith("above\n")
    assert said.endswith("\nbelow\n")
    with pytest.raises(InputError, match="holds no measured tables"):
        demo.write_readme(tmp_path / "nowhere", readme)
