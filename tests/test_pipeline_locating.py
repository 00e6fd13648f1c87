"""A bare film becomes binaural: the localiser is loaded, asked once for each picture, and decides the delay."""

import numpy as np
import pytest
import yaml

from binaural_core import checkpoint, places
from binaural_core.audio import MelConfig, itd_us, read_audio, spherical_head_itd_s
from binaural_core.data import unreferenced
from binaural_core.data.config import DataConfig
from binaural_core.data.film import write_film
from binaural_core.diffusion.recipe import BridgeConfig, RecipeConfig
from binaural_core.models.diffbinaural import DiffBinaural, DiffBinauralConfig
from binaural_core.models.localizer import Localizer, LocalizerConfig
from binaural_core.models.unet import UNetConfig
from binaural_core.models.visual import VisualConfig
from binaural_core.models.vocoding import MonoPhase
from binaural_core.pipeline import Binauralizer
from binaural_core.seeds import first_weights, numpy_stream

MEL, DATA = MelConfig(), DataConfig(crop_px=16)
RATE = MEL.sample_rate_hz
SHIPPED = places.data_samples() / "weights" / "localizer"
MODEL = DiffBinauralConfig(
    unet=UNetConfig(dim=8, mults=(1, 2), context_dim=16, condition_dim=16),
    visual=VisualConfig(width=4, object_dim=16, context_dim=16),
    recipe=RecipeConfig(bridge=BridgeConfig(noise_sigma=1e-6, steps=1, solver="euler")),
)


class Bright:
    """Finds the brightest column; counts the pictures it was shown."""

    def __init__(self):
        self.shown = 0

    def __call__(self, images):
        self.shown += len(images)
        return [(self.box((image[0, :, 0].argmax() + 0.5) / image.shape[1]), np.ones(1)) for image in images]

    @staticmethod
    def box(x):
        return np.array([[x - 0.1, 0.3, x + 0.1, 0.7]])


def model() -> DiffBinaural:
    """Untrained: both ears' mels are the mono's, so only the delay makes a difference."""
    with first_weights(0):
        return DiffBinaural(MODEL)


@pytest.fixture
def binauralizer() -> Binauralizer:
    return Binauralizer(model(), MEL, DATA, {"mono_phase": MonoPhase(MEL)}, locate=Bright())


def frames(column: int, count: int = 20) -> np.ndarray:
    """Pictures of 64 columns, one of them bright; each a little different, as a camera's are."""
    images = numpy_stream(0, "frames").integers(0, 40, (count, 36, 64, 3), dtype=np.uint8)
    images[:, :, column] = 255
    return images


def noise(seconds: float) -> np.ndarray:
    return numpy_stream(0, "noise").normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("column", [6, 58])
def test_what_is_found_in_the_pictures_decides_the_delay(binauralizer, column):
    azimuth_deg = -np.degrees(np.arctan(2 * (column + 0.5) / 64 - 1))
    made = binauralizer.binauralize(noise(2.0), RATE, frames=frames(column))
    assert itd_us(made.wave_EN, RATE) == pytest.approx(1e6 * spherical_head_itd_s(azimuth_deg), abs=15)
    binauralizer.locate = None
    grid = binauralizer.binauralize(noise(2.0), RATE, frames=frames(column))
    assert itd_us(grid.wave_EN, RATE) == pytest.approx(0, abs=15)


def test_every_picture_is_looked_at_once(binauralizer):
    binauralizer.binauralize(noise(2.0), RATE, frames=frames(6))
    assert 10 <= binauralizer.locate.shown <= 20  # windows and spans ask again and again


def test_every_way_in_looks(binauralizer, tmp_path):
    film = write_film(tmp_path / "in" / "one.mp4", frames(6), 10.0, noise(2.0)[None], RATE)
    wanted = pytest.approx(1e6 * spherical_head_itd_s(np.degrees(np.arctan(1 - 13 / 64))), abs=30)
    shown = [binauralizer.locate.shown]
    made = [binauralizer.convert(film, tmp_path / "out.wav")]
    shown.append(binauralizer.locate.shown)
    made += binauralizer.convert_all(tmp_path / "in", tmp_path / "all")
    for path in made:
        assert itd_us(read_audio(path, channels=2).wave_CN, RATE) == wanted
    shown.append(binauralizer.locate.shown)
    assert binauralizer.write_mels([unreferenced.clip(film)], tmp_path / "mels", "train") == 3
    shown.append(binauralizer.locate.shown)
    assert np.all(np.diff(shown) > 5)


def test_a_localiser_of_ones_own_is_taken_else_the_shipped_one_else_none(tmp_path, monkeypatch):
    net = model()
    for name, part in (("unet", net.unet), ("frame", net.frame)):
        checkpoint.save(tmp_path / "stage1" / f"{name}_best.pth", part.state_dict())
    tree = {"model": MODEL.to_dict(), "mel": MEL.to_dict(), "data": DATA.to_dict()}
    (tmp_path / "stage1" / "config.yaml").write_text(yaml.safe_dump(tree))
    shipped = Localizer.from_folder(SHIPPED).config
    assert Binauralizer.from_pretrained(tmp_path).locate.__self__.config == shipped
    own = LocalizerConfig(width=4, side_px=64)
    (tmp_path / "localizer").mkdir()
    (tmp_path / "localizer" / "config.yaml").write_text(yaml.safe_dump({"model": own.to_dict()}))
    assert (
        Binauralizer.from_pretrained(tmp_path).locate.__self__.config == shipped
    )  # its first weights are not there yet
    checkpoint.save(tmp_path / "localizer" / "localizer_best.pth", Localizer(own).state_dict())
    assert Binauralizer.from_pretrained(tmp_path).locate.__self__.config == own
    (tmp_path / "localizer" / "localizer_best.pth").unlink()
    monkeypatch.setenv("BINAURAL_DATA_SAMPLES", str(tmp_path / "nowhere"))
    assert Binauralizer.from_pretrained(tmp_path).locate is None
