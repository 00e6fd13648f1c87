"""Mono2Binaural, the baseline everyone compares with: a mask on the mono's spectrum, told by the picture (Gao and Grauman
2019, "2.5D Visual Sound", 1812.04204).

A U-Net sees the complex spectrum of the mono and, at its bottleneck, one vector of what the camera shows. It paints a
complex mask M; the mask times the spectrum of both ears' sum is the spectrum of their difference, and sum and difference
are the ears. There is no vocoder: the mono brings its own phase, the mask turns it.

Conventions: the paper's mono is the sum of the ears, x_M = x_L + x_R; ours is their mean, so x_M = 2 mono. The
difference is x_D = x_L - x_R, left minus right. A spectrum is (B, 2, K, F): real and imaginary part as channels, K the
bins without the topmost. What is seen comes as `Batch.sight` has it; of L pictures the middle one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as fn
import yaml
from torch import Tensor, nn

from binaural_core import checkpoint
from binaural_core.audio.stft import istft, stft
from binaural_core.config import Config
from binaural_core.errors import InputError, need
from binaural_core.models.resnet import ResNet, fetch
from binaural_core.models.visual import PLACE_FEATURES, SmallEncoder, place_features
from binaural_core.shapes import check

HALVINGS = 5
COARSEST = 2**HALVINGS  # bins and frames are multiples of it
DEVIATION = 0.02  # of the first weights
RMS_FLOOR = 1e-4
AT_ONCE = 8  # windows of a long sound

Look = Callable[[Sequence[float]], Any]  # times in seconds -> a `data.sample.Sight` with one picture for each


@dataclass(frozen=True, kw_only=True)
class Mono2BinauralConfig(Config):
    """The network as published; the sound's own numbers belong to it."""

    sample_rate_hz: int = 16_000
    n_fft: int = 512
    win_samples: int = 400
    hop_samples: int = 160
    window_frames: int = 63
    """Length of a window in hops: 63 are 0.63 s."""
    rms: float = 0.1
    """Every window is brought to it before the network hears it, and back afterwards."""
    width: int = 64
    """Channels after the first halving, doubled three times."""
    sight: Literal["frame", "positions", "both"] = "frame"
    """What it is told: the whole picture (as published), where the objects are (as stage 1 is told), or both."""
    picture_px: tuple[int, int] = (448, 224)
    """Width and height of the picture."""
    encoder: Literal["small", "resnet18", "resnet50"] = "resnet18"
    encoder_width: int = 32
    """Channels of the small encoder's first layer."""
    encoder_weights: str | None = None
    """A public ResNet file, or "public" to fetch it, as published; None: from chance."""
    train_statistics: bool = False
    """A ResNet's BatchNorm follows the batches."""
    picture_channels: int = 8
    """Features that are kept of every place in the picture."""
    places_dim: int = 256
    """Features of the positions together."""

    def validate(self) -> None:
        for name in ("sample_rate_hz", "hop_samples", "window_frames", "picture_channels", "places_dim"):
            need(getattr(self, name) >= 1, f"{name}={getattr(self, name)}", why="it counts", fix="give 1 or more")
        need(
            self.hop_samples <= self.win_samples <= self.n_fft,
            f"hop_samples={self.hop_samples}, win_samples={self.win_samples}, n_fft={self.n_fft}",
            why="frames would leave sound out, or not fit",
            fix="let each be as large as the one before or larger",
        )
        need(
            self.bins % COARSEST == 0 and self.frames % COARSEST == 0,
            f"n_fft={self.n_fft} gives {self.bins} bins, window_frames={self.window_frames} gives {self.frames} frames",
            why=f"the U-Net halves both {HALVINGS} times",
            fix="choose such as n_fft=512 and window_frames=63",
        )
        need(
            self.encoder != "small" or not (self.encoder_weights or self.train_statistics),
            f"encoder=small with encoder_weights={self.encoder_weights!r}, train_statistics={self.train_statistics}",
            why="the small encoder has no public weights and no BatchNorm",
            fix='leave both out, or set encoder to "resnet18"',
        )
        need(
            self.encoder_width >= 4 and self.encoder_width % 4 == 0 and self.width >= 1,
            f"encoder_width={self.encoder_width}, width={self.width}",
            why="group norm takes channels by four, and a layer has one or more",
            fix="give such as 32 and 64",
        )
        need(min(self.picture_px) >= 32, f"picture_px={self.picture_px}", why="too small", fix="give 32 or more")
        need(0 < self.rms <= 1, f"rms={self.rms:g}", why="it is a level", fix="give such as 0.1")

    @property
    def bins(self) -> int:
        """K: all bins but the topmost."""
        return self.n_fft // 2

    @property
    def frames(self) -> int:
        return self.window_frames + 1

    @property
    def window_samples(self) -> int:
        return self.window_frames * self.hop_samples

    @property
    def sees_frame(self) -> bool:
        return self.sight != "positions"

    @property
    def told_places(self) -> bool:
        return self.sight != "frame"


class PictureNet(nn.Module):
    """The whole picture as one vector: an encoder's map, reduced to a few features per place, laid out flat."""

    def __init__(self, config: Mono2BinauralConfig):
        super().__init__()
        if config.encoder == "small":
            self.encoder, channels, stride = SmallEncoder(config.encoder_width, 1).layers, 4 * config.encoder_width, 16
        else:
            self.encoder = ResNet(config.encoder, train_statistics=config.train_statistics)
            channels, stride = self.encoder.width, 32
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, config.picture_channels, 1), nn.BatchNorm2d(config.picture_channels), nn.ReLU()
        )
        wide, high = (-(-side // stride) for side in config.picture_px)
        self.features = config.picture_channels * wide * high

    def forward(self, pictures_B3HW: Tensor) -> Tensor:
        features = self.encoder.feature_map if isinstance(self.encoder, ResNet) else self.encoder
        return self.reduce(features(pictures_B3HW)).flatten(1)


class PlaceNet(nn.Module):
    """Where the objects are as one vector: features of each, added up, so that their order does not count."""

    def __init__(self, features: int):
        super().__init__()
        self.features = features
        self.object = nn.Sequential(
            nn.Linear(PLACE_FEATURES, features), nn.SiLU(), nn.Linear(features, features), nn.SiLU()
        )
        self.out = nn.Linear(features, features)
        for layer in (self.object[0], self.object[2], self.out):
            nn.init.kaiming_normal_(layer.weight)  # as large as the sound's features beside it, which BatchNorm scales

    def forward(self, image_positions_BO2: Tensor, positions_BO3: Tensor, mask_BO: Tensor) -> Tensor:
        hidden_BO1 = mask_BO[..., None]
        places_BOD = place_features(
            image_positions_BO2.masked_fill(hidden_BO1, torch.nan), positions_BO3.masked_fill(hidden_BO1, torch.nan)
        )
        return self.out((self.object(places_BOD) * ~hidden_BO1).sum(dim=1))


class MaskUNet(nn.Module):
    """``net(spectrum_B2KF, seen_BD) -> mask_B2KF`` in [-1, 1]: five halvings, five doublings, shortcuts between them.

    The spectrum has one bin more than the mask: 4 x 4 convolutions with stride 2 do not see the topmost to the end.
    """

    def __init__(self, width: int, seen: int):
        super().__init__()
        downs = [2, width, 2 * width, 4 * width, 8 * width, 8 * width]
        ups = [8 * width, 4 * width, 2 * width, width]
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 4, 2, 1), nn.BatchNorm2d(o), nn.LeakyReLU(0.2)) for i, o in pairwise(downs)
        )
        inputs = [downs[-1] + seen, *(2 * channels for channels in ups)]  # what is seen, or a shortcut, comes beside
        self.ups = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(i, o, 4, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in zip(inputs, ups, strict=False)
        )
        self.out = nn.ConvTranspose2d(inputs[-1], 2, 4, 2, 1)

    def forward(self, spectrum_B2KF: Tensor, seen_BD: Tensor) -> Tensor:
        x, shortcuts = spectrum_B2KF, []
        for down in self.downs:
            x = down(x)
            shortcuts.append(x)
        shortcuts[-1] = seen_BD[..., None, None].to(x.dtype).expand(-1, -1, *x.shape[2:])
        for up in self.ups:
            x = up(torch.cat([x, shortcuts.pop()], dim=1))
        return 2 * torch.sigmoid(self.out(torch.cat([x, shortcuts.pop()], dim=1))) - 1


class Mono2Binaural(nn.Module):
    """Mask, and from it the difference of the ears: of windows (`separate`), or of a sound of any length (`differences`)."""

    def __init__(self, config: Mono2BinauralConfig = Mono2BinauralConfig()):
        super().__init__()
        self.config = config
        self.picture = PictureNet(config) if config.sees_frame else None
        self.places = PlaceNet(config.places_dim) if config.told_places else None
        self.unet = MaskUNet(config.width, sum(part.features for part in (self.picture, self.places) if part))
        for part in (self.unet, self.picture.reduce if self.picture else nn.Identity()):
            part.apply(_first_weights)

    @classmethod
    def from_folder(cls, folder: str | Path, tag: str = "best") -> Mono2Binaural:
        """The network that a training left in ``folder``: config.yaml and mono2binaural_best.pth. Raises InputError."""
        path = Path(folder) / "config.yaml"
        need(path.is_file(), f"{path} is not there", why="it says how the network is built", fix="restore it")
        tree = yaml.safe_load(path.read_text())
        if not isinstance(tree, dict) or "model" not in tree or "sight" not in tree["model"]:
            raise InputError(
                f"{path} is not the config of a Mono2Binaural",
                why="it lacks model.sight",
                fix="name the folder of a training: binaural train mono2binaural",
            )
        net, weights = cls(Mono2BinauralConfig.from_dict(tree["model"])), Path(folder) / f"mono2binaural_{tag}.pth"
        checkpoint.load_into(net, checkpoint.load(weights), name=weights.name)
        return net.eval()

    def load_encoder_weights(self) -> None:
        """Start the ResNet with the public weights that the config names, if it names any."""
        wanted = self.config.encoder_weights
        if wanted is not None and self.picture is not None:
            self.picture.encoder.load_public(fetch(self.config.encoder) if wanted == "public" else Path(wanted))

    def forward(
        self,
        sum_B2KF: Tensor,
        crops_BLOCHW: Tensor,
        image_positions_BLO2: Tensor,
        positions_BLO3: Tensor,
        mask_BLO: Tensor,
    ) -> Tensor:
        """The mask (B, 2, K, F) for the spectrum of the ears' sum (B, 2, K + 1, F).

        Slot 0 of the crops is the whole picture where the network sees one; all others, or all, are objects.
        """
        config = self.config
        check(sum_B2KF, f"B 2 {config.bins + 1} {config.frames}", "the spectrum of a window")
        middle, first = mask_BLO.shape[1] // 2, 1 if self.picture else 0
        seen = []
        if self.picture is not None:
            wide, high = config.picture_px
            check(crops_BLOCHW, f"B L O 3 {high} {wide}", "pictures")
            seen.append(self.picture(crops_BLOCHW[:, middle, 0]))
        if self.places is not None:
            told = (x[:, middle, first:] for x in (image_positions_BLO2, positions_BLO3, mask_BLO))
            seen.append(self.places(*told))
        return self.unet(sum_B2KF, torch.cat(seen, dim=1))

    def spectrum(self, wave_BN: Tensor) -> Tensor:
        """(B, 2, K + 1, F), real and imaginary part."""
        config = self.config
        spectrum_BKF = stft(wave_BN.float(), config.n_fft, config.hop_samples, config.win_samples)
        return torch.view_as_real(spectrum_BKF).permute(0, 3, 1, 2).contiguous()

    def wave(self, spectrum_B2KF: Tensor, samples: int) -> Tensor:
        """(B, samples) from spectra without their topmost bin, which is silent."""
        config = self.config
        whole_B2KF = fn.pad(spectrum_B2KF.float(), (0, 0, 0, 1))
        complex_BKF = torch.view_as_complex(whole_B2KF.permute(0, 2, 3, 1).contiguous())
        return istft(complex_BKF, config.n_fft, config.hop_samples, config.win_samples, length=samples)

    def separate(self, mono_BN: Tensor, *sight: Tensor) -> Tensor:
        """The difference of the ears x_L - x_R, (B, N), of mono windows at any level."""
        gain_B1 = to_level(mono_BN, self.config.rms)
        sum_B2KF = self.spectrum(2 * mono_BN * gain_B1)
        difference_B2KF = masked(self(sum_B2KF, *sight).float(), sum_B2KF)
        return self.wave(difference_B2KF, mono_BN.shape[1]) / gain_B1

    @torch.no_grad()
    def differences(
        self, blocks: Iterable[np.ndarray], look: Look, *, hop_s: float = 0.05
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Mono and difference of a sound of any length, piece by piece (n,), at constant memory.

        blocks : mono (n,) at ``config.sample_rate_hz``, one after the other.   look : the `sight` of eyes.
        Every window sees the picture at its middle; a sample is the mean of all windows that cover it.
        """
        config, device = self.config, self.unet.out.weight.device

        def make(mono_BN: np.ndarray, starts: list[int]) -> np.ndarray:
            seen = look([(start + config.window_samples / 2) / config.sample_rate_hz for start in starts])
            sight = [
                torch.from_numpy(getattr(seen, name)).to(device)[:, None]
                for name in ("crops_LOCHW", "image_positions_LO2", "positions_LO3", "mask_LO")
            ]
            return self.separate(torch.from_numpy(mono_BN).to(device), *sight).cpu().numpy()

        yield from sliding(blocks, config.window_samples, max(round(hop_s * config.sample_rate_hz), 1), make)


def to_level(mono_BN: Tensor, rms: float) -> Tensor:
    """The gain (B, 1) that brings each window to this root mean square."""
    return rms / mono_BN.square().mean(dim=1, keepdim=True).sqrt().clamp(min=RMS_FLOOR)


def masked(mask_B2KF: Tensor, sum_B2KF: Tensor) -> Tensor:
    """Spectrum of the ears' difference: the mask times the spectrum of their sum, as complex numbers."""
    mask_re, mask_im = mask_B2KF.unbind(dim=1)
    sum_re, sum_im = sum_B2KF[:, :, : mask_B2KF.shape[2]].unbind(dim=1)
    return torch.stack([mask_re * sum_re - mask_im * sum_im, mask_re * sum_im + mask_im * sum_re], dim=1)


def ears(mono_N: np.ndarray, difference_N: np.ndarray) -> np.ndarray:
    """Both ears (2, N): x_L = (x_M + x_D) / 2 and x_R = (x_M - x_D) / 2 with x_M = 2 mono."""
    return np.stack([mono_N + difference_N / 2, mono_N - difference_N / 2])


def sliding(
    blocks: Iterable[np.ndarray],
    window: int,
    hop: int,
    make: Callable[[np.ndarray, list[int]], np.ndarray],
    *,
    at_once: int = AT_ONCE,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A long sound made window by window: what went in and what came out, (n,) each, piece by piece.

    Windows of ``window`` samples begin every ``hop`` samples, the last one ends with the sound; what comes out is the mean
    of all that cover a sample. A sound shorter than a window is filled up with zeros.

    make : some windows (B, window) and the samples at which they start -> (B, window).
    """
    need(0 < hop <= window, f"hop={hop} of windows of {window} samples", why="sound is left out", fix="lower it")
    source = iter(blocks)
    kept, made, count = np.zeros(0, np.float32), np.zeros(0), np.zeros(0)
    first = start = 0  # the sample at which `kept` begins; where the next window does
    ended = False
    while not ended:
        starts: list[int] = []
        while len(starts) < at_once and not ended:
            while first + len(kept) <= start + window and (block := next(source, None)) is not None:
                kept = np.concatenate([kept, np.asarray(block, np.float32)])
            ended = first + len(kept) <= start + window
            starts.append(max(first + len(kept) - window, 0) if ended else start)
            start += hop
        if first + len(kept) == 0:
            return
        made, count = (np.pad(x, (0, len(kept) - len(made))) for x in (made, count))
        pieces = [kept[s - first : s - first + window] for s in starts]
        for at, out_N in zip(
            starts, make(np.stack([np.pad(p, (0, window - len(p))) for p in pieces]), starts), strict=True
        ):
            there = slice(at - first, min(at - first + window, len(kept)))
            made[there] += out_N[: there.stop - there.start]
            count[there] += 1
        # The last window may begin before the next one would: by less than a hop.
        done = len(kept) if ended else max(start - hop - first, 0)
        yield kept[:done], (made[:done] / count[:done]).astype(np.float32)
        kept, made, count, first = kept[done:], made[done:], count[done:], first + done


@torch.no_grad()
def _first_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        module.weight.normal_(0.0, DEVIATION)
    elif isinstance(module, nn.BatchNorm2d):
        module.weight.normal_(1.0, DEVIATION)
