"""Does a refusal say what to change, in the words with which the compiler and the devices really refuse?"""

import pytest

from dse.advice import advice
from dse.config import ConfigError
from dse.evaluate import evaluate
from dse.point import check_fit, make_point
from simulator.schedule import Unsupported

POINT = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": 1}


@pytest.mark.parametrize(
    ("change", "way_out"),
    [
        ({"accelerator.updater.lanes": 0}, "weights are updated there: give it a lane"),
        ({"accelerator.vector.lanes": 0}, "or take mapping.vector=host"),
        ({"accelerator.pruner.lanes": 0}, "take a method that prunes nothing"),
        ({"accelerator.pe.group": 4}, "enlarge pe.group"),
        ({"accelerator.pe.registers": 1, "accelerator.array.dataflows": ["ws"]}, "enlarge pe.registers"),
        ({"accelerator.array.dataflows": ["ws"], "mapping.dataflow": "os"}, "name it in array.dataflows"),
        ({"accelerator.a_buffer.bytes": 8}, "enlarge a_buffer.bytes"),
        ({"accelerator.c_buffer.bytes": 8}, "enlarge c_buffer.bytes"),
        ({"fit": "ecp5-25k"}, "a larger device in --fit"),
    ],
)
def test_what_a_machine_lacks_has_a_way_out(change, way_out):
    found = evaluate(make_point(POINT | change))
    assert isinstance(found, Unsupported)
    assert way_out in advice(found.constraint), found.constraint


def test_what_nobody_knows_a_way_out_of_has_none():
    assert advice("multiplications in one GEMM") == ""


@pytest.mark.parametrize(
    ("device", "saying"),
    [
        ("ecp5", "^Option '--fit' must be one of ecp5-25k, ecp5-45k, ecp5-85k, xcvu9p, not 'ecp5'$"),
        ("ice40-up5k", "xcvu9p, not 'ice40-up5k': nothing estimates ice40; `dse build` says whether a machine fits it"),
        (85, "xcvu9p, not 85$"),
        (["ecp5-85k"], r"xcvu9p, not \['ecp5-85k'\]$"),
    ],
)
def test_a_device_without_an_estimate_is_refused_with_those_that_have_one(device, saying):
    with pytest.raises(ConfigError, match=saying):
        check_fit(device, "Option '--fit'")
