"""ResNet-18 and ResNet-50, compatible with the public ImageNet weights: pictures in, one vector of features each.

A residual block adds a small correction to what it was given, y = f(x) + x (He et al. 2016, eq. 1); where the number of
channels or the size changes, a 1 x 1 convolution brings x along (eq. 2). The 50 narrows to a quarter of the channels for
its 3 x 3 convolution, and takes its stride there and not in the 1 x 1 before it (version "1.5", Goyal et al. 2017): the
public weights were trained so, and would load without a word into the other.

Parameters and buffers have torchvision's names, so its files load with strict keys. `fc`, the last layer that names the
1,000 ImageNet classes, exists only where ``classes`` are asked for; an encoder drops it on loading.

Conventions: pictures have ImageNet's mean and deviation, as `binaural_core.data.crops` makes them; any size from 32 x 32.
"""

from pathlib import Path
from typing import Literal, Self

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from binaural_core import checkpoint
from binaural_core.errors import InputError, need
from binaural_core.shapes import check

ResNetName = Literal["resnet18", "resnet50"]
PUBLIC_WEIGHTS = {  # the name of a public file ends in the first digits of its SHA-256
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
}


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut (He et al. 2016, fig. 5 left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = fn.relu(self.bn1(self.conv1(x)))
        return fn.relu(self.bn2(self.conv2(h)) + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1 to narrow, 3 x 3 with the stride, 1 x 1 to widen fourfold, around a shortcut (fig. 5 right)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = self.expansion * width
        self.conv1, self.bn1 = _conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = fn.relu(self.bn1(self.conv1(x)))
        h = fn.relu(self.bn2(self.conv2(h)))
        return fn.relu(self.bn3(self.conv3(h)) + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """``net(images_NCHW) -> (N, width)`` features averaged over the picture, or ``(N, classes)`` with `fc`.

    train_statistics : whether BatchNorm's means and variances follow the batches while training. Without it they stay
    as loaded, so that a sample's features do not depend on its batch.
    """

    def __init__(self, name: ResNetName, *, classes: int | None = None, train_statistics: bool = False):
        super().__init__()
        self.name, self.train_statistics = name, train_statistics
        block, depths = {"resnet18": (BasicBlock, (2, 2, 2, 2)), "resnet50": (Bottleneck, (3, 4, 6, 3))}[name]
        self.width = 512 * block.expansion
        self.conv1, self.bn1 = _conv(3, 64, 7, stride=2), nn.BatchNorm2d(64)
        inputs = 64
        for level, depth in enumerate(depths):  # He et al. 2016, table 1
            width, blocks = 64 * 2**level, []
            for i in range(depth):
                blocks.append(block(inputs, width, stride=2 if i == 0 and level > 0 else 1))
                inputs = width * block.expansion
            self.add_module(f"layer{level + 1}", nn.Sequential(*blocks))
        self.fc = None if classes is None else nn.Linear(self.width, classes)
        self._first_weights()
        self.train()

    @torch.no_grad()
    def _first_weights(self) -> None:
        """He et al. 2015; the last norm of every block starts at 0 (Goyal et al. 2017, sec. 5.1).

        A new net thus hands its input through. Its signal does not grow from block to block while statistics are frozen.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock):
                module.bn2.weight.zero_()
            elif isinstance(module, Bottleneck):
                module.bn3.weight.zero_()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if not self.train_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def feature_map(self, images_NCHW: Tensor) -> Tensor:
        """Features of each place of the pictures, (N, width, H / 32, W / 32) rounded up.

        Raises InputError for anything but pictures of three colours.
        """
        check(images_NCHW, "N 3 H W", "pictures")
        x = fn.max_pool2d(fn.relu(self.bn1(self.conv1(images_NCHW))), 3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Raises InputError for anything but pictures of three colours."""
        features_ND = self.feature_map(images_NCHW).mean(dim=(2, 3))
        return features_ND if self.fc is None else self.fc(features_ND)

    def load_public(self, path: str | Path) -> None:
        """Load a public weight file, strictly: every key is known and has its shape.

        What differs is only what files themselves differ in: `fc` is dropped where this net has none, and the count of
        batches, which no computation here needs, may be missing, as in files from before 2018.
        Raises InputError when the file is missing, broken or another network's.
        """
        weights = checkpoint.load(path)
        need(
            isinstance(weights, dict),
            f"{path} holds a {type(weights).__name__}",
            why=f"a public weight file of {self.name} is a table of names and tensors",
            fix=f"give a file such as {Path(PUBLIC_WEIGHTS[self.name]).name}",
        )
        weights = dict(weights)
        if self.fc is None:
            for key in ("fc.weight", "fc.bias"):
                weights.pop(key, None)
        for key, value in self.state_dict().items():
            if key.endswith("num_batches_tracked"):
                weights.setdefault(key, torch.zeros_like(value))
        checkpoint.load_into(self, weights, name=f"{self.name} from {path}")


def fetch(name: ResNetName, folder: str | Path | None = None) -> Path:
    """The path of the public weights of ``name``, downloaded unless they are there and whole.

    folder : torch's own cache by default, where torchvision keeps them too.
    Raises InputError without a network, and when the file's SHA-256 does not begin as its name says.
    """
    url = PUBLIC_WEIGHTS[name]
    path = Path(folder or Path(torch.hub.get_dir()) / "checkpoints") / url.rpartition("/")[2]
    begins = path.stem.rpartition("-")[2]
    if path.is_file() and checkpoint.digest(path).startswith(begins):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=begins, progress=False)
    except (OSError, RuntimeError) as error:  # no network; another checksum
        raise InputError(
            f"the public weights of {name} could not be fetched",
            why=f"{url}: {error}",
            fix="download that file on a machine with a network, and give its path as encoder_weights",
        ) from error
    return path
