"""A bench top: the array with plain port names, as Verilator renames those with two underscores."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.array import Array

__all__ = ["PlainPorts"]


class PlainPorts(wiring.Component):
    """The array's ports; those of the stream are ``valid``, ``payload`` and ``ready``."""

    def __init__(self, accelerator) -> None:
        self._array = Array(accelerator)
        members = dict(self._array.signature.members)
        self._plain = {name: member for name, member in members.items() if name != "commands"}
        command = members["commands"].signature.members
        ports = {"valid": In(1), "payload": In(command["payload"].shape), "ready": Out(1)}
        super().__init__(ports | self._plain)

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        m.submodules.array = array = self._array
        for name, member in self._plain.items():
            inner, outer = getattr(array, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        m.d.comb += [
            array.commands.valid.eq(self.valid),
            array.commands.payload.eq(self.payload),
            self.ready.eq(array.commands.ready),
        ]
        return m
