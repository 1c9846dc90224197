# amaranth: UnusedElaboratable=no
"""Does the decoder refuse what `simulator.faults` refuses, for the same reason?"""

import dataclasses

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from amaranth.hdl import Module  # noqa: E402
from amaranth.lib import wiring  # noqa: E402
from amaranth.lib.wiring import In, Out  # noqa: E402
from port_rows import as_array  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

from rtl.decoder import Decoder  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from simulator.arch import Accelerator, Array, Buffer, Dataflow, Pe, Updater  # noqa: E402
from simulator.encoding import COMMAND_BITS, ENGINES, FIELDS, WAIT_BITS, Fault, Opcode, Word, encode, layout_of  # noqa: E402
from simulator.faults import buffers_of, fault, known_bankings, limits_of, opcodes_of  # noqa: E402
from simulator.presets import PRESETS  # noqa: E402


class Whole(wiring.Component):
    """Both halves of the decoder, one after the other."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.decoder = Decoder(accelerator)
        super().__init__({"word": In(COMMAND_BITS), "dispatched": In(self.decoder.dispatched.shape()), "fault": Out(4)})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        m.submodules.decoder = decoder = self.decoder
        m.d.comb += [
            decoder.word.eq(self.word),
            decoder.header.eq(self.word),
            decoder.found_wrong.eq(decoder.wrong),
            decoder.dispatched.eq(self.dispatched),
            self.fault.eq(decoder.fault),
        ]
        return m


EDGE = PRESETS["edge-int8"].accelerator
MACHINES = {
    "edge-int8": EDGE,
    "two-lanes-os": dataclasses.replace(
        EDGE,
        pe=Pe(format="fp16", group=8, lanes=2, registers=5, multiply_latency=1, accumulate_latency=2, interleave=2),
        array=Array(rows=3, cols=2, dataflows=(Dataflow.OS,)),
        c_buffer=Buffer(bytes=4096, slots=3),
        updater=Updater(optimizers=("sgd-momentum", "adam")),
    ),
    "ws-few-registers": dataclasses.replace(
        EDGE,
        pe=Pe(format="fp16", group=16, lanes=1, registers=4),
        array=Array(rows=2, cols=2, dataflows=(Dataflow.WS,)),
        updater=Updater(optimizers=("adam",)),
    ),
    "sgd": dataclasses.replace(EDGE, pe=Pe(format="bf16", group=4, lanes=1, registers=4)),
}


def sound(rng: np.random.Generator, accelerator: Accelerator, opcode: Opcode) -> dict[str, int]:
    """Fields that are mostly right: at and around every limit."""
    group = int(rng.choice([1, 2, 4, 8, 16]))
    burst = accelerator.dram.burst_bytes
    typical = {
        "address": burst * int(rng.integers(0, 100)),
        "pitch": burst * int(rng.integers(1, 9)),
        "row_bytes": int(rng.integers(1, 4 * burst)),
        "group": int(rng.choice([0, group])),
        "keep": int(rng.integers(1, group + 1)),
        "k": group * int(rng.integers(1, 9)),
        "elements": group * int(rng.integers(1, 99)),
        "banking": int(rng.choice(sorted(known_bankings("a", accelerator) | known_bankings("b", accelerator)))),
        "dataflow": int(rng.integers(0, 3)),
        "operation": int(rng.integers(0, 6)),
        "adam": int(rng.integers(0, 2)),
    }
    typical |= {name: int(rng.integers(0, buffer.slots)) for name, buffer in buffers_of(opcode, accelerator).items()}
    for name, limit in limits_of(opcode, accelerator).items():
        if rng.random() < 0.2:
            typical[name] = limit - int(rng.integers(-1, 2))
    fields = {name: typical.get(name, int(rng.integers(1, 1 << min(bits, 5)))) for name, bits in FIELDS[opcode].items()}
    if rng.random() < 0.5:
        name = str(rng.choice(list(fields)))
        fields[name] = int(rng.choice([0, 1, rng.integers(0, 1 << 9), (1 << FIELDS[opcode][name]) - 1]))
    return {name: value & ((1 << FIELDS[opcode][name]) - 1) for name, value in fields.items()}


def random_case(rng: np.random.Generator, accelerator: Accelerator) -> tuple[int, dict, int]:
    opcode = Opcode(int(rng.choice([int(opcode) for opcode in Opcode])))
    here = {opcode.engine for opcode in opcodes_of(accelerator) if opcode is not Opcode.END}  # no other gets a command
    dispatched = {engine: int(rng.integers(0, 5)) if engine in here else 0 for engine in ENGINES}
    waits = {engine: max(0, dispatched[engine] - int(rng.integers(0, 3))) for engine in ENGINES if rng.random() < 0.3}
    if rng.random() < 0.1:
        waits[ENGINES[rng.integers(len(ENGINES))]] = 5
    fields = sound(rng, accelerator, opcode) if opcode is not Opcode.END else {}
    word = int.from_bytes(encode([Word(opcode=opcode, op=7, waits=waits, fields=fields)]), "little")
    used = sum(layout_of(opcode).values())
    if rng.random() < 0.05:
        word |= 1 << int(rng.integers(used, COMMAND_BITS))
    if rng.random() < 0.02:
        word ^= int(rng.integers(1, 16))
    want = fault(word.to_bytes(COMMAND_BITS // 8, "little"), accelerator, dispatched)
    return word, dispatched, int(want)


@pytest.mark.parametrize("name", MACHINES)
def test_the_same_fault(name: str):
    """30,000 commands at and around the limits; each fault that a command can have is met."""
    accelerator, rng = MACHINES[name], np.random.default_rng(5)
    model = NativeModel(verilog_of(Whole(accelerator), "decoder"), "decoder", ["word", "dispatched"], ["fault"])
    cases = [random_case(rng, accelerator) for _ in range(30_000)]
    packed = [sum(each[engine] << WAIT_BITS * i for i, engine in enumerate(ENGINES)) for _, each, _ in cases]
    words = as_array([word for word, _, _ in cases], COMMAND_BITS)
    given = {"word": words, "dispatched": as_array(packed, WAIT_BITS * len(ENGINES))}
    want = np.array([want for *_, want in cases])
    found = model.run(given)["fault"]
    wrong = np.flatnonzero(found != want)
    assert not len(wrong), (Fault(int(found[wrong[0]])), Fault(int(want[wrong[0]])), hex(cases[wrong[0]][0]))
    assert {Fault(int(each)) for each in set(want)} >= set(Fault) - {
        Fault.MEMORY_READ,
        Fault.MEMORY_WRITE,
        Fault.PROGRAM_READ,
        Fault.LENGTH,
    }
    assert np.mean(want == 0) > 0.1
    body = [Word(opcode=Opcode.UPDATE, fields=dict.fromkeys(FIELDS[Opcode.UPDATE], 1) | {"adam": adam}) for adam in (0, 1)]
    found = model.run(
        {
            "word": as_array([int.from_bytes(encode([word]), "little") for word in body], COMMAND_BITS),
            "dispatched": as_array([0, 0], WAIT_BITS * len(ENGINES)),
        }
    )["fault"]
    known = () if accelerator.pe.format == "int8" else accelerator.updater.optimizers
    assert list(found) == [Fault.NONE if name in known else Fault.OPCODE for name in ("sgd-momentum", "adam")]


def test_text_is_sound():
    check(verilog_of(Decoder(EDGE), "decoder"), "decoder")
