# amaranth: UnusedElaboratable=no
"""A part of a machine with the ports that it has there: no bits that commands cannot set, no outputs that nobody takes."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Callable, Mapping
from typing import Any

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.array import Array
from rtl.command_bits import restored, stored_layout
from rtl.operand_buffer import OperandBuffer
from rtl.operand_scatter import entry_bits
from rtl.prune_engine import PruneEngine
from rtl.result_buffer import ResultBuffer
from rtl.work_buffer import WorkBuffer
from rtl.work_engines import UpdateEngine, VectorEngine
from simulator.arch import Accelerator, Dataflow
from simulator.encoding import Opcode

__all__ = ["PARTS", "Placed"]

_Ports = Mapping[tuple[str | int, ...], Opcode]
PARTS: Mapping[str, tuple[Callable[[Accelerator], Any], _Ports]] = {
    "array": (Array, {("commands", "payload"): Opcode.ARRAY}),
    "a_buffer": (lambda a: OperandBuffer(a, "a"), {("fields",): Opcode.LOAD_A}),
    "b_buffer": (lambda a: OperandBuffer(a, "b"), {("fields",): Opcode.LOAD_B}),
    "c_buffer": (ResultBuffer, {("fields",): Opcode.STORE_C}),
    "work_buffer": (WorkBuffer, {("load",): Opcode.LOAD_WORK, ("store",): Opcode.STORE_WORK}),
    "prune": (PruneEngine, {("command",): Opcode.PRUNE}),
    "update": (UpdateEngine, {("command",): Opcode.UPDATE}),
    "vector": (VectorEngine, {("command",): Opcode.VECTOR}),
}
"""How each part is made, and which commands' fields its ports are."""
_TAKEN = {
    "row_request": ("valid", "operand_b", "slot", "entry"),
    "column_request": ("valid", "operand_a", "slot", "entry"),
    "sums_request": ("valid", "slot", "word", "place"),
    "results": ("valid", "slot", "word", "place", "sum"),
}
"""Outputs of the array of which the buffers take only these fields."""
_EXCHANGED = {"row_request": "operand_b", "column_request": "operand_a"}
"""What only IS sets: rows take B, and columns A."""


class Placed(wiring.Component):
    """Ports are the part's, flat; its enable is on, as in the machine."""

    def __init__(self, accelerator: Accelerator, part: str) -> None:
        make, self.commands = PARTS[part]
        self.accelerator, self.inner = accelerator, make(accelerator)
        self.exchanges = Dataflow.IS in accelerator.array.dataflows
        self.entries = max(sum(entry_bits(accelerator, side)) for side in ("a", "b"))
        ports: dict[str, Any] = {}
        for path, member, value in self.inner.signature.flatten(self.inner):
            if member.flow is Out:
                ports[_name(path)] = Out(len(self._taken(path, value)))
            elif path in self.commands:
                ports[_name(path)] = In(stored_layout(self.commands[path], accelerator, value.shape()))
            elif path != ("en",):
                ports[_name(path)] = In(value.shape())
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.inner = self.inner
        for path, member, value in self.inner.signature.flatten(self.inner):
            if member.flow is Out:
                m.d.comb += getattr(self, _name(path)).eq(self._taken(path, value))
            elif path == ("en",):
                m.d.comb += value.eq(1)
            elif path in self.commands:
                stored = getattr(self, _name(path))
                m.d.comb += value.eq(restored(self.commands[path], self.accelerator, value.shape(), stored))
            else:
                m.d.comb += value.eq(getattr(self, _name(path)))
                if str(path[0]) in _EXCHANGED and isinstance(self.inner, OperandBuffer) and not self.exchanges:
                    m.d.comb += [request[_EXCHANGED[str(path[0])]].eq(0) for request in value]
        return m

    def _taken(self, path: tuple[str | int, ...], value: Any) -> Value:
        """What the machine takes of an output."""
        fields = _TAKEN.get(str(path[0])) if path and isinstance(self.inner, Array) else None
        if fields is None:
            return Value.cast(value)
        if not isinstance(value, data.View) or not isinstance(value.shape(), data.ArrayLayout):
            raise TypeError(f"Array port {path!r} must be an array of requests, not {value!r}")
        count = value.shape().length
        each = [Value.cast(value[i][name]) for i in range(count) for name in fields]
        return Cat(bits[: self.entries] if name == "entry" else bits for bits, name in zip(each, fields * count, strict=True))


def _name(path: tuple[str | int, ...]) -> str:
    return "__".join(map(str, path))
