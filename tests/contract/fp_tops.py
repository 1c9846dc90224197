"""A bench top: one arithmetic component at several latencies side by side, fed with the same operands."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.fp import NUMBERS, Add, Multiply, Narrow, Widen

__all__ = ["KINDS", "EveryLatency", "result_name"]

KINDS = {"multiply": Multiply, "add": Add, "widen": Widen, "narrow": Narrow}
_RESULT = {"multiply": "product", "add": "sum", "widen": "result", "narrow": "result"}


def result_name(latency: int) -> str:
    return f"result_{latency}"


class EveryLatency(wiring.Component):
    """Ports of the component, with one result per latency: ``result_0``, ``result_1``, ..."""

    def __init__(self, kind: str, format_name: str, latencies: tuple[int, ...]) -> None:
        self._parts = {latency: KINDS[kind](NUMBERS[format_name], latency) for latency in latencies}
        self._result = _RESULT[kind]
        members = next(iter(self._parts.values())).signature.members
        self._inputs = [name for name in members if name != self._result]
        ports = {name: In(members[name].shape) for name in self._inputs}
        super().__init__({**ports, **{result_name(latency): Out(members[self._result].shape) for latency in latencies}})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        for latency, part in self._parts.items():
            m.submodules[f"latency_{latency}"] = part
            m.d.comb += [getattr(part, name).eq(getattr(self, name)) for name in self._inputs]
            m.d.comb += getattr(self, result_name(latency)).eq(getattr(part, self._result))
        return m
