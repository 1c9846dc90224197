"""Evaluate the base and every variant of it, and what follows from that: speed-ups, their swings, their band."""

import random
from collections.abc import Iterator
from typing import Any

import pandas as pd

from dse.space import Objective, Space
from reports.studies.sat_speedup.assumptions import BASE, METHODS, NETWORKS, VARIANTS

__all__ = ["combinations", "one_at_a_time", "speedups", "swings"]

Case = tuple[str, str, dict[str, Any]]  # assumption, value, settings


def _settings(network: str, method: str, changes: dict[str, Any]) -> dict[str, Any]:
    changes = dict(changes)
    keep = changes.pop("keep_dense", None)
    if keep and method != "dense":
        method = f"{method},keep_dense={keep}"
    return BASE | {"workload": network, "method": method} | changes


def one_at_a_time() -> tuple[Space, list[tuple[str, str]]]:
    """Every network and method on the base and on each variant; with each point's assumption and value."""
    cases: list[Case] = [("base", "base", {})]
    cases += [(name, value, changes) for name, values in VARIANTS.items() for value, changes in values.items()]
    points = [(n, v, _settings(net, m, c)) for n, v, c in cases for net in NETWORKS for m in METHODS]
    return _space("one assumption at a time", [p for _, _, p in points]), [(n, v) for n, v, _ in points]


def combinations(count: int, seed: int) -> tuple[Space, list[tuple[str, str]]]:
    """`count` random choices of a value for every assumption at once; dense and 2:8 on every network."""
    draw = random.Random(seed)
    points: list[tuple[str, dict[str, Any]]] = []
    for number in range(count):
        changes: dict[str, Any] = {}
        for values in VARIANTS.values():
            changes |= draw.choice([{}, *values.values()])
        points += [(str(number), _settings(n, m, changes)) for n in NETWORKS for m in ("dense", "bdwp:2:8")]
    return _space("combinations", [p for _, p in points]), [("combination", number) for number, _ in points]


def _space(title: str, points: list[dict[str, Any]]) -> Space:
    return Space(title=title, base={}, axes=(tuple(points),), objectives=(Objective("latency_ms", minimize=True),))


def speedups(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per assumption, value, network and sparse method: cycles of dense over cycles of the method."""
    frame = frame.assign(ratio=frame["method"].str.replace("bdwp:", "").str.partition(",")[0])
    index = ["assumption", "value", "workload"]
    dense = frame[frame["ratio"] == "dense"].set_index(index)["cycles"]
    sparse = frame[frame["ratio"] != "dense"].set_index(index)
    dense_cycles = dense.reindex(sparse.index)
    columns = {"speedup": dense_cycles / sparse["cycles"], "bound": sparse["mac_bound_speedup"], "ratio": sparse["ratio"]}
    return pd.DataFrame(columns).reset_index()


def swings(table: pd.DataFrame, ratio: str) -> pd.DataFrame:
    """By assumption: the lowest and highest average speed-up over the networks among its values and the base."""
    average = table[table["ratio"] == ratio].groupby(["assumption", "value"])["speedup"].mean()
    base = average.loc[("base", "base")]
    rows: list[dict[str, Any]] = []
    for assumption in VARIANTS:
        values = average.loc[assumption]
        low, high = min(base, values.min()), max(base, values.max())
        rows.append({"assumption": assumption, "low": low, "high": high, "swing": high - low, "values": dict(values)})
    return pd.DataFrame(rows).sort_values("swing", ascending=False, ignore_index=True)


def cases(frame: pd.DataFrame, labels: list[tuple[str, str]]) -> pd.DataFrame:
    """The sweep's rows with the assumption and value of each."""
    chosen: Iterator[tuple[str, str]] = (labels[int(point)] for point in frame["point"])
    named = pd.DataFrame(chosen, columns=["assumption", "value"], index=frame.index)
    return pd.concat([named, frame], axis=1)
