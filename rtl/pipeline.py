"""A datapath as a list of steps, and where registers go between them for a given latency.

A step turns named values into named values, combinationally. `ranks` says how many registers follow each step; `build`
makes the circuit. All registers share one clock enable, have no reset (what is in flight at reset is discarded by the
caller's valid bits), and hold only what later steps still need.
"""

# pyright: basic

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from amaranth.hdl import Module, Signal, Value

__all__ = ["State", "Step", "build", "ranks", "wire"]

State = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Step:
    """One combinational piece. `levels` is its rough depth in logic levels, which decides where registers go."""

    name: str
    levels: int
    compute: Callable[[Module, State], dict[str, Value]]


def ranks(levels: Sequence[int], latency: int) -> tuple[int, ...]:
    """Registers after each step, `latency` in all.

    The last register follows the last step: it is the output register. The others go where the deepest stage is as
    shallow as possible; among equals, where the next deepest is, and then as late as possible. Registers beyond one per
    step pile up at the output, for the synthesis tool to retime.
    """
    steps = len(levels)
    if latency < 0:
        raise ValueError(f"Latency must be at least 0, not {latency}")
    if latency == 0:
        return (0,) * steps

    def depths(cuts: tuple[int, ...]) -> list[int]:
        edges = (0, *cuts, steps)
        return sorted((sum(levels[start:stop]) for start, stop in pairwise(edges)), reverse=True)

    inner = min(latency, steps) - 1
    best = min(reversed(list(combinations(range(1, steps), inner))), key=depths)
    placed = [int(step + 1 in best) for step in range(steps)]
    placed[-1] = latency - inner
    return tuple(placed)


def wire(m: Module, name: str, value: Value) -> Signal:
    """A named net that carries `value`: one copy of its logic, visible in waveforms."""
    net = Signal(value.shape(), name=name)
    m.d.comb += net.eq(value)
    return net


def build(m: Module, enable: Value, steps: Sequence[Step], latency: int, inputs: State) -> State:
    """Add the steps and their registers to `m`; returns the last step's values, `latency` enabled cycles later."""
    state = inputs
    for step, count in zip(steps, ranks([step.levels for step in steps], latency), strict=True):
        state = {key: wire(m, f"{step.name}_{key}", value) for key, value in step.compute(m, state).items()}
        for rank in range(count):
            state = {key: _register(m, enable, f"{step.name}_{key}_q{rank}", value) for key, value in state.items()}
    return state


def _register(m: Module, enable: Value, name: str, value: Value) -> Signal:
    register = Signal(value.shape(), name=name, reset_less=True)
    with m.If(enable):
        m.d.sync += register.eq(value)
    return register
