"""A component whose nested ports have flat names with single underscores, as compiled models need them."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Flat"]


class Flat(wiring.Component):
    """``bytes.valid`` of `inner` is `bytes_valid` here."""

    def __init__(self, inner: wiring.Component) -> None:
        self.inner = inner
        self._ports = [("_".join(map(str, path)), member, value) for path, member, value in inner.signature.flatten(inner)]
        super().__init__({name: (In if member.flow is In else Out)(value.shape()) for name, member, value in self._ports})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.inner = self.inner
        for name, member, value in self._ports:
            port = getattr(self, name)
            m.d.comb += value.eq(port) if member.flow is In else port.eq(value)
        return m
