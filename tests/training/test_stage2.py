"""Stage 2 through the loop, at toy size: 2a from folders of true mels, 2b with scheduled sampling, files, resume, measures."""

import itertools
import json
import shutil

import numpy as np
import pytest
import torch

from binaural_core import InputError, checkpoint, cli
from binaural_core.audio import MelConfig, log_mel, read_audio, write_audio
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.mel_pairs import CONTEXT_FRAMES, Segment, collate_mels, write_mels
from binaural_core.data.recording import RecordingClip
from binaural_core.data.rendered import RenderedConfig
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.models.discriminators import (
    MultiPeriodDiscriminator,
    MultiResolutionDiscriminator,
    MultiScaleSubbandCQTDiscriminator,
)
from binaural_core.models.vocoder_losses import generator_losses, multi_scale_mel
from binaural_core.places import data_samples
from binaural_core.scene.casting import SceneConfig
from binaural_core.seeds import first_weights, numpy_stream, stream
from binaural_core.training import annealing, segments, stage2
from binaural_core.training.distributed import launch
from binaural_core.training.run import RunConfig
from binaural_core.training.stage import Draw
from binaural_core.training.state import begin_with, differences
from binaural_core.training.vocoder_start import find_start

RATE, HOP = 22_050, 256
TINY = {
    "resblock": "2", "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 16, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1]],
    "activation": "snakebeta", "snake_logscale": True, "num_mels": 80, "n_fft": 1024, "hop_size": 256,
    "win_size": 1024, "sampling_rate": 22050, "segment_size": 6144, "learning_rate": 1e-3, "freeze_step": 2,
    "mpd_reshapes": [2], "resolutions": [[512, 128, 512]], "discriminator_channel_mult": 0.0625,
}  # fmt: skip
RUN = {"batch_size": 2, "log_steps": 1, "checkpoint_steps": 3, "validate_epochs": 1, "epochs": 2}
SCENES = DatasetConfig(
    scenes={"train": 4, "val": 2},
    rendered=RenderedConfig(scene=SceneConfig(duration_s=1.2, reverberant=0.0), width_px=96, height_px=54),
)


class Stop(Exception):
    pass


def config_in(folder, **changes) -> stage2.Stage2Config:
    """A tiny training on rendered scenes; ``vocoder`` holds changes of the vocoder's config."""
    vocoder = BigVGANConfig.from_public(TINY | changes.pop("vocoder", {})).save_json(folder / "tiny.json")
    run = RUN | {name: changes.pop(name) for name in list(changes) if name in RUN | {"keep_epochs": 0, "workers": 0}}
    run = RunConfig(id="two", checkpoints=str(folder), decay_epochs=0, precision="fp32", device="cpu", **run)
    return stage2.Stage2Config(vocoder=str(vocoder), run=run, **({"dataset": SCENES, "rounds": 2} | changes))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A plain folder of stereo files (48 kHz), their true mels, and "predicted" ones that are half a neper off."""
    root = tmp_path_factory.mktemp("recordings")
    for number in range(5):
        draw, split = numpy_stream(1, "sound", number), "train" if number < 4 else "val"
        ears_EN = 0.1 * draw.standard_normal((2, int(1.2 * 48_000)))
        write_audio(root / "wav" / f"clip{number}.wav", ears_EN, 48_000)
        wave_EN = read_audio(root / "wav" / f"clip{number}.wav", sample_rate_hz=RATE).wave_CN
        mel_EMF = log_mel(wave_EN[:, : 80 * HOP], BigVGANConfig.from_public(TINY).mel).numpy()
        write_mels(root / "true", split, f"clip{number}", 0.0, mel_EMF)
        write_mels(root / "predicted", split, f"clip{number}", 0.0, mel_EMF + 0.5)
    return root


def true_folders(root):
    return {
        f"mel_{ear}_{split}_dir": str(root / "true" / ear / split)
        for ear in ("left", "right")
        for split in ("train", "val")
    }


def sampled(folder, recordings, **changes) -> stage2.Stage2Config:
    """2b: true mels from folders, predicted ones, the share rising."""
    more = true_folders(recordings) | {"mel_pred_dir": str(recordings / "predicted"), "use_scheduled_sampling": True}
    settings = {"audio_dir": str(recordings / "wav"), "schedule": "linear", "rounds": 1} | more | changes
    return config_in(folder, **settings)


def batch_of(wave_EN, predicted_EMF=None, true_EMF=None, gain=1.0, index=0):
    return collate_mels([Segment("a", index, gain, wave_EN, true_EMF, predicted_EMF)], HOP)


def noise_batch(predicted=-5.0, frames=24):
    waves = 0.1 * torch.randn(2, (frames + 2 * CONTEXT_FRAMES) * HOP, generator=stream(0, "w"))
    return batch_of(waves.numpy(), np.full((2, 80, frames), predicted, np.float32))


def test_public_checkpoints_are_left_that_load(tmp_path):
    stage, result = stage2.train(config_in(tmp_path, keep_epochs=1), progress=False)
    names = sorted(p.name for p in result.folder.iterdir() if p.name[:2] in ("g_", "do"))
    steps = ["00000004", "00000008", "best"]  # kept, latest, best
    assert names == [f"{kind}_{step}" for kind in ("do", "g") for step in steps]
    config = BigVGANConfig.from_json(result.folder / "config.json")
    loaded = BigVGAN.from_checkpoint(result.folder / "g_00000008", config)
    mel_BMF = torch.randn(1, 80, 5, generator=stream(0, "mel"))
    torch.testing.assert_close(loaded(mel_BMF), stage.generator(mel_BMF))
    steps = [row["step"] for row in result.rows if "discriminators.total" in row]
    assert steps == [3, 4, 5, 6, 7, 8]  # freeze_step 2: the mel loss alone
    history = [row for row in result.rows if row["kind"] == "train"]
    assert {"discriminators.gradient_norm_mpd", "discriminators.gradient_norm_mrd"} <= set(history[-1])


def test_the_do_file_goes_on_in_published_code(tmp_path):
    """One AdamW over the second discriminators' parameters and then the MPD's, by index; its schedule's first rate."""
    stage, result = stage2.train(config_in(tmp_path, epochs=1), progress=False)
    kept = checkpoint.load(result.folder / "do_00000004")
    assert set(kept) == {"mpd", "mrd", "optim_g", "optim_d", "steps", "epoch"}
    assert (kept["steps"], kept["epoch"]) == (4, 1)
    vocoder = BigVGANConfig.from_public(TINY)
    mpd, mrd = MultiPeriodDiscriminator(vocoder), MultiResolutionDiscriminator(vocoder)
    mpd.load_state_dict(kept["mpd"])
    mrd.load_state_dict(kept["mrd"])
    networks = {"optim_g": [stage.generator], "optim_d": [mrd, mpd]}
    for name, parts in networks.items():
        parameters = list(itertools.chain(*(part.parameters() for part in parts)))
        optimizer = torch.optim.AdamW(parameters, 1e-3, betas=(0.8, 0.99))
        optimizer.load_state_dict(kept[name])
        for parameter in parameters:
            assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape
        torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.999, last_epoch=kept["epoch"])


RESUMED = {"epochs": 3, "early_clip_norm": 0.5, "early_clip_steps": 4, "vocoder": {"lr_decay": 0.9}}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, recordings):
    """Discriminators begin at step 2; the share of predicted mels rises with every epoch of two steps."""
    return stage2.train(sampled(tmp_path_factory.mktemp("unbroken"), recordings, **RESUMED), progress=False)[1]


@pytest.mark.parametrize("stop_at", [1, 3])
def test_2b_resumes_to_the_last_digit(tmp_path, monkeypatch, recordings, unbroken, stop_at):
    config, real, steps = sampled(tmp_path, recordings, **RESUMED), stage2.Stage2.make_loss, itertools.count()

    def killed(self, work):
        if next(steps) == stop_at:
            raise Stop
        return real(self, work)

    monkeypatch.setattr(stage2.Stage2, "make_loss", killed)
    with pytest.raises(Stop):
        stage2.train(config, progress=False)
    monkeypatch.setattr(stage2.Stage2, "make_loss", real)
    _, resumed = stage2.train(config, progress=False)
    assert resumed.rows == unbroken.rows
    a, b = (checkpoint.load(r.folder / "do_00000006") for r in (unbroken, resumed))
    assert torch.equal(a["optim_d"]["state"][0]["exp_avg"], b["optim_d"]["state"][0]["exp_avg"])


def test_two_processes_train_2b_as_one_does(tmp_path, recordings):
    results = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        more = {"batch_size": 4 // processes, "validation_speech": True, "vocoder": {"freeze_step": 0}}
        config = sampled(folder, recordings, **more)
        results[processes] = launch(stage2.run, config, processes=processes)
    rows = {processes: [row for row in result.rows if row["kind"] == "train"] for processes, result in results.items()}
    assert len(rows[1]) == len(rows[2]) == 2
    for name in ("generator.total", "generator.mel", "generator.gradient_norm", "discriminators.gradient_norm_mrd"):
        assert [r[name] for r in rows[2]] == pytest.approx([r[name] for r in rows[1]], rel=1e-4)
    scores = [result.rows[-1] for result in results.values()]
    assert scores[0].keys() == scores[1].keys()
    assert scores[1]["mel_l1_from_predicted"] == pytest.approx(scores[0]["mel_l1_from_predicted"], rel=1e-4)


def test_reading_ahead_gives_the_same_batches(tmp_path, recordings):
    both = [segments.SegmentData(sampled(tmp_path, recordings, workers=workers)) for workers in (0, 1)]
    for epoch, start in ((0, 0), (1, 1)):
        alone, ahead = (list(data.training(epoch, start)) for data in both)
        assert [b.clip_ids for b in alone] == [b.clip_ids for b in ahead]
        assert all(torch.equal(a.predicted_BEMF, b.predicted_BEMF) for a, b in zip(alone, ahead, strict=True))
        assert len(alone) == 2 - start


def test_every_epoch_hears_other_parts_of_the_windows_in_another_order(tmp_path, recordings):
    data = segments.SegmentData(sampled(tmp_path, recordings))
    epochs = [list(data.training(epoch, 0)) for epoch in range(4)]
    orders = [tuple(clip for batch in epoch for clip in batch.clip_ids) for epoch in epochs]
    assert all(sorted(order) == ["clip0", "clip1", "clip2", "clip3"] for order in orders)
    assert len(set(orders)) > 1
    heard = [
        {clip: gain for b in epoch for clip, gain in zip(b.clip_ids, b.gain_B.tolist(), strict=True)}
        for epoch in epochs
    ]
    assert len({tuple(sorted(gains.items())) for gains in heard}) == 4


def test_a_step_whose_sound_is_not_finite_is_named_and_skipped(tmp_path, recordings, monkeypatch, caplog):
    forward, steps = BigVGAN.forward, itertools.count()

    def poisoned(self, mel_BMF):
        wave_B1N = forward(self, mel_BMF)
        return wave_B1N * torch.nan if next(steps) == 1 else wave_B1N

    monkeypatch.setattr(BigVGAN, "forward", poisoned)
    config = sampled(tmp_path, recordings, vocoder={"freeze_step": 0}, epochs=2)
    stage, result = stage2.train(config, progress=False)
    assert (result.steps, result.skipped) == (4, 1)
    assert "step 1 skipped: the generated sound is not finite (clips clip" in caplog.text
    assert all(torch.isfinite(p).all() for module in stage.modules.values() for p in module.parameters())


def test_true_mels_from_folders_are_heard_and_the_split_is_theirs(tmp_path, recordings):
    config = config_in(tmp_path, audio_dir=str(recordings / "wav"), **true_folders(recordings))
    data = segments.SegmentData(config)
    (batch,) = data.validation()
    assert batch.clip_ids == ("clip4",)
    assert {clip for b in data.training(0, 0) for clip in b.clip_ids} == {"clip0", "clip1", "clip2", "clip3"}
    stage = stage2.Stage2(config, 4)
    assert torch.equal(stage2.true_mels(batch, stage.vocoder), batch.true_BEMF)
    from_sound = stage2.true_mels(collate_mels([data._held_out[0]], HOP), stage.vocoder)
    torch.testing.assert_close(from_sound, batch.true_BEMF, atol=1e-3, rtol=0)


@pytest.mark.parametrize("stored", [{}, {"mel_pred_dir": True}, {"flat": True}])
def test_a_plain_folder_is_split_by_its_mels_or_by_name(tmp_path, recordings, stored):
    if "flat" in stored:  # the files of both splits in one folder for each ear
        for ear in ("left", "right"):
            (tmp_path / ear).mkdir()
            for file in (recordings / "predicted" / ear).rglob("*.npy"):
                (tmp_path / ear / file.name).write_bytes(file.read_bytes())
        stored = {"mel_pred_left_dir": str(tmp_path / "left"), "mel_pred_right_dir": str(tmp_path / "right")}
    elif stored:
        stored = {"mel_pred_dir": str(recordings / "predicted")}
    data = segments.SegmentData(config_in(tmp_path, audio_dir=str(recordings / "wav"), **stored))
    ids = [{window.clip.clip_id for window in pairs.windows} for pairs in (data._training, data._held_out)]
    assert len(ids[0]) == 4
    assert len(ids[1]) == 1
    assert not ids[0] & ids[1]
    if "mel_pred_dir" in stored:
        assert ids[1] == {"clip4"}


def test_without_predicted_mels_to_validate_on_the_true_ones_are_heard(tmp_path, recordings):
    folders = {f"mel_pred_{ear}_dir": str(tmp_path / ear) for ear in ("left", "right")}
    for ear in ("left", "right"):
        (tmp_path / ear).mkdir()
        (tmp_path / ear / "train").symlink_to(recordings / "predicted" / ear / "train")
    with pytest.warns(UserWarning, match="no predicted mels for val"):
        data = segments.SegmentData(config_in(tmp_path, audio_dir=str(recordings / "wav"), **folders))
    assert not data.predicts
    for ear in ("left", "right"):
        (tmp_path / ear / "train").rename(tmp_path / ear / "val")
    with pytest.raises(InputError, match=r"no predicted mels of the split train"):
        segments.SegmentData(config_in(tmp_path, audio_dir=str(recordings / "wav"), **folders))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mel_left_train_dir": "l"}, "of the true mels to train on only mel_left_train_dir is given"),
        ({"mel_pred_right_dir": "r"}, "of the predicted mels only mel_pred_right_dir is given"),
        ({"mel_pred_dir": "p", "mel_pred_left_dir": "l", "mel_pred_right_dir": "r"}, "predicted mels are named twice"),
        ({"use_scheduled_sampling": True}, "without predicted mels"),
        ({"early_clip_norm": 0.0}, "early_clip_norm=0.0"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, given, said):
    with pytest.raises(InputError, match=said):
        config_in(tmp_path, **given)


def test_schedules_at_their_corners_and_between():
    corners = {0: 0, 100: 0.1, 199: 0.199, 200: 0.2, 350: 0.35, 500: 0.5, 750: 0.65, 1000: 0.8, 5000: 0.8}
    assert [annealing.piecewise(e) for e in corners] == pytest.approx(list(corners.values()))
    assert [annealing.linear(e, 50) for e in (0, 10, 25, 50, 100)] == pytest.approx([0, 0.16, 0.4, 0.8, 0.8])
    rising = [annealing.piecewise(e) for e in range(1200)]
    assert rising == sorted(rising)


def test_predicted_mels_are_heard_as_often_as_the_schedule_says_and_with_both_ears(tmp_path):
    config = config_in(tmp_path, epochs=10, mel_pred_dir="somewhere", use_scheduled_sampling=True, schedule="linear")
    stage = stage2.Stage2(config, steps_per_epoch=4)
    assert [stage.prediction_share(step) for step in (0, 20, 39)] == pytest.approx([0.0, 0.4, 0.72])
    assert stage2.Stage2(config_in(tmp_path), 4).prediction_share(20) == 0
    always = config_in(tmp_path, mel_pred_dir="somewhere")
    assert stage2.Stage2(always, 4).prediction_share(0) == 1
    batch = noise_batch()
    drawn = [stage.heard_mels(batch, Draw(0, epoch, (0,)), 20)[0] for epoch in range(400)]
    predicted_TE = np.array([[bool((ear == -5.0).all()) for ear in mel_EMF] for mel_EMF in drawn])
    assert (predicted_TE[:, 0] == predicted_TE[:, 1]).all()
    assert predicted_TE.mean() == pytest.approx(0.4, abs=0.07)
    true_EMF = stage2.true_mels(batch, stage.vocoder)[0]
    assert all(torch.equal(m, true_EMF) for m, p in zip(drawn, predicted_TE, strict=True) if not p[0])


def test_silence_is_judged_by_the_recording_not_by_the_scaled_segment(tmp_path):
    config = config_in(tmp_path, vocoder={"silence_weight": 2.0, "silence_threshold_db": -50.0})
    stage = stage2.Stage2(config, 4)
    quiet = 1e-3 * torch.randn(2, 28 * HOP, generator=stream(0, "w")).numpy()  # -60 dB: silent
    gain = 0.95 / float(np.abs(quiet).max())
    work = stage.prepare(batch_of(quiet * np.float32(gain), gain=gain), Draw(0, 0, (0,)), 0)
    plain = generator_losses(work.real_B1N, work.fake_B1N, None, stage.vocoder)["mel"]
    torch.testing.assert_close(stage.make_loss(work)["mel"], 2 * plain)
    assert torch.equal(work.gain_B, torch.tensor([gain, gain], dtype=torch.float32))


def test_the_discriminators_are_clipped_apart(tmp_path):
    """One step at a small norm: each set's gradient has that norm, where together they would share it."""
    config = config_in(tmp_path, epochs=1, rounds=1, batch_size=4, vocoder={"clip_grad_norm": 1e-3, "freeze_step": 0})
    stage, result = stage2.train(config, progress=False)
    assert result.steps == 1
    for name in ("mpd", "mrd"):
        gradients = [p.grad for p in stage.judges[name].parameters()]
        assert float(torch.nn.utils.get_total_norm(gradients)) == pytest.approx(1e-3, rel=1e-3)
        assert result.rows[0][f"discriminators.gradient_norm_{name}"] > 1e-3


def test_the_second_discriminators_are_those_that_the_vocoders_config_asks_for(tmp_path):
    pytest.importorskip("nnAudio")
    small = {"cqtd_bins_per_octaves": [12], "cqtd_n_octaves": [4], "cqtd_hop_lengths": [512]}
    stage = stage2.Stage2(config_in(tmp_path, vocoder=small | {"use_cqtd_instead_of_mrd": True}), 4)
    assert isinstance(stage.judges["mrd"], MultiScaleSubbandCQTDiscriminator)
    assert set(stage.judge_loss(stage.prepare(noise_batch(), Draw(0, 0, (0,)), 3))) == {"mrd", "mpd", "total"}
    assert isinstance(stage2.Stage2(config_in(tmp_path), 4).judges["mrd"], MultiResolutionDiscriminator)
    assert set(stage2.Stage2(config_in(tmp_path, discriminators=("mpd",)), 4).judges) == {"mpd"}


RECIPE = {
    "sampling_rate": 16_000, "fmax": 4000, "fmax_for_loss": 7000, "learning_rate": 3e-3, "lr_decay": 0.8,
    "clip_grad_norm": 0.5, "freeze_step": 2, "lambda_melloss": 5.0, "mpd_reshapes": [2, 3],
}  # fmt: skip


@pytest.mark.parametrize("multi_scale", [False, True])
def test_some_steps_are_those_of_the_published_recipe_written_out(tmp_path, recordings, multi_scale):
    """The same batches through a plain loop: every setting is another than its default, also the rate of the sound."""
    settings = RECIPE | {"use_multiscale_melloss": multi_scale}
    config = config_in(tmp_path, audio_dir=str(recordings / "wav"), vocoder=settings, epochs=3, rounds=1)
    data = segments.SegmentData(config)
    rate, vocoder = 16_000, config.bigvgan
    heard, compared = (MelConfig(sample_rate_hz=rate, f_max_hz=top) for top in (4000.0, 7000.0))
    with first_weights(config.run.seed):
        generator, mpd, mrd = BigVGAN(vocoder), MultiPeriodDiscriminator(vocoder), MultiResolutionDiscriminator(vocoder)
    adam = {"lr": 3e-3, "betas": (0.8, 0.99), "eps": 1e-8, "weight_decay": 0.01}
    of_g = torch.optim.AdamW(generator.parameters(), **adam)
    of_d = torch.optim.AdamW([*mrd.parameters(), *mpd.parameters()], **adam)

    def mel_distance(real_B1N, fake_B1N):
        if multi_scale:
            return multi_scale_mel(real_B1N, fake_B1N, rate)
        return (log_mel(fake_B1N[:, 0], compared) - log_mel(real_B1N[:, 0], compared)).abs().mean()

    step = 0
    for epoch in range(3):
        for batch in data.training(epoch, 0):
            for optimizer in (of_g, of_d):
                optimizer.param_groups[0]["lr"] = 3e-3 * 0.8**step
            context_BN = batch.context_BEN.flatten(0, 1)
            mel_BMF = log_mel(context_BN, heard)[:, :, CONTEXT_FRAMES:-CONTEXT_FRAMES]
            real_B1N, fake_B1N = batch.wave_BEN.flatten(0, 1)[:, None], generator(mel_BMF)
            if step >= 2:
                loss = 0.0
                for judge in (mrd, mpd):
                    for real, fake in zip(judge.hear(real_B1N), judge.hear(fake_B1N.detach()), strict=True):
                        loss = loss + ((real.scores - 1) ** 2).mean() + (fake.scores**2).mean()
                of_d.zero_grad()
                loss.backward()
                for judge in (mrd, mpd):
                    torch.nn.utils.clip_grad_norm_(judge.parameters(), 0.5)
                of_d.step()
            loss = 5.0 * mel_distance(real_B1N, fake_B1N)
            for judge in (mrd, mpd) if step >= 2 else ():
                for real, fake in zip(judge.hear(real_B1N), judge.hear(fake_B1N), strict=True):
                    loss = loss + ((fake.scores - 1) ** 2).mean()
                    for a, b in zip(real.maps, fake.maps, strict=True):
                        loss = loss + 2 * (a.detach() - b).abs().mean()
            of_g.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(generator.parameters(), 0.5)
            of_g.step()
            step += 1
    stage, result = stage2.train(config, progress=False)
    assert result.steps == step == 6
    for name, module in {"generator": generator, "mpd": mpd, "mrd": mrd}.items():
        for key, wanted in module.state_dict().items():
            torch.testing.assert_close(stage.modules[name].state_dict()[key], wanted, atol=1e-6, rtol=0, msg=key)
    (batch,) = data.validation()
    with torch.no_grad():
        context_BN = batch.context_BEN.flatten(0, 1)
        fake_BN = generator(log_mel(context_BN, heard)[:, :, CONTEXT_FRAMES:-CONTEXT_FRAMES])[:, 0]
        apart = (log_mel(fake_BN, compared) - log_mel(batch.wave_BEN.flatten(0, 1), compared)).abs().mean()
    assert stage.validate(batch, Draw(0, -1, batch.indices))["mel_l1"] == pytest.approx(float(apart), abs=1e-5)


@pytest.mark.parametrize(("until", "norm"), [(1, 1e-4), (0, 1e-2)])
def test_gradients_are_clipped_lower_in_the_beginning(tmp_path, until, norm):
    early = {"early_clip_norm": 1e-4, "early_clip_steps": until, "vocoder": {"clip_grad_norm": 1e-2}}
    stage, _ = stage2.train(config_in(tmp_path, epochs=1, rounds=1, batch_size=4, **early), progress=False)
    gradients = [p.grad for p in stage.generator.parameters()]
    assert float(torch.nn.utils.get_total_norm(gradients)) == pytest.approx(norm, rel=1e-3)


# --- where 2b begins


@pytest.fixture(scope="module")
def first(tmp_path_factory, recordings):
    """A finished 2a."""
    folder = tmp_path_factory.mktemp("first")
    return stage2.train(config_in(folder, keep_epochs=1), progress=False)


def test_2b_begins_with_2as_weights_discriminators_and_optimizers(tmp_path, first, recordings, capsys):
    stage_a, result_a = first
    config = sampled(
        tmp_path, recordings, start_from=str(result_a.folder / "g_00000008"), vocoder={"learning_rate": 1e-12}
    )
    stage, _ = stage2.train(config, progress=True)
    assert "g_00000008, discriminators and optimizers from do_00000008" in capsys.readouterr().out
    for name, module in stage.modules.items():  # at such a rate they stay what they were
        for key, value in module.state_dict().items():
            torch.testing.assert_close(value, stage_a.modules[name].state_dict()[key])
    kept = checkpoint.load(result_a.folder / "do_00000008")
    for optimizer, player in (("optim_g", "generator"), ("optim_d", "discriminators")):
        moments = {p.name: p for p in stage.players}[player].moments()
        assert torch.equal(moments[3]["exp_avg"], kept[optimizer]["state"][3]["exp_avg"])
    went_on = checkpoint.load(tmp_path / "two" / "do_00000004")
    assert went_on["optim_g"]["state"][0]["step"] == 8 + 4
    assert went_on["steps"] == 4
    stage2.train(config.replace(start_from="gone"), progress=True)  # a run under way does not read it again


def test_the_best_keeps_its_discriminators_and_moments_however_long_the_run_goes_on(tmp_path, monkeypatch, recordings):
    """The best at the first of three validations: the numbered files of its step are gone at the end."""
    scores = iter((1.0, 2.0, 3.0))
    monkeypatch.setattr(stage2.Stage2, "validate", lambda *_: {"mel_l1": next(scores)})
    at_best, real = {}, stage2.Stage2.export

    def watched(self, folder, tag, weights, state):
        if tag == "best":
            at_best.update({name: module.state_dict()["discriminators.0.conv_post.bias"].clone()
                            for name, module in self.judges.items()})  # fmt: skip
        return real(self, folder, tag, weights, state)

    monkeypatch.setattr(stage2.Stage2, "export", watched)
    config = config_in(tmp_path, audio_dir=str(recordings / "wav"), epochs=3, rounds=1, keep_epochs=0)
    stage, result = stage2.train(config.replace(mel_pred_dir=None), progress=False)
    assert sorted(p.name for p in result.folder.glob("do_*")) == ["do_00000006", "do_best"]
    start = find_start(result.folder)
    assert (start.generator.name, start.others.name) == ("g_best", "do_best")
    assert checkpoint.load(start.others)["steps"] == 2
    assert start.moments("optim_g", stage.judges)[0]["step"] == 2
    begun = stage2.Stage2(config, 2, start=start)
    for name, bias in at_best.items():
        assert torch.equal(begun.judges[name].state_dict()["discriminators.0.conv_post.bias"], bias)


def test_of_a_folder_the_best_is_taken_with_its_do_file(tmp_path, first):
    folder = first[1].folder
    rows = [r for r in json.loads((folder / "training_history.json").read_text())["rows"] if r["kind"] == "validate"]
    step = min(rows, key=lambda row: row["mel_l1"])["step"]
    start = find_start(folder)
    assert (start.generator, start.others) == (folder / "g_best", folder / "do_best")
    for name in ("g_best", f"do_{step:08d}", "training_history.json"):  # as earlier runs left them
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert find_start(tmp_path).others == tmp_path / f"do_{step:08d}"
    (tmp_path / f"do_{step:08d}").unlink()
    assert "so the discriminators begin anew" in find_start(tmp_path).said()
    for name in ("g_00000008", "do_00000008"):  # of an earlier run that went on after its best
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "training_history.json").unlink()
    start = find_start(tmp_path)
    assert (start.generator.name, start.others.name) == ("g_00000008", "do_00000008")
    assert "g_00000008 (g_best has no discriminators left), discriminators and optimizers from do_0" in start.said()
    for name in ("g_best", "do_00000008"):
        (tmp_path / name).unlink()
    for name in ("g_00000004", "do_00000004", "g_00000008", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert find_start(tmp_path).generator == tmp_path / "g_00000008"
    assert "there is no do_00000008 beside it" in find_start(tmp_path).said()
    assert find_start(tmp_path / "g_00000004").others == tmp_path / "do_00000004"
    (tmp_path / "g_00000004").rename(tmp_path / "bigvgan_generator.pt")
    (tmp_path / "do_00000004").rename(tmp_path / "bigvgan_discriminator_optimizer.pt")
    (tmp_path / "g_00000008").unlink()
    start = find_start(tmp_path)
    assert (start.generator.name, start.others.name) == ("bigvgan_generator.pt", "bigvgan_discriminator_optimizer.pt")
    assert len(start.moments("optim_d", {"mpd": None, "mrd": None})) > 0
    assert start.moments("optim_d", {"mpd": None}) == {}  # kept for both together


def test_a_folded_generator_is_trained_weight_normed(tmp_path, first):
    folder = first[1].folder
    folded = BigVGAN.from_checkpoint(folder / "g_best", BigVGANConfig.from_public(TINY)).remove_weight_norm()
    checkpoint.save(tmp_path / "g_folded", {"generator": folded.state_dict()})
    stage = stage2.Stage2(config_in(tmp_path), 4, start=find_start(tmp_path / "g_folded"))
    mel_BMF = torch.randn(1, 80, 5, generator=stream(0, "mel"))
    torch.testing.assert_close(stage.generator(mel_BMF), folded(mel_BMF), atol=1e-5, rtol=0)
    assert "conv_pre.weight_g" in stage.generator.state_dict()


def test_weights_of_the_diffusion_model_are_no_vocoder(tmp_path):
    checkpoint.save(tmp_path / "run" / "stage1" / "unet_best.pth", {"a": torch.zeros(1)})
    for path in ("run", "run/stage1", "run/stage1/unet_best.pth"):
        with pytest.raises(InputError, match=r"weights of the diffusion model.*`binaural mels`"):
            find_start(tmp_path / path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no vocoder's checkpoint"):
        find_start(tmp_path / "empty")
    with pytest.raises(InputError, match="is not there"):
        find_start(tmp_path / "gone")


def test_discriminators_of_another_kind_are_refused(tmp_path, first):
    config = config_in(tmp_path, vocoder={"resolutions": [[512, 128, 512], [256, 64, 256]]})
    with pytest.raises(InputError, match=r"weights of mrd from .* do not fit"):
        stage2.Stage2(config, 4, start=find_start(first[1].folder / "g_00000008"))


def test_moments_of_other_parameters_are_refused():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2))])
    fitting = {
        i: {"step": torch.tensor(5.0), "exp_avg": torch.ones(n), "exp_avg_sq": torch.ones(n)}
        for i, n in ((0, 3), (1, 2))
    }
    begin_with(optimizer, {}, "generator")
    assert not optimizer.state
    begin_with(optimizer, fitting, "generator")
    assert [float(state["exp_avg"].sum()) for state in optimizer.state.values()] == [3, 2]
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (1e-3, (0.9, 0.999))  # its own
    for other in ({0: fitting[0]}, {0: fitting[1], 1: fitting[0]}):
        with pytest.raises(InputError, match="the optimizer of generator was kept for other parameters"):
            begin_with(optimizer, other, "generator")


def test_the_linear_schedule_is_not_bent_by_more_epochs(tmp_path, recordings, monkeypatch):
    stage2.train(sampled(tmp_path, recordings, epochs=1), progress=False)
    with pytest.raises(InputError, match=r"a run of 1 epochs with the linear schedule.*schedule=piecewise"):
        stage2.train(sampled(tmp_path, recordings, epochs=2), progress=False)
    state = checkpoint.load(tmp_path / "two" / "state_latest.pt")
    for change in ({"schedule": "piecewise"}, {"use_scheduled_sampling": False}):  # these ask for no number of epochs
        checkpoint.save(tmp_path / "two" / "state_latest.pt", state | {"config": state["config"] | change})
        with pytest.raises(Stop):
            stopped_at_its_first_step(sampled(tmp_path, recordings, epochs=2, **change), monkeypatch)


def stopped_at_its_first_step(config, monkeypatch):
    def stop(*_):
        raise Stop

    monkeypatch.setattr(stage2.Stage2, "prepare", stop)
    stage2.train(config, progress=False)


def test_a_run_does_not_go_on_with_other_recordings(tmp_path, recordings, monkeypatch):
    for name in ("here", "there"):  # moved, they are the same ones
        shutil.copytree(recordings / "wav", tmp_path / name)
    stage2.train(config_in(tmp_path, audio_dir=str(tmp_path / "here"), epochs=1), progress=False)
    moved = config_in(tmp_path, audio_dir=str(tmp_path / "there"), epochs=2)
    with pytest.raises(Stop):
        stopped_at_its_first_step(moved, monkeypatch)
    state = tmp_path / "two" / "state_latest.pt"
    kept = checkpoint.load(state)
    for change, said in (("add", "4 clips .* then, 5 clips .* now"), ("rename", "4 clips .* then, 4 clips .* now")):
        if change == "add":
            shutil.copy(tmp_path / "there" / "clip0.wav", tmp_path / "there" / "clip10.wav")
        else:
            (tmp_path / "there" / "clip0.wav").unlink()
        with pytest.raises(InputError, match=rf"a run on other recordings \(train: {said}\).*another id"):
            stage2.train(moved, progress=False)
    kept["config"].pop("recordings")  # as earlier versions wrote it
    checkpoint.save(state, kept)
    with pytest.raises(Stop):
        stopped_at_its_first_step(moved, monkeypatch)


def test_a_run_goes_on_where_its_data_moved_but_not_with_other_data():
    here, there = {"audio_dir": "a", "mel_left_val_dir": "m"}, {"audio_dir": "b", "mel_left_val_dir": "n"}
    assert differences(here, there) == set()
    assert differences(here, here | {"audio_dir": None}) == {"audio_dir"}
    assert differences(here | {"schedule": "linear"}, here | {"schedule": "piecewise"}) == {"schedule"}


# --- validation


class Parrot(torch.nn.Module):
    """A generator that knows what was recorded; from predicted mels it is silent in the right ear."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def forward(self, mel_BMF):
        wave_BEN = self.batch.wave_BEN.clone()
        if self.batch.predicted_BEMF is not None and torch.equal(mel_BMF, self.batch.predicted_BEMF.flatten(0, 1)):
            wave_BEN[:, 1] = 0.01 * torch.randn(wave_BEN[:, 1].shape, generator=stream(0, "hiss"))
        return wave_BEN.flatten(0, 1)[:, None]


@pytest.fixture(scope="module")
def speech_EN():
    sound_N = read_audio(data_samples() / "dry" / "val" / "speaker_map.flac", sample_rate_hz=RATE).mono_N
    frames = 120 + 2 * CONTEXT_FRAMES
    return np.stack([sound_N[: frames * HOP], 0.5 * sound_N[: frames * HOP]])


def test_validation_measures_what_is_made_from_true_and_from_predicted_mels(tmp_path, speech_EN):
    batch = batch_of(speech_EN, np.full((2, 80, 120), -5.0, np.float32), index=7)
    stage = stage2.Stage2(config_in(tmp_path), 4, speech=frozenset({7}))
    stage.generator = Parrot(batch)
    scores = stage.validate(batch, Draw(0, -1, (7,)))
    assert scores["mel_l1"] == 0
    assert scores["multi_resolution_stft"] == pytest.approx((0.0, 1), abs=1e-4)
    for ear in ("left", "right"):
        assert scores[f"pesq_{ear}"] == (pytest.approx(4.644, abs=0.01), 1)
    assert scores["pesq_left_from_predicted"] == (pytest.approx(4.644, abs=0.01), 1)
    assert scores["pesq_right_from_predicted"][0] < 2
    assert scores["mel_l1_from_predicted"] > 0.5
    assert scores["multi_resolution_stft_from_predicted"][0] > 0.3
    stage.speech = frozenset()
    assert not any("pesq" in name for name in stage.validate(batch, Draw(0, -1, (7,))))


def test_pesq_is_kept_to_some_clips_of_speech(tmp_path):
    config = config_in(tmp_path, validation_speech=True, pesq_clips=1)
    assert segments.SegmentData(config).speech == {0}
    assert segments.SegmentData(config.replace(validation_speech=False)).speech == frozenset()
    labels = {"speaker": True, "person_talking": True, "Talking on the phone": True, "speaker+drum": False, "": False}
    for label, said in (labels | {"running water": False, "loudspeaker": False}).items():
        assert segments.is_speech(RecordingClip(clip_id="a", video_id="a", label=label)) is said, label
    clips = open_clips(SCENES.replace(scenes={"val": 12}), "val", DataConfig(frames_per_window=0))
    for clip in clips:
        assert segments.is_speech(clip) == all(s.label == "speaker" for s in clip.scene.sources)
    assert 0 < sum(map(segments.is_speech, clips)) < 12


def test_short_segments_are_not_judged_by_pesq(tmp_path, speech_EN):
    batch = batch_of(speech_EN[:, : (20 + 2 * CONTEXT_FRAMES) * HOP])
    stage = stage2.Stage2(config_in(tmp_path), 4, speech=frozenset({0}))
    assert not any("pesq" in name for name in stage.validate(batch, Draw(0, -1, (0,))))


def test_validation_segments_may_be_longer_than_training_ones(tmp_path):
    data = segments.SegmentData(config_in(tmp_path, validation_frames=90))
    assert next(iter(data.validation())).wave_BEN.shape[-1] == 90 * HOP
    assert next(iter(data.training(0, 0))).wave_BEN.shape[-1] == 24 * HOP


def test_tensorboard_shows_and_plays_what_was_made_from_both_kinds_of_mels(tmp_path, recordings):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stage2.train(sampled(tmp_path, recordings, epochs=1), progress=False)
    events = EventAccumulator(str(tmp_path / "two" / "runs"), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    assert events.Tags()["images"] == ["mels"]
    made = {"recorded", "generated from true mels", "generated from predicted mels"}
    assert {name.replace("_", " ") for name in events.Tags()["audio"]} == made
    scalars = set(events.Tags()["scalars"])
    assert {"validate/mel_l1", "validate/mel_l1_from_predicted", "validate/multi_resolution_stft"} <= scalars


# --- the command line


def taken_by(monkeypatch, *flags) -> stage2.Stage2Config:
    """The config that a command line leads to."""
    taken = []

    def train(config, world, **_):
        taken.append(config)
        raise InputError("seen", why="enough", fix="none")

    monkeypatch.setattr(stage2, "run", train)
    assert cli.main(["train", "stage2", *flags]) == 2
    return taken[0] if taken else None


def test_the_originals_flags_reach_the_config(monkeypatch, tmp_path, recordings):
    public = config_in(tmp_path).bigvgan.replace(batch_size=3, seed=77).save_json(tmp_path / "public.json")
    flags = {f"--{name}": folder for name, folder in true_folders(recordings).items()}
    flags |= {"--mel_pred_left_dir": "pl", "--mel_pred_right_dir": "pr", "--audio_dir": str(recordings / "wav")}
    flags |= {"--checkpoint_path": "c", "--config": str(public), "--training_epochs": "5", "--checkpoint_interval": "6"}
    flags |= {"--validation_interval": "7", "--freeze_step": "8", "--stage1_checkpoint_path": "g_1"}
    words = [word for pair in flags.items() for word in pair]
    config = taken_by(monkeypatch, *words, "--use_scheduled_sampling", "--load_stage1_checkpoint")
    assert {name: getattr(config, name) for name in true_folders(recordings)} == true_folders(recordings)
    assert (config.mel_pred_left_dir, config.mel_pred_right_dir, config.start_from) == ("pl", "pr", "g_1")
    assert (config.audio_dir, config.vocoder, config.run.checkpoints) == (str(recordings / "wav"), str(public), "c")
    run = config.run
    assert (run.epochs, run.checkpoint_steps, run.validate_epochs, run.batch_size, run.seed) == (5, 6, 7, 3, 77)
    assert config.bigvgan.freeze_step == 8
    assert config.use_scheduled_sampling is True
    again = taken_by(monkeypatch, *words, "--use_scheduled_sampling", "False", "--load_stage1_checkpoint", "False")
    assert (again.use_scheduled_sampling, again.start_from) == (False, None)


def test_the_folder_of_sound_is_a_data_set_or_a_plain_folder(monkeypatch, tmp_path, recordings):
    config = taken_by(monkeypatch, "--audio_dir", str(data_samples() / "fair_play"))
    assert (config.dataset.kind, config.dataset.root) == ("fairplay", str(data_samples() / "fair_play"))
    config = taken_by(monkeypatch, "--audio_dir", str(data_samples() / "real_binaural"))
    assert config.dataset.kind == "realbinaural"
    (tmp_path / "plain.yaml").write_text(f"audio_dir: {recordings / 'wav'}\n")
    assert taken_by(monkeypatch, "--config", str(tmp_path / "plain.yaml")).audio_dir == str(recordings / "wav")
    flags = ["--dataset", "fairplay", "--audio_dir", "d", "--config", str(tmp_path / "plain.yaml")]
    config = taken_by(monkeypatch, *flags)
    assert (config.dataset.root, config.audio_dir) == ("d", None)
    config = taken_by(monkeypatch, "--config", "bigvgan_tiny_22khz_80band.json")
    assert config.bigvgan.upsample_initial_channel == 64


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--load_stage1_checkpoint", "without --stage1_checkpoint_path"),
        ("--stage1_checkpoint_path a --start_from b", "they mean the same"),
        ("--dataset scenes --audio_dir d", "leave one of them out"),
        ("--config bigvgan_tiny_22khz_80band.json --vocoder x.json", "two vocoder configs"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(monkeypatch, capsys, flags, said):
    assert taken_by(monkeypatch, *flags.split()) is None
    assert said.lower() in capsys.readouterr().err.lower()
