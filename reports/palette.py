"""Colours and names that stay the same in every plot; after Okabe and Ito, and Tol, for colour-blind readers."""

import re
from collections.abc import Iterable

__all__ = [
    "CAUSES",
    "ENGINES",
    "INK",
    "STAGES",
    "cause_colour",
    "cause_name",
    "cause_phrase",
    "method_style",
    "natural",
    "stage_colour",
    "text_on",
]

INK = "#333333"

STAGES = {  # in the order of a training step
    "ff": ("#0072B2", "ff: forward GEMMs"),
    "bp": ("#56B4E9", "bp: data gradients"),
    "wu": ("#009E73", "wu: weight gradients"),
    "aa": ("#CC79A7", "aa: attention"),
    "vector": ("#E69F00", "vector work"),
    "prune": ("#D55E00", "prune"),
    "update": ("#999999", "update"),
}

CAUSES = {  # what the array does with a cycle, useful work first
    "compute": ("#0072B2", "compute"),
    "latency": ("#56B4E9", "accumulate latency"),
    "bandwidth": ("#44AA99", "buffer bandwidth"),
    "shift": ("#117733", "operand shift"),
    "fill": ("#CC79A7", "fill and drain"),
    "load_a": ("#E69F00", "wait: operand A load"),
    "load_b": ("#F0C36D", "wait: operand B load"),
    "load_work": ("#B8860B", "wait: work load"),
    "store_c": ("#D55E00", "wait: result store"),
    "store_work": ("#F4A582", "wait: work store"),
    "port": ("#882255", "wait: memory port"),
    "prune": ("#AA4499", "wait: prune"),
    "update": ("#DDCC77", "wait: update"),
    "vector": ("#999933", "wait: vector"),
    "array": ("#777777", "wait: array"),
    "command": ("#333333", "wait: command dispatch"),
    "drained": ("#DDDDDD", "no more work"),
}

ENGINES = ("load_a", "load_b", "array", "store_c", "load_work", "vector", "prune", "update", "store_work")

_METHODS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#882255", "#999933")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "pentagon", "hexagram")
_OTHER = "#BBBBBB"


def stage_colour(stage: str) -> str:
    return STAGES[stage][0] if stage in STAGES else _OTHER


def cause_colour(cause: str) -> str:
    return CAUSES[cause][0] if cause in CAUSES else _OTHER


def cause_name(cause: str) -> str:
    return CAUSES[cause][1] if cause in CAUSES else f"wait: {cause}"


def cause_phrase(cause: str) -> str:
    """A cause within a sentence that says what time goes to."""
    name = cause_name(cause)
    if cause == "drained":
        return "having no more work to do"
    return name.replace("wait: ", "waiting for ")


def text_on(colour: str) -> str:
    """Dark or light text, whichever reads better on a colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#222222" if 0.3 * red + 0.59 * green + 0.11 * blue > 135 else "#FFFFFF"


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key to sort by, under which 2:4 comes before 2:16, and dense before all."""
    parts = re.findall(r"\d+|\D+", name)
    return ((-1, ""),) if name == "dense" else tuple((int(p), "") if p.isdecimal() else (0, p) for p in parts)


def method_style(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker by method: dense is always dark, the others take theirs in the order of their names."""
    names = sorted(set(methods) - {"dense"}, key=natural)
    styles = {name: (_METHODS[i % 8], _SYMBOLS[(i + i // 8) % 8]) for i, name in enumerate(names)}
    return {"dense": (INK, "cross"), **styles}
