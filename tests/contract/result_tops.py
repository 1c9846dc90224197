"""A bench top: the result buffer with plain port names, as Verilator renames those with two underscores."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.result_buffer import ResultBuffer

__all__ = ["PlainPorts"]


class PlainPorts(wiring.Component):
    """The buffer's ports; those of the stream are ``valid``, ``payload`` and ``ready``."""

    def __init__(self, accelerator) -> None:
        self._buffer = ResultBuffer(accelerator)
        members = dict(self._buffer.signature.members)
        self._plain = {name: member for name, member in members.items() if name != "beats"}
        ports = {"valid": Out(1), "payload": Out(self._buffer.bus_bits), "ready": In(1)}
        super().__init__(ports | self._plain)

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        m.submodules.buffer = buffer = self._buffer
        for name, member in self._plain.items():
            inner, outer = getattr(buffer, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        m.d.comb += [
            self.valid.eq(buffer.beats.valid),
            self.payload.eq(buffer.beats.payload),
            buffer.beats.ready.eq(self.ready),
        ]
        return m
