"""Systems side by side: rows, both protocols, going on after a stop, many processes; the warp; which clips."""

import csv
import json
import shutil
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from binaural_core import InputError, cli
from binaural_core.audio import MelConfig, log_mel
from binaural_core.audio.interaural import ild_db, itd_us, spherical_head_itd_s
from binaural_core.baseline import Baseline
from binaural_core.data.catalog import DatasetConfig
from binaural_core.data.config import DataConfig
from binaural_core.data.rendered import RenderedClip
from binaural_core.evaluation.bands import ild_error_by_band_db, named_bands
from binaural_core.evaluation.clips import ClipsConfig, Facts, Listed, facts, listed
from binaural_core.evaluation.comparing import SystemsConfig, evaluate_systems, run
from binaural_core.evaluation.systems import Blindfold, Reference25D, Truth, mono_copy, wanted
from binaural_core.evaluation.warp import Warp, sphere_level, warped
from binaural_core.evaluation.windows import in_windows, window_starts
from binaural_core.metrics import env_distance, ild_error_db, stft_distance
from binaural_core.metrics.summary import summarize
from binaural_core.models.mono2binaural import Mono2Binaural, Mono2BinauralConfig
from binaural_core.scene.head import Head
from binaural_core.scene.plan import Keyframe, Scene, Source
from binaural_core.scene.view import View
from binaural_core.seeds import first_weights, numpy_stream
from binaural_core.training.distributed import launch


@dataclass(frozen=True)
class Toy:
    """A clip of noise, whose pictures hold the time in their first pixel (in hundredths) and one known object."""

    clip_id: str
    duration_s: float = 0.8
    azimuth_deg: float = 40.0
    broken: bool = False

    def sound(self, start_s, duration_s, sample_rate_hz):
        if self.broken:
            raise InputError(f"{self.clip_id} is cut off", why="so it is", fix="replace it")
        whole_EN = 0.1 * numpy_stream(0, self.clip_id).standard_normal((2, round(self.duration_s * sample_rate_hz)))
        first = round(start_s * sample_rate_hz)
        ears_EN = whole_EN[:, first : first + round(duration_s * sample_rate_hz)].astype(np.float32)
        return ears_EN.mean(axis=0), ears_EN

    def look(self, times_s):
        box, place = np.float32([[0.4, 0.4, 0.6, 0.6]]), np.float32([[self.azimuth_deg, 0.0, 1.5]])
        pixels = [np.full((9, 16, 3), round(100 * t), np.uint8) for t in times_s]
        return [View(p, box, place, np.ones(1, np.float32), ("thing",), True) for p in pixels]


def clips(*names: str, **changes) -> list[Listed]:
    return [Listed("test", Toy(name, **changes), Facts(cluster=name, sources=1.0)) for name in names]


def scaled(gain: float):
    return lambda mono_N, sample_rate_hz, clip: np.stack([mono_N, gain * mono_N])


def test_every_system_has_a_row_for_every_clip_with_the_measures_of_the_package():
    found = evaluate_systems({"mono": mono_copy, "half": scaled(0.5)}, clips("a", "b"))
    assert [(r["clip"], r["system"]) for r in found.results.rows] == [
        (c, s) for c in ("a", "b") for s in ("mono", "half")
    ]
    mono_N, true_EN = Toy("b").sound(0, 0.8, 22_050)
    measures = summarize(np.stack([mono_N, 0.5 * mono_N]), true_EN, 22_050)
    row = found.results.rows[-1]
    assert {name: row[name] for name in measures} == measures
    assert (row["split"], row["sources"], row["duration_s"]) == ("test", 1.0, 0.8)


def test_what_fails_is_named_and_the_others_go_on():
    def fails(mono_N, sample_rate_hz, clip):
        if clip.clip_id == "b":
            raise InputError("no picture", why="none is there", fix="add one")
        return np.stack([mono_N, mono_N])

    cut = evaluate_systems({"short": lambda m, rate_hz, clip: np.zeros((2, 10), np.float32)}, clips("a"))
    assert "a system made (2, 10) of 17640 samples" in cut.broken["test/a, short"]
    found = evaluate_systems({"mono": mono_copy, "odd": fails}, [*clips("a", "b"), *clips("c", broken=True)])
    assert set(found.broken) == {"test/b, odd", "test/c, mono", "test/c, odd"}
    assert len(found.results.rows) == 3
    assert not found.complete
    assert "Not all systems have all clips: mono 2, odd 1" in found.results.markdown()


def said(found) -> list[list[tuple[str, str]]]:
    """The rows as text, NaN like any other."""
    return [sorted((name, repr(value)) for name, value in row.items()) for row in found.results.rows]


def alike(found, other) -> None:
    """Both have the same rows, numbers to within rounding."""
    for row, same in zip(found.results.rows, other.results.rows, strict=True):
        assert row.keys() == same.keys()
        for name, value in row.items():
            if isinstance(value, float):
                assert value == pytest.approx(same[name], rel=1e-3, abs=1e-4, nan_ok=True), name
            else:
                assert value == same[name], name


class Killed(Exception):
    pass


def test_a_stopped_run_measures_nothing_twice(tmp_path):
    made = []

    def system(mono_N, sample_rate_hz, clip):
        made.append(clip.clip_id)
        return np.stack([mono_N, 0.7 * mono_N])

    def stop(done, total, clip):
        if done == 2:
            raise Killed

    systems, some = {"mono": mono_copy, "mine": system}, clips("a", "b", "c")
    with pytest.raises(Killed):
        evaluate_systems(systems, some, out=tmp_path, on_clip=stop)
    table = tmp_path / "measures.csv"
    table.write_text(table.read_text()[:-9])  # b's last row was being written
    seen = []
    found = evaluate_systems(systems, some, out=tmp_path, on_clip=lambda done, total, clip: seen.append((done, total)))
    assert made == ["a", "b", "b", "c"]
    assert seen == [(2, 3), (3, 3)]
    whole = evaluate_systems(systems, some)
    assert said(found) == said(whole)
    assert [list(row.values())[:3] for row in csv.DictReader(table.open())] == [
        [c, s, "test"] for c in "abc" for s in systems
    ]
    with pytest.raises(InputError, match=r"other settings \(protocol\)"):
        evaluate_systems(systems, some, protocol="windows", out=tmp_path)


SMALL = DatasetConfig(
    scenes={"train": 1, "val": 1, "test": 3}, rendered={"scene": {"duration_s": 1.0}, "width_px": 64, "height_px": 36}
)


def test_two_processes_leave_the_same_table(tmp_path):
    config = SystemsConfig(clips=ClipsConfig(dataset=SMALL), systems=("mono", "warp"), out=str(tmp_path / "two"))
    two = launch(run, config, processes=2)
    one = run(config.replace(out=str(tmp_path / "one")))
    alike(two, one)  # not to the last digit: processes have threads of different number
    tables = [list(csv.DictReader((tmp_path / name / "measures.csv").open())) for name in ("one", "two")]
    keys = [[(row["clip"], row["system"]) for row in table] for table in tables]
    assert keys[0] == keys[1]
    assert len(keys[0]) == len(set(keys[0])) == 3 * 2
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["processes"] == 2
    assert said(run(config)) == said(two)  # one process goes on where two were: nothing is left to do


def test_the_command_measures_scenes_and_writes_everything(tmp_path, capsys):
    out = tmp_path / "out"
    command = [
        "evaluate",
        "systems",
        "--few",
        "1",
        "--systems",
        "mono,warp",
        "--protocol",
        "windows",
        "--out",
        str(out),
    ]
    small = ["--set", "rendered.scene.duration_s=0.8", "rendered.width_px=64", "rendered.height_px=36"]
    assert cli.main([*command, *small]) == 0
    assert "ENV distance, at own peak" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "measures.csv",
        "measures.md",
        "run.json",
        "summary.json",
        "report.html",
    }
    assert cli.main([*command, *small, "--subset", "one_sauce"]) == 2
    assert "one_sauce is not known" in capsys.readouterr().err


# ---- the windows of 2.5D Visual Sound ----


def test_windows_begin_every_hop_and_one_ends_with_the_sound():
    assert window_starts(160_000, 10_080, 800) == [*range(0, 149_920, 800), 149_920]
    assert window_starts(10_080, 10_080, 800) == [0]
    assert window_starts(5_000, 10_080, 800) == [0]


def test_windowed_systems_hear_one_level_and_see_the_picture_in_the_middle():
    heard, shown = [], []

    def system(mono_N, sample_rate_hz, clip):
        heard.append(mono_N)
        shown.append(clip.look([0.0])[0].image_HW3[0, 0, 0])
        return np.stack([mono_N, 0.5 * mono_N])

    toy = Toy("a", 1.0)
    mono_N, _ = toy.sound(0, 1.0, 16_000)
    wave_EN = in_windows(system, mono_N, 16_000, toy)
    np.testing.assert_allclose(wave_EN, np.stack([mono_N, 0.5 * mono_N]), atol=1e-6)
    assert {len(part_N) for part_N in heard} == {10_080}
    assert np.sqrt([np.mean(part_N**2) for part_N in heard]) == pytest.approx(0.1, abs=1e-4)
    starts_s = np.array(window_starts(16_000, 10_080, 800)) / 16_000
    assert shown == [round(100 * (start_s + 0.315)) for start_s in starts_s]


def test_a_sample_is_the_plain_mean_of_the_windows_over_it():
    counter = []

    def system(mono_N, sample_rate_hz, clip):
        counter.append(1.0)
        level = len(counter) * np.sqrt(np.mean(mono_N**2)) / 0.1  # the number of the window, at the window's level
        return np.full((2, len(mono_N)), level)

    mono_N = np.full(10_080 + 1_200, 0.1, np.float32)  # windows at 0, 800 and 1,200
    wave_EN = in_windows(system, mono_N, 16_000, Toy("a"))
    assert wave_EN[0, [0, 799, 800, 1_199, 1_200, 10_079, 10_080, 10_880, 11_279]] == pytest.approx(
        [1, 1, 1.5, 1.5, 2, 2, 2.5, 3, 3]
    )


def test_the_baselines_own_windows_are_those_of_the_protocol():
    model = Mono2BinauralConfig(width=4, encoder="small", encoder_width=4, picture_px=(64, 32), sight="frame")
    with first_weights(0):
        net = Mono2Binaural(model)
    torch.nn.init.normal_(net.unet.out.weight, 0, 0.5, generator=torch.Generator().manual_seed(0))
    data = DataConfig(
        window_frames=63, frames_per_window=1, crop_px=32, crop_width_px=64, objects=1, whole_frame="always"
    )
    baseline, toy = Baseline(net, data), Toy("a", 0.9)
    mono_N, _ = toy.sound(0, 0.9, 16_000)
    by_itself = Reference25D(baseline)(mono_N, 16_000, toy)
    joined = in_windows(Reference25D(baseline), mono_N, 16_000, toy)
    assert np.abs(by_itself[0] - by_itself[1]).max() > 1e-3
    np.testing.assert_allclose(joined, by_itself, atol=1e-5)


def test_distances_are_of_whole_recordings_as_they_are_and_at_own_peaks():
    class Windowed:
        windowed = True

        def __call__(self, mono_N, sample_rate_hz, clip):
            assert (sample_rate_hz, len(mono_N)) == (16_000, 10_080)
            return np.stack([0.5 * mono_N, 0.25 * mono_N])

    found = evaluate_systems({"mine": Windowed()}, clips("a"), protocol="windows")
    mono_N, true_EN = Toy("a").sound(0, 0.8, 16_000)
    made_EN = np.stack([0.5 * mono_N, 0.25 * mono_N])
    row = found.results.rows[0]
    for name, measure in (("stft_distance", stft_distance), ("env_distance", env_distance)):
        assert row[name] == pytest.approx(measure(made_EN, true_EN, 16_000), rel=1e-4)
        at_peak = measure(made_EN, true_EN, 16_000, normalized=True)
        assert row[f"{name}_normalized"] == pytest.approx(at_peak, rel=1e-4)
        assert abs(at_peak / row[name] - 1) > 0.1


# ---- the warp ----


def test_the_warp_gives_the_time_and_level_of_a_sphere():
    mono_N = 0.1 * numpy_stream(0, "mono").standard_normal(22_050).astype(np.float32)
    for azimuth_deg in (60.0, -60.0):
        wave_EN = Warp()(mono_N, 22_050, Toy("a", 1.0, azimuth_deg))
        assert itd_us(wave_EN, 22_050) == pytest.approx(1e6 * spherical_head_itd_s(azimuth_deg), abs=8)
        assert np.sign(ild_db(wave_EN, 22_050)) == np.sign(azimuth_deg)
    mirrored_EN = Warp()(mono_N, 22_050, Toy("a", 1.0, 60.0))[::-1]
    np.testing.assert_allclose(wave_EN, mirrored_EN, atol=1e-6)
    ahead_EN = Warp()(mono_N, 22_050, Toy("a", 1.0, 0.0))
    np.testing.assert_allclose(ahead_EN, np.stack([mono_N, mono_N]), atol=1e-5)


def test_a_moving_source_is_followed():
    mono_N = 0.1 * numpy_stream(0, "mono").standard_normal(2 * 22_050).astype(np.float32)
    positions_LO3 = np.zeros((20, 1, 3))
    positions_LO3[:10, 0, 0], positions_LO3[10:, 0, 0] = 60, -60
    wave_EN = warped(mono_N, 22_050, positions_LO3, np.zeros((20, 1), bool))
    for half, sign in ((slice(0, 20_000), 1), (slice(24_100, 44_100), -1)):
        assert sign * ild_db(wave_EN[:, half], 22_050) > 3
        assert sign * itd_us(wave_EN[:, half], 22_050) > 300


def test_where_nothing_is_known_the_warp_is_the_mono_copy():
    class Blind(Toy):
        def look(self, times_s):
            return [View(np.zeros((9, 16, 3), np.uint8)) for _ in times_s]

    mono_N, _ = Toy("a").sound(0, 0.8, 22_050)
    np.testing.assert_array_equal(Warp()(mono_N, 22_050, Blind("a")), np.stack([mono_N, mono_N]))
    nothing = warped(mono_N, 22_050, np.full((4, 2, 3), np.nan), np.ones((4, 2), bool))
    np.testing.assert_allclose(nothing, np.stack([mono_N, mono_N]), atol=1e-5)


def test_the_spheres_levels_are_like_a_measured_heads():
    head, n_fft = Head.kemar(), 1024
    level_EK = sphere_level(np.sin(np.radians(60.0)), head.sample_rate_hz, n_fft)
    assert np.exp(2 * level_EK).mean(axis=0) == pytest.approx(1)  # the mean energy of the ears is the mono's
    true_EK = np.abs(np.fft.rfft(head.filters(60.0), n_fft))
    hz_K = np.fft.rfftfreq(n_fft, 1 / head.sample_rate_hz)
    for low_hz, high_hz, known_db in ((200, 500, 0.8), (500, 1000, 3.2), (1000, 2000, 6.8), (2000, 4000, 10.8)):
        band = (hz_K >= low_hz) & (hz_K < high_hz)
        sphere_db = (level_EK[0] - level_EK[1])[band].mean() * 20 / np.log(10)
        head_db = 20 * np.log10(true_EK[0] / true_EK[1])[band].mean()
        assert sphere_db == pytest.approx(known_db, abs=0.05)
        assert 0 < head_db - sphere_db < 6  # a head with ears and shoulders shadows more


# ---- names, clips, bands ----


def test_systems_are_named_on_the_command_line():
    found = wanted(["mono", "ours:bigvgan=a/one", "ours:bigvgan=a/two", "ours::pixels", "mono2binaural=b"])
    assert [one.name for one in found] == [
        "mono",
        "ours:bigvgan (one)",
        "ours:bigvgan (two)",
        "ours::pixels",
        "mono2binaural",
    ]
    assert (found[1].mode, found[1].folder, found[3].mode, found[3].shown) == ("bigvgan", "a/one", None, "pixels")
    for entry, why in (
        ("theirs", "is not known"),
        ("warp:fast", "Only ours and truth have a mode"),
        ("truth:bigvgan:pixels", "Only ours and truth have a mode"),
        ("copy@mono", "known by its name mono"),
        ("mono@warp", "choose another label"),
        ("ours:bigvgan:all", "after it ours has one of none, positions"),
        ("mono2binaural", "has no folder"),
    ):
        with pytest.raises(InputError, match=why):
            wanted([entry])
    with pytest.raises(InputError, match="mono more than once"):
        wanted(["mono", "mono"])


def test_a_recording_that_cannot_be_read_stops_nothing(tmp_path, capsys):
    from binaural_core.places import data_samples

    shutil.copytree(data_samples() / "fair_play", tmp_path / "FairPlay")
    names = [one.clip.clip_id for one in listed(fair_play(tmp_path / "FairPlay"))]
    torn = tmp_path / "FairPlay" / "binaural_audios" / f"{names[0]}.wav"
    torn.write_bytes(torn.read_bytes()[:30])
    root = ["--dataset", "fairplay", "--data_root", str(tmp_path / "FairPlay"), "--out", str(tmp_path / "out")]
    assert cli.main(["evaluate", "systems", "--systems", "mono", "--protocol", "windows", *root]) == 2
    said = capsys.readouterr()
    assert f"not measured: test/{names[0]}, mono: " in said.err
    assert f"{torn.name} cannot be read as sound" in said.err
    with open(tmp_path / "out" / "measures.csv", newline="") as file:
        assert [row["clip"] for row in csv.DictReader(file)] == names[1:]


def fair_play(root) -> ClipsConfig:
    return ClipsConfig(dataset=DatasetConfig(kind="fairplay", root=str(root)))


def test_systems_may_have_labels_and_a_vocoder_from_elsewhere(tmp_path):
    (tmp_path / "a+b").mkdir()
    (tmp_path / "g_best").write_bytes(b"weights")
    found = wanted(
        [
            f"large@ours:bigvgan={tmp_path}/a+b+{tmp_path}/g_best",
            f"small@ours={tmp_path}/a+b",
            f"truth:bigvgan=+{tmp_path}/g_best",
        ]
    )
    assert [one.name for one in found] == ["large", "small", "truth:bigvgan"]
    assert (found[0].folder, found[0].generator) == (f"{tmp_path}/a+b", f"{tmp_path}/g_best")
    assert (found[1].folder, found[1].generator) == (f"{tmp_path}/a+b", None)
    assert (found[2].kind, found[2].folder, found[2].generator) == ("truth", None, f"{tmp_path}/g_best")
    before = found[0].files()["generator"]
    (tmp_path / "g_best").write_bytes(b"other weights")
    assert found[0].files()["generator"] != before


def test_true_mels_lie_under_the_mono_at_any_rate_with_the_places_that_are_seen():
    clip, mel, told = Toy("turn", duration_s=0.7), MelConfig(), []

    def vocoder(mel_EMF, mono_N, seen):
        told.append((mel_EMF, mono_N, seen))
        return torch.stack([mono_N, -mono_N])

    data = DataConfig(objects=2, whole_frame="never")
    parts = {"mel": mel, "data": data, "locate": None, "device": "cpu", "vocoders": {"any": vocoder}}
    truth = Truth(SimpleNamespace(**parts), "any")
    _, true_EN = clip.sound(0.0, clip.duration_s, mel.sample_rate_hz)
    for rate_hz in (mel.sample_rate_hz, 16_000):
        time_N = np.arange(round(clip.duration_s * rate_hz)) / rate_hz
        mono_N = (np.sin(2 * np.pi * 300 * time_N) * np.sin(np.pi * time_N / clip.duration_s) ** 2).astype(np.float32)
        wave_EN = truth(mono_N, rate_hz, clip)
        np.testing.assert_allclose(wave_EN, np.stack([mono_N, -mono_N]), atol=2e-3)
        mel_EMF, heard_N, seen = told[-1]
        frames = -(-true_EN.shape[1] // mel.hop_samples)
        assert mel_EMF.shape[2] * mel.hop_samples == len(heard_N) == frames * mel.hop_samples
        padded_EN = np.pad(true_EN, ((0, 0), (0, len(heard_N) - true_EN.shape[1])))
        torch.testing.assert_close(mel_EMF, log_mel(torch.from_numpy(padded_EN), mel))
        assert seen.positions_LO3[~seen.mask_LO][:, 0] == pytest.approx(clip.azimuth_deg, abs=1e-3)


def test_a_blindfold_hides_pixels_alone():
    from binaural_core.data.eyes import clip_eyes

    eyes = clip_eyes(Toy("a"), DataConfig(crop_px=4))
    open_sight, blind_sight = (e.sight([0.2, 0.4]) for e in (eyes, Blindfold(eyes)))
    assert open_sight.crops_LOCHW.any()
    assert not blind_sight.crops_LOCHW.any()
    np.testing.assert_array_equal(blind_sight.positions_LO3, open_sight.positions_LO3)


def test_clips_tell_what_is_known_of_them(tmp_path):
    several = ClipsConfig(dataset=SMALL.replace(scenes={"test": 12}))
    every = listed(several)
    for one in every:
        scene = one.clip.scene
        assert one.facts.sources == len(scene.sources)
        assert one.facts.room == ("open" if scene.room is None else "room")
        assert one.facts.cluster in {source.sound.split("/")[-1].split(".")[0] for source in scene.sources}
        if len(scene.sources) == 1 and not scene.sources[0].moves:
            assert one.facts.azimuth_deg == pytest.approx(scene.positions([0.0])[0, 0, 0], abs=1e-3)
            assert one.facts.motion == "still"
    single = listed(several.replace(subset="one_source,open"))
    assert {one.clip.clip_id for one in single} == {
        one.clip.clip_id for one in every if one.facts.sources == 1 and one.facts.room == "open"
    }
    (tmp_path / "few.txt").write_text(f"{every[3].clip.clip_id}\n{every[7].clip.clip_id}\n")
    assert [one.clip.clip_id for one in listed(several.replace(subset=str(tmp_path / "few.txt")))] == [
        every[3].clip.clip_id,
        every[7].clip.clip_id,
    ]
    (tmp_path / "none.txt").write_text("nobody\n")
    with pytest.raises(InputError, match=r"no clip of test is in the subset .* named like test_0_000000"):
        listed(several.replace(subset=str(tmp_path / "none.txt")))
    wanted_id = every[3].clip.clip_id
    (tmp_path / "sheet.csv").write_text(f"number,clip\n1,{wanted_id}\n2\n3,mistyped\n", encoding="utf-8-sig")
    with pytest.warns(UserWarning, match=r"1 names of .*sheet\.csv are no clip of the splits: mistyped"):
        some = listed(several.replace(subset=str(tmp_path / "sheet.csv")))
    assert [one.clip.clip_id for one in some] == [wanted_id]


def test_the_main_source_is_the_one_that_arrives_loudest():
    near = Source.still("near.wav", 30, distance_m=1.0)
    far = Source.still("far.wav", -50, distance_m=3.0)  # 9.5 dB less
    for louder_db, name, azimuth_deg in ((9.0, "near", 30), (10.0, "far", -50)):
        scene = Scene(sources=(near, replace(far, gain_db=louder_db)))
        found = facts(RenderedClip("a", scene), SMALL)
        assert (found.cluster, found.sources, found.room) == (name, 2.0, "open")
        assert found.azimuth_deg == pytest.approx(azimuth_deg, abs=1e-3)
    moving = Source(sound="m.wav", path=(Keyframe(azimuth_deg=170), Keyframe(time_s=4.0, azimuth_deg=210)))
    found = facts(RenderedClip("a", Scene(sources=(moving,))), SMALL)
    assert (found.motion, abs(found.azimuth_deg)) == ("moving", pytest.approx(170, abs=1))  # 190° is -170°


def test_shipped_recordings_are_known_by_their_scenes():
    from binaural_core.places import data_samples

    root = data_samples() / "fair_play"
    found = listed(ClipsConfig(dataset=DatasetConfig(kind="fairplay", root=str(root))))
    assert all(one.facts.room in ("room", "open") and one.facts.sources >= 1 for one in found)
    clip = found[0].clip
    by_places = facts(clip, DatasetConfig())  # without the scene: from places.csv
    assert by_places.sources <= found[0].facts.sources
    if found[0].facts.sources == 1:
        assert by_places.azimuth_deg == pytest.approx(found[0].facts.azimuth_deg, abs=3)


def test_the_level_error_by_band_adds_up_to_the_whole():
    prediction_EN, reference_EN = (0.1 * numpy_stream(0, name).standard_normal((2, 22_050)) for name in ("p", "r"))
    by_band = ild_error_by_band_db(prediction_EN, reference_EN, 22_050)
    assert list(by_band) == list(named_bands(22_050))
    assert np.mean(list(by_band.values())) == pytest.approx(ild_error_db(prediction_EN, reference_EN, 22_050))
    reference_EN *= 1e-6
    reference_EN += 0.5 * np.sin(2 * np.pi * 1000 * np.arange(22_050) / 22_050)
    heard = ild_error_by_band_db(prediction_EN, reference_EN, 22_050)
    assert np.isfinite(heard["band_ild_error_db_1000hz"])
    assert np.isnan(heard["band_ild_error_db_8000hz"])
