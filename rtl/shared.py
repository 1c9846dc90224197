"""Equal submodules emitted once: thousands of PEs are one module and its instances, to Amaranth, Yosys and Verilator.

While `rtl.emit` collects, `shared` adds an instance of a module that is emitted beside the parent; otherwise (another back end,
a simulation in Amaranth) an ordinary submodule. Transformers of the parent (EnableInserter) don't reach into instances: what
the component needs must be among its ports.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["Collected", "collecting", "shared"]


@dataclass(frozen=True, slots=True)
class _Emitted:
    name: str
    text: str
    signature: wiring.Signature
    clocks: tuple[str, ...]  # of clk and rst, those that it has


@dataclass(slots=True)
class Collected:
    """Modules emitted beside a top, by kind and key."""

    prefix: str
    modules: dict[tuple[str, Hashable], _Emitted] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(module.text for module in self.modules.values())

    def module(self, kind: str, key: Hashable, make: Callable[[], wiring.Component]) -> _Emitted:
        if (kind, key) not in self.modules:
            component = make()
            number = sum(other == kind for other, _ in self.modules)
            name = f"{self.prefix}.{kind}" + (f"_{number}" if number else "")
            text = rtlil.convert(component, name=name, emit_src=False)
            top = text[text.index(f"module \\{name}\n") :].partition("\nend\n")[0]
            found = [c for c in ("clk", "rst") if re.search(rf"^  wire (?:\S+ )*input \d+ +\\{c}$", top, re.MULTILINE)]
            self.modules[kind, key] = _Emitted(name, text, component.signature, tuple(found))
        return self.modules[kind, key]


_COLLECTED: ContextVar[Collected | None] = ContextVar("collected", default=None)


@contextmanager
def collecting(prefix: str) -> Iterator[Collected]:
    """Emit shared components as modules named after `prefix`."""
    token = _COLLECTED.set(found := Collected(prefix))
    try:
        yield found
    finally:
        _COLLECTED.reset(token)


def shared(m: Module, name: str, kind: str, key: Hashable, make: Callable[[], wiring.Component]) -> Any:
    """Add what `make` makes to `m` as `name`; returns its interface. One `kind` and `key` must always be equal circuits."""
    collected = _COLLECTED.get()
    if collected is None:
        m.submodules[name] = component = make()
        return component
    module = collected.module(kind, key, make)
    interface = module.signature.create(path=(name,))
    ports = {
        f"{'i' if member.flow is In else 'o'}_{'__'.join(map(str, path))}": value
        for path, member, value in module.signature.flatten(interface)
    }
    clocks = {"clk": ClockSignal(), "rst": ResetSignal()}
    m.submodules[name] = Instance(module.name, **ports, **{f"i_{clock}": clocks[clock] for clock in module.clocks})
    return interface
