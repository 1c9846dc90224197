"""Takes a command's word apart, and says what is wrong with it: `simulator.faults` in gates.

The checks are comparisons with constants, masks by a power of two, and nothing else; the first in the order of `Fault` counts.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.frame import progress_layout
from simulator.arch import OPTIMIZERS, Accelerator, Dataflow
from simulator.encoding import COMMAND_BITS, DATAFLOWS, ENGINES, FIELDS, HEADER, Fault, Opcode, layout_of
from simulator.faults import NOT_ZERO, buffers_of, known_bankings, limits_of, opcodes_of, optimizers_of
from simulator.vector_operations import VectorOperation

__all__ = ["Decoder"]

_OPERANDS = (Opcode.LOAD_A, Opcode.LOAD_B)


def _any(conditions: list[Value]) -> Value:
    return Cat(conditions).any() if conditions else Const(0)


class Decoder(wiring.Component):
    """Combinational, in two halves, so that the first can be made when a command arrives and the second when it is dispatched.

    `wrong` is the `Fault` of `word` alone. `fault` is that of the command with this `header`, whose word was found `wrong`, and
    before which each engine was given `dispatched` commands; `opcode` is the command's.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        super().__init__(
            {
                "word": In(COMMAND_BITS),
                "wrong": Out(4),
                "header": In(data.StructLayout(HEADER)),
                "found_wrong": In(4),
                "dispatched": In(progress_layout()),
                "opcode": Out(HEADER["opcode"]),
                "fault": Out(4),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        known = sorted(opcodes_of(self.accelerator))
        here = {opcode.engine for opcode in known if opcode is not Opcode.END}
        header = data.View(data.StructLayout(HEADER), self.word[: sum(HEADER.values())])
        never = _any([header[f"wait_{engine.value}"] != 0 for engine in ENGINES if engine not in here])
        self._word(m, known, Mux(never, Fault.TOKEN, 0))

        header = self.header
        early = [self.dispatched[engine.value] < header[f"wait_{engine.value}"] for engine in ENGINES if engine in here]
        value: Value = Mux(_any(early), Fault.TOKEN, Fault.NONE)
        value = Mux(header.opcode.matches(*known), value, Fault.OPCODE)
        m.d.comb += [
            self.opcode.eq(header.opcode),
            self.fault.eq(Mux(self.found_wrong != 0, self.found_wrong, value)),
        ]
        return m

    def _word(self, m: Module, known: list[Opcode], otherwise: Value) -> None:
        """The faults that a command's word has by itself."""
        checks = (
            (Fault.SIZE, self._size),
            (Fault.SLOT, self._slot),
            (Fault.PATTERN, self._pattern),
            (Fault.DATAFLOW, self._dataflow),
            (Fault.ALIGNMENT, self._alignment),
            (Fault.CAPACITY, self._capacity),
        )
        m.d.comb += self.wrong.eq(Fault.OPCODE)
        with m.Switch(self.word[: HEADER["opcode"]]):
            for opcode in known:
                with m.Case(opcode):
                    fields = data.StructLayout(layout_of(opcode))
                    get = data.View(fields, self.word[: fields.size])
                    found = Signal(4, name=f"fault_{opcode.name.lower()}")
                    reserved = self.word[fields.size :].any()
                    if opcode is Opcode.VECTOR:
                        reserved |= get.operation >= len(VectorOperation)
                    if opcode is Opcode.UPDATE:
                        missing = {*range(len(OPTIMIZERS))} - optimizers_of(self.accelerator)
                        reserved |= _any([get.adam == code for code in sorted(missing)])
                    value = otherwise
                    for fault, check in reversed(checks):
                        value = Mux(_any(check(opcode, get)), fault, value)
                    m.d.comb += [found.eq(Mux(reserved, Fault.OPCODE, value)), self.wrong.eq(found)]

    def _size(self, opcode: Opcode, get: data.View) -> list[Value]:
        zero = [get[name] == 0 for name in NOT_ZERO[opcode]]
        if opcode is Opcode.STORE_WORK:
            zero.append(get.kept & (get.entries == 0))
        return zero

    def _slot(self, opcode: Opcode, get: data.View) -> list[Value]:
        return [get[name] >= buffer.slots for name, buffer in buffers_of(opcode, self.accelerator).items()]

    def _pattern(self, opcode: Opcode, get: data.View) -> list[Value]:
        if "group" not in FIELDS[opcode]:
            return []
        group, below = get.group, (get.group - 1)[: len(get.group)]
        match opcode:
            case Opcode.ARRAY:
                needed = group != 0
            case Opcode.PRUNE:
                needed = Const(1)
            case Opcode.STORE_WORK:
                needed = get.kept
            case _:
                needed = get.kept | (group != 0)
        wrong = [group == 0, group > self.accelerator.pe.group, (group & below) != 0]
        if "keep" in FIELDS[opcode]:
            packs = get.kept if opcode in _OPERANDS else Const(1)
            wrong.append(packs & ((get.keep == 0) | (get.keep > group)))
        if opcode is Opcode.PRUNE:
            wrong.append((get.elements & below) != 0)
        elif "k" in FIELDS[opcode]:
            wrong.append((get.k & below) != 0)
        if opcode is Opcode.ARRAY:
            wrong.append(self._registers(get))
        return [needed & condition for condition in wrong]

    def _registers(self, get: data.View) -> Value:
        pe = self.accelerator.pe
        stationary = get.dataflow == DATAFLOWS.index(Dataflow.WS), get.dataflow == DATAFLOWS.index(Dataflow.IS)
        kept = (stationary[0] & get.sparse_b) | (stationary[1] & ~get.sparse_b)
        whole = pe.registers // pe.lanes * pe.lanes
        return (stationary[0] | stationary[1]) & Mux(kept, get.keep > whole, get.group > pe.registers)

    def _dataflow(self, opcode: Opcode, get: data.View) -> list[Value]:
        dataflows = self.accelerator.array.dataflows
        if opcode in _OPERANDS:
            known = known_bankings("a" if opcode is Opcode.LOAD_A else "b", self.accelerator)
            return [~_any([get.banking == code for code in sorted(known)]), (get.banking == 2) & get.across]
        if opcode is Opcode.ARRAY:
            return [~_any([get.dataflow == DATAFLOWS.index(dataflow) for dataflow in dataflows])]
        if opcode is Opcode.STORE_C and Dataflow.IS not in dataflows:
            return [get.swapped]
        return []

    def _alignment(self, opcode: Opcode, get: data.View) -> list[Value]:
        if "address" not in FIELDS[opcode]:
            return []
        low = (self.accelerator.dram.burst_bytes - 1).bit_length()
        return [get.address[:low].any(), get.pitch[:low].any()] if low else []

    def _capacity(self, opcode: Opcode, get: data.View) -> list[Value]:
        limits = limits_of(opcode, self.accelerator)
        beyond = [get[name] > limit for name, limit in limits.items()]
        if "pitch" in FIELDS[opcode]:
            beyond.append(get.row_bytes > get.pitch)
        if opcode is Opcode.STORE_WORK:
            beyond[list(limits).index("entries")] &= get.kept
        return beyond
