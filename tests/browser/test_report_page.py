"""The evaluation's report in a browser: opened from the disk, without a network."""

import numpy as np

from binaural_core.evaluation.report import write_report
from binaural_core.evaluation.results import Results
from binaural_core.seeds import numpy_stream

RATE_HZ = 22_050


def test_the_report_opens_from_disk_asks_for_nothing_and_plays(browser, tmp_path):
    rows = [
        {"clip": f"c{n}", "system": system, "ild_error_db": n + gain, "itd_error_us": 10.0 * n}
        for n in range(6)
        for system, gain in (("mono", 1.0), ("ours", 0.5))
    ]

    def listen(key):
        wave_EN = 0.1 * numpy_stream(0, key[1]).standard_normal((2, RATE_HZ)).astype(np.float32)
        return {"mono": 0.5 * wave_EN, "ours": 0.8 * wave_EN, "recorded": wave_EN}, RATE_HZ

    results = Results(rows, ("clip", "system", "ild_error_db", "itd_error_us"))
    path = write_report(tmp_path / "report.html", results, {}, listen=listen)
    page = browser.new_page()
    page.set_default_timeout(20_000)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    players = page.locator(".binaural-player")
    players.last.locator("button").wait_for()
    assert players.count() == 3
    widths = page.evaluate("[...document.querySelectorAll('img')].map(image => image.naturalWidth)")
    assert len(widths) == 1 + 3
    assert min(widths) > 100
    players.first.locator("button").click()
    page.wait_for_function("document.querySelector('.binaural-player').dataset.state === 'playing'")
    players.first.locator("label").nth(1).click()
    page.wait_for_function("document.querySelector('.binaural-player').dataset.active === 'ours'")
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert errors == []
    page.close()
