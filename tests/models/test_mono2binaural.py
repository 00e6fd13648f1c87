"""The baseline's network: masks that give the ears back, windows that add up to the sound, and what it sees."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as fn

from binaural_core import InputError, checkpoint
from binaural_core.data.sample import Sight
from binaural_core.models.mono2binaural import (
    Mono2Binaural,
    Mono2BinauralConfig,
    ears,
    masked,
    sliding,
    to_level,
)
from binaural_core.models.visual import mirror_sight
from binaural_core.seeds import first_weights, numpy_stream, stream

SMALL = Mono2BinauralConfig(width=4, encoder="small", encoder_width=4, picture_px=(48, 32), places_dim=8)
WINDOW = SMALL.window_samples


def noise(*shape: int, purpose: str = "noise") -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=stream(0, purpose))


def without_top_bin(samples: int = WINDOW, purpose: str = "noise") -> torch.Tensor:
    """Noise (2, N) below 7 kHz that rises and falls with the window: the topmost bin of its spectrum is silent."""
    spectrum = torch.fft.rfft(noise(2, samples, purpose=purpose))
    spectrum[:, round(7 / 8 * spectrum.shape[1]) :] = 0
    return torch.fft.irfft(spectrum, samples) * torch.hann_window(samples)


def sight(batch: int, objects: int, config: Mono2BinauralConfig = SMALL) -> list[torch.Tensor]:
    wide, high = config.picture_px
    generator = stream(0, "sight")
    return [
        torch.randn(batch, 1, objects, 3, high, wide, generator=generator),
        torch.rand(batch, 1, objects, 2, generator=generator),
        90 * torch.randn(batch, 1, objects, 3, generator=generator).clamp(-1, 1).abs() + 0.5,
        torch.zeros(batch, 1, objects, dtype=torch.bool),
    ]


def built(config: Mono2BinauralConfig = SMALL) -> Mono2Binaural:
    """A network whose weights are large enough for everything to reach the mask without BatchNorm's batches."""
    with first_weights(0):
        net = Mono2Binaural(config).eval()
        for module in net.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)):
                torch.nn.init.kaiming_normal_(module.weight)
        return net


class OracleMask(torch.nn.Module):
    """In the place of the U-Net: the mask that the true difference asks for."""

    def __init__(self, difference_B2KF: torch.Tensor):
        super().__init__()
        self.difference_B2KF = difference_B2KF
        self.out = torch.nn.Linear(1, 1)

    def forward(self, sum_B2KF, seen_BD):
        true, whole = (torch.complex(*x.double().unbind(1)) for x in (self.difference_B2KF, sum_B2KF[:, :, :-1]))
        quotient = true / whole
        return torch.stack([quotient.real, quotient.imag], dim=1)


def test_the_numbers_are_the_papers():
    config = Mono2BinauralConfig()
    assert (config.sample_rate_hz, config.window_samples, config.bins, config.frames) == (16_000, 10_080, 256, 64)
    net = Mono2Binaural(config)
    assert [down[0].out_channels for down in net.unet.downs] == [64, 128, 256, 512, 512]
    assert net.picture.features == 8 * 14 * 7
    assert [up[0].in_channels for up in net.unet.ups] == [784 + 512, 1024, 512, 256]
    assert (net.unet.out.in_channels, net.unet.out.out_channels) == (128, 2)


def test_a_mask_turns_and_scales_as_complex_numbers_do():
    mask, whole = torch.tensor([0.6, -0.8]), torch.tensor([2.0, 3.0])
    made = masked(mask.view(1, 2, 1, 1), whole.view(1, 2, 1, 1)).flatten()
    true = complex(*mask) * complex(*whole)
    assert made.tolist() == pytest.approx([true.real, true.imag])


def test_spectrum_and_back_is_the_wave():
    net = built()
    wave = without_top_bin()
    torch.testing.assert_close(net.wave(net.spectrum(wave)[:, :, :-1], WINDOW), wave, atol=1e-6, rtol=0)
    tone = 0.3 * torch.sin(2 * torch.pi * 440 / 16_000 * torch.arange(WINDOW))[None]
    torch.testing.assert_close(net.wave(net.spectrum(tone)[:, :, :-1], WINDOW), tone, atol=2e-3, rtol=0)


def test_the_true_mask_gives_both_ears_back():
    net = built().double()
    left, right = (without_top_bin(purpose=ear) for ear in ("left", "right"))
    mono = (left + right) / 2
    gain = to_level(mono, SMALL.rms)
    net.unet = OracleMask(net.spectrum((left - right) * gain)[:, :, :-1])
    net.picture.forward = lambda pictures: pictures.flatten(1)
    difference = net.separate(mono, *sight(2, 1))
    for one in range(2):
        made = ears(mono[one].numpy(), difference[one].numpy())
        np.testing.assert_allclose(made[0], left[one], atol=1e-6)
        np.testing.assert_allclose(made[1], right[one], atol=1e-6)
    assert float((left - right).abs().max()) > 0.3


def test_a_mask_of_zeros_is_the_mono_copy():
    net = built()
    torch.nn.init.zeros_(net.unet.out.weight)
    torch.nn.init.zeros_(net.unet.out.bias)
    mono = noise(1, WINDOW)
    difference = net.separate(mono, *sight(1, 1))
    assert float(difference.detach().abs().max()) == 0
    made = ears(mono[0].numpy(), difference[0].detach().numpy())
    np.testing.assert_array_equal(made, np.stack([mono[0], mono[0]]))


def test_what_the_ears_add_up_to_is_twice_the_mono():
    mono, difference = noise(2, 100).numpy()
    made = ears(mono, difference)
    np.testing.assert_allclose(made.sum(axis=0), 2 * mono, atol=1e-7)
    np.testing.assert_allclose(made[0] - made[1], difference, atol=1e-7)


def test_a_mask_of_one_puts_everything_left():
    mono = noise(1, WINDOW)
    net = built()
    torch.nn.init.zeros_(net.unet.out.weight)
    with torch.no_grad():
        net.unet.out.bias.copy_(torch.tensor([40.0, 0.0]))  # 2 sigmoid(40) - 1 = 1
    difference = net.separate(mono, *sight(1, 1)).detach()
    left, right = ears(mono[0].numpy(), difference[0].numpy())
    assert np.square(right).sum() < 1e-3 * np.square(left).sum()


def test_the_mask_stays_within_one():
    net = built()
    torch.nn.init.normal_(net.unet.out.weight, std=50.0, generator=stream(0, "large"))
    mask = net(net.spectrum(noise(2, WINDOW)), *sight(2, 1)).detach()
    assert mask.shape == (2, 2, 256, 64)
    assert float(mask.abs().max()) == pytest.approx(1.0, abs=1e-3)


def test_how_loud_a_window_is_does_not_change_what_is_heard_in_it():
    net, mono = built(), noise(1, WINDOW)
    plain, louder = (net.separate(gain * mono, *sight(1, 1)).detach() for gain in (1.0, 8.0))
    torch.testing.assert_close(louder, 8 * plain, atol=1e-5, rtol=1e-4)
    assert float(plain.abs().max()) > 0
    assert float(net.separate(torch.zeros(1, WINDOW), *sight(1, 1)).detach().abs().max()) == 0


def test_the_picture_reaches_the_mask_and_of_several_the_middle_one():
    net = built()
    spectrum, seen = net.spectrum(noise(1, WINDOW)), sight(1, 1)
    three = [torch.cat([torch.zeros_like(x), x, torch.ones_like(x)], dim=1) for x in seen]
    torch.testing.assert_close(net(spectrum, *three), net(spectrum, *seen))
    other = net(spectrum, seen[0].flip(-1), *seen[1:])
    assert float((other - net(spectrum, *seen)).detach().abs().max()) > 1e-5


@pytest.mark.parametrize("shown, first", [("positions", 0), ("both", 1)])
def test_objects_count_in_any_order_and_only_where_they_are(shown, first):
    net = built(SMALL.replace(sight=shown))
    spectrum, seen = net.spectrum(noise(1, WINDOW)), sight(1, 4)
    seen[3][0, 0, 3] = True
    order = [0, 2, 1, 3]
    made = net(spectrum, *seen).detach()
    turned = net(spectrum, *(x[:, :, order] if i else x for i, x in enumerate(seen))).detach()
    torch.testing.assert_close(turned, made, atol=1e-6, rtol=1e-5)
    seen[1][0, 0, 3] = seen[2][0, 0, 3] = torch.nan
    torch.testing.assert_close(net(spectrum, *seen).detach(), made)
    fewer = [seen[0], *(x[:, :, :3] for x in seen[1:])]
    torch.testing.assert_close(net(spectrum, *fewer).detach(), made, atol=1e-6, rtol=1e-5)
    moved = [x.clone() for x in seen]
    moved[2][0, 0, first] += 20
    assert float((net(spectrum, *moved).detach() - made).abs().max()) > 1e-6
    moved = [x.clone() for x in seen]
    moved[2][0, 0, 0] += 20
    assert torch.equal(net(spectrum, *moved).detach(), made) == (first == 1)


def test_positions_alone_need_no_pictures():
    net = built(SMALL.replace(sight="positions"))
    assert net.picture is None
    spectrum, seen = net.spectrum(noise(1, WINDOW)), sight(1, 2)
    torch.testing.assert_close(net(spectrum, seen[0] * 0, *seen[1:]), net(spectrum, *seen))
    mirrored = net(spectrum, *mirror_sight(seen)).detach()
    assert float((mirrored - net(spectrum, *seen)).detach().abs().max()) > 1e-6


def pieces(wave_N: np.ndarray, sizes=(700, 1, 33, 5000)):
    at = 0
    while at < len(wave_N):
        for size in sizes:
            if at < len(wave_N):
                yield wave_N[at : at + size]
            at += size


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 117, 200, 1234])
@pytest.mark.parametrize("hop", [100, 30, 7])
def test_windows_that_change_nothing_add_up_to_the_sound(samples, hop):
    wave = numpy_stream(0, "sliding", samples).standard_normal(samples).astype(np.float32)
    found = list(sliding(pieces(wave, (13, 250)), 100, hop, lambda windows, starts: windows, at_once=3))
    np.testing.assert_array_equal(np.concatenate([mono for mono, _ in found]), wave)
    np.testing.assert_allclose(np.concatenate([made for _, made in found]), wave, atol=1e-6)


def test_a_sample_is_the_mean_of_all_windows_that_cover_it():
    wave = np.zeros(250, np.float32)
    begun = []

    def make(windows, starts):
        begun.extend(starts)
        return np.repeat(np.array(starts, np.float64)[:, None], 100, axis=1)

    made = np.concatenate([m for _, m in sliding(pieces(wave, (64,)), 100, 40, make, at_once=2)])
    assert begun == [0, 40, 80, 120, 150]
    covering = [[s for s in begun if s <= n < s + 100] for n in range(250)]
    np.testing.assert_allclose(made, [np.mean(starts) for starts in covering], rtol=1e-6)


def test_a_long_sound_is_held_only_in_part():
    """Pieces come out as long as the windows of a batch, while the sound still comes in."""
    given, longest = [0], 0
    blocks = (given.__setitem__(0, given[0] + 50) or np.zeros(50, np.float32) for _ in range(400))
    taken = 0
    for mono, _ in sliding(blocks, 100, 25, lambda windows, starts: windows, at_once=4):
        taken += len(mono)
        longest = max(longest, given[0] - taken)
    assert taken == 20_000
    assert longest <= 100 + 5 * 25 + 50


def test_no_sound_gives_none():
    assert list(sliding(iter([]), 100, 25, lambda windows, starts: windows)) == []
    with pytest.raises(InputError, match="hop=101"):
        list(sliding(iter([]), 100, 101, lambda windows, starts: windows))


def test_every_window_of_a_long_sound_sees_the_picture_at_its_middle():
    net, asked = built(), []

    def look(times_s):
        asked.extend(times_s)
        one = [x[0].repeat(len(times_s), *[1] * (x.dim() - 2)).numpy() for x in sight(1, 1)]
        return Sight(*one)

    wave = noise(1, 20_000)[0].numpy()
    found = list(net.differences(pieces(wave), look, hop_s=0.25))
    assert asked == pytest.approx([0.315, 0.565, 0.815, 20_000 / 16_000 - 0.315])
    np.testing.assert_array_equal(np.concatenate([mono for mono, _ in found]), wave)
    first = net.separate(torch.from_numpy(wave[None, :WINDOW]), *sight(1, 1)).detach().numpy()
    np.testing.assert_allclose(np.concatenate([d for _, d in found])[:4000], first[0, :4000], atol=1e-5)


def test_the_loss_of_one_batch_falls():
    with first_weights(0):
        net = Mono2Binaural(SMALL)
    mono, seen = noise(2, WINDOW), sight(2, 1)
    whole = net.spectrum(2 * mono * to_level(mono, SMALL.rms))
    true = torch.stack([0.5 * whole[0, :, :-1], -0.5 * whole[1, :, :-1]])
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=1e-2), []
    for _ in range(40):
        loss = fn.mse_loss(masked(net(whole, *seen), whole), true)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    nothing = float(true.square().mean())
    assert losses[0] > 0.8 * nothing
    assert losses[-1] < 0.3 * nothing


def test_a_folder_of_a_training_is_read_and_others_are_refused(tmp_path):
    net = built()
    with pytest.raises(InputError, match=r"config\.yaml is not there"):
        Mono2Binaural.from_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("model: {width: 4}\n")
    with pytest.raises(InputError, match="not the config of a Mono2Binaural"):
        Mono2Binaural.from_folder(tmp_path)
    (tmp_path / "config.yaml").write_text(str({"model": SMALL.to_dict(), "run": {}}).replace("None", "null"))
    checkpoint.save(tmp_path / "mono2binaural_best.pth", net.state_dict())
    loaded = Mono2Binaural.from_folder(tmp_path)
    assert loaded.config == SMALL
    assert not loaded.training
    torch.testing.assert_close(loaded.state_dict(), net.state_dict())


def test_a_resnet_sees_the_picture_place_by_place():
    config = SMALL.replace(encoder="resnet18", picture_px=(64, 33), picture_channels=2)
    net = built(config)
    assert net.picture.features == 2 * 2 * 2
    assert net(net.spectrum(noise(1, WINDOW)), *sight(1, 1, config)).shape == (1, 2, 256, 64)


@pytest.mark.parametrize(
    "changes",
    [
        {"window_frames": 64},
        {"n_fft": 500},
        {"win_samples": 600},
        {"hop_samples": 401},
        {"encoder_weights": "public"},
        {"encoder_width": 6},
        {"picture_px": (16, 64)},
        {"rms": 0.0},
    ],
)
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(InputError):
        SMALL.replace(**changes)


def test_other_rates_are_a_matter_of_settings():
    config = dataclasses.replace(SMALL, sample_rate_hz=22_050, n_fft=576, win_samples=551, hop_samples=220)
    net = built(config)
    assert net.separate(noise(1, config.window_samples), *sight(1, 1)).shape == (1, 63 * 220)
