"""An expression of pipelined operations as one list of steps: what does not depend on each other runs side by side.

An operation starts in the step after its last operand is complete, so a chain is as long as its longest path; but if its
operands are needed later anyway, it starts as late as its result allows, and its result waits in no register. A value is
carried from where it is made to where it is last used, and no further; registers go between the steps as for any list of
steps (`rtl.pipeline.build`), so that all operations share one latency and no operation has registers of its own.
"""

# pyright: basic

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amaranth.hdl import Module, Value

from rtl.pipeline import State, Step

__all__ = ["Operation", "expression", "select"]


@dataclass(frozen=True, slots=True)
class Operation:
    """`result` = the last of `steps`' ``result``, from `operands`: the steps' names for them, and what they are.

    An operand is the name of an input or of a result before, or a `Value` that is static: its logic is in the first step, and
    it must not change while anything is in flight.
    """

    result: str
    steps: tuple[Step, ...]
    operands: Mapping[str, str | Value]

    def used(self) -> set[str]:
        return {operand for operand in self.operands.values() if isinstance(operand, str)}


def select(levels: int, choose: Callable[[State], Value]) -> tuple[Step]:
    """One step that makes `result` of its operands."""
    return (Step("select", levels, lambda _, state: {"result": choose(state)}),)


def expression(operations: Sequence[Operation], inputs: Sequence[str], outputs: Sequence[str]) -> tuple[Step, ...]:
    """Steps from `inputs` to `outputs`, by name. Operations stand in an order in which operands are made before use."""
    ready = dict.fromkeys(inputs, 0)  # the step in which a value can first be used
    starts: list[int] = []
    for operation in operations:
        if missing := operation.used() - ready.keys():
            raise ValueError(f"Operation {operation.result!r} must use inputs and results before it, not {sorted(missing)}")
        starts.append(max((ready[name] for name in operation.used()), default=0))
        ready[operation.result] = starts[-1] + len(operation.steps)
    length = max(ready[name] for name in outputs)
    last = dict.fromkeys(outputs, length)  # the step in which a value is last used
    due = dict.fromkeys(outputs, length)  # the step in which it is first used
    for at in reversed(range(len(operations))):
        operation = operations[at]
        if operation.result not in due:
            raise ValueError(f"Operation {operation.result!r} must be used by one after it or be an output, not neither")
        latest = due[operation.result] - len(operation.steps)
        if all(last.get(name, 0) >= latest for name in operation.used()):
            starts[at] = latest
        for name in operation.used():
            last[name] = max(last.get(name, 0), starts[at])
            due[name] = min(due.get(name, length), starts[at])
    return tuple(
        _at(position, operations, starts, {name for name in ready if last.get(name, 0) > position})
        for position in range(length)
    )


def _at(position: int, operations: Sequence[Operation], starts: Sequence[int], needed: set[str]) -> Step:
    """The steps of all operations that run in `position`, as one; `needed` are the values that are used later."""
    active = [
        (operation, position - start)
        for operation, start in zip(operations, starts, strict=True)
        if 0 <= position - start < len(operation.steps)
    ]

    def compute(m: Module, state: State) -> dict[str, Value]:
        new = {name: value for name, value in state.items() if name in needed}
        for operation, at in active:
            prefix = f"{operation.result}."
            if at:
                given = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            else:
                given = {name: state[of] if isinstance(of, str) else of for name, of in operation.operands.items()}
            made = operation.steps[at].compute(m, given)
            if at + 1 == len(operation.steps):
                new[operation.result] = made["result"]
            else:
                new |= {prefix + name: value for name, value in made.items()}
        return new

    return Step(f"step{position}", max((operation.steps[at].levels for operation, at in active), default=0), compute)
