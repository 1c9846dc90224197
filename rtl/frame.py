"""What stands before every unit: its queue, and the tokens that its next command waits for.

Cycle for cycle the simulator's `simulator.engines.frame`: a unit that is free takes the next command at once, which makes room
in the queue, and holds it until its tokens are there. What happens at time t there happens in cycle t - 1 here and is visible
in cycle t: a command is accepted in cycle s - 1 and starts at s.

| cycle | queue depth 1, nothing to wait for, busy for 3 cycles                                  |
|-------|----------------------------------------------------------------------------------------|
| 0     | put: the free unit takes it                                                            |
| 1     | visible and accepted; the second is put and stays in the queue: no room                |
| 2..4  | the first runs; in 4 `ready` is high: the second is taken and accepted, a third is put |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.command_bits import narrowed, restored, stored_layout
from simulator.arch import Accelerator
from simulator.encoding import COMMAND_BITS, ENGINES, FIELDS, HEADER, WAIT_BITS, Opcode
from simulator.faults import opcodes_of

__all__ = ["Frame", "attach", "countdown_layout", "progress_layout", "queued_layout", "unit_layout"]

_TAG = slice(HEADER["opcode"], HEADER["opcode"] + HEADER["op"])
_WAITS = slice(_TAG.stop, sum(HEADER.values()))
_BODY = slice(_WAITS.stop, COMMAND_BITS)


def progress_layout() -> data.StructLayout:
    """A count of commands, by engine."""
    return data.StructLayout({engine.value: WAIT_BITS for engine in ENGINES})


def countdown_layout() -> data.StructLayout:
    """By engine: 2**WAIT_BITS - 2 - (commands that were seen finished before this cycle)."""
    return data.StructLayout({engine.value: 1 + WAIT_BITS for engine in ENGINES})


def unit_layout(opcode: Opcode) -> data.StructLayout:
    """A command as its unit takes it: the operation's number and the body."""
    return data.StructLayout({"op": HEADER["op"], **FIELDS[opcode]})


def queued_layout(opcode: Opcode) -> data.StructLayout:
    """A command on its way to its queue."""
    return data.StructLayout({"command": unit_layout(opcode), "waits": progress_layout()})


def _beyond(wait: Value, countdown: Value, token: Value) -> Value:
    """Whether wait > finished + token: wait - 1 - finished - token does not borrow. One adder; the token is its carry."""
    return (Cat(~token, wait, 0) + Cat(1, countdown))[1 + len(wait)]


class Frame(wiring.Component):
    """Queue and tokens of one engine.

    `put` says that the sequencer places a command in this cycle (only with `room`); the command itself follows by `push`,
    `dispatch_cycles - 1` cycles later. `ready` is the unit's: high in the last cycle of its command, and when it has none.
    `hold` keeps the command from starting. `accept` is high with `command` valid in the cycle before it starts. `idle`:
    nothing is here. Tokens: `countdown` stands for the commands of each engine that were seen finished before this cycle,
    `tokens` has a bit for each engine of which one more is seen in this cycle.
    """

    def __init__(self, accelerator: Accelerator, opcode: Opcode) -> None:
        self.depth, self.opcode, self.accelerator = accelerator.sequencer.queue_depth, opcode, accelerator
        super().__init__(
            {
                "put": In(1),
                "room": Out(1),
                "push": In(1),
                "pushed": In(queued_layout(opcode)),
                "countdown": In(countdown_layout()),
                "tokens": In(len(ENGINES)),
                "ready": In(1),
                "hold": In(1),
                "accept": Out(1),
                "command": Out(unit_layout(opcode)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        depth = self.depth + 1  # one is the unit's, waiting for its tokens
        bits = self.opcode, self.accelerator, unit_layout(self.opcode)
        stored = data.StructLayout({"command": stored_layout(*bits), "waits": progress_layout()})
        m.submodules.queue = queue = memory.Memory(shape=stored, depth=depth, init=[])
        write, read = queue.write_port(), queue.read_port(domain="comb")
        first, last, held = Signal(range(depth)), Signal(range(depth)), Signal(range(depth + 1))
        m.d.comb += [
            write.en.eq(self.push),
            write.addr.eq(last),
            write.data.eq(Cat(narrowed(*bits[:2], self.pushed.command), self.pushed.waits)),
            read.addr.eq(first),
            self.command.eq(restored(*bits, read.data.command)),
        ]

        def after(pointer: Signal) -> Value:
            return (
                (pointer + 1)[: len(pointer)]
                if depth & (depth - 1) == 0
                else (pointer != depth - 1).replicate(len(pointer)) & (pointer + 1)
            )

        waits = read.data.waits
        known = [opcode.engine for opcode in opcodes_of(self.accelerator) if opcode is not Opcode.END]
        missing = [
            _beyond(waits[engine.value], self.countdown[engine.value], token)
            for engine, token in zip(ENGINES, self.tokens, strict=True)
            if engine in known  # the decoder lets no command wait for others
        ]
        here = ~Cat(missing).any()
        m.d.comb += self.accept.eq((held != 0) & here & self.ready & ~self.hold)
        with m.If(self.push):
            m.d.sync += last.eq(after(last))
        with m.If(self.accept):
            m.d.sync += first.eq(after(first))
        m.d.sync += held.eq(held + self.push - self.accept)

        # Places: those put and not taken. A command may be taken while it is still on its way.
        waiting, taken = Signal(range(self.depth + 2)), Signal()
        hungry = Signal()
        takes = Signal()
        m.d.comb += [
            hungry.eq(self.ready & ~taken),
            takes.eq(hungry & ((waiting != 0) | self.put)),
            self.room.eq(waiting - (hungry & (waiting != 0)) < self.depth),
            self.idle.eq((held == 0) & (waiting == 0) & ~taken),
        ]
        m.d.sync += [waiting.eq(waiting + self.put - takes), taken.eq((taken | takes) & ~self.accept)]
        return m


def attach(m: Module, sequencer: Any, number: int, frame: Frame) -> None:
    """Connect a frame to the sequencer as the engine `number`; unit and frame remain to be connected."""
    m.d.comb += [
        frame.put.eq(sequencer.put[number]),
        frame.push.eq(sequencer.push[number]),
        frame.pushed.waits.eq(sequencer.pushed[_WAITS]),
        frame.pushed.command.eq(Cat(sequencer.pushed[_TAG], sequencer.pushed[_BODY])),
        frame.countdown.eq(sequencer.countdown),
        frame.tokens.eq(sequencer.tokens),
        sequencer.room[number].eq(frame.room),
    ]
