"""What a reader sees without running anything, and what is stored.

`render` turns an executed notebook into markdown with its figures beside it; `strip` takes the outputs out of the
notebook that is kept, so that a change of words is a small change of the file.
"""

import base64
import io
import re
import shutil
from pathlib import Path

import nbformat
from PIL import Image

from binaural_core.checkpoint import write_whole
from binaural_core.notebooks.recording import open_notebook

_LANGUAGE = {"name": "python"}  # the version is the machine's, not the notebook's


def strip(notebook: str | Path | nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without outputs, counts and widget state; cell ids, tags and the kernelspec stay."""
    stripped = nbformat.from_dict(open_notebook(notebook))
    for cell in stripped.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    stripped.cells = [c for c in stripped.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    stripped.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": _LANGUAGE})
    return stripped


def store(notebook: nbformat.NotebookNode, path: str | Path) -> None:
    """Write a stripped notebook, byte for byte the same for the same content."""
    write_whole(path, lambda temporary: temporary.write_text(nbformat.writes(strip(notebook)) + "\n"))


def render(notebook: str | Path, folder: str | Path) -> Path:
    """Write ``{name}.md`` and its figures ``{name}/{cell}-{n}.png`` into ``folder``; returns the markdown file.

    Sounds and scripts stay out: the text says where a player was.
    """
    path, folder = Path(notebook), Path(folder)
    pictures = folder / path.stem
    shutil.rmtree(pictures, ignore_errors=True)
    parts = [f"*Rendered from [{path.name}](../{path.name}): the players need the notebook itself.*"]
    for cell in open_notebook(path).cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            continue  # the run card shows the values
        if cell.cell_type == "markdown":
            parts.append(_relinked(cell.source))
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            shown = [_shown(output, pictures / f"{cell.id}-{n}.png") for n, output in enumerate(cell.outputs)]
            parts += [text for text in shown if text]
    out = folder / f"{path.stem}.md"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(out, lambda temporary: temporary.write_text("\n\n".join(parts) + "\n"))
    return out


def _shown(output: nbformat.NotebookNode, picture: Path) -> str:
    """One output as markdown: a picture, a table, or text; a player's picture stands for the player."""
    if output.output_type == "stream":
        return _fenced(output.text)
    if output.output_type == "error":
        return _fenced(f"{output.ename}: {output.evalue}")
    data = output.data
    if "image/png" in data:
        picture.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as image:
            few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
            few.save(picture, optimize=True)  # 256 colours: a third of the size, and the eye sees no difference
        alt = output.metadata.get("image/png", {}).get("alt") or output.metadata.get("alt") or ""
        return f"![{alt}]({picture.parent.name}/{picture.name})"
    if "text/markdown" in data:
        return data["text/markdown"]
    if data.get("text/html", "").startswith("<details>"):  # a folded solution: markdown readers fold it too
        return data["text/html"]
    return _fenced(data.get("text/plain", ""))


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def _relinked(source: str) -> str:
    """Links between notebooks lead to their rendered copies; other relative links climb one folder."""
    source = re.sub(r"\]\((\d\d_\w+)\.ipynb", r"](\1.md", source)
    return re.sub(r"\]\((?!https?:|#|\d\d_\w+\.md)", "](../", source)
