"""What is known of an operation on a machine before it meets others: columns of the tables that steps are put together from."""

__all__ = [
    "BODY",
    "CHUNKS",
    "DRAIN",
    "EARLY",
    "ESTIMATE",
    "FIELDS",
    "FILL",
    "LATE_A",
    "LATE_B",
    "LOADS",
    "OUTS",
    "PORT",
    "PRUNES",
    "SQUARES",
    "TRANSFERS",
    "UNIT",
    "WAYS",
]

FIELDS = (
    "body",  # cycles for which it keeps its stream busy, alone
    "port",  # cycles in which it holds the port,
    "transfers",  # and in how many transfers
    "loads",  # commands for its load engine (of GEMMs: for the array),
    "outs",  # and for the engine behind that has the most
    "estimate",  # the compiler's, of its cycles
    "unit",  # of work in chunks: cycles of its busiest unit,
    "chunks",  # how many (of GEMMs: tiles),
    "ways",  # and the cycles of all of them, each alone from its first load to its last store
    "prunes",  # cycles of the pruner
    "squares",  # of GEMMs: the transfers' cycles squared, added up
    "fill",  # from its first request to its body; hidden behind the body of the one before, from `early` before that's end
    "late_a",  # from its first request for one operand to its body, where the other is there
    "late_b",
    "early",
    "drain",  # from the end of its body to its end
)
"""In cycles, where nothing else is said; work in chunks has none of the last six."""

BODY, PORT, TRANSFERS, LOADS, OUTS, ESTIMATE, UNIT, CHUNKS = range(8)
WAYS, PRUNES, SQUARES, FILL, LATE_A, LATE_B, EARLY, DRAIN = range(8, len(FIELDS))
