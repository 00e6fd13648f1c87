"""Stage 2 through the loop, at toy size: true mels from folders, scheduled sampling, files, resume, the published steps."""

import itertools

import numpy as np
import pytest
import torch
from tiny_vocoder import HOP, TINY, Stop, batch_of, config_in, noise_batch, sampled, true_folders

from binaural_core import InputError, checkpoint
from binaural_core.audio import MelConfig, log_mel
from binaural_core.data.mel_pairs import CONTEXT_FRAMES, collate_mels
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.models.discriminators import (
    MultiPeriodDiscriminator,
    MultiResolutionDiscriminator,
    MultiScaleSubbandCQTDiscriminator,
)
from binaural_core.models.vocoder_losses import generator_losses, multi_scale_mel
from binaural_core.seeds import first_weights, stream
from binaural_core.training import annealing, segments, stage2
from binaural_core.training.distributed import launch
from binaural_core.training.stage import Draw


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
