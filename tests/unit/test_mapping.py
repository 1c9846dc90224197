"""Does a mapping refuse what it can't mean, and name the dataflows to try?"""

import pytest

from dataflows.mapping import Mapping
from simulator.arch import Array, Dataflow
from simulator.schedule import UnsupportedError
from workloads.gemm import Stage

ALL = Array(dataflows=(Dataflow.WS, Dataflow.OS))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataflow": "rs"}, "Mapping field 'dataflow' must be one of best, os, ws, is, not 'rs'"),
        ({"dataflow": ""}, "Mapping field 'dataflow' must be one of best, os, ws, is, not ''"),
        ({"wu": "x"}, "Mapping field 'wu' must be one of best, os, ws, is, not 'x'"),
        ({"update": "never"}, "Mapping field 'update' must be one of overlapped, end, not 'never'"),
        ({"vector": "cloud"}, "Mapping field 'vector' must be one of chip, host, not 'cloud'"),
        ({"pregenerate": 1}, "Mapping field 'pregenerate' must be true or false, not 1"),
        ({"fuse": "yes"}, "Mapping field 'fuse' must be true or false, not 'yes'"),
    ],
)
def test_rules(fields, message):
    with pytest.raises(ValueError, match=message):
        Mapping(**fields)


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_overrides_the_rest(stage):
    mapping = Mapping(**{"dataflow": "ws", stage.value: "os"})
    for each in Stage:
        assert mapping.candidates(each, ALL) == ((Dataflow.OS,) if each is stage else (Dataflow.WS,))


def test_best_tries_what_the_array_has_in_its_order():
    assert Mapping().candidates(Stage.FF, ALL) == (Dataflow.WS, Dataflow.OS)
    assert Mapping(dataflow="os", ff="best").candidates(Stage.FF, ALL) == (Dataflow.WS, Dataflow.OS)


def test_an_array_without_it():
    with pytest.raises(UnsupportedError, match="dataflow is on the array: needs 1, has 0"):
        Mapping(dataflow="is").candidates(Stage.FF, ALL)
