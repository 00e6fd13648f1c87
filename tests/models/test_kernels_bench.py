"""The vocoder's benchmark: what it measures is what it says."""

import mmap

import pytest
import torch

from binaural_core.errors import InputError
from binaural_core.models import kernels
from binaural_core.models.kernels import bench

TINY = "bigvgan_tiny_22khz_80band.json"


def test_every_way_is_timed_beside_the_plain_one_and_is_exact():
    found = bench.measure((TINY,), seconds=(0.2,), threads=(1,), repeats=5)
    assert [t.way for t in found.timings] == list(bench.WAYS)
    plain = found.timings[0]
    assert plain.speedup == 1
    for timing in found.timings:
        assert timing.speedup == pytest.approx(plain.s_per_s / timing.s_per_s)
        assert timing.memory_mb is None or timing.memory_mb > 0
    assert all(e.largest < 1e-4 for e in found.errors)
    assert len({e.largest for e in found.errors}) == len(bench.WAYS), "each way was really computed"
    table = found.table()
    assert table.count("tiny_22khz_80band") == 4
    assert f"| 0.2 s | 1 | fused | {found.timings[2].s_per_s:.4g} | {found.timings[2].speedup:.2f} |" in table


def test_ways_take_turns_and_the_first_call_is_not_counted(monkeypatch):
    calls = []
    clock = iter(range(1, 1000))

    def timed(call, device):
        calls.append(kernels._asked.get())
        return float(next(clock))

    monkeypatch.setattr(bench, "_timed", timed)
    before = torch.is_grad_enabled()
    try:
        found = bench.times(TINY, 0.1, 1, 0, 5, "cpu")
    finally:
        torch.set_grad_enabled(before)
    assert calls == list(bench.WAYS) * 6
    assert found == {"plain": 10.0, "polyphase": 11.0, "fused": 12.0}  # of 4, 7, 10, 13, 16 and so on


def test_memory_is_the_most_that_was_held_inside():
    with bench._highest("cpu") as more, mmap.mmap(-1, 100_000_000) as fresh:
        fresh.write(bytes(1) * 100_000_000)  # and 100 MB more while they are written
    if more() is not None:
        assert 95 < more() < 240


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"repeats": 3}, "repeats=3"),
        ({"device": "cuda"}, "the device is 'cuda'"),
        ({"vocoders": ("no.json",)}, "no.json is not there"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(settings, said):
    if settings.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match=said):
        bench.measure(**({"vocoders": (TINY,)} | settings))
