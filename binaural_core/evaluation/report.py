"""One HTML file that says it all: tables, plots, and the best, the median and the worst clip to be heard.

Nothing is fetched from anywhere; pictures and sounds are inside it, and it stays under 5 MB. `report.css` is its look,
the players are those of `widgets`.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from binaural_core.checkpoint import write_whole
from binaural_core.errors import InputError
from binaural_core.evaluation.listening import REFERENCE, Listen, excerpt, picks
from binaural_core.evaluation.plots import plots
from binaural_core.evaluation.results import DIFFERENCES, MONO, Results
from binaural_core.evaluation.wording import KNOWN
from binaural_core.widgets import spectrograms

SOUND_BYTES = 3_000_000  # as text, all players; pictures, plots and tables take 1.5 MB more
TITLE = "Binaural evaluation"
ALONE = {"only_reference": "References without a prediction", "only_predicted": "Predictions without a reference"}


def write_report(
    path: str | Path, results: Results, broken: Mapping[str, str] | None = None, *, listen: Listen | None = None
) -> Path:
    """Write the report.   broken : what could not be measured, with the reason.   listen : makes a clip's versions again."""
    text = page(results, broken or {}, listen=listen)
    return write_whole(path, lambda temporary: temporary.write_bytes(text.encode("utf-8", "backslashreplace")))


def page(results: Results, broken: Mapping[str, str], *, listen: Listen | None = None) -> str:
    """The file's text."""
    parts = [f"<h1>{TITLE}</h1>"]
    parts += [_alone(results.told.get(name), title) for name, title in ALONE.items() if results.told.get(name)]
    if broken:
        rows = "".join(f"<li><code>{html.escape(name)}</code>: {html.escape(why)}</li>" for name, why in broken.items())
        parts.append(f'<section class="broken"><h2>Not measured: {len(broken)}</h2><ul>{rows}</ul></section>')
    if results.rows:
        parts += _tables(results)
        parts += [_plot(plot.title, plot.figure, plot.alt) for plot in plots(results)]
        parts += _kinds(results)
        if listen is not None:
            parts.append(_players(results, listen))
    parts.append(_settings(results))
    style = (files("binaural_core.evaluation") / "report.css").read_text()
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{TITLE}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{style}</style>\n</head>\n'
        f"<body>\n<main>\n{chr(10).join(parts)}\n</main>\n</body>\n</html>\n"
    )


def _alone(names: Sequence[str], title: str) -> str:
    said = ", ".join(f"<code>{html.escape(name)}</code>" for name in names)
    return f'<section class="broken"><h2>{title}: {len(names)}</h2><p>{said}</p></section>'


def _tables(results: Results) -> list[str]:
    parts = [f"<p>{html.escape(results.heading())}</p>", _table(results.cells(), "All measures, by system")]
    if less := results.difference_cells():
        parts.append(f"<h2>Beside the mono copy</h2><p>{html.escape(DIFFERENCES)}</p>")
        parts.append(_table(less, "Differences from the mono copy"))
    return parts


def _kinds(results: Results) -> list[str]:
    parts = []
    for way in results.kinds:
        parts.append(f"<details><summary>By {html.escape(way)}, and in brackets less the mono copy</summary>")
        parts.append(_table(results.kind_cells(way), f"Means by {way}") + "</details>")
    return parts


def _players(results: Results, listen: Listen) -> str:
    """Versions of a few clips, switched at one gain."""
    system, measure, chosen = picks(results)
    label, unit = KNOWN[measure].label, KNOWN[measure].unit
    parts = [
        f"<h2>To be heard</h2><p>The clips for which the {label} of {html.escape(system)} is best, median, worst.</p>"
    ]
    for why, key in chosen:
        name = "/".join(part for part in key if part)
        value = results.by_key[key][system][measure]
        title = f"{why}: {name}, {label} {value:.{KNOWN[measure].digits}f} {unit}"
        try:
            versions, rate_hz = listen(key)
            shown = excerpt(versions, rate_hz, title, SOUND_BYTES / len(chosen))
        except InputError as error:  # the file went away after it was measured
            parts.append(f"<p>{html.escape(title)}: {html.escape(str(error))}</p>")
            continue
        seen = {name: shown.waves_EN[name] for name in dict.fromkeys((MONO, system, REFERENCE)) if name in versions}
        panels = spectrograms.panels(seen, rate_hz)
        alt = html.escape(panels.description(), quote=True)
        picture = base64.b64encode(panels.png()).decode()
        parts.append(f'{shown.html()}<img alt="{alt}" src="data:image/png;base64,{picture}">')
    return "<section>" + "\n".join(parts) + "</section>"


def _settings(results: Results) -> str:
    told = {name: value for name, value in results.told.items() if name not in ("broken", *ALONE)}
    text = html.escape(json.dumps(told, indent=1, default=str, ensure_ascii=False))
    return f"<details><summary>Settings, weights and machine</summary><pre>{text}</pre></details>"


def _plot(title: str, figure: Figure, alt: str) -> str:
    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "binaural"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    source = base64.b64encode(drawn.getvalue()).decode()
    told = html.escape(alt, quote=True)
    return f'<figure><h2>{html.escape(title)}</h2><img alt="{told}" src="data:image/svg+xml;base64,{source}"></figure>'


def _table(lines: Sequence[Sequence[str]], caption: str) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in lines[0])
    rows = "".join(
        f'<tr><th scope="row">{html.escape(line[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in line[1:])
        + "</tr>"
        for line in lines[1:]
    )
    caption = html.escape(caption)
    body = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="wide"><table><caption>{caption}</caption>{body}</table></div>'
