"""Listen to versions of one sound: one shared gain, one clock, switched at the same instant.

A player is two displayed outputs. The first is HTML: one plain ``<audio>`` element per version, over which `player.js`
puts play, seek and switch controls wherever scripts run. It needs no kernel, no network and no widget state, so it also
plays in an exported page, and a viewer without scripts keeps the plain elements, at the same gain. The second is the
picture of both ears (`spectrograms`): a plotly figure where plotly is at hand, else a PNG; the controls draw their
playhead over the figure.
"""

import base64
import hashlib
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
import soundfile

from binaural_core.audio.listening import shared_gain_db
from binaural_core.errors import need
from binaural_core.shapes import check
from binaural_core.widgets import spectrograms

MAX_AUDIO_BYTES = 2_000_000  # as text, all versions: a notebook server drops outputs beyond some 3 MB a cell


def player(
    versions: Mapping[str, np.ndarray],
    sample_rate_hz: int,
    *,
    title: str = "",
    reference: str | None = None,
    picture: bool = True,
) -> "Player":
    """A player for versions of one sound; show it as the last expression of a cell or with ``display``.

    versions : name -> wave (2, N), float, row 0 = left; all of one length. reference : the version that is the truth,
    marked as such. picture : False for a listening test, in which what is seen would give the answer.
    The gain is `shared_gain_db`: one number for both ears of all versions, never one per clip.
    Raises InputError for other shapes or lengths, NaN, an unknown reference, or more sound than a notebook holds.

    >>> ears = np.random.default_rng(0).normal(0, 0.1, (2, 22050)).astype("float32")
    >>> player({"mono copy": ears.mean(0, keepdims=True).repeat(2, 0), "two ears": ears}, 22050).gain_db < 24
    True
    """
    waves_EN = {str(name): np.asarray(wave, np.float32) for name, wave in versions.items()}
    need(
        len(waves_EN) > 0, "versions is empty", why="there is nothing to play", fix="give {name: wave of shape (2, N)}"
    )
    for name, wave_EN in waves_EN.items():
        check(wave_EN, "2 N", f"version {name!r}")
    need(
        isinstance(sample_rate_hz, int | np.integer) and sample_rate_hz > 0,
        f"sample_rate_hz is {sample_rate_hz!r}",
        why="a rate is a whole number of samples per second",
        fix="give the rate that came with the sound, such as 22050",
    )
    lengths = {name: wave_EN.shape[1] for name, wave_EN in waves_EN.items()}
    shortest = min(lengths.values())
    need(shortest > 0, f"the versions have lengths {lengths}", why="there is nothing to play", fix="give samples")
    need(
        len(set(lengths.values())) == 1,
        f"the versions have different lengths: {lengths} samples",
        why="they are switched at the same instant of the same sound",
        fix=f"cut each to the same window, for instance wave[:, :{shortest}], or check their sampling rates",
    )
    need(
        reference is None or reference in waves_EN,
        f"reference is {reference!r}",
        why=f"the versions are {', '.join(waves_EN)}",
        fix="give the name of one of them, or None",
    )
    shown = Player(waves_EN, int(sample_rate_hz), title, reference, picture)
    size = sum(len(source) for source in shown.audio_sources.values())
    need(
        size <= MAX_AUDIO_BYTES,
        f"the player would put {size / 1e6:.1f} MB of sound into the notebook",
        why=f"notebook servers drop outputs of such a size; a player holds {MAX_AUDIO_BYTES / 1e6:.0f} MB",
        fix=f"play an excerpt, for instance wave[:, :{int(0.8 * shortest * MAX_AUDIO_BYTES / size)}]",
    )
    return shown


@dataclass(frozen=True, eq=False)
class Player:
    """What `player` returns. waves_EN : name -> (2, N) float32 at sample_rate_hz."""

    waves_EN: dict[str, np.ndarray]
    sample_rate_hz: int
    title: str
    reference: str | None
    picture: bool = True

    @cached_property
    def gain_db(self) -> float:
        return shared_gain_db(self.waves_EN)

    @property
    def duration_s(self) -> float:
        return next(iter(self.waves_EN.values())).shape[1] / self.sample_rate_hz

    @cached_property
    def audio_sources(self) -> dict[str, str]:
        """Each version at the shared gain as a ``data:`` address: FLAC, 16 bit, so that no codec touches the ears."""
        sources = {}
        for name, wave_EN in self.waves_EN.items():
            sound = io.BytesIO()
            louder_NE = wave_EN.T * 10 ** (self.gain_db / 20)
            soundfile.write(sound, louder_NE, self.sample_rate_hz, format="FLAC", subtype="PCM_16")
            sources[name] = "data:audio/flac;base64," + base64.b64encode(sound.getvalue()).decode()
        return sources

    @cached_property
    def player_id(self) -> str:
        """The same for the same content, so that running a notebook again changes nothing in it."""
        content = repr((self.title, list(self.audio_sources.items()))).encode()
        return hashlib.sha256(content).hexdigest()[:12]

    def __repr__(self) -> str:
        names = ", ".join(self._label(name) for name in self.waves_EN)
        return f"player {self.title!r}: {names}; {self.duration_s:.2f} s; shared gain {self.gain_db:+.1f} dB"

    def html(self) -> str:
        """The audio elements, and the script that makes one player of them."""
        room = files("binaural_core.widgets")
        versions = "\n".join(
            f'<div class="binaural-player-version"><span>{label}</span> '
            f'<audio controls preload="metadata" aria-label="{label}" src="{source}"></audio></div>'
            for label, source in ((html.escape(self._label(name)), src) for name, src in self.audio_sources.items())
        )
        title = html.escape(self.title or "Listening comparison")
        return f"""<div class="binaural-player" role="group" aria-label="{title}" data-player-id="{self.player_id}"
 data-sample-rate-hz="{self.sample_rate_hz}" data-duration-s="{self.duration_s:.6f}" data-lm-suppress-shortcuts="true"
 data-picture="{html.escape(self.panels.description()) if self.picture else ""}">
<style>{(room / "player.css").read_text()}</style>
<div class="binaural-player-title"><strong>{title}</strong></div>
<div class="binaural-player-gain">Shared gain <strong>{self.gain_db:+.1f} dB</strong>, the same for both ears and every
version. Headphones, please.</div>
<div class="binaural-player-versions">{versions}</div>
<script>{(room / "player.js").read_text()}</script>
</div>"""

    @cached_property
    def panels(self) -> spectrograms.Panels:
        labels = {self._label(name): wave_EN for name, wave_EN in self.waves_EN.items()}
        return spectrograms.panels(labels, self.sample_rate_hz)

    def _label(self, name: str) -> str:
        return f"{name} (reference)" if name == self.reference else name

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/html": self.html(), "text/plain": repr(self)}, raw=True)
        if not self.picture:
            return
        alt = self.panels.description()
        picture = {
            spectrograms.PLOTLY_MIME: self.panels.plotly_figure(self.player_id),
            "image/png": base64.b64encode(self.panels.png()).decode(),
            "text/plain": alt,
        }
        display(picture, metadata={"image/png": {"alt": alt}}, raw=True)
