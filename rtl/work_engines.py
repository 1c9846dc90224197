"""The update and vector engines: element after element, `lanes` in a cycle, from planes of the work buffer to planes.

A command is taken in cycle s - 1 (`accept`, only when `ready` is high) and starts in cycle s, when `started` is high. In cycle
s + i the operands of elements i*lanes ... are asked for, in the next the lanes have them, and `latency` cycles later the
results are written: cycle s + i + latency + 1. The last are asked for in cycle s + busy - 1 (`ended` and `ready` are high),
busy = ceil(elements / lanes), and written in d = s + busy + latency, when `done` is high. Lanes beyond the last element
write nothing. Lanes, latency and elements of 2, 3 and 3:

| cycle | ports                 | read | lanes | written |
|-------|-----------------------|------|-------|---------|
| s - 1 | accept, ready         |      |       |         |
| s     | started               | 0, 1 |       |         |
| s + 1 | ended, ready          | 2    | 0, 1  |         |
| s + 2 | (next command starts) |      | 2     |         |
| s + 4 |                       |      |       | 0, 1    |
| s + 5 | done                  |      |       | 2       |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# Amaranth makes ports attributes at run time.

from collections.abc import Mapping
from types import MappingProxyType

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.pipeline import wire
from rtl.skew import delayed
from rtl.updater import Ports, Updater
from rtl.vector import OPERATION_BITS, VectorUnit
from rtl.work_ports import check_lanes, fields_layout, log2, read_layout, readers, write_layout, writers
from simulator.arch import Accelerator
from simulator.encoding import FIELDS, Opcode
from simulator.formats import MASTER_BITS
from simulator.vector_operations import VectorOperation

__all__ = ["UpdateEngine", "VectorEngine", "Walk", "engine_ports"]

ELEMENT_BITS = FIELDS[Opcode.UPDATE]["elements"]
EVENTS = ("ready", "started", "ended", "done")
_ONE = 0x3F800000  # in FP32


def engine_ports(accelerator: Accelerator, opcode: Opcode, reads: tuple[str, ...], writes: tuple[str, ...]) -> dict:
    """Ports of an engine: its command, its events, and its requests to the buffer, named as the buffer's."""
    ports = {"accept": In(1), "command": In(fields_layout(opcode))} | {name: Out(1) for name in EVENTS}
    for name in reads:
        width = readers(accelerator)[name]
        ports |= {f"read_{name}": Out(read_layout(accelerator, width)), f"data_{name}": In(8 * width)}
    for name in writes:
        ports[f"write_{name}"] = Out(write_layout(accelerator, writers(accelerator)[name]))
    return ports


class Walk(wiring.Component):
    """Counts a command's steps of `lanes` elements: from the cycle after `accept` on `active`, step `at`, `present` lanes.

    `started` is high with the first step and `ended` with the last; `ready` with the last and when there is none.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        inputs = {"accept": In(1), "elements": In(ELEMENT_BITS)}
        events = {name: Out(1) for name in ("ready", "started", "ended", "active")}
        super().__init__(inputs | events | {"at": Out(ELEMENT_BITS), "present": Out(lanes)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        left = Signal(ELEMENT_BITS, reset_less=True)  # elements from this step on
        at = Signal(ELEMENT_BITS, reset_less=True)
        active = Signal()
        m.d.comb += [
            self.active.eq(active),
            self.at.eq(at),
            self.present.eq(Cat(left > lane for lane in range(self.lanes))),
            self.ended.eq(active & (left <= self.lanes)),
            self.ready.eq(~active | self.ended),
        ]
        m.d.sync += [self.started.eq(self.accept), active.eq(self.accept | active & ~self.ended)]
        with m.If(self.accept):
            m.d.sync += [left.eq(self.elements), at.eq(0)]
        with m.Else():
            m.d.sync += [left.eq(left - self.lanes), at.eq(at + 1)]
        return m


class _Element:
    """What both engines do around their datapath."""

    def __init__(self, m: Module, engine: wiring.Component, opcode: Opcode, lanes: int, latency: int) -> None:
        self.m, self.engine, self.lanes, self.latency = m, engine, lanes, latency
        m.submodules.walk = self.walk = Walk(lanes)
        self.command = Signal(fields_layout(opcode), name="command_q", reset_less=True)
        with m.If(engine.accept):
            m.d.sync += self.command.eq(engine.command)
        m.d.comb += [self.walk.accept.eq(engine.accept), self.walk.elements.eq(engine.command.elements)]
        m.d.comb += [getattr(engine, name).eq(getattr(self.walk, name)) for name in ("ready", "started", "ended")]
        events = delayed(m, Cat(self.walk.active, self.walk.ended), latency + 1, "event", reset_less=False)
        self.writes = events[0]
        m.d.comb += engine.done.eq(events[1])

    def read(self, name: str, when: Value | int = 1, shift: int = 0) -> Value:
        """Ask for the step's sub-word (`shift`: of 2^shift steps); its data are in the datapath's cycle."""
        request = getattr(self.engine, f"read_{name}")
        self.m.d.comb += [
            request.valid.eq(self.walk.active & when),
            request.slot.eq(self.command.slot),
            request.plane.eq(getattr(self.command, name)),
            request.at.eq(self.walk.at >> shift),
        ]
        return getattr(self.engine, f"data_{name}")

    def next(self, value: Value, name: str) -> Value:
        """`value` in the datapath's cycle."""
        return delayed(self.m, value, 1, name)

    def write(self, results: dict[str, Value], when: Mapping[str, Value] = MappingProxyType({})) -> None:
        """Write the results, named as ports and fields are, of the step of latency + 1 cycles ago, `when` the command said."""
        first = next(iter(results))
        place = {"slot": self.command.slot, "at": self.walk.at[: len(getattr(self.engine, f"write_{first}").at)]}
        place |= {name: getattr(self.command, name) for name in results} | {"present": self.walk.present}
        place |= {f"when_{name}": condition for name, condition in when.items()}
        layout = data.StructLayout({name: len(value) for name, value in place.items()})
        then = layout(delayed(self.m, Cat(place.values()), self.latency + 1, "place"))
        for name, result in results.items():
            request = getattr(self.engine, f"write_{name}")
            width = len(request.enable) // self.lanes
            self.m.d.comb += [
                request.valid.eq(self.writes & getattr(then, f"when_{name}") if name in when else self.writes),
                request.slot.eq(then.slot),
                request.plane.eq(getattr(then, name)),
                request.at.eq(then.at),
                request.data.eq(result),
                request.enable.eq(Cat(lane.replicate(width) for lane in then.present)),
            ]


class UpdateEngine(wiring.Component):
    """Optimizer steps; the coefficients are FP32 bits that stay as they are while commands are in flight, as `adam` must.

    Raises ValueError for lanes that are no power of two, and for an int8 machine.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        check_lanes(accelerator)
        if accelerator.pe.format == "int8":
            raise ValueError(f"UpdateEngine of {accelerator.name!r} must be for fp16 or bf16 gradients, not 'int8'")
        self.spec = accelerator
        known = Ports(accelerator.pe.number, accelerator.updater.optimizers)
        self.coefficients = tuple(name for name in known.static if name != "adam")
        self.state = tuple(name for name in known.inputs if name in ("weight", "velocity", "second"))
        ports = engine_ports(accelerator, Opcode.UPDATE, (*self.state, "gradient", "mask"), (*self.state, "copy"))
        super().__init__(ports | {name: In(MASTER_BITS) for name in self.coefficients})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.unit = unit = Updater(self.spec)
        lanes = self.spec.updater.lanes
        element = _Element(m, self, Opcode.UPDATE, lanes, self.spec.updater.latency)
        adam = element.command.adam
        for name in (*self.state, "gradient"):
            m.d.comb += getattr(unit, name).eq(element.read(name, adam if name == "second" else 1))
        shift = max(0, 3 - log2(lanes))  # steps of a byte of the mask
        mask = element.read("mask", element.command.masked, shift)
        if shift:
            mask = mask.word_select(element.next(element.walk.at[:shift], "mask_part"), lanes)
        m.d.comb += [
            unit.en.eq(1),
            unit.valid_in.eq(element.next(element.walk.active, "valid_in")),
            unit.keep.eq(mask | ~element.next(element.command.masked, "masked").replicate(lanes)),
        ]
        m.d.comb += [getattr(unit, name).eq(getattr(self, name)) for name in self.coefficients if name != "gain"]
        if "gain" in self.coefficients:  # SGD takes the whole gradient
            m.d.comb += unit.gain.eq(Mux(adam, self.gain, Const(_ONE, MASTER_BITS)))
        if "adam" in unit.ports.static:
            m.d.comb += unit.adam.eq(adam)
        results = {name: getattr(unit, f"new_{name}") for name in self.state}
        element.write(results | {"copy": unit.copy}, {"second": adam} if "second" in self.state else {})
        return m


class VectorEngine(wiring.Component):
    """Element operations. The plane `y` is read for those that have a second operand. ValueError as for the buffer."""

    def __init__(self, accelerator: Accelerator) -> None:
        check_lanes(accelerator)
        self.spec = accelerator
        super().__init__(engine_ports(accelerator, Opcode.VECTOR, ("x", "y"), ("out",)))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.unit = unit = VectorUnit(self.spec)
        element = _Element(m, self, Opcode.VECTOR, self.spec.vector.lanes, self.spec.vector.latency)
        operation = wire(m, "operation", element.command.operation[:OPERATION_BITS])
        two = operation.matches(VectorOperation.ADD, VectorOperation.MULTIPLY, VectorOperation.RELU_GRADIENT)
        m.d.comb += [
            unit.en.eq(1),
            unit.valid_in.eq(element.next(element.walk.active, "valid_in")),
            unit.x.eq(element.read("x")),
            unit.y.eq(element.read("y", two)),
            unit.operation.eq(element.next(operation, "operation")),
            unit.scalar.eq(element.next(element.command.scalar, "scalar")),
        ]
        element.write({"out": unit.result})
        return m
