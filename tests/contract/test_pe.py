# amaranth: UnusedElaboratable=no
"""Does the PE compute what `simulator.arithmetic` says, bit for bit, in the cycle that `Pe.latency` says?"""

import dataclasses
import json

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from pe_jobs import PATTERNS, Rows, pack, random_rows  # noqa: E402
from port_rows import as_array, as_integers  # noqa: E402
from rtl_kit import NativeModel, run_cocotb  # noqa: E402

from rtl.emit import check, verilog_of  # noqa: E402
from rtl.native.toolchain import ports_of  # noqa: E402
from rtl.pe import Pe, control_layout, operand_layout, sum_layout, word_layout  # noqa: E402
from simulator.arch import Dataflow  # noqa: E402
from simulator.arch import Pe as Spec  # noqa: E402
from workloads.sparsity import DENSE  # noqa: E402

INPUTS = ["en", "rst", "control", "row", "column", "word", "arriving", "fill", "copy", "drain_slot"]
OUTPUTS = ["leaving", "drained"]


def spec(name: str, lanes: int, multiply: int, lag: int, interleave: int, group: int = 8) -> Spec:
    return Spec(
        format=name,
        group=group,
        lanes=lanes,
        registers=8,
        multiply_latency=multiply,
        accumulate_latency=lag,
        interleave=interleave,
    )


# Every format; one lane, two and more; multiply latency 0 to 3; accumulate latency 1 to 6; interleave below, at and above it.
SPECS = [
    spec("int8", 1, 0, 1, 1),
    spec("int8", 2, 1, 2, 2),
    spec("int8", 1, 2, 3, 5),
    spec("int8", 3, 0, 1, 4),
    spec("fp16", 1, 2, 4, 4),
    spec("fp16", 2, 3, 6, 3),
    spec("fp16", 2, 0, 2, 5),
    spec("bf16", 1, 3, 5, 2),
    spec("bf16", 2, 1, 1, 2),
    spec("fp16", 4, 1, 3, 3),
]
MORE = [
    spec(name, lanes, multiply, lag, interleave)
    for name in ("fp16", "bf16", "int8")
    for lanes in (1, 2)
    for multiply, lag, interleaves in (
        (0, 1, (1, 2)),
        (1, 2, (1, 2, 3)),
        (2, 3, (2, 5)),
        (3, 4, (4,)),
        (2, 5, (7,)),
        (0, 6, (3, 6)),
    )
    for interleave in interleaves
]


def label(pe: Spec) -> str:
    numbers = f"lanes{pe.lanes}-multiply{pe.multiply_latency}-accumulate{pe.accumulate_latency}"
    return f"{pe.format}-{numbers}-interleave{pe.interleave}"


def values_of(pe: Spec, rows: Rows, en: np.ndarray, rst: np.ndarray) -> dict[str, list[int]]:
    """Port values by cycle of the simulation. Rows pass with `en`; without it the ports carry something else."""
    layouts = {
        "control": control_layout(pe),
        "row": operand_layout(pe),
        "column": operand_layout(pe),
        "word": word_layout(pe),
        "arriving": sum_layout(pe),
        "fill": sum_layout(pe),
    }
    columns: dict[str, list[int]] = {"en": [int(v) for v in en], "rst": [int(v) for v in rst]}
    for port, layout in layouts.items():
        packed = [pack(layout, rows.ports.get((port, t), {})) for t in range(rows.length)]
        columns[port] = packed
    columns["copy"] = [int(("copy", t) in rows.ports) for t in range(rows.length)]
    columns["drain_slot"] = [rows.ports.get(("drain_slot", t), {}).get("slot", 0) for t in range(rows.length)]
    if not en.all():
        row = np.cumsum(en) - en
        for port in INPUTS[2:]:
            junk = columns[port][::-1]
            columns[port] = [columns[port][int(r)] if e else junk[int(r)] for r, e in zip(row, en, strict=True)]
    return columns


def build(pe: Spec, dataflows=tuple(Dataflow), *, fill_in_time: bool = False) -> tuple[NativeModel, dict[str, int]]:
    verilog = verilog_of(Pe(pe, dataflows, fill_in_time=fill_in_time), "pe")
    bits = {name: port.bits for name, port in ports_of(verilog, "pe").items()}
    return NativeModel(verilog, "pe", INPUTS, OUTPUTS), bits


def run(model: NativeModel, bits: dict[str, int], columns: dict[str, list[int]]) -> dict[str, list[int]]:
    seen = model.run({name: as_array(columns[name], bits[name]) for name in INPUTS})
    return {name: as_integers(array) for name, array in seen.items()}


def compare(pe: Spec, rows: Rows, seen: dict[str, list[int]], since: int = 0) -> None:
    layout = sum_layout(pe)
    for t in range(since, rows.length):
        got = seen["leaving"][t]
        if t in rows.leaving:
            slot, value = rows.leaving[t]
            want = pack(layout, {"valid": 1, "slot": slot, "sum": value})
            assert got == want, f"cycle {t}: {got:#x} leaves, not {want:#x}"
        else:
            assert not got & 1, f"cycle {t}: {got:#x} leaves, not nothing"
        if t in rows.drained:
            assert seen["drained"][t] == rows.drained[t], f"cycle {t}: {seen['drained'][t]:#x}, not {rows.drained[t]:#x}"


def jobs_of(pe: Spec, jobs: int, dataflows=tuple(Dataflow), *, fill_in_time: bool = False) -> None:
    model, bits = build(pe, dataflows, fill_in_time=fill_in_time)
    rng = np.random.default_rng(1)
    rows = random_rows(pe, jobs, 2, dataflows, fill_in_time=fill_in_time)
    widths = {pattern for pattern, _, _ in rows.jobs}
    assert widths == {str(p) for p in PATTERNS if pe.group >= pe.depth(p) or p is DENSE}
    both = len({resident for _, resident, _ in rows.jobs})
    assert both == 1 + (len({Dataflow.OS} & set(dataflows)) == 1 != len(dataflows))
    assert len(set(rows.jobs)) >= both * len(widths)
    left = len(rows.leaving) if Dataflow.OS not in dataflows else len(rows.drained)
    assert min(left, len(rows.leaving), len(rows.drained)) > jobs // 4 if both == 2 else left >= jobs
    always = np.ones(rows.length, np.int64)
    seen = run(model, bits, values_of(pe, rows, always, 0 * always))
    compare(pe, rows, seen)

    en = np.insert(always, np.sort(rng.integers(0, rows.length, rows.length // 2)), 0)  # stalled, with junk
    stalled = run(model, bits, values_of(pe, rows, en, 0 * en))
    compare(pe, rows, {name: [v for v, e in zip(values, en, strict=True) if e] for name, values in stalled.items()})


@pytest.mark.parametrize("pe", SPECS, ids=label)
def test_jobs_back_to_back(pe: Spec):
    jobs_of(pe, 300)


@pytest.mark.parametrize("dataflows", [(Dataflow.OS,), (Dataflow.WS,), (Dataflow.IS, Dataflow.WS), (Dataflow.OS, Dataflow.WS)])
@pytest.mark.parametrize(
    "pe",
    [
        spec("int8", 1, 2, 1, 1),
        spec("int8", 1, 1, 2, 1, group=1),
        spec("int8", 2, 1, 2, 2, group=1),
        spec("int8", 2, 1, 1, 3),
        spec("fp16", 2, 1, 2, 2, group=4),
    ],
    ids=lambda pe: f"{label(pe)}-group{pe.group}",
)
def test_only_what_the_dataflows_need(pe: Spec, dataflows: tuple[Dataflow, ...]):
    """The same jobs on PEs without stationary registers, or without what drains."""
    jobs_of(pe, 200, dataflows)


@pytest.mark.parametrize("dataflows", [(Dataflow.OS,), tuple(Dataflow)])
@pytest.mark.parametrize("pe", [spec("int8", 1, 0, 1, 1), spec("int8", 2, 1, 3, 1)], ids=label)
def test_fills_in_time(pe: Spec, dataflows: tuple[Dataflow, ...]):
    jobs_of(pe, 200, dataflows, fill_in_time=True)


@pytest.mark.slow
@pytest.mark.parametrize("pe", MORE, ids=label)
def test_more_pes(pe: Spec):
    jobs_of(pe, 2000)


@pytest.mark.parametrize("pe", [SPECS[1], SPECS[4]], ids=label)
def test_reset_in_mid_job(pe: Spec):
    """Nothing of what was in flight comes out, whenever the reset comes, and the next jobs are right."""
    model, bits = build(pe)
    before, rows = random_rows(pe, 12, seed=5), random_rows(pe, 12, seed=6)
    first = values_of(pe, before, np.ones(before.length, np.int64), np.zeros(before.length, np.int64))
    second = values_of(pe, rows, np.ones(rows.length, np.int64), np.zeros(rows.length, np.int64))
    for cut in range(20, before.length, 7):
        columns = {name: first[name][:cut] + [int(name in ("rst", "en"))] + second[name] for name in INPUTS}
        seen = run(model, bits, columns)
        compare(pe, rows, {name: values[cut + 1 :] for name, values in seen.items()})


@pytest.mark.parametrize("pe", [SPECS[1], SPECS[4]], ids=label)
def test_under_cocotb(pe: Spec, tmp_path):
    """The same rows in a simulator that knows nothing of this project."""
    rows = random_rows(pe, 60, seed=7)
    columns = values_of(pe, rows, np.ones(rows.length, np.int64), np.zeros(rows.length, np.int64))
    layout = sum_layout(pe)
    want = {
        "leaving": [[t, pack(layout, {"valid": 1, "slot": slot, "sum": value})] for t, (slot, value) in rows.leaving.items()],
        "drained": [[t, value] for t, value in rows.drained.items()],
    }
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"inputs": columns, "want": want}))
    run_cocotb(verilog_of(Pe(pe), "pe"), "pe", "rows_bench", {"ROWS": str(file)})


def test_text_is_sound():
    for pe in SPECS[:4:3]:
        check(verilog_of(Pe(pe), "pe"), "pe")


def test_a_format_without_circuits():
    pe = dataclasses.replace(SPECS[0])
    object.__setattr__(pe, "format", "fp64")
    with pytest.raises(ValueError, match="Pe field 'format' must be one of fp16, bf16, int8, not 'fp64'"):
        Pe(pe)
