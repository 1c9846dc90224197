"""A component between registers: every input and output passes one, so that place and route times all that lies between."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Registered"]


class Registered(wiring.Component):
    """Ports are `inner`'s, flat, and a cycle further away on each side; inputs that are `held` are constants instead."""

    def __init__(self, inner: wiring.Component, **held: int) -> None:
        self.inner, self.held = inner, held
        super().__init__(
            {
                "__".join(map(str, path)): (In if member.flow is In else Out)(value.shape())
                for path, member, value in inner.signature.flatten(inner)
                if path[0] not in held
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.inner = self.inner
        m.d.comb += [getattr(self.inner, name).eq(value) for name, value in self.held.items()]
        for path, member, value in self.inner.signature.flatten(self.inner):
            if path[0] in self.held:
                continue
            name = "__".join(map(str, path))
            port = getattr(self, name)
            source, sink = (port, value) if member.flow is In else (value, port)
            register = Signal(value.shape(), name=f"{name}_registered", reset_less=True)
            m.d.sync += register.eq(source)
            m.d.comb += sink.eq(register)
        return m
