"""The choice among a GEMM's candidate tiles: a loop over integers, for one GEMM or (compiled) for all on many machines."""

from typing import Any, NamedTuple

__all__ = ["BUFFERS", "JOINT", "PICKED", "Columns", "pick"]

BUFFERS = ("a_buffer bytes per slot", "b_buffer bytes per slot", "c_buffer bytes per slot")
JOINT = "a, b and c bytes per slot for one tile"
PICKED = 6
"""Fields of a choice: what doesn't fit (0: all does; else one more than the position in `BUFFERS`, or 4: `JOINT`), the
candidate or the least bytes that don't fit, whether the order is "nm", memory cycles, estimated cycles, tiles."""


class Columns(NamedTuple):
    """By candidate. Lists, or integer arrays."""

    a_bytes: Any
    b_bytes: Any
    c_bytes: Any
    a_cycles: Any  # of a load, or of pruning it
    b_cycles: Any
    c_cycles: Any  # of a store
    array: Any  # cycles of the array over all tiles
    batches: Any  # tiles along each dimension
    m_tiles: Any
    n_tiles: Any
    k_tiles: Any


def pick(
    starts: Any, columns: Columns, limits: Any, a_slots: int, b_slots: int, memories: Any, estimates: Any, found: Any
) -> None:
    """The feasible candidate with the fewest estimated cycles, for each GEMM.

    Candidates of GEMM i are starts[i] to starts[i + 1]; `limits[i]` has bytes of a slot for a, b, c. `memories` and
    `estimates` are room for two entries of every candidate; `found[i]` becomes the choice (see `PICKED`).

    Among those within 1/32 of the fewest cycles, the fewest tiles: a shorter program, and fewer ends that the estimate counts
    in full though the next operation hides them. Then the least memory cycles, then the estimate; ties go to the first.
    """
    for gemm in range(len(starts) - 1):
        start, stop = starts[gemm], starts[gemm + 1]
        a_limit, b_limit, c_limit = limits[gemm][0], limits[gemm][1], limits[gemm][2]
        least_a, least_b, least_c, least_all = -1, -1, -1, -1
        fewest = -1
        for i in range(start, stop):
            a_need, b_need, c_need = columns.a_bytes[i], columns.b_bytes[i], columns.c_bytes[i]
            if least_a < 0 or a_need < least_a:
                least_a = a_need
            if least_b < 0 or b_need < least_b:
                least_b = b_need
            if least_c < 0 or c_need < least_c:
                least_c = c_need
            if least_all < 0 or a_need + b_need + c_need < least_all:
                least_all = a_need + b_need + c_need
            estimates[2 * i] = -1
            if a_need > a_limit or b_need > b_limit or c_need > c_limit:
                continue
            batches, m_tiles, n_tiles, k_tiles = columns.batches[i], columns.m_tiles[i], columns.n_tiles[i], columns.k_tiles[i]
            a_cycles, b_cycles, result, array = columns.a_cycles[i], columns.b_cycles[i], columns.c_cycles[i], columns.array[i]
            # The first tile's loads and the last tile's way out.
            ends = a_cycles + b_cycles + result + array // (batches * m_tiles * n_tiles * k_tiles)
            a_stays, b_stays = k_tiles <= a_slots, k_tiles <= b_slots
            for swapped in range(2):  # "mn", "nm"
                # An operand whose k tiles all stay in its slots is not loaded again while the inner loop runs.
                a_times = 1 if a_stays and (swapped == 0 or m_tiles == 1) else n_tiles
                b_times = 1 if b_stays and (swapped == 1 or n_tiles == 1) else m_tiles
                loads = batches * k_tiles * (m_tiles * a_times * a_cycles + n_tiles * b_times * b_cycles)
                memory = loads + batches * m_tiles * n_tiles * result
                estimate = max(array, memory) + ends
                memories[2 * i + swapped], estimates[2 * i + swapped] = memory, estimate
                if fewest < 0 or estimate < fewest:
                    fewest = estimate
        if fewest < 0:
            if least_a > a_limit:
                found[gemm][0], found[gemm][1] = 1, least_a
            elif least_b > b_limit:
                found[gemm][0], found[gemm][1] = 2, least_b
            elif least_c > c_limit:
                found[gemm][0], found[gemm][1] = 3, least_c
            else:
                found[gemm][0], found[gemm][1] = 4, least_all
            continue
        close = fewest + fewest // 32
        chosen, order, tiles, memory, estimate = -1, 0, 0, 0, 0
        for swapped in range(2):
            for i in range(start, stop):
                its_estimate = estimates[2 * i + swapped]
                if estimates[2 * i] < 0 or its_estimate > close:
                    continue
                its_tiles = columns.batches[i] * columns.m_tiles[i] * columns.n_tiles[i] * columns.k_tiles[i]
                its_memory = memories[2 * i + swapped]
                better = its_tiles < tiles
                if its_tiles == tiles:
                    better = its_memory < memory or (its_memory == memory and its_estimate < estimate)
                if chosen < 0 or better:
                    chosen, order, tiles, memory, estimate = i, swapped, its_tiles, its_memory, its_estimate
        found[gemm][0], found[gemm][1], found[gemm][2] = 0, chosen, order
        found[gemm][3], found[gemm][4], found[gemm][5] = memory, estimate, tiles
