# amaranth: UnusedElaboratable=no
"""Do planes hold what loads bring, and do stores give their rows, plain or packed, in the cycles that are written down?"""

from functools import cache

import pytest
from rtl_kit.planted import mutant
from rtl_kit.require import need_rtl

need_rtl()

import work_bench  # noqa: E402
from work_bench import Bench, Script, machine  # noqa: E402

import rtl.work_buffer  # noqa: E402
import rtl.work_store  # noqa: E402
from rtl.emit import check  # noqa: E402
from simulator.arch import Accelerator, Pe, Pruner, Updater, VectorUnit  # noqa: E402
from simulator.layout import bus_elements, plane_bytes  # noqa: E402

MACHINES = {
    "fp16, bus narrower than a plane's words": machine("fp16", 8, (4, 2, 4), 4, 2),
    "bf16, bus as wide": machine("bf16", 16, (2, 4, 2), 16, 3),
    "int8, wide bus": machine("int8", 4, (2, 1, 1), 32, 1),
    "int8, group of 1": machine("int8", 1, (8, 8, 8), 8, 2),
    "fp16, wide index": machine("fp16", 256, (2, 1, 1), 8, 1),
}


@cache
def bench(name: str) -> Bench:
    return Bench(MACHINES[name], [])


def script(name: str, seed: int, stall: float, gap: float = 0.2) -> Script:
    return Script(bench(name), seed, stall, gap)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("stall", "gap", "seed"), [(0, 0, 1), (0.1, 0.2, 2), (0.5, 0, 3), (0.9, 0.5, 4)])
def test_loads_and_stores(name: str, stall: float, gap: float, seed: int):
    """Every plane filled, 400 transfers of any size at random, every byte read back; every cycle of every output."""
    run = script(name, seed, stall, gap)
    run.fill()
    run.any("load", "store", count=400)
    run.empty()
    assert not bench(name).wrong(run.rows())


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("stall", [0, 0.3])
def test_packed_rows(name: str, stall: float):
    """Every group that the machine has, with rows of 1 entry to those of 3 beats, 3 rows each."""
    accelerator, run = MACHINES[name], script(name, 5, stall)
    run.fill()
    for bits in range(accelerator.pe.group.bit_length()):
        for entries in range(1, min(3 * bus_elements(accelerator), plane_bytes(accelerator) // 6) + 1):
            run.store_kept(0, entries % 8, (entries + 1) % 8, 1 << bits, 3, entries)
    assert not bench(name).wrong(run.rows())


@pytest.mark.parametrize("name", MACHINES)
def test_no_cycle_is_lost(name: str):
    """Stores of one beat each, a command a cycle: a beat a cycle; so do rows that straddle words."""
    run = script(name, 6, 0, 0)
    run.fill()
    run.free["store"] = run.end + 1
    for plane in range(8):
        run.store(0, plane, 1, run.bus)
        run.store_kept(0, plane, (plane + 3) % 8, 1, 1, 1)
    run.store(0, 3, 4, run.bus - 1)
    rows = run.rows()
    shown = [cycle for cycle, valid in enumerate(rows.want["stored_valid"]) if valid]
    assert len(shown) == 20
    assert shown[-1] - shown[0] == 19
    assert not bench(name).wrong(rows)


@pytest.mark.parametrize("seed", range(10))
def test_reset(seed: int):
    """A reset at any time takes back all that is on the way: what follows is as from the start."""
    name = list(MACHINES)[seed % len(MACHINES)]
    cut_off, after = script(name, seed, 0.3), script(name, seed + 100, 0.1 * (seed % 3))
    cut_off.fill()
    begin = cut_off.end
    cut_off.any("load", "store", count=60)
    rows = cut_off.rows()
    cut = cut_off.rng.randint(begin // 2, cut_off.end)
    after.fill()
    after.any("load", "store", count=30)
    after.empty()
    assert not bench(name).wrong(rows.cut(cut).then(after.rows()))


@pytest.mark.parametrize("name", MACHINES)
def test_clean(name: str):
    """No latch, loop or undriven net."""
    check(bench(name).verilog, "work")


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("pe", Pe(group=12)),
        ("pruner", Pruner(lanes=3)),
        ("updater", Updater(lanes=6)),
        ("vector", VectorUnit(lanes=5)),
    ],
)
def test_bad_machines(field: str, spec: Pe | Pruner | Updater | VectorUnit):
    message = rf"{type(spec).__name__} field '(group|lanes)' must be a power of two for the RTL, not \d+"
    with pytest.raises(ValueError, match=message):
        rtl.work_buffer.WorkBuffer(Accelerator(name="bad", **{field: spec}))  # pyright: ignore[reportArgumentType]


# name: (module, right text, wrong text)
BUFFER, STORE = rtl.work_buffer, rtl.work_store
FAULTS = {
    "none": (STORE, "have < want", "have < want"),
    "bytes beyond are written": (BUFFER, "Cat(self.beat.bytes > byte", "Cat(self.beat.bytes >= 0"),
    "next load goes on": (BUFFER, "Mux(self.beat.end, 0, position + 1)", "position + 1"),
    "fields popped too early": (BUFFER, "self.beat.valid & self.beat.end", "self.beat.valid"),
    "slots share planes": (BUFFER, "(request.slot == slot)", "(request.slot[:1] == slot)"),
    "wrong part of a word": (BUFFER, "part.eq(request.at)", "part.eq(request.at + 1)"),
    "part changes with the next request": (BUFFER, "m.d.sync += part.eq", "m.d.comb += part.eq"),
    "read too early": (STORE, "words.w_en.eq(arrives)", "words.w_en.eq(asks)"),
    "a row needs a word more": (STORE, "(after >= end)", "(after > end)"),
    "queue overflows": (STORE, "(held != WORDS)", "1"),
    "straddling rows lose a word": (STORE, "have < want", "(have < want) | ends_row"),
    "rest of another command": (STORE, "have.eq(Mux(ends, 0, have", "have.eq(Mux(0, 0, have"),
    "rest is not moved": (STORE, "pool >> want * self._item", "pool >> self.bus * self._item"),
    "bytes beyond the row": (STORE, "Mux(want > byte, pool", "Mux(want >= 0, pool"),
    "index too wide": (STORE, "(head.group > (1 << bit)", "(head.group >= (1 << bit)"),
    "beats without a row's end": (STORE, "closing.eq(last & over)", "closing.eq(0)"),
    "one beat too many": (STORE, "total > beat)", "total >= beat)"),
    "beat does not stay": (STORE, "with m.If(moves):", "with m.If(self.beats.valid):"),
    "part is lost": (STORE, "return moves & ~enough", "return moves"),
    "starts late": (STORE, "(words.r_rdy | ~more)", "(words.r_rdy | ~more) & ~words.w_en"),
    "rest after a reset": (STORE, "Signal(most), Signal(range", "Signal(most, reset_less=True), Signal(range"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch):
    module, right, wrong = FAULTS[fault]
    changed = mutant(f"{module.__name__.replace('.', '/')}.py", (right, wrong))
    if module is STORE:
        monkeypatch.setattr(BUFFER, "WorkStore", changed.WorkStore)
    else:
        monkeypatch.setattr(work_bench, "WorkBuffer", changed.WorkBuffer)
    broken = Bench(machine("fp16", 8, (4, 2, 4), 8, 3), [])
    found = []
    for seed in range(3):
        run, after = Script(broken, seed, 0.2 * seed), Script(broken, seed + 10, 0.2)
        for each in (run, after):
            each.fill()
            each.any("load", "store", count=300)
            each.empty()
        rows, following = run.rows(), after.rows()
        found += [broken.wrong(rows.cut(run.rng.randrange(run.end)).then(following)) for _ in range(4)]
    assert any(found) == (fault != "none")
