"""Sequencer, decoder and frames of a machine with two or three engines, between a memory and units that do as they like.

The components are the real ones. Smaller are: the engines (the first of the nine), counts of commands (2 bits instead of 24;
programs end before they overflow), and the commands read ahead (3 instead of 32). The memory answers any word at any time,
well-formed or not; a unit takes and ends commands at any time, but is ready when it has none. Where a command's tag is, it
carries a ghost: how many commands of each engine were dispatched before it.

Assertions come in two groups. The properties are what is to be shown. The invariants say why, in terms of registers, so that
induction from any state that satisfies them goes through. `part` says what is asserted: "invariants"; "properties", of all
states that satisfy the invariants; or "all", for runs from reset.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false, reportCallIssue=false

import dataclasses
from functools import reduce
from itertools import combinations
from operator import add
from typing import Any, NamedTuple

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from rtl_kit.planted import mutant
from rtl_kit.prove import elaborated

from simulator.arch import Sequencer
from simulator.encoding import COMMAND_BITS, ENGINES, HEADER, Opcode
from simulator.presets import PRESETS

__all__ = ["MachineBench"]

BITS = 2
PREFETCH = 3
Change = tuple[str, str, str]  # file, right text, wrong text


class MachineBench(wiring.Component):
    """Free inputs: the program's start and length, the memory's answers, and the units' pace."""

    def __init__(
        self, engines: int, depth: int, dispatch: int, latency: int, *, part: str = "all", change: Change | None = None
    ) -> None:
        self.units = units = ENGINES[:engines]
        self.part = part
        sequencer = Sequencer(queue_depth=depth, dispatch_cycles=dispatch, token_latency=latency)
        accelerator = dataclasses.replace(PRESETS["edge-int8"].accelerator, sequencer=sequencer)

        def changes(file: str) -> list[tuple[str, str]]:
            return [change[1:]] if change and change[0] == file else []

        tag = (", **FIELDS[opcode]})", "})")  # the body is nothing to the frame
        frames = mutant("rtl/frame.py", tag, *changes("frame.py"), ENGINES=units, WAIT_BITS=BITS)
        small = {"ENGINES": units, "progress_layout": frames.progress_layout}
        decoder = mutant("rtl/decoder.py", *changes("decoder.py"), **small).Decoder
        small["countdown_layout"] = frames.countdown_layout
        others = {"UNITS": engines, "INDEX_BITS": BITS, "PREFETCH": PREFETCH, "Decoder": decoder}
        self.sequencer = mutant("rtl/sequencer.py", *changes("sequencer.py"), **small, **others).Sequencer(accelerator)
        self.frames = [frames.Frame(accelerator, opcode) for opcode in list(Opcode)[:engines]]
        self.depth, self.dispatch, self.latency = depth, dispatch, latency
        count = engines
        super().__init__(
            {
                "start": In(1),
                "length": In(BITS),
                "arready": In(1),
                "answer": In(1),
                "rdata": In(COMMAND_BITS),
                "rresp": In(2),
                "memory_fault": In(4),
                "ready": In(count),
                "end": In(count),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        sequencer, frames, count = self.sequencer, self.frames, range(len(self.units))
        m.submodules.sequencer, inner = elaborated(sequencer)
        length, in_flight = Signal(BITS), Signal(2)
        starts = self.start & ~sequencer.busy
        with m.If(starts):
            m.d.sync += length.eq(self.length)
        m.d.comb += [
            sequencer.start.eq(self.start),
            sequencer.length.eq(Mux(sequencer.busy, length, self.length)),
            sequencer.memory_fault.eq(self.memory_fault),
            sequencer.arready.eq(self.arready),
            sequencer.rvalid.eq(self.answer & (in_flight != 0)),
            sequencer.rdata.eq(self.rdata),
            sequencer.rresp.eq(self.rresp),
        ]
        m.d.sync += in_flight.eq(in_flight + (sequencer.arvalid & sequencer.arready) - sequencer.rvalid)
        # Programs use these engines, and no more commands of one than can be counted.
        opcode = inner["word"][: HEADER["opcode"]]
        dispatched = [_of(inner["dispatched"], i) for i in count]
        m.d.comb += Assume(~inner["buffer"].r_rdy | (opcode <= len(self.units)) | (opcode > Opcode.STORE_WORK))
        m.d.comb += [Assume(~sequencer.put[i] | (dispatched[i] != (1 << BITS) - 1)) for i in count]

        # Units, and what they have been given.
        header = data.StructLayout(HEADER)
        pushed, kept = header(sequencer.pushed[: header.size]), header(inner.get("kept", Const(0, header.size))[: header.size])
        before = Signal(BITS * len(self.units))  # dispatched before the command that is on its way
        road = Signal(len(self.units))  # it: put, and not yet pushed
        with m.If(sequencer.put.any()):
            m.d.sync += before.eq(Cat(dispatched))
        m.d.sync += road.eq((road | sequencer.put) & ~sequencer.push)
        given = [Signal(2, name=f"given_{i}") for i in count]  # accepted, not done
        ended = [Signal(BITS, name=f"ended_{i}") for i in count]
        inners: list[dict] = []
        for i, frame in enumerate(frames):
            m.submodules[f"frame_{i}"], locals_ = elaborated(frame)
            inners.append(locals_)
            done = sequencer.done[i]
            m.d.comb += [
                frame.put.eq(sequencer.put[i]),
                frame.push.eq(sequencer.push[i]),
                frame.pushed.command.op.eq(Mux(sequencer.put.any(), Cat(dispatched), before)),
                frame.pushed.waits.eq(Cat(pushed[f"wait_{engine.value}"][:BITS] for engine in self.units)),
                frame.countdown.eq(sequencer.countdown),
                frame.tokens.eq(sequencer.tokens),
                frame.ready.eq((given[i] == 0) | (self.ready[i] & (given[i] != 3))),
                sequencer.room[i].eq(frame.room),
                done.eq(self.end[i] & (given[i] != 0)),
            ]
            m.d.sync += [given[i].eq(given[i] + frame.accept - done), ended[i].eq(Mux(starts, 0, ended[i] + done))]
        m.d.comb += sequencer.idle.eq(Cat(frame.idle & frame.ready for frame in frames).all())

        # Tokens on their way, a register for each cycle of their latency beyond the first.
        tokens = [Cat(sequencer.done)]
        for i in range(self.latency - 1):
            token = Signal(len(self.units), name=f"token_{i}")
            m.d.sync += token.eq(tokens[-1])
            tokens.append(token)
        state = _State(inner, inners, given, ended, tokens, road, self._entries(m, inners, before, kept, road))
        if self.part != "invariants":
            self._properties(m, state, starts)
        self._invariants(m, state, in_flight, length)
        return m

    def _entries(self, m: Module, inners: list[dict], before: Value, kept: data.View, road: Value) -> list["_Entry"]:
        """Every command that was put and not accepted."""
        entries, places = [], self.depth + 1
        for f, inner in enumerate(inners):
            for j in range(places):
                read = inner["queue"].read_port(domain="comb")
                at = inner["first"] + j
                m.d.comb += read.addr.eq(Mux(at >= places, at - places, at))
                waits = [_of(read.data.waits, e) for e in range(len(self.units))]
                entries.append(_Entry(f, inner["held"] > j, j, waits, _parts(read.data.command.op[: len(before)])))
            if self.dispatch > 1:
                waits = [kept[f"wait_{engine.value}"][:BITS] for engine in self.units]
                entries.append(_Entry(f, road[f], inner["held"], waits, _parts(before)))
        return entries

    def _properties(self, m: Module, state: "_State", starts: Value) -> None:
        sequencer, frames, inner, count = self.sequencer, self.frames, state.sequencer, range(len(self.units))
        visible = [Signal(BITS, name=f"visible_{i}") for i in count]
        for i in count:
            arrives = state.tokens[-1][i]
            m.d.sync += visible[i].eq(Mux(starts, 0, visible[i] + arrives))
            waits = [_of(state.frames[i]["waits"], e) for e in count]
            progress = _finished(inner, i) + sequencer.tokens[i]
            m.d.comb += [
                Assert(progress == visible[i] + arrives, "a token comes its latency after done"),
                Assert(progress <= state.ended[i] + sequencer.done[i], "no token without done"),
                Assert(state.ended[i] + state.given[i] <= _of(inner["dispatched"], i), "accepted <= dispatched"),
            ]
            for e in count:
                done = state.ended[e] + sequencer.done[e]
                m.d.comb += Assert(~frames[i].accept | (waits[e] <= done), "what a command waits for is done")
        # Progress: while a program runs, and neither memory nor a unit owes anything, something moves in this cycle.
        owed = (inner["pending"] != 0) | sequencer.arvalid | Cat(each != 0 for each in state.given).any()
        level, ready = inner["buffer"].level, inner["buffer"].r_rdy
        all_arrived = (inner["asked"] == sequencer.length) & (inner["arrived"] == sequencer.length)
        idle = Cat(frame.idle for frame in frames).all()
        moves = [
            sequencer.put.any(),
            state.road.any(),
            Cat(frame.accept for frame in frames).any(),
            *(token.any() for token in state.tokens),
            sequencer.timer != 0,
            (level != 0) & (~ready | inner["ended"]),  # through the buffer, or out of it
            ~inner["dispatching"] & ~inner["ended"] & ready & (level >= inner["full"]),  # the first dispatch
            inner["here"] & ((inner["found"] != 0) | (inner["word"][: HEADER["opcode"]] == Opcode.END)),
            inner["dispatching"] & all_arrived & (level == 0),
            inner["ended"] & inner["fetching"],
            inner["ended"] & idle & (inner["finished"] == inner["index"]),  # the end
        ]
        waited = Signal()
        with m.If(frames[1].accept & (_of(state.frames[1]["waits"], 0) != 0)):
            m.d.sync += waited.eq(1)
        m.d.comb += [
            Assert(~sequencer.busy | owed | Cat(moves).any(), "no deadlock"),
            Cover(waited & inner["ended"] & ~sequencer.busy & (sequencer.fault == 0)),
        ]

    def _invariants(self, m: Module, state: "_State", in_flight: Value, length: Value) -> None:
        claim = Assume if self.part == "properties" else Assert
        sequencer, inner, count = self.sequencer, state.sequencer, range(len(self.units))
        running, dispatching, fetching, ended = (inner[name] for name in ("running", "dispatching", "fetching", "ended"))
        level, ready, pending, index = inner["buffer"].level, inner["buffer"].r_rdy, inner["pending"], inner["index"]
        resting = [(each == 0) for each in state.given] + [frame.idle for frame in self.frames]
        m.d.comb += [
            claim(pending == in_flight),
            claim(pending + level <= PREFETCH),
            claim(inner["reserved"] == pending + level),
            claim((level - ready <= PREFETCH - 1) & (ready | (level <= 1)) & (~ready | (level != 0))),
            claim(~running | ((inner["asked"] == inner["arrived"] + pending) & (inner["asked"] <= length))),
            claim(~running | ended | (level + index == inner["arrived"])),
            claim(~(running & ~ended & ~dispatching) | (index == 0)),
            claim(running | (pending + level == 0), "nothing of a program is left at its end"),
            claim(running | Cat(resting).all()),
            claim(running | ~(dispatching | fetching)),
            claim(~dispatching | ~ended),
            claim(~running | ended | (fetching & (length != 0))),
            claim(inner["finished"] == reduce(add, (_finished(inner, i) for i in count)), "all engines' are counted"),
            claim(inner["index"] == reduce(add, (_of(inner["dispatched"], i) for i in count))),
        ]
        if self.dispatch > 1:
            age, left, whose = (inner[name] for name in ("age", "left", "whose"))
            m.d.comb += [
                claim(state.road == Mux(left != 0, whose, 0)),
                claim((left <= sequencer.timer) & (sequencer.timer < self.dispatch) & (age < self.dispatch)),
                claim((whose & (whose - 1)[: len(self.units)]) == 0),
                claim(~(running & ~dispatching & ~ended) | ((sequencer.timer == 0) & (age == 0)), "begins as after reset"),
                claim((left == 0) | (whose != 0)),
            ]
        else:
            m.d.comb += claim(state.road == 0)
        for i in count:
            frame, dispatched = state.frames[i], _of(inner["dispatched"], i)
            first, last, held, road = frame["first"], frame["last"], frame["held"], state.road[i]
            flying = reduce(add, (token[i] for token in state.tokens[1:]), Const(0))
            m.d.comb += [
                claim(dispatched == state.ended[i] + state.given[i] + held + road),
                claim(state.ended[i] == _finished(inner, i) + flying),
                claim(running | (flying == 0), "no token is left at a program's end"),
                claim(frame["waiting"] + frame["taken"] == held + road),
                claim(frame["waiting"] <= self.depth),
                claim((first <= self.depth) & (last <= self.depth)),
                claim((first + held == last) | (first + held == last + self.depth + 1)),
            ]
            if self.latency > 1:
                m.d.comb += claim(inner["later"][i] == state.tokens[-1][i])
        for entry in state.entries:
            f, before = entry.frame, entry.before
            in_order = before[f] == state.ended[f] + state.given[f] + entry.place
            sound = [(wait <= count) for wait, count in zip(entry.waits, before, strict=True)]
            known = [before[e] <= _of(inner["dispatched"], e) for e in count]
            m.d.comb += claim(~entry.present | (in_order & Cat(sound, known).all()), "waits for what was dispatched before")
        for one, other in combinations(state.entries, 2):
            below = Cat(a <= b for a, b in zip(one.before, other.before, strict=True)).all()
            above = Cat(a >= b for a, b in zip(one.before, other.before, strict=True)).all()
            m.d.comb += claim(~(one.present & other.present) | below | above, "commands were put one after the other")


class _Entry(NamedTuple):
    frame: int
    present: Value
    place: Value | int  # commands of its engine before it, not yet accepted
    waits: list[Value]
    before: list[Value]  # the ghost: commands dispatched before it, by engine


class _State(NamedTuple):
    sequencer: dict[str, Any]
    frames: list[dict[str, Any]]
    given: list[Value]  # accepted and not done, by engine
    ended: list[Value]  # done in this program
    tokens: list[Value]  # done, and the registers after it
    road: Value  # put and not yet pushed
    entries: list[_Entry]


def _finished(sequencer: dict[str, Any], i: int) -> Value:
    """Commands of an engine that were seen finished before this cycle."""
    return ((1 << BITS) - 2 - _of(sequencer["countdown"], i))[: BITS + 1]


def _of(counts: Value, i: int) -> Value:
    return counts[ENGINES[i].value]


def _parts(ghost: Value) -> list[Value]:
    return [ghost[i : i + BITS] for i in range(0, len(ghost), BITS)]
