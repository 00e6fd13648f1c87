"""What a player leaves in a notebook: sounds at one gain, a picture with words, and little weight."""

import base64
import io
import json
import re

import numpy as np
import pytest
import soundfile

from binaural_core.errors import InputError
from binaural_core.widgets import player
from binaural_core.widgets.spectrograms import PLOTLY_MIME

RATE_HZ = 22_050


def noise(samples: int, *ear_levels: float) -> np.ndarray:
    waves_EN = np.random.default_rng(0).normal(0, 0.1, (2, samples))
    return (waves_EN * np.array(ear_levels or (1.0, 1.0))[:, None]).astype(np.float32)


def displayed(shown, monkeypatch) -> list[tuple[dict, dict]]:
    """(data, metadata) of the outputs that showing it makes."""
    outputs = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata=None, raw=False: outputs.append((data, metadata))
    )
    shown._ipython_display_()
    return outputs


def test_every_version_and_ear_is_played_at_the_printed_gain():
    versions = {"quiet": noise(4000, 0.1, 0.01), "loud": noise(4000)}
    shown = player(versions, RATE_HZ)
    page = shown.html()
    assert f"{shown.gain_db:+.1f} dB" in page
    sources = re.findall(r'<audio [^>]*src="data:audio/flac;base64,([^"]+)"', page)
    assert len(sources) == 2
    for source, wave_EN in zip(sources, versions.values(), strict=True):
        heard_NE, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(source)))
        assert rate_hz == RATE_HZ
        expected_EN = wave_EN * 10 ** (shown.gain_db / 20)
        np.testing.assert_allclose(heard_NE.T, expected_EN, atol=1 / 32_768)
        assert abs(heard_NE).max() < 1


def test_nothing_plays_by_itself_or_again_or_comes_from_elsewhere():
    page = player({"a": noise(1000)}, RATE_HZ).html()
    assert not re.search(r"<audio[^>]*(autoplay|loop)", page)
    assert not re.search(r"https?://|//cdn", page)


def test_a_blind_player_shows_and_says_nothing_of_the_sound(monkeypatch):
    outputs = displayed(player({"A": noise(4000, 1.0, 0.3), "X": noise(4000)}, RATE_HZ, picture=False), monkeypatch)
    assert [sorted(data) for data, _ in outputs] == [["text/html", "text/plain"]]
    assert 'data-picture=""' in outputs[0][0]["text/html"]
    assert len(displayed(player({"A": noise(4000)}, RATE_HZ), monkeypatch)) == 2


def test_names_are_text_not_markup():
    shown = player({"<i>a</i>": noise(1000), '"b"': noise(1000)}, RATE_HZ, title="<script>x</script>")
    page = shown.html()
    assert "<i>" not in page
    assert "<script>x" not in page
    assert "&lt;i&gt;a" in page
    assert "&lt;i&gt;a" in json.dumps(shown.panels.plotly_figure("id"))


def test_the_reference_is_marked():
    shown = player({"a": noise(1000), "b": noise(1000)}, RATE_HZ, reference="b")
    assert "b (reference)" in shown.html()
    assert "a (reference)" not in shown.html()
    assert "b (reference)" in repr(shown)


def test_the_same_player_twice_is_the_same_text(monkeypatch):
    first, second = (displayed(player({"a": noise(1000)}, RATE_HZ), monkeypatch) for _ in range(2))
    assert first == second
    assert player({"a": noise(1001)}, RATE_HZ).player_id != player({"a": noise(1000)}, RATE_HZ).player_id


def test_two_versions_of_four_seconds_weigh_less_than_a_megabyte_and_a_half(monkeypatch):
    sound, picture = displayed(player({"a": noise(4 * RATE_HZ), "b": noise(4 * RATE_HZ, 1, 0.5)}, RATE_HZ), monkeypatch)
    assert len(json.dumps([sound, picture])) < 1_500_000  # noise: nothing compresses worse


def test_the_picture_says_its_finding(monkeypatch):
    shown = player({"mono": noise(9000)[:1].repeat(2, 0), "left": noise(9000)[:1].repeat(2, 0) * [[1], [0.5]]}, RATE_HZ)
    (sound, _), (picture, metadata) = displayed(shown, monkeypatch)
    assert "Level of the left ear above the right: mono +0.0 dB, left +6.0 dB." in metadata["image/png"]["alt"]
    assert metadata["image/png"]["alt"] == picture["text/plain"]
    assert picture["text/plain"] in sound["text/html"]
    assert picture[PLOTLY_MIME]["layout"]["meta"]["player"] in sound["text/html"]
    assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "versions, options, message",
    [
        ({}, {}, "versions is empty"),
        ({"a": noise(100)[0]}, {}, r"version 'a' has shape \(100,\), not \(2, N\)"),
        ({"a": noise(100), "b": noise(90)}, {}, r"different lengths: \{'a': 100, 'b': 90\}.*wave\[:, :90\]"),
        ({"a": noise(0)}, {}, "nothing to play"),
        ({"a": noise(100), "b": noise(100) * np.nan}, {}, "'b' holds NaN"),
        ({"a": noise(100)}, {"reference": "truth"}, "reference is 'truth'. The versions are a"),
        ({"a": noise(25 * RATE_HZ)}, {}, r"MB of sound.*play an excerpt, for instance wave\[:, :\d+\]"),
    ],
)
def test_what_cannot_be_played_is_refused_with_a_remedy(versions, options, message):
    with pytest.raises(InputError, match=message):
        player(versions, RATE_HZ, **options)


@pytest.mark.parametrize("rate", [0, -1, 22_050.5, "22050"])
def test_a_rate_is_a_whole_number_of_samples_per_second(rate):
    with pytest.raises(InputError, match="sample_rate_hz is"):
        player({"a": noise(100)}, rate)


def test_the_suggested_excerpt_fits():
    with pytest.raises(InputError) as refused:
        player({"a": noise(25 * RATE_HZ)}, RATE_HZ)
    samples = int(re.search(r"wave\[:, :(\d+)\]", str(refused.value))[1])
    assert player({"a": noise(samples)}, RATE_HZ).duration_s > 10
