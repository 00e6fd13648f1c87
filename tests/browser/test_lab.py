"""A student's first minutes, in a real browser: open notebook 00 in JupyterLab, run all cells, switch versions.

The screenshots in ``outputs/browser`` are for people to look at. Nothing may come from outside this machine.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

from binaural_core.places import REPOSITORY, outputs

pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

KERNEL_STATUS = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status"
TOKEN = "a-token-of-this-test"
NOTEBOOK = """
import numpy as np
from binaural_core.widgets import player
time_s = np.arange(3 * 22050) / 22050
tone_N = sum(np.sin(2 * np.pi * 220 * k * time_s) / k for k in range(1, 12)) * np.exp(-(time_s % 0.5) * 6)
ears_EN = 0.2 * np.stack([tone_N, 0.4 * np.roll(tone_N, 8)])
mono_EN = np.stack([ears_EN.mean(0)] * 2)
player({"mono copy": mono_EN, "two ears": ears_EN}, 22050, title="A tone at the left", reference="two ears")
"""
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture
def lab(browser, tmp_path):
    """The address of a copy of notebook 00, or of one with a player in it, in a JupyterLab with untouched settings."""
    home, work = tmp_path, tmp_path / "work"
    work.mkdir()
    lessons = sorted((REPOSITORY / "notebooks").glob("00_*.ipynb"))
    if lessons:
        shutil.copy(lessons[0], work / "lesson.ipynb")
    else:
        cells = [nbformat.v4.new_code_cell(NOTEBOOK.strip())]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), work / "lesson.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {
        "HOME": home,
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={work}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    with (home / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}", server, home / "lab.log")
            yield f"http://127.0.0.1:{port}/lab/tree/lesson.ipynb?reset&token={TOKEN}"
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.foreign, page.broken = [], []
    page.on("request", lambda request: page.foreign.append(request.url) if _foreign(request.url) else None)
    page.on("pageerror", lambda error: page.broken.append(str(error)))
    yield page
    page.close()


def test_notebook_runs_and_its_player_switches(lab, page):
    page.goto(lab)
    page.locator(".jp-NotebookPanel-toolbar").wait_for(timeout=60_000)
    page.wait_for_function(f"() => {KERNEL_STATUS} === 'idle'", timeout=60_000)
    page.get_by_role("button", name="No", exact=True).click(timeout=5_000)  # the offer of Jupyter's news
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
    cells = _wait_until_run(page, timeout_s=150)
    errors = [text for cell in cells for text in cell["errors"]]
    assert not errors, re.sub(r"\x1b\[[\d;]*m", "", errors[0])

    player = page.locator(".binaural-player").last
    playwright.expect(player).to_have_attribute("data-state", "paused", timeout=20_000)
    for _ in range(20):  # the page grows while it is scrolled through
        player.scroll_into_view_if_needed(timeout=20_000)
        page.wait_for_timeout(1000)
        if player.get_attribute("data-playhead") == "drawn":
            break
    playwright.expect(player).to_have_attribute("data-playhead", "drawn")
    assert page.locator("audio[autoplay], audio[loop]").count() == 0

    versions = player.get_by_role("radio")
    assert versions.count() >= 2
    first = player.get_attribute("data-active")
    player.get_by_role("slider").fill("0.5")
    assert _position_s(player) == 0.5
    duration_s = float(player.get_attribute("data-duration-s"))
    assert _playheads(player) == pytest.approx([0.5 / duration_s] * 2 * versions.count(), abs=0.01)
    versions.nth(1).check()
    second = player.get_attribute("data-active")
    assert second != first
    assert _position_s(player) == 0.5, "a switch moved the position"

    player.get_by_role("button", name="Play").click()
    playwright.expect(player).to_have_attribute("data-state", "playing")
    page.wait_for_timeout(300)
    before_s, clock_s = _position_s(player), time.monotonic()
    assert 0.5 < before_s < 2.0
    page.keyboard.press("1")
    playwright.expect(player).to_have_attribute("data-active", first)
    after_s = _position_s(player)
    assert before_s <= after_s <= before_s + time.monotonic() - clock_s + 0.1, "the versions do not share one clock"
    player.get_by_role("button", name="Pause").click()
    playwright.expect(player).to_have_attribute("data-state", "paused")

    folder = outputs() / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    versions.nth(1).check()
    player.evaluate("root => root.scrollIntoView({block: 'start'})")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "lab_player.png")
    page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_timeout(1500)
    page.screenshot(path=folder / "lab_player_dark.png")
    assert not page.broken, page.broken
    assert not page.foreign, f"the page reached out to {page.foreign}"


def _wait_until_run(page, timeout_s: float) -> list[dict]:
    """Every code cell's number and errors, once all have run (or one has failed and the rest were called off)."""
    state = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
        .filter(cell => cell.cell_type === 'code' && cell.source.length)
        .map(cell => ({count: cell.execution_count, errors: cell.outputs.filter(o => o.output_type === 'error')
            .map(o => o.traceback.join('\\n'))}))"""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        cells = page.evaluate(state)
        done = all(cell["count"] for cell in cells) and page.evaluate(KERNEL_STATUS) == "idle"
        if done or any(cell["errors"] for cell in cells):
            return cells
        page.wait_for_timeout(500)
    page.screenshot(path=outputs() / "browser" / "lab_unfinished.png")
    raise AssertionError(f"cells still run after {timeout_s} s: {json.dumps(page.evaluate(state))}")


def _playheads(player) -> list[float]:
    """Where the playhead stands in each panel of the player's picture, 0 at its left and 1 at its right edge."""
    return player.evaluate(
        """root => [...root.closest('.jp-OutputArea').querySelectorAll('.js-plotly-plot .binaural-player-panel')]
            .map(panel => parseFloat(panel.firstChild.style.left) / parseFloat(panel.style.width))"""
    )


def _position_s(player) -> float:
    return float(player.get_attribute("data-position-s"))


def _foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, f"JupyterLab ended:\n{log.read_text()[-3000:]}"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab does not answer:\n{log.read_text()[-3000:]}")
