"""Mono and sight in, binaural sound out: long sound, joins, every way to say where things are, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from binaural_core import InputError, checkpoint, passage, pipeline
from binaural_core.audio import MelConfig, itd_us, log_mel, read_audio, spherical_head_itd_s, write_audio
from binaural_core.data.config import DataConfig
from binaural_core.data.dubbing import dub
from binaural_core.data.eyes import Closed, open_eyes
from binaural_core.data.film import write_film
from binaural_core.data.stored_mels import mel_files
from binaural_core.diffusion.recipe import BridgeConfig, RecipeConfig
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.models.diffbinaural import DiffBinaural, DiffBinauralConfig
from binaural_core.models.unet import UNetConfig
from binaural_core.models.visual import VisualConfig
from binaural_core.models.vocoding import MonoPhase, PerEar
from binaural_core.passage import Passage, RollingMono, interpolated
from binaural_core.pipeline import Binauralizer, window_starts_s
from binaural_core.seeds import first_weights, numpy_stream
from binaural_core.synthesis import synthesize

MEL = MelConfig()
RATE = MEL.sample_rate_hz
TINY = {
    "unet": UNetConfig(dim=8, mults=(1, 2), context_dim=16, condition_dim=16),
    "visual": VisualConfig(width=4, object_dim=16, context_dim=16),
}
VOCODER = {
    "resblock": "1", "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 16, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]],
    "activation": "snakebeta", "snake_logscale": True, "num_mels": 80, "n_fft": 1024, "hop_size": 256,
    "win_size": 1024, "sampling_rate": 22050,
}  # fmt: skip


def stage1(sigma: float = 1e-6) -> DiffBinaural:
    """An untrained network moves nothing: with hardly any noise both ears' mels are the mono's."""
    recipe = RecipeConfig(bridge=BridgeConfig(noise_sigma=sigma, steps=1, solver="euler"))
    with first_weights(0):
        return DiffBinaural(DiffBinauralConfig(recipe=recipe, **TINY))


@pytest.fixture(scope="module")
def binauralizer() -> Binauralizer:
    with first_weights(1):
        generator = BigVGAN(BigVGANConfig.from_public(VOCODER)).remove_weight_norm()
    vocoders = {"mono_phase": MonoPhase(MEL), "bigvgan": PerEar(generator, MEL)}
    return Binauralizer(stage1(), MEL, DataConfig(crop_px=32), vocoders)


def tone(seconds: float, hz: float = 440.0, rate: int = RATE) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate, dtype=np.float32).astype(np.float32)


def test_a_steady_tone_crosses_the_joins_unheard(binauralizer):
    """With the mono's own mels and no delay the mono must come out, across three spans."""
    mono_N = tone(2.2 * passage_seconds())
    made = binauralizer.binauralize(mono_N, RATE)
    assert made.wave_EN.shape == (2, len(mono_N))
    inside = slice(2048, -2048)
    assert np.abs(made.wave_EN[:, inside] - mono_N[inside]).max() < 2e-3


def passage_seconds() -> float:
    return pipeline.SPAN_FRAMES * MEL.hop_samples / RATE


def test_spans_of_the_vocoder_equal_one_piece(binauralizer):
    mono_N = numpy_stream(0, "noise").normal(0, 0.05, int(1.3 * passage_seconds() * RATE)).astype(np.float32)
    made = binauralizer.binauralize(mono_N, RATE, stage2="bigvgan")
    generator = binauralizer.vocoders["bigvgan"].generator
    with torch.no_grad():
        whole_EN = generator(torch.from_numpy(made.mel_EMF))[:, 0].numpy()
    join = pipeline.SPAN_FRAMES * MEL.hop_samples
    near = slice(join - 4096, join + 4096)
    assert np.abs(made.wave_EN[:, near] - whole_EN[:, near]).max() < 1e-5


def test_stored_mels_of_the_pipeline_sound_as_the_pipeline(binauralizer, tmp_path):
    """Stage 2 alone, on what stage 1 predicted and with the same recording, makes the same wave up to its last context."""
    mono_N = numpy_stream(0, "noise").normal(0, 0.05, int(1.3 * passage_seconds() * RATE)).astype(np.float32)
    mono_N[RATE : 2 * RATE] = 0
    write_audio(tmp_path / "sound" / "one.wav", mono_N[None], RATE)
    mono_N = read_audio(tmp_path / "sound" / "one.wav").mono_N
    for mode, vocoder in binauralizer.vocoders.items():
        made = binauralizer.binauralize(mono_N, RATE, stage2=mode)
        np.save(tmp_path / "one.npy", made.mel_EMF)
        found = mel_files(tmp_path, MEL)
        (path,) = synthesize(found, tmp_path / mode, vocoder, audio_dir=tmp_path / "sound")
        alone_EN = read_audio(path, channels=2).wave_CN
        until = (made.mel_EMF.shape[2] - vocoder.context_frames) * MEL.hop_samples
        assert np.abs(alone_EN - made.wave_EN[:, : alone_EN.shape[1]])[:, :until].max() <= 1.01 / 32768
        assert np.abs(alone_EN).max() > 0.01


def test_noise_does_not_depend_on_how_the_sound_is_cut(monkeypatch):
    mono_N = numpy_stream(0, "noise").normal(0, 0.05, 4 * RATE).astype(np.float32)
    model = stage1(0.3)
    torch.nn.init.constant_(model.unet.out.weight, 0.1)  # a network that passes some of the noise on
    whole = Binauralizer(model, MEL, DataConfig(crop_px=32), {"mono_phase": MonoPhase(MEL)})
    mels = []
    for span in (640, 100):
        monkeypatch.setattr(pipeline, "SPAN_FRAMES", span)
        mels.append(whole.binauralize(mono_N, RATE, seed=3).mel_EMF)
    np.testing.assert_allclose(mels[0], mels[1], atol=1e-4)
    other = whole.binauralize(mono_N, RATE, seed=4).mel_EMF
    assert np.abs(other - mels[1]).max() > 0.1


@pytest.mark.parametrize("rate, seconds", [(48_000, 1.37), (16_000, 0.4), (44_100, 0.02), (22_050, 3.0)])
def test_any_rate_and_length(binauralizer, rate, seconds):
    made = binauralizer.binauralize(tone(seconds, rate=rate), rate)
    assert made.sample_rate_hz == RATE
    assert abs(made.wave_EN.shape[1] - seconds * RATE) <= 2
    assert np.isfinite(made.wave_EN).all()
    assert made.mel_EMF.shape[2] == -(-made.wave_EN.shape[1] // MEL.hop_samples)


def test_overlapping_windows_share_their_noise_and_fade_into_each_other(binauralizer):
    mono = RollingMono(iter([tone(4.0)[None]]))
    data = binauralizer.data
    run = Passage(binauralizer.stage1, MEL, data, mono, Closed(data), seed=0, steps=None, device=torch.device("cpu"))
    for window in (0, 3):
        torch.testing.assert_close(
            run._noise(window, 80)[..., -run.overlap :], run._noise(window + 1, 80)[..., : run.overlap]
        )
    assert not torch.equal(run._noise(0, 80)[..., :16], run._noise(0, 80)[..., 16:32])
    torch.testing.assert_close(run.ramp_W[: run.overlap] + run.ramp_W[-run.overlap :], torch.ones(run.overlap))
    assert run.ramp_W[0] < run.ramp_W[run.overlap - 1] <= 1


def test_told_positions_decide_the_delay(binauralizer):
    mono_N = numpy_stream(0, "noise").normal(0, 0.1, 2 * RATE).astype(np.float32)
    for azimuth in (-50.0, 35.0):
        made = binauralizer.binauralize(mono_N, RATE, positions=np.array([azimuth, 0.0, 1.5]))
        assert itd_us(made.wave_EN, RATE) == pytest.approx(1e6 * spherical_head_itd_s(azimuth), abs=15)
    left = binauralizer.binauralize(mono_N, RATE, image_positions=np.array([0.1, 0.5]))
    assert itd_us(left.wave_EN, RATE) > 200


def test_a_moving_source_moves_the_delay(binauralizer):
    mono_N = numpy_stream(0, "noise").normal(0, 0.1, 4 * RATE).astype(np.float32)
    path = np.stack([np.linspace(60, -60, 40), np.zeros(40), np.full(40, 1.5)], axis=1)[:, None]
    made = binauralizer.binauralize(mono_N, RATE, positions=path)
    first, last = made.wave_EN[:, : RATE // 2], made.wave_EN[:, -RATE // 2 :]
    assert itd_us(first, RATE) > 300
    assert itd_us(last, RATE) < -300


def test_silence_in_silence_out(binauralizer):
    for mode in ("mono_phase", "bigvgan"):
        made = binauralizer.binauralize(np.zeros(RATE, np.float32), RATE, stage2=mode)
        assert not made.wave_EN.any()


def test_files_in_files_out_at_constant_memory(binauralizer, tmp_path):
    """The streamed file equals the array, and no more than a span with its windows is ever held."""
    mono_N = tone(2.5 * passage_seconds())
    write_audio(tmp_path / "mono.wav", mono_N[None], RATE)
    held = []
    forget = RollingMono.forget_before

    def watched(self, sample):
        held.append(len(self.kept_N))
        forget(self, sample)

    RollingMono.forget_before = watched
    try:
        out = binauralizer.convert(tmp_path / "mono.wav", tmp_path / "ears.wav")
    finally:
        RollingMono.forget_before = forget
    streamed = read_audio(out, channels=2).wave_CN
    whole = binauralizer.binauralize(read_audio(tmp_path / "mono.wav").wave_CN, RATE).wave_EN
    assert np.abs(streamed - whole).max() <= 1.01 / 32768
    assert max(held) < (2 * pipeline.SPAN_FRAMES + 200) * MEL.hop_samples


def film(path, seconds=2.0, rate=48_000):
    draw = numpy_stream(0, "film")
    images = draw.integers(0, 255, (int(seconds * 10), 48, 64, 3), dtype=np.uint8)
    write_film(path, images, 10.0, tone(seconds, rate=rate)[None], rate)
    return path


def test_a_film_becomes_a_film_with_two_ears(binauralizer, tmp_path):
    source = film(tmp_path / "in.mp4")
    out = binauralizer.convert(source, tmp_path / "out.mp4", video=source)
    sound = read_audio(out, channels=2)
    assert sound.sample_rate_hz == RATE
    assert sound.duration_s == pytest.approx(2.0, abs=0.1)
    assert len(open_frames(out)) == len(open_frames(source)) == 20
    made = binauralizer.binauralize(tone(2.0), RATE, video=source)
    assert made.save(tmp_path / "again.mp4", video=source).is_file()
    with pytest.raises(InputError, match="no pictures were named"):
        made.save(tmp_path / "again.mp4")


def test_recordings_of_one_name_are_not_mistaken_for_each_other(binauralizer, tmp_path):
    for room in ("s1", "s2"):
        (tmp_path / room).mkdir()
        write_audio(tmp_path / room / "audio.wav", tone(0.5)[None], RATE)
    listed = tmp_path / "list.csv"
    listed.write_text("audio_path\ns1/audio.wav\ns2/audio.wav\n")
    with pytest.raises(InputError, match="names several recordings audio"):
        binauralizer.convert_all(listed, tmp_path / "out")


def test_a_film_shows_its_own_pictures(binauralizer, tmp_path, monkeypatch):
    looked = []
    real = pipeline.open_eyes
    monkeypatch.setattr(pipeline, "open_eyes", lambda *a, **k: looked.append(k["video"]) or real(*a, **k))
    source = film(tmp_path / "in.mp4")
    binauralizer.convert(source, tmp_path / "out.mp4")
    binauralizer.convert(source, tmp_path / "out.wav", positions=[30.0, 0.0, 1.0])
    assert looked == [source, None]


def test_a_name_that_cannot_be_written_is_refused_before_any_work(binauralizer, tmp_path):
    with pytest.raises(InputError, match=r"out\.mov has no suffix that can be written"):
        binauralizer.convert(film(tmp_path / "in.mp4"), tmp_path / "out.mov")


def test_sound_of_many_channels_is_averaged(binauralizer, tmp_path):
    import soundfile

    channels = np.stack([tone(1.0), 0 * tone(1.0), 0 * tone(1.0)])
    soundfile.write(tmp_path / "three.wav", channels.T, RATE)
    out = read_audio(binauralizer.convert(tmp_path / "three.wav", tmp_path / "out.wav")).wave_CN
    assert np.abs(out[:, 2048:-2048] - tone(1.0)[2048:-2048] / 3).max() < 2e-3


def open_frames(path):
    import av

    with av.open(str(path)) as file:
        return list(file.decode(video=0))


def test_a_film_that_begins_late_stays_in_step(tmp_path):
    """The clock of an MPEG transport stream does not begin at 0; dubbed, its pictures begin with the sound."""
    import av

    with av.open(str(tmp_path / "in.ts"), "w", format="mpegts") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(20):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode())
    write_audio(tmp_path / "ears.wav", np.stack([tone(2.0)] * 2), RATE)
    times = [frame.time for frame in open_frames(dub(tmp_path / "in.ts", tmp_path / "ears.wav", tmp_path / "out.mp4"))]
    assert open_frames(tmp_path / "in.ts")[0].time > 0.15
    assert times[0] == pytest.approx(0, abs=0.05)
    assert times[-1] == pytest.approx(1.9, abs=0.05)


def test_a_folder_of_recordings(binauralizer, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    film(source / "one.mp4")
    film(source / "two.mp4")
    made = binauralizer.convert_all(source, tmp_path / "out")
    assert sorted(p.name for p in made) == ["one.wav", "two.wav"]
    (source / "broken.mp4").write_bytes(b"not a film")
    with pytest.raises(InputError, match=r"1 of 3 recordings could not be made binaural \(broken\)"):
        binauralizer.convert_all(source, tmp_path / "out")


def test_predicted_mels_of_whole_clips_are_written_once(binauralizer, tmp_path):
    from binaural_core.data import unreferenced

    clip = unreferenced.clip(film(tmp_path / "one.mp4"))
    assert binauralizer.write_mels([clip], tmp_path / "mels", "train") == 3
    names = sorted(p.name for p in (tmp_path / "mels" / "left" / "train").iterdir())
    assert names == ["one_0.00_left.npy", "one_0.92_left.npy", "one_1.07_left.npy"]
    assert binauralizer.write_mels([clip], tmp_path / "mels", "train") == 0
    stored = np.load(tmp_path / "mels" / "right" / "train" / "one_0.92_right.npy")
    assert stored.shape == (80, 80)
    assert stored.dtype == np.float32
    mono_N, _ = clip.sound(0.92, 80 * 256 / RATE, RATE)
    np.testing.assert_allclose(stored, log_mel(mono_N[None])[0].numpy().clip(-12, 2.5), atol=1e-4)


def test_window_starts_cover_the_clip_in_hundredths():
    starts = window_starts_s(4.0, 80 * 256 / RATE)
    assert starts[0] == 0
    assert starts[-1] == 3.07
    assert all(b - a <= 80 * 256 / RATE for a, b in pairwise(starts))
    assert window_starts_s(0.5, 0.93) == []


def test_positions_between_pictures_are_interpolated_the_short_way_round():
    where = np.array([[[170.0, 0, 1]], [[-170.0, 0, 2]]], np.float32)
    places = interpolated(np.array([0.0, 1.0]), np.array([0.0, 0.5, 1.0]), where, np.zeros((2, 1), bool))
    assert places.positions_LO3[:, 0, 0] == pytest.approx([170, 180, 190])
    assert places.positions_LO3[:, 0, 2] == pytest.approx([1, 1.5, 2])


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ({"positions": [1.0, 2.0]}, r"positions have shape \(2,\)"),
        ({"positions": [30.0, 0.0, -1.0]}, "distance of 0 or less"),
        ({"image_positions": "middle"}, "cannot be read as numbers"),
        ({"frames": np.zeros((2, 8, 8), np.uint8)}, "frames have shape"),
        ({"frames": "nowhere"}, "frame folder nowhere is not there"),
        ({"video": "nowhere.mp4"}, r"nowhere\.mp4 is not there"),
        ({"video": "a.mp4", "frames": "b"}, "both frames and a video"),
        ({"stage2": "vocoder"}, "no stage 2 named 'vocoder'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_screen(binauralizer, arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        binauralizer.binauralize(tone(0.5), RATE, **arguments)


@pytest.mark.parametrize("wave", [np.zeros(0), np.full(100, np.nan), np.zeros((2, 2, 2))])
def test_sound_that_is_none_is_refused(binauralizer, wave):
    with pytest.raises(InputError):
        binauralizer.binauralize(wave, RATE)


def test_from_pretrained_reads_what_a_training_wrote(tmp_path, binauralizer):
    with pytest.raises(InputError, match="after `make demo`"):
        Binauralizer.from_pretrained(tmp_path)
    model, folder = stage1(), tmp_path / "stage1"
    for name, part in (("unet", model.unet), ("frame", model.frame)):
        checkpoint.save(folder / f"{name}_best.pth", part.state_dict())
    tree = {"model": model.config, "mel": MEL, "data": DataConfig(crop_px=32)}
    import yaml

    (folder / "config.yaml").write_text(yaml.safe_dump({k: v.to_dict() for k, v in tree.items()} | {"other": 1}))
    loaded = Binauralizer.from_pretrained(tmp_path)
    assert sorted(loaded.vocoders) == ["mono_phase"]
    generator = binauralizer.vocoders["bigvgan"].generator
    checkpoint.save(tmp_path / "stage2" / "g_best", {"generator": generator.to_public_state()})
    generator.config.replace(fmax=7000.0).save_json(tmp_path / "stage2" / "config.json")
    with pytest.raises(InputError, match="was trained on other mels than stage 1"):
        Binauralizer.from_pretrained(tmp_path)
    generator.config.replace(fmax=11_025.0).save_json(tmp_path / "stage2" / "config.json")  # half the rate, spelled out
    loaded = Binauralizer.from_pretrained(tmp_path)
    mono_N = tone(1.0)
    for mode in ("mono_phase", "bigvgan"):
        np.testing.assert_allclose(
            loaded.binauralize(mono_N, RATE, stage2=mode).wave_EN,
            binauralizer.binauralize(mono_N, RATE, stage2=mode).wave_EN,
            atol=1e-5,
        )


def test_closed_eyes_see_nothing():
    data = DataConfig(crop_px=32)
    assert isinstance(open_eyes(data, 1.0), Closed)
    assert open_eyes(data, 1.0).sight([0.0, 0.5]).mask_LO.all()
    assert passage.EDGE_FRAMES * MEL.hop_samples >= MEL.n_fft - MEL.hop_samples  # no frame sees the edge
