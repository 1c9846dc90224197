"""A datapath as a list of steps, and where registers go between them for a given latency.

A step turns named values into named values, combinationally. `ranks` says how many registers follow each step; `build`
makes the circuit. All registers share one clock enable, have no reset (what is in flight at reset is discarded by the
caller's valid bits), and hold only what later steps still need.
"""

# pyright: basic

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from amaranth.hdl import Cat, Module, Mux, Signal, Value

__all__ = ["State", "Step", "build", "delayed_valid", "ranks", "wire"]

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

    total = (0, *accumulate(levels))

    @cache
    def cut(start: int, inner: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """From `start` on: the stages' depths, deepest first, and the places of the cuts, both as good as can be.

        A stage put before two lists of stages does not change which of them is better, so the best parts make the best whole.
        """
        if not inner:
            return (total[steps] - total[start],), ()
        choices: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        for at in range(start + 1, steps - inner + 1):
            depths, later = cut(at, inner - 1)
            choices.append((tuple(sorted((total[at] - total[start], *depths), reverse=True)), (at, *later)))
        return min(choices, key=lambda choice: (choice[0], [-at for at in choice[1]]))

    inner = min(latency, steps) - 1
    best = cut(0, inner)[1]
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
        state = {key: wire(m, f"{step.name}_{_plain(key)}", value) for key, value in step.compute(m, state).items()}
        for rank in range(count):
            state = {key: _register(m, enable, f"{step.name}_{_plain(key)}_q{rank}", value) for key, value in state.items()}
    return state


def delayed_valid(m: Module, enable: Value, valid: Value, latency: int) -> Value:
    """`valid`, `latency` (at least 1) enabled cycles later: beside `build`'s values. Reset clears all that is on the way."""
    on_the_way = Signal(latency, name="on_the_way")
    m.d.sync += on_the_way.eq(Mux(enable, Cat(valid, on_the_way[:-1]), on_the_way))
    return on_the_way[-1]


def _plain(key: str) -> str:
    return key.replace(".", "_")


def _register(m: Module, enable: Value, name: str, value: Value) -> Signal:
    register = Signal(value.shape(), name=name, reset_less=True)
    with m.If(enable):
        m.d.sync += register.eq(value)
    return register
