"""The fused kernels against exact arithmetic, against the plain way in float64, and against the public reference."""

import copy
import ctypes
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune

from binaural_core.errors import InputError
from binaural_core.models import kernels
from binaural_core.models.alias_free import AliasFree, Snake, SnakeBeta
from binaural_core.models.bigvgan import BigVGAN, BigVGANConfig
from binaural_core.models.kernels import build, cook_toom, fused
from binaural_core.models.kernels.packed import Convolution, PackedBigVGAN

GOLDEN = Path(__file__).parents[1] / "golden" / "bigvgan"
WAYS = ["plain", "polyphase", "fused"]
# around the ends of stretches and chunks
LENGTHS = [1, 2, 3, 4, 63, 64, 65, 67, 128, 511, 512, 513, 514, 515, 516, 1030]


@pytest.fixture(autouse=True)
def _compiled():
    assert build.library("cpu") is not None, "the tests need a C++ compiler, as the installation did"


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def activation(channels: int, kind=SnakeBeta) -> AliasFree:
    made = AliasFree(kind(channels, log_scale=True))
    with torch.no_grad():
        for number, parameter in enumerate(made.act.parameters()):
            parameter.copy_(0.5 * drawn(channels, seed=number + 1))
    return made


# --- the activation


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("samples, atol", [(1, 1e-5), (2, 1e-5), (6, 1e-5), (37, 2e-4), (530, 1e-5)])
@pytest.mark.parametrize(
    "kind, scale", [("snake", "lin"), ("snake", "log"), ("snakebeta", "lin"), ("snakebeta", "log")]
)
def test_every_way_gives_the_reference_activation(way, kind, scale, samples, atol):
    golden = np.load(GOLDEN / "activation" / "activation.npz")
    curve = {"snake": Snake, "snakebeta": SnakeBeta}[kind](6, log_scale=scale == "log")
    curve.load_state_dict({k: torch.from_numpy(golden[f"{kind}_{scale}.{k}"]) for k in curve.state_dict()})
    with torch.no_grad(), kernels.using(way):
        y = AliasFree(curve)(torch.from_numpy(golden[f"{kind}_{scale}.x{samples}"]))
    np.testing.assert_allclose(y, golden[f"{kind}_{scale}.y{samples}"], rtol=0, atol=atol)


@pytest.mark.parametrize("way", ["polyphase", "fused"])
@pytest.mark.parametrize("samples", LENGTHS)
def test_ends_and_joins_are_where_they_belong(way, samples):
    layer, x = activation(3), drawn(2, 3, samples)
    with torch.no_grad(), kernels.using(way):
        y, exact = layer(x), layer.double()(x.double())
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=3e-6)


def test_polyphase_takes_a_few_channels_at_a_time(monkeypatch):
    from binaural_core.models.alias_free import activation as module

    layer, x = activation(7), drawn(2, 7, 40)
    with torch.no_grad(), kernels.using("polyphase"):
        together = layer(x)
        monkeypatch.setattr(module, "AT_ONCE", 3 * 40)
        torch.testing.assert_close(layer(x), together, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [Snake, SnakeBeta])
@pytest.mark.parametrize("samples", LENGTHS)
def test_gradients_are_those_of_the_plain_way(kind, samples):
    layer, x, given = activation(3, kind), drawn(2, 3, samples), drawn(2, 3, samples, seed=9)

    def gradients(way: str, dtype: torch.dtype) -> list[torch.Tensor]:
        with kernels.using(way):
            x_here = x.to(dtype).requires_grad_()
            made = layer.to(dtype)
            return torch.autograd.grad((made(x_here) * given).sum(), [x_here, *made.parameters()])

    exact = gradients("plain", torch.float64)
    for ours, true in zip(gradients("fused", torch.float32), exact, strict=True):
        torch.testing.assert_close(ours.double(), true, rtol=1e-5, atol=3e-5)


def test_large_arguments_lose_nothing():
    """alpha x up to 20,000: what is left is the rounding of the angle itself."""
    layer = AliasFree(Snake(1, log_scale=False))
    with torch.no_grad():
        layer.act.alpha.fill_(100.0)
        x = 200 * drawn(1, 1, 300)
        exact = layer.double()(x.double())
        rounding = 200 * 100 * 2**-23 * 4 / 100  # of an angle of 2e4, times the slope 1 / alpha, four deviations
        torch.testing.assert_close(layer.float()(x).double(), exact, rtol=2e-6, atol=rounding)


def test_half_precision_comes_back_as_it_went_in():
    layer, x = activation(4), drawn(1, 4, 50).bfloat16().requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16


def test_nan_stays_where_it_can_be_heard():
    x = drawn(1, 1, 200)
    x[0, 0, 100] = float("nan")
    with torch.no_grad():
        broken = activation(1)(x).isnan()[0, 0].nonzero().flatten()
    assert broken.min() == 95
    assert broken.max() == 105


# --- the CUDA kernel's arithmetic, on the CPU


@pytest.fixture(scope="module")
def cuda_on_cpu(tmp_path_factory) -> ctypes.CDLL:
    source = build.HERE / "alias_free.cu"
    made = tmp_path_factory.mktemp("cuda") / "alias_free.so"
    shim = str(Path(__file__).with_name("cuda_on_cpu.h"))
    command = [
        "g++",
        "-O1",
        "-shared",
        "-fPIC",
        "-std=c++17",
        "-include",
        shim,
        "-x",
        "c++",
        str(source),
        "-o",
        str(made),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return ctypes.CDLL(str(made))


@pytest.mark.parametrize("samples", LENGTHS)
def test_cuda_kernel_computes_what_the_cpu_kernel_does(cuda_on_cpu, samples, monkeypatch):
    layer, x, given = activation(3), drawn(2, 3, samples), drawn(2, 3, samples, seed=9)

    def both(function) -> list[torch.Tensor]:
        x_here = x.clone().requires_grad_()
        y = function(x_here, *layer.curve(), layer.upsample.filter.flatten())
        return [y, *torch.autograd.grad((y * given).sum(), [x_here, *layer.parameters()])]

    on_cpu = both(fused.AliasFreeFunction.apply)

    def call(name: str, *tensors: torch.Tensor, shape: torch.Size) -> None:
        sizes = [ctypes.c_int64(n) for n in (shape[0] * shape[1], *shape[1:])]
        assert getattr(cuda_on_cpu, name)(*(ctypes.c_void_p(t.data_ptr()) for t in tensors), *sizes, None) == 0

    monkeypatch.setattr(fused, "_call", call)
    for ours, theirs in zip(both(fused.AliasFreeFunction.apply), on_cpu, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=3e-5)


# --- convolutions with fewer multiplications


@pytest.mark.parametrize("taps", cook_toom.POINTS)
def test_inner_transform_is_exact_in_fractions(taps):
    made = cook_toom.TRANSFORMS[taps]
    rng = np.random.default_rng(0)
    w = np.array([Fraction(int(v)) for v in rng.integers(-99, 99, taps)])
    x = np.array([Fraction(int(v)) for v in rng.integers(-99, 99, taps + cook_toom.STEP - 1)])
    y = made.synthesis @ ((made.filters @ w) * (made.analysis @ x))
    assert y.tolist() == [sum(w * x[i : i + taps]) for i in range(cook_toom.STEP)]


def convolution(w_OIK: torch.Tensor, bias_O: torch.Tensor, dilation: int = 1) -> Convolution:
    lanes = build.library().lanes()
    bias_VL = F.pad(bias_O, (0, -len(bias_O) % lanes)).view(-1, lanes)
    return Convolution(cook_toom.prepare(w_OIK, lanes), bias_VL, dilation)


def packed(x_BCN: torch.Tensor) -> torch.Tensor:
    lanes = build.library().lanes()
    return F.pad(x_BCN, (0, 0, 0, -x_BCN.shape[1] % lanes)).unflatten(1, (-1, lanes)).mT.contiguous()


def unpacked(x_BVNL: torch.Tensor, channels: int) -> torch.Tensor:
    return x_BVNL.mT.flatten(1, 2)[:, :channels]


@pytest.mark.parametrize("taps", [1, 3, 5, 7, 9, 11])
@pytest.mark.parametrize("dilation", [1, 3, 5])
@pytest.mark.parametrize("inputs, outputs, samples", [(3, 5, 1), (17, 40, 37), (48, 16, 600)])
def test_convolution_is_the_plain_one(taps, dilation, inputs, outputs, samples):
    x, bias = drawn(2, inputs, samples), drawn(outputs, seed=1)
    w = drawn(outputs, inputs, taps, seed=2) / (inputs * taps) ** 0.5
    exact = F.conv1d(x.double(), w.double(), bias.double(), dilation=dilation, padding=dilation * (taps // 2))
    made = convolution(w, bias, dilation)
    torch.testing.assert_close(unpacked(made(packed(x)), outputs).double(), exact, rtol=0, atol=3e-5)
    more, into = drawn(2, outputs, samples, seed=3), drawn(2, outputs, samples, seed=4)
    total = made(packed(x), add=packed(more), into=packed(into))
    torch.testing.assert_close(unpacked(total, outputs).double(), exact + more + into, rtol=0, atol=3e-5)
    empty = unpacked(made(packed(x)), -(-outputs // 16) * 16)[:, outputs:]
    assert not empty.any(), "the padded channels stay zero"


@pytest.mark.parametrize("stride, taps", [(2, 4), (4, 8), (8, 16), (2, 2), (3, 7), (4, 6), (1, 3)])
def test_transposed_convolution_as_a_plain_one(stride, taps):
    x, w, padding = drawn(2, 5, 9).double(), drawn(5, 3, taps, seed=1).double(), (taps - stride) // 2
    plain = cook_toom.transposed_as_plain(w, stride, padding)
    phases = F.conv1d(x, plain, padding=plain.shape[-1] // 2).unflatten(1, (stride, 3))
    exact = F.conv_transpose1d(x, w, stride=stride, padding=padding)
    torch.testing.assert_close(phases.permute(0, 2, 3, 1).flatten(2), exact, rtol=0, atol=1e-12)


# --- the whole generator


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("suffix", ["", "_loud", "_T1"])
@pytest.mark.parametrize("version", ["gen_v1_tiny", "gen_v2_tiny"])
def test_every_way_gives_the_reference_sound(version, way, suffix):
    folder = GOLDEN / version
    io = np.load(folder / "io.npz")
    config = BigVGANConfig.from_json(folder / "config.json")
    generator = BigVGAN.from_checkpoint(folder / "bigvgan_generator.pt", config).eval()
    with torch.no_grad(), kernels.using(way):
        wave = generator(torch.from_numpy(io[f"mel{suffix}"]))
    assert (generator._packed is not None) == (way == "fused")
    np.testing.assert_allclose(wave, io[f"wav{suffix}"], rtol=0, atol=2e-5)


def small(**changes) -> BigVGAN:
    """A generator with everything that is unusual, its output of the order of 1."""
    config = BigVGANConfig.from_json(GOLDEN / "gen_v2_tiny" / "config.json").replace(**changes)
    torch.manual_seed(0)
    generator = BigVGAN(config).eval()
    with torch.no_grad():
        for layer in (m for m in generator.modules() if isinstance(m, Snake)):
            for parameter in layer.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        generator.conv_post.weight_g *= 30
    return generator


@pytest.mark.parametrize(
    "changes",
    [
        {"resblock": "2", "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 2], [2, 6]]},
        {
            "resblock_kernel_sizes": [9],
            "resblock_dilation_sizes": [[1, 4]],
            "activation": "snake",
            "snake_logscale": False,
        },
        {"upsample_rates": [8, 8, 4], "upsample_kernel_sizes": [16, 10, 4], "upsample_initial_channel": 40},
        {"resblock_kernel_sizes": [3, 13, 11]},  # 13 taps: too long to be packed
        {"upsample_rates": [4, 64], "upsample_kernel_sizes": [48, 64]},  # 13 taps as a plain convolution
        {"upsample_rates": [1, 4, 64], "upsample_kernel_sizes": [11, 10, 70]},
        {"use_tanh_at_final": True, "use_bias_at_final": True, "upsample_initial_channel": 320},
    ],
)
@pytest.mark.parametrize("frames", [1, 7, 40])
def test_unusual_generators_sound_as_they_do_the_plain_way(changes, frames):
    generator, mel = small(**changes), drawn(3, 80, frames) * 2 - 5
    with torch.no_grad():
        ours = generator(mel)
        too_long = 13 in generator.config.resblock_kernel_sizes or 48 in generator.config.upsample_kernel_sizes
        assert (generator._packed is not None) == (not too_long)
        exact = generator.double()(mel.double())
    assert exact.std() > 0.02
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-5)


def test_batch_mates_and_threads_change_nothing():
    generator, mel = small(), drawn(3, 80, 30) - 5
    with torch.no_grad():
        together = generator(mel)
        alone = torch.cat([generator(mel[i : i + 1]) for i in range(3)])
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            threaded = generator(mel)
        finally:
            torch.set_num_threads(before)
    assert torch.equal(together, alone)
    assert torch.equal(together, threaded)


def test_any_changed_number_is_heard():
    generator, mel = small(), drawn(1, 80, 5) - 5
    with torch.no_grad():
        before = generator(mel)
        for number, (name, tensor) in enumerate(generator.state_dict(keep_vars=True).items()):
            if "filter" in name:
                continue  # fixed by the published definition
            one = drawn(1, seed=number).mul(tensor.numel()).abs().long().item() % tensor.numel()
            kept, other = tensor.flatten()[one].item(), generator(mel)
            tensor.data.view(-1)[one] += 1  # not counted by PyTorch
            changed = generator(mel)
            with kernels.using("plain"):
                torch.testing.assert_close(changed, generator(mel), rtol=0, atol=5e-5)
            tensor.data.view(-1)[one] = kept
            assert torch.equal(generator(mel), other)
        generator.conv_post.weight_v.mul_(-1)
        torch.testing.assert_close(generator(mel), -before, rtol=0, atol=1e-6)
        generator.load_state_dict(small().state_dict())
        assert torch.equal(generator(mel), before)
        assert torch.equal(generator.remove_weight_norm()(mel), before)


def test_a_gradient_for_the_mel_alone_is_the_plain_one():
    generator, mel = small().requires_grad_(False), drawn(1, 80, 4) - 5
    found = {}
    for way in ("plain", "fused"):
        with kernels.using(way):
            asked = mel.clone().requires_grad_()
            (found[way],) = torch.autograd.grad(generator(asked).square().sum(), asked)
    assert found["plain"].abs().max() > 1e-3
    torch.testing.assert_close(found["fused"], found["plain"], rtol=1e-3, atol=1e-5)


def test_packed_layers_stay_at_home(tmp_path):
    generator, mel = small(), drawn(1, 80, 4) - 5
    with torch.no_grad():
        before = generator(mel)
    size = sum(p.numel() * 4 for p in (*generator.parameters(), *generator.buffers()))
    torch.save(generator, tmp_path / "whole.pt")
    assert (tmp_path / "whole.pt").stat().st_size < 1.5 * size + 500_000
    copied = copy.deepcopy(generator)
    assert copied._packed is None
    with torch.no_grad():
        assert torch.equal(copied(mel), before)
    assert generator._packed is not None
    assert generator.train()._packed is None


def test_hooks_traces_and_pruning_are_respected():
    generator, mel = small().remove_weight_norm(), drawn(1, 80, 4) - 5
    with torch.no_grad():
        before = generator(mel)
        hook = generator.conv_post.register_forward_hook(lambda module, given, made: made / 2)
        halved = generator(mel)
        assert not torch.allclose(halved, before, atol=1e-4)
        with kernels.using("plain"):
            torch.testing.assert_close(halved, generator(mel), rtol=0, atol=1e-5)
        hook.remove()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a trace cannot follow, and that it is old
            traced = torch.jit.trace(generator, mel)
        torch.testing.assert_close(traced(mel), before, rtol=0, atol=1e-5)
        torch.nn.utils.prune.l1_unstructured(generator.conv_post, "weight", amount=0.5)
        with kernels.using("plain"):
            pruned = generator(mel)
        torch.testing.assert_close(generator(mel), pruned, rtol=0, atol=1e-5)
        assert not torch.allclose(pruned, before, atol=1e-4)


def test_under_autocast_the_wave_is_not_rounded_to_half_precision():
    generator, mel = small(), drawn(1, 80, 6) - 5
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wave = generator(mel)
    assert wave.dtype == torch.float32
    assert not torch.equal(wave, wave.bfloat16().float())


def test_angles_beyond_float32_stay_in_bounds():
    layer, x = AliasFree(Snake(1, log_scale=False)), torch.full((1, 1, 40), 1e6)
    with torch.no_grad():
        layer.act.alpha.fill_(100.0)
        assert ((layer(x) - x).abs() <= 0.02 * 1.3 + x * 1e-6).all()


def test_a_generator_made_in_inference_mode_sounds_alike():
    mel = drawn(1, 80, 4) - 5
    with torch.inference_mode():
        inside = small()(mel)
    with torch.no_grad():
        assert torch.equal(small()(mel), inside)


def test_where_gradients_or_other_numbers_are_wanted_nothing_is_packed():
    generator, mel = small(), drawn(1, 80, 3) - 5
    assert generator(mel).requires_grad
    with torch.no_grad():
        generator.train()(mel)
        generator.double()(mel.double())
        with torch.autocast("cpu", torch.bfloat16):
            generator.float().eval()(mel)
    assert generator._packed is None
    generator.requires_grad_(False)
    generator(mel)
    assert generator._packed is not None


# --- building


@pytest.fixture
def _fresh(tmp_path, monkeypatch):
    """As in a new process on a machine that never built anything."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    build.library.cache_clear()
    yield
    build.library.cache_clear()


@pytest.mark.usefixtures("_fresh")
def test_without_a_compiler_one_line_says_so_and_the_sound_is_the_same(monkeypatch):
    generator, mel = small(), drawn(1, 80, 4) - 5
    with torch.no_grad(), kernels.using("plain"):
        plain = generator(mel)
    monkeypatch.setenv("CXX", "no-such-compiler")
    said = r"fused cpu kernels could not be built \(.*no-such-compiler"
    with pytest.warns(UserWarning, match=said) as caught, torch.no_grad():
        sound = generator(mel)
    assert len([w for w in caught if "fused" in str(w.message)]) == 1
    assert "\n" not in str(caught[0].message)
    torch.testing.assert_close(sound, plain, rtol=0, atol=1e-5)
    assert kernels.way_for(mel) == "polyphase"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator.train()(mel).sum().backward()  # gradients take the plain way


@pytest.mark.usefixtures("_fresh")
def test_what_was_compiled_is_kept_and_a_change_compiles_again(monkeypatch):
    first = build._compiled("cpu")
    made = first.stat().st_mtime_ns
    assert build._compiled("cpu") == first
    assert first.stat().st_mtime_ns == made
    assert [path.suffix for path in first.parent.iterdir()] == [".so"], "nothing half-built is left"
    monkeypatch.setattr(build, "CPU_FLAGS", (*build.CPU_FLAGS, "-DCHANGED"))
    assert build._compiled("cpu").parent != first.parent
    monkeypatch.setattr(build, "CPU_FLAGS", build.CPU_FLAGS[:-1])
    assert build._compiled("cpu") == first
    monkeypatch.setattr(build, "_processor", lambda: "another")
    assert build._fingerprint("cpu", build._sources("cpu")) not in str(first)


COUNT_THREADS = """
import os, torch
from binaural_core.models import kernels
from binaural_core.models.kernels.build import library
from binaural_core.models.alias_free import AliasFree, SnakeBeta
library()
torch.set_num_threads(3)
(torch.ones(600, 600) @ torch.ones(600, 600)).sin()
before = len(os.listdir("/proc/self/task"))
with torch.no_grad():
    AliasFree(SnakeBeta(8, log_scale=True))(torch.zeros(1, 8, 10_000))
print(before, len(os.listdir("/proc/self/task")))
"""


def test_threads_are_those_of_torch():
    """The loops run in torch's own OpenMP: a second one would bring threads that fight for the same cores."""
    command = [sys.executable, "-c", COUNT_THREADS]
    before, after = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(before) >= 3
    assert after == before


def test_a_way_that_is_not_known_is_refused(monkeypatch):
    with pytest.raises(InputError, match="no way named 'fastest'"), kernels.using("fastest"):
        pass
    monkeypatch.setenv("BINAURAL_KERNELS", "quick")
    with pytest.raises(InputError, match="BINAURAL_KERNELS"):
        kernels.way_for(torch.zeros(1))


def test_packing_needs_no_second_look_at_the_weights():
    """A packed generator is whole: it does not change when the generator does."""
    generator, mel = small(), drawn(1, 80, 3) - 5
    with torch.no_grad():
        kept = PackedBigVGAN(generator)
        before = kept(mel)
        for parameter in generator.parameters():
            parameter.zero_()
        assert torch.equal(kept(mel), before)
