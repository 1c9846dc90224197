"""The walk through a transfer: burst after burst, row after row, at the memory's pace (cycles: `rtl.dma`).

What the first burst needs is worked out when a command is accepted: no sum is between a grant and the request that it brings.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# Amaranth makes ports attributes at run time.

from fractions import Fraction
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.pipeline import wire
from simulator.encoding import FIELDS, Opcode

__all__ = ["ADDRESS_BITS", "command_layout", "first_place", "place_layout", "walk"]

ADDRESS_BITS = FIELDS[Opcode.LOAD_A]["address"]


def command_layout() -> data.StructLayout:
    """The fields of a command that say what to transfer."""
    return data.StructLayout({name: FIELDS[Opcode.LOAD_A][name] for name in ("address", "rows", "row_bytes", "pitch")})


def place_layout(burst_bits: int) -> data.StructLayout:
    """Where a transfer is, in bursts of 2^burst_bits bytes."""
    fields = command_layout().members
    return data.StructLayout(
        {
            "address": ADDRESS_BITS - burst_bits,
            "next": ADDRESS_BITS - burst_bits,  # where the row after this one begins
            "pitch": ADDRESS_BITS - burst_bits,  # modulo the addresses
            "rows": fields["rows"],  # this one and those to come
            "row_bytes": fields["row_bytes"],
            "left": fields["row_bytes"],  # bytes of the row from here on
            "short": 1,  # rows are of one burst
            "ends_row": 1,  # no burst of the row is after this one
            "last_row": 1,
        }
    )


def first_place(command: data.View, burst_bits: int) -> dict[str, Value]:
    """The place at which a command begins."""
    address, pitch = command.address[burst_bits:], command.pitch[burst_bits:]
    short = command.row_bytes <= 1 << burst_bits
    return {
        "address": address,
        "next": (address + pitch)[: len(address)],
        "pitch": pitch,
        "rows": command.rows,
        "row_bytes": command.row_bytes,
        "left": command.row_bytes,
        "short": short,
        "ends_row": short,
        "last_row": command.rows == 1,
    }


def walk(
    m: Module, first: data.View, held: Value, wanted: Value, room: Value, ready: Value, *, burst_bits: int, slot: Fraction
) -> dict[str, Any]:
    """Asks for bursts: those of the holder since a cycle before if `held`, else, where `wanted`, the first one of `first`.

    `room`: one more may be in flight. `ready`: the memory takes a request in this cycle. Returns of this cycle: `asks`, `new`
    (for the first time), the burst's `place`, whether it `begins_row` and `ends_command`, and whether the hold `ends`.
    """
    layout = place_layout(burst_bits)
    pace = data.StructLayout(
        {
            "phase": range(max(2, slot.denominator)),  # the burst is due that part of a cycle before now
            "wait": range(slot.numerator // slot.denominator + 2),  # cycles until it is due, or the hold ends
            "more": 1,  # there is a burst to come
            "asked": 1,  # its request stands since a cycle before this one
            "begins_row": 1,
        }
    )
    place, later = Signal(layout, name="place"), Signal(layout, name="later_place", reset_less=True)
    now, then = Signal(pace, name="now"), Signal(pace, name="then", reset_less=True)
    m.d.comb += place.eq(Mux(held, later.as_value(), first.as_value()))
    with m.If(held):
        m.d.comb += now.eq(then)
    with m.Else():
        m.d.comb += [now.more.eq(1), now.begins_row.eq(1)]

    ends_command = wire(m, "ends_command", place.ends_row & place.last_row)
    asks = wire(m, "asks", (held | wanted) & now.more & (now.wait == 0) & (now.asked | room))
    passes = wire(m, "passes", asks & ready)
    whole, part = divmod(slot.numerator, slot.denominator)
    due = wire(m, "due", now.phase + part)  # in parts of a cycle
    carry = wire(m, "carry", due >= slot.denominator)
    gap = wire(m, "gap", whole + Mux(ends_command, due.any() + (due > slot.denominator), carry))

    m.d.sync += [later.eq(place), then.eq(now), then.asked.eq(asks & ~passes)]
    with m.If(passes):
        m.d.sync += [
            then.phase.eq(due - Mux(carry, slot.denominator, 0)),
            then.wait.eq(gap - 1),
            then.more.eq(~ends_command),
            then.begins_row.eq(place.ends_row),
        ]
        with m.If(place.ends_row):
            m.d.sync += [
                later.address.eq(place.next),
                later.next.eq(place.next + place.pitch),
                later.rows.eq(place.rows - 1),
                later.last_row.eq(place.rows == 2),
                later.left.eq(place.row_bytes),
                later.ends_row.eq(place.short),
            ]
        with m.Else():
            m.d.sync += [
                later.address.eq(place.address + 1),
                later.left.eq(place.left - (1 << burst_bits)),
                later.ends_row.eq(place.left <= 2 << burst_bits),
            ]
    with m.Elif(now.wait != 0):
        m.d.sync += then.wait.eq(now.wait - 1)
    closes = Mux(now.more, passes & ends_command & (gap == 1), now.wait == 1)
    return {
        "asks": asks,
        "new": wire(m, "new", asks & ~now.asked),
        "place": place,
        "begins_row": now.begins_row,
        "ends_command": ends_command,
        "ends": wire(m, "walk_ends", (held | wanted) & closes),
    }
