"""The player in a page of its own: what it asks of the sound system, how it is used, how it fails."""

import re
import time

import numpy as np
import pytest
from nbformat import v4

from binaural_core.widgets import player

RATE_HZ = 22_050
LISTEN_IN = """
    window.starts = []; window.ramps = []; window.stray = 0;
    document.addEventListener("keydown", () => window.stray++);
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (when, offset) {
        const ears = [0, 1].map(ear => Array.from(this.buffer.getChannelData(ear).slice(1000, 1020)));
        window.starts.push({when, offset, loop: this.loop, samples: this.buffer.length, ears, rate: this.context.sampleRate});
        return start.call(this, when, offset);
    };
    const ramp = AudioParam.prototype.linearRampToValueAtTime;
    AudioParam.prototype.linearRampToValueAtTime = function (value, at) {
        window.ramps.push({value, from: this.value, at});
        return ramp.call(this, value, at);
    };
"""


def versions(seconds: float) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).normal(0, 0.05, (2, int(seconds * RATE_HZ))).astype(np.float32)
    return {"quiet": 0.1 * noise, "loud left": noise * np.array([[1.0], [0.2]], np.float32)}


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_default_timeout(20_000)
    page.add_init_script(LISTEN_IN)
    yield page
    page.close()


def show(page, *pages: str):
    page.route("**/*", lambda route: route.abort())
    text = "<!doctype html>" + "".join(pages)
    page.route("http://player.test/", lambda route: route.fulfill(body=text, content_type="text/html; charset=utf-8"))
    page.goto("http://player.test/", wait_until="domcontentloaded")
    return page.locator(".binaural-player")


def wait_for(root, **state: str) -> None:
    for name, value in state.items():
        root.page.wait_for_function(
            "([root, name, value]) => root.dataset[name] === value", arg=[root.element_handle(), name, value]
        )


def test_all_versions_start_at_one_instant_unchanged_and_a_switch_crosses_over_in_ten_milliseconds(page):
    shown = player(versions(2.0), RATE_HZ)
    root = show(page, shown.html())
    wait_for(root, state="paused")
    assert page.evaluate("starts.length") == 0, "it played by itself"
    root.get_by_role("slider").fill("0.5")
    root.get_by_role("button", name="Play").click()
    wait_for(root, state="playing")
    first, second = page.evaluate("starts")
    assert (first["when"], first["offset"]) == (second["when"], second["offset"])
    assert first["offset"] == 0.5
    gain = 10 ** (shown.gain_db / 20)
    for started, wave_EN in zip((first, second), shown.waves_EN.values(), strict=True):
        assert started["loop"] is False
        assert (started["rate"], started["samples"]) == (RATE_HZ, wave_EN.shape[1]), "it was resampled"
        assert np.array(started["ears"]) == pytest.approx(gain * wave_EN[:, 1000:1020], abs=1 / 32_768)

    page.evaluate("ramps.length = 0")
    now_s = page.evaluate(f"binauralContexts.get({RATE_HZ}).currentTime")
    root.get_by_role("radio", name="loud left").check()
    fades = page.evaluate("ramps")
    assert [(fade["from"], fade["value"]) for fade in fades] == [(1, 0), (0, 1)]
    assert fades[0]["at"] == fades[1]["at"]
    assert now_s < fades[0]["at"] < now_s + 1.5
    assert len(page.evaluate("starts")) == 2, "a switch started the sound anew"
    wait_for(root, active="loud left", state="playing")


def test_it_stops_at_the_end(page):
    root = show(page, player(versions(0.3), RATE_HZ).html())
    wait_for(root, state="paused")
    root.get_by_role("button", name="Play").click()
    page.wait_for_function("starts.length === 2")
    wait_for(root, state="paused", positionS="0.000")
    time.sleep(0.3)
    assert len(page.evaluate("starts")) == 2


def test_pause_holds_the_position_and_seek_moves_it(page):
    root = show(page, player(versions(3.0), RATE_HZ).html())
    wait_for(root, state="paused")
    root.get_by_role("button", name="Play").click()
    page.wait_for_function("Number(document.querySelector('.binaural-player').dataset.positionS) > 0.2")
    root.get_by_role("button", name="Pause").click()
    held = root.get_attribute("data-position-s")
    root.get_by_role("radio", name="loud left").check()
    assert root.get_attribute("data-position-s") == held
    root.get_by_role("button", name="Play").click()
    wait_for(root, state="playing")
    assert page.evaluate("starts.at(-1).offset") == pytest.approx(float(held), abs=5e-4)
    root.get_by_role("slider").fill("2")
    wait_for(root, state="playing")
    assert page.evaluate("[starts.at(-1).offset, starts.at(-2).offset]") == [2, 2]


def test_keys_work_and_stay_in_the_player(page):
    root = show(page, player(versions(3.0), RATE_HZ).html())
    wait_for(root, state="paused", active="quiet")
    root.get_by_role("slider").focus()
    page.keyboard.press("2")
    wait_for(root, active="loud left")
    page.keyboard.press("9")
    page.keyboard.press(" ")
    wait_for(root, state="playing", active="loud left")
    page.keyboard.press(" ")
    wait_for(root, state="paused")
    root.get_by_role("radio", name="loud left").focus()
    page.keyboard.press("ArrowLeft")
    wait_for(root, active="quiet")
    assert page.evaluate("stray") == 0, "a notebook's shortcuts would have seen the keys"


def test_one_player_sounds_at_a_time(page):
    both = show(
        page, player(versions(3.0), RATE_HZ, title="a").html(), player(versions(3.0), RATE_HZ, title="b").html()
    )
    for root in both.all():
        wait_for(root, state="paused")
    both.nth(0).get_by_role("button", name="Play").click()
    wait_for(both.nth(0), state="playing")
    both.nth(1).get_by_role("button", name="Play").click()
    wait_for(both.nth(1), state="playing")
    wait_for(both.nth(0), state="paused")


def test_removing_a_playing_player_silences_it(page):
    root = show(page, player(versions(3.0), RATE_HZ).html())
    wait_for(root, state="paused")
    root.get_by_role("button", name="Play").click()
    wait_for(root, state="playing")
    gone = root.element_handle()
    gone.evaluate("root => root.remove()")
    page.wait_for_function("root => root.dataset.state === 'paused'", arg=gone)


def test_an_error_is_said_and_the_plain_elements_remain(page):
    broken = re.sub(r"base64,[A-Za-z0-9+/]{400}", "base64," + "A" * 400, player(versions(0.3), RATE_HZ).html())
    root = show(page, broken)
    wait_for(root, state="error")
    assert "The player stopped" in root.get_by_role("alert").inner_text()
    assert root.locator("audio").first.is_visible()


def test_an_exported_page_plays_without_a_kernel_and_keeps_the_picture(page, monkeypatch):
    nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed")
    outputs = []

    def keep(data, metadata=None, raw=False):
        outputs.append(v4.new_output("display_data", data, metadata=metadata or {}))

    monkeypatch.setattr("IPython.display.display", keep)
    shown = player(versions(1.0), RATE_HZ)
    shown._ipython_display_()
    notebook = v4.new_notebook(cells=[v4.new_code_cell("player(...)", outputs=outputs)])
    root = show(page, nbconvert.HTMLExporter().from_notebook_node(notebook)[0])
    wait_for(root, state="paused")
    root.get_by_role("button", name="Play").click()
    wait_for(root, state="playing")
    page.get_by_alt_text(shown.panels.description()).wait_for()


def test_without_scripts_there_are_plain_elements_and_the_gain(browser):
    shown = player(versions(0.3), RATE_HZ, reference="loud left")
    page = browser.new_page(java_script_enabled=False)
    root = show(page, shown.html())
    assert [element.is_visible() for element in root.locator("audio").all()] == [True, True]
    assert "loud left (reference)" in root.inner_text()
    assert f"{shown.gain_db:+.1f} dB" in root.inner_text()
    page.close()
