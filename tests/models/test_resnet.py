"""ResNets: the published names and shapes, weight files in the public format, frozen statistics, one block by hand."""

import re

import pytest
import torch
import torch.nn.functional as fn
from torch import Tensor

from binaural_core import checkpoint
from binaural_core.errors import InputError
from binaural_core.models import resnet
from binaural_core.models.resnet import BasicBlock, Bottleneck, ResNet
from binaural_core.seeds import first_weights, stream

PARAMETERS = {"resnet18": 11_689_512, "resnet50": 25_557_032}  # as published
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Every key of the public file with its shape, in its order, written down from table 1 of the paper."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution_and_norm(conv: str, norm: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        shapes.update({f"{norm}.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{norm}.num_batches_tracked"] = ()

    convolution_and_norm("conv1", "bn1", 3, 64, 7)
    inputs = 64
    for level, depth in enumerate(DEPTHS[name], start=1):
        width = 32 * 2**level
        for i in range(depth):
            block = f"layer{level}.{i}"
            if name == "resnet18":
                layers = [(inputs, width, 3), (width, width, 3)]
            else:
                layers = [(inputs, width, 1), (width, width, 3), (width, 4 * width, 1)]
            for n, layer in enumerate(layers, start=1):
                convolution_and_norm(f"{block}.conv{n}", f"{block}.bn{n}", *layer)
            outputs = layers[-1][1]
            if i == 0 and (level > 1 or name == "resnet50"):
                convolution_and_norm(f"{block}.downsample.0", f"{block}.downsample.1", inputs, outputs, 1)
            inputs = outputs
    return shapes | {"fc.weight": (1000, inputs), "fc.bias": (1000,)}


def awake(module: torch.nn.Module, purpose: str = "weights") -> torch.nn.Module:
    """The module with norms and statistics as after some training."""
    generator = stream(0, purpose)
    with torch.no_grad():
        for norm in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.weight.copy_(0.3 + 0.4 * torch.rand(norm.weight.shape, generator=generator))
            norm.bias.copy_(0.2 * torch.randn(norm.bias.shape, generator=generator))
            norm.running_mean.copy_(0.2 * torch.randn(norm.bias.shape, generator=generator))
            norm.running_var.copy_(0.5 + torch.rand(norm.bias.shape, generator=generator))
    return module


def pictures(count: int = 2, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=stream(0, "pictures"))


@pytest.fixture(params=list(PARAMETERS))
def name(request) -> str:
    return request.param


def test_names_shapes_and_count_are_the_published_ones(name):
    net = ResNet(name, classes=1000)
    assert {k: tuple(v.shape) for k, v in net.state_dict().items()} == published_shapes(name)
    assert list(net.state_dict()) == list(published_shapes(name))
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("size", [32, 97, 224])
def test_a_vector_per_picture_of_any_size(size):
    net = ResNet("resnet18")
    with torch.no_grad():
        assert net(pictures(1, size)).shape == (1, net.width) == (1, 512)
    assert ResNet("resnet50").width == 2048


def test_a_file_in_the_public_format_gives_the_output_of_the_net_that_wrote_it(name, tmp_path):
    with first_weights(1):
        wrote = awake(ResNet(name, classes=1000)).eval()
    torch.save(wrote.state_dict(), tmp_path / "public.pth")
    with first_weights(2):
        reads, encoder = ResNet(name, classes=1000), ResNet(name)
    reads.load_public(tmp_path / "public.pth")
    encoder.load_public(tmp_path / "public.pth")
    with torch.no_grad():
        logits = wrote(pictures())
        assert (reads(pictures()) == logits).all()
        features = encoder(pictures())
        torch.testing.assert_close(fn.linear(features, wrote.fc.weight, wrote.fc.bias), logits)
    assert not any(key.startswith("fc") for key in encoder.state_dict())


def test_a_file_without_the_count_of_batches_is_whole(tmp_path):
    wrote = awake(ResNet("resnet18", classes=1000)).eval()
    old = {k: v for k, v in wrote.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    reads = ResNet("resnet18", classes=1000)
    reads.load_public(tmp_path / "old.pth")
    with torch.no_grad():
        assert (reads(pictures()) == wrote(pictures())).all()


def test_files_that_do_not_fit_are_refused_in_one_screen(tmp_path):
    torch.save(ResNet("resnet18", classes=1000).state_dict(), tmp_path / "18.pth")
    with pytest.raises(InputError, match=r"resnet50 from .* do not fit") as caught:
        ResNet("resnet50").load_public(tmp_path / "18.pth")
    assert len(str(caught.value)) < 1500
    lacking = ResNet("resnet18").state_dict()
    del lacking["layer3.0.downsample.0.weight"]
    torch.save(lacking, tmp_path / "lacking.pth")
    with pytest.raises(InputError, match=re.escape("missing (such as layer3.0.downsample.0.weight)")):
        ResNet("resnet18").load_public(tmp_path / "lacking.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds a list"):
        ResNet("resnet18").load_public(tmp_path / "list.pth")
    with pytest.raises(InputError, match="is not there"):
        ResNet("resnet18").load_public(tmp_path / "nothing.pth")


def normed(x: Tensor, conv: torch.nn.Conv2d, bn: torch.nn.BatchNorm2d, stride: int = 1) -> Tensor:
    """Convolution and batch norm with its stored statistics, from their definitions."""
    kernel = conv.weight.shape[-1]
    patches = fn.unfold(x, kernel, padding=kernel // 2, stride=stride)
    size = (x.shape[-1] - 1) // stride + 1
    y = (conv.weight.flatten(1) @ patches).unflatten(2, (size, size))
    mean, variance, gain, offset = (v[:, None, None] for v in (bn.running_mean, bn.running_var, bn.weight, bn.bias))
    return (y - mean) / (variance + 1e-5).sqrt() * gain + offset


@pytest.mark.parametrize("stride", [1, 2])
def test_a_basic_block_is_what_the_paper_says(stride):
    block = awake(BasicBlock(6, 8, stride).double()).eval()
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64, generator=stream(0, "x"))
    h = normed(x, block.conv1, block.bn1, stride).clamp(min=0)
    y = normed(h, block.conv2, block.bn2) + normed(x, block.downsample[0], block.downsample[1], stride)
    torch.testing.assert_close(block(x), y.clamp(min=0))
    same = awake(BasicBlock(6, 6, 1).double()).eval()
    h = normed(x, same.conv1, same.bn1).clamp(min=0)
    torch.testing.assert_close(same(x), (normed(h, same.conv2, same.bn2) + x).clamp(min=0))


def test_a_bottleneck_takes_its_stride_in_the_middle():
    block = awake(Bottleneck(6, 4, 2).double()).eval()
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64, generator=stream(0, "x"))
    h = normed(x, block.conv1, block.bn1).clamp(min=0)
    h = normed(h, block.conv2, block.bn2, stride=2).clamp(min=0)
    y = normed(h, block.conv3, block.bn3) + normed(x, block.downsample[0], block.downsample[1], stride=2)
    torch.testing.assert_close(block(x), y.clamp(min=0))


def test_sizes_halve_where_the_paper_halves_them(name):
    """112, 56, 56, 28, 14, 7 from 224 (table 1); here from 64."""
    net, seen = ResNet(name), {}
    for part in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        getattr(net, part).register_forward_hook(lambda _, __, y, part=part: seen.update({part: y[0]}))
    with torch.no_grad():
        features_ND = net(pictures(1))
    wide = 4 if name == "resnet50" else 1
    assert {part: tuple(y.shape) for part, y in seen.items()} == {
        "conv1": (64, 32, 32),
        "layer1": (64 * wide, 16, 16),
        "layer2": (128 * wide, 8, 8),
        "layer3": (256 * wide, 4, 4),
        "layer4": (512 * wide, 2, 2),
    }
    torch.testing.assert_close(features_ND[0], seen["layer4"].flatten(1).mean(dim=1))


def test_a_new_net_hands_its_input_from_block_to_block(name):
    """With frozen statistics nothing else would keep the signal from growing with the depth."""
    plain = [m for m in ResNet(name).modules() if isinstance(m, BasicBlock | Bottleneck) and m.downsample is None]
    assert len(plain) == {"resnet18": 5, "resnet50": 12}[name]
    for block in plain:
        x = torch.randn(1, block.conv1.in_channels, 4, 4, generator=stream(0, "x"))
        assert (block(x) == x.clamp(min=0)).all()


def statistics(net: ResNet) -> list[Tensor]:
    return [b.clone() for b in net.buffers()]


def test_statistics_stay_as_they_are_unless_they_are_trained():
    net = awake(ResNet("resnet18"))
    before = statistics(net)
    net.train()(pictures())
    assert all((a == b).all() for a, b in zip(before, statistics(net), strict=True))
    with torch.no_grad():  # nor does a sample's output depend on its batch
        torch.testing.assert_close(net(pictures(4))[:1], net(pictures(4)[:1]), atol=1e-5, rtol=1e-5)
    follows = awake(ResNet("resnet18", train_statistics=True)).train()
    follows(pictures())
    assert all((a != b).any() for a, b in zip(before, statistics(follows), strict=True))
    before = statistics(follows.eval())
    follows(pictures())
    assert all((a == b).all() for a, b in zip(before, statistics(follows), strict=True))


def served(tmp_path, monkeypatch, begins: str | None = None) -> str:
    """A weight file behind a file:// address, under its true name unless told to claim another."""
    server = tmp_path / "server"
    server.mkdir()
    torch.save({"fc.bias": torch.zeros(3)}, server / "weights")
    name = f"resnet18-{begins or checkpoint.digest(server / 'weights')[:8]}.pth"
    (server / "weights").rename(server / name)
    monkeypatch.setitem(resnet.PUBLIC_WEIGHTS, "resnet18", (server / name).as_uri())
    return name


def test_fetching_checks_what_came_and_what_was_there(tmp_path, monkeypatch):
    name = served(tmp_path, monkeypatch)
    path = resnet.fetch("resnet18", tmp_path / "cache")
    assert path == tmp_path / "cache" / name
    assert path.read_bytes() == (tmp_path / "server" / name).read_bytes()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])  # half a file from another day
    assert resnet.fetch("resnet18", tmp_path / "cache").read_bytes() == whole
    (tmp_path / "server" / name).unlink()
    assert resnet.fetch("resnet18", tmp_path / "cache") == path  # whole: nobody is asked
    path.unlink()
    with pytest.raises(InputError, match=r"could not be fetched.*encoder_weights"):
        resnet.fetch("resnet18", tmp_path / "cache")


def test_a_file_with_another_checksum_is_refused(tmp_path, monkeypatch):
    name = served(tmp_path, monkeypatch, begins="00000000")
    with pytest.raises(InputError, match="could not be fetched"):
        resnet.fetch("resnet18", tmp_path / "cache")
    assert not (tmp_path / "cache" / name).exists()


def test_public_addresses_carry_their_checksum():
    for name, url in resnet.PUBLIC_WEIGHTS.items():
        assert re.fullmatch(rf"https://download\.pytorch\.org/models/{name}-[0-9a-f]{{8}}\.pth", url)
