"""The machine's performance counters: what `simulator.result.Counters` counts, by the same names, from the commands accepted.

Products are made in two registered steps, so a counter is final three cycles after the command was accepted.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from dataclasses import fields
from functools import reduce
from operator import add

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.frame import unit_layout
from simulator.encoding import COMMANDS, ENGINES, Opcode
from simulator.result import Counters as Names
from simulator.schedule import Engine

__all__ = ["COUNTER_BITS", "COUNTERS", "Counters"]

COUNTER_BITS = 64
COUNTERS = tuple(field.name for field in fields(Names))
_READS = (Opcode.LOAD_A, Opcode.LOAD_B, Opcode.LOAD_WORK)
_WRITES = (Opcode.STORE_C, Opcode.STORE_WORK)


class Counters(wiring.Component):
    """`accepted`: a bit per engine; `command_*`: what each accepts. `clear` sets all to 0."""

    def __init__(self) -> None:
        super().__init__(
            {
                "clear": In(1),
                "accepted": In(len(ENGINES)),
                **{f"command_{opcode.engine.value}": In(unit_layout(opcode)) for opcode in COMMANDS},
                "counts": Out(data.StructLayout(dict.fromkeys(COUNTERS, COUNTER_BITS))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        accepted = {engine: self.accepted[number] for number, engine in enumerate(ENGINES)}

        def register(name: str, value: Value) -> Signal:
            signal = Signal(len(value), name=name)
            m.d.sync += signal.eq(value)
            return signal

        def moved(opcodes: tuple[Opcode, ...]) -> Value:
            products = []
            for opcode in opcodes:
                name = opcode.engine.value
                command = getattr(self, f"command_{name}")
                here = register(f"{name}_accepted", accepted[opcode.engine])
                rows, size = register(f"{name}_rows", command.rows), register(f"{name}_row_bytes", command.row_bytes)
                products.append(register(f"{name}_bytes", Mux(here, rows * size, 0)))
            return reduce(add, products)

        def amount(engine: Engine, field: str) -> Value:
            return Mux(accepted[engine], getattr(self, f"command_{engine.value}")[field], 0)

        array = self.command_array
        multiplies = register("multiplies", register("array_accepted", accepted[Engine.ARRAY]))
        outputs = register("outputs", register("m", array.m) * register("n", array.n))
        kept_k = sum((Mux(array.group[bit], (array.k * array.keep) >> bit, 0) for bit in range(len(array.group))), 0)
        kept = register("kept", register("kept_k", Mux(array.group == 0, array.k, kept_k)))
        dense = register("dense", register("k", array.k))
        more = {
            "commands": reduce(add, (self.accepted[number] for number in range(len(ENGINES)))),
            "macs": Mux(multiplies, outputs * kept, 0),
            "dense_macs": Mux(multiplies, outputs * dense, 0),
            "dram_read_bytes": moved(_READS),
            "dram_write_bytes": moved(_WRITES),
            "pruned_elements": amount(Engine.PRUNE, "elements"),
            "updated_elements": amount(Engine.UPDATE, "elements"),
            "vector_operations": amount(Engine.VECTOR, "elements"),
        }
        for name in COUNTERS:
            m.d.sync += self.counts[name].eq(self.counts[name] + more[name])
        with m.If(self.clear):
            m.d.sync += self.counts.eq(0)
        return m
