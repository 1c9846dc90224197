"""How two streams share the machine's one memory port, and hold each other up in the program: how fast each goes on."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from dataflows.analytic.fields import BODY, CHUNKS, LOADS, PORT, SQUARES, TRANSFERS, UNIT, WAYS
from dataflows.analytic.sequencer import AT_HEAD, FREE, IDLE, STOPPED
from simulator.compiled import compiled

__all__ = ["Piece", "Product", "piece_of", "product_of", "speeds"]

Cells: TypeAlias = Any  # a float array of which single elements are read
_BOUND = 1.01  # what takes longer than its busiest unit by more than this waits for the way of its chunks


class Product(NamedTuple):
    """A GEMM. At full speed, as it would be alone:"""

    rate: float  # the compiler's cycles in a cycle
    step: float  # the compiler's, of a tile
    share: float  # of the port
    turn: float  # cycles of a transfer
    residual: float  # how long a transfer goes on from a random cycle of one


class Piece(NamedTuple):
    """Parts of two operations whose chunks take turns in the work buffer. At full speed, as they would be alone:"""

    body: float  # cycles
    rate: float  # the compiler's cycles in a cycle
    step: float  # the compiler's, of a chunk
    share: float  # of the port
    turn: float  # cycles of a transfer
    calls: float  # transfers in a cycle
    chain: float  # part of the time for which chunks wait for their own way
    loads: float  # commands in a cycle,
    credit: float  # and how many of them are ahead of the rest


@compiled
def product_of(known: Cells, begin: float, end: float) -> Product:
    """Of an operation of which this is `known`."""
    span, body, port = max(end - begin, 1.0), max(known[BODY], 1.0), known[PORT]
    return Product(
        span / body,
        span / max(known[CHUNKS], 1.0),
        min(1.0, port / body),
        port / max(known[TRANSFERS], 1.0),
        known[SQUARES] / max(2 * port, 1.0),
    )


@compiled
def piece_of(one: Cells, two: Cells, one_part: float, two_part: float, span: float, slots: float) -> Piece:
    """Such parts of two operations of which this is known.

    Where both have many chunks, each has half of the slots; so a chunk of the one waits for one of the other. Those left over
    take their time as they do alone.
    """
    one_body, two_body = one[BODY] * one_part, two[BODY] * two_part
    port = one[PORT] * one_part + two[PORT] * two_part
    one_chunks, two_chunks = one[CHUNKS] * one_part, two[CHUNKS] * two_part
    chunks = max(one_chunks + two_chunks, 1.0)
    body = one_body + two_body
    if one_part > 0 and two_part > 0:
        one_way, two_way = one[WAYS] / max(one[CHUNKS], 1.0), two[WAYS] / max(two[CHUNKS], 1.0)
        pairs = min(one_chunks, two_chunks)
        pair = max(max(one_way, two_way) * min(2 / slots, 1.0), (one_way + two_way) / slots)
        rest = one_body * (1.0 - pairs / max(one_chunks, 1e-9)) + two_body * (1.0 - pairs / max(two_chunks, 1e-9))
        body = max(one_body, two_body, port, pairs * pair + rest)
    flow = max(port, one[UNIT] * one_part, two[UNIT] * two_part)
    chain = max((one[WAYS] * one_part + two[WAYS] * two_part) / slots, body if body > flow * _BOUND else 0.0)
    body = max(body, 1e-9)
    calls, loads = one[TRANSFERS] * one_part + two[TRANSFERS] * two_part, one[LOADS] * one_part + two[LOADS] * two_part
    share = min(1.0, port / body)
    # Chunks are loaded as far ahead as there are slots; one less where the port has to do their stores in between.
    credit = (slots - share) * loads / chunks
    return Piece(
        body, span / body, span / chunks, share, port / max(calls, 1e-9), calls / body, chain / body, loads / body, credit
    )


@compiled
def speeds(g: Product, w: Piece, g_state: int, w_state: int, g_pace: float, w_pace: float) -> tuple[float, float]:
    """Of the GEMM and the work, in parts of full speed; a pace is that of the head that is before the *other* stream, as a
    part of this one's."""
    g_asks = g.share if g_state in (FREE, AT_HEAD) else 0.0
    # Where chunks wait for their own way, what keeps one from the port keeps back all: a transfer of the other stream, as
    # long as it lasts, if the work asks often enough to meet it.
    meets = min(1.0, w.calls * g.residual)
    g_speed = 0.0 if g_state in (IDLE, STOPPED) else 1.0
    if w_state in (IDLE, STOPPED):
        return (0.0 if g_state == AT_HEAD else g_speed), 0.0
    w_most = 1.0 / max(1.0, w.chain + g_asks * meets)
    if g_speed == 0.0:
        return 0.0, (0.0 if w_state == AT_HEAD else w_most)
    # In turn: so whoever has the longer transfers has more of the port; who asks for less gets it all.
    w_asks, w_speed = w.share * w_most, w_most
    if g_asks + w_asks > 1.0:
        g_gets = min(g_asks, max(g.turn / max(g.turn + w.turn, 1e-9), 1.0 - w_asks))
        g_speed, w_speed = g_gets / g_asks, w_most * min(1.0, (1.0 - g_gets) / w_asks)
    # At the head a stream goes on at the other's pace, which gets what that leaves of the port.
    if g_state == AT_HEAD and g.rate * g_speed > w_pace * w.rate * w_speed:
        often = g.share * w_pace / g.rate  # parts of the port for a pace of the work's
        pace = min(w.rate, 1.0 / max(often + w.share / w.rate, 1e-12))
        pace = min(pace, 2 * w.rate / (w.chain + np.sqrt(w.chain * w.chain + 4 * often * meets * w.rate)))
        return min(w_pace * pace / g.rate, 1.0), pace / w.rate
    if w_state == AT_HEAD and w.rate * w_speed > g_pace * g.rate * g_speed:
        pace = min(g.rate, 1.0 / max(g.share / g.rate + g_pace * w.share / w.rate, 1e-12))
        return pace / g.rate, min(g_pace * pace / w.rate, w_most)
    return g_speed, w_speed
