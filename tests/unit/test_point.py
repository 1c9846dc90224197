"""Do equal points have one key, and does everything that matters change it?"""

from shutil import copy

import pytest

from dataflows.mapping import Mapping
from dse.config import ConfigError
from dse.point import make_point, trace_digest, workload_of
from workloads import zoo

BASE = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": 2}
KEY = make_point(BASE).key


@pytest.mark.parametrize(
    "change",
    [
        {"accelerator": "edge-int8"},
        {"workload": "resnet18"},
        {"method": "dense"},
        {"method": "bdwp:1:8"},
        {"batch": 3},
        {"accelerator.pe.lanes": 2},
        {"accelerator.dram.latency_ns": 101},
        {"mapping.pregenerate": False},
        {"mapping.dataflow": "os"},
        {"mapping.wu": "ws"},
        {"mapping.update": "end"},
        {"mapping.vector": "host"},
        {"mapping.fuse": False},
    ],
)
def test_what_matters_changes_the_key(change):
    assert make_point(BASE | change).key != KEY


@pytest.mark.parametrize("change", [{"accelerator.name": "renamed"}, {"accelerator.pe.lanes": 1}, {"mapping.fuse": True}])
def test_what_does_not_matter_leaves_it(change):
    assert make_point(BASE | change).key == KEY


def test_keys_are_the_same_in_every_order():
    assert make_point(dict(reversed(list(BASE.items())))).key == KEY
    assert len(KEY) == 16


def test_settings_reach_the_point():
    point = make_point(BASE | {"accelerator.pe.group": 8, "mapping.ff": "os"})
    assert (point.accelerator.pe.group, point.mapping, point.batch) == (8, Mapping(ff="os"), 2)
    assert make_point({k: v for k, v in BASE.items() if k != "batch"}).batch == 1


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"aceclerator": "x"}, ["'aceclerator'", "must be one of accelerator, batch, fit, method, workload"]),
        ({"accelerator": 3}, ["'accelerator'", "must be a text", "3"]),
        ({"method": None}, ["'method'", "must be a text", "None"]),
        ({"method": "magic"}, ["'magic'", "bdwp"]),
        ({"method": "bdwp"}, ["'bdwp'", "N:M"]),
        ({"workload": "resnet1"}, ["resnet1"]),
        ({"batch": 0}, ["batch", "positive integer", "0"]),
        ({"batch": "2"}, ["batch", "positive integer", "'2'"]),
        ({"mapping.dataflow": "rs"}, ["'dataflow'", "best, os, ws, is", "'rs'"]),
        ({"mapping.colour": 1}, ["no field 'colour'"]),
        ({"accelerator.pe.colour": 1}, ["no field 'pe.colour'"]),
    ],
)
def test_mistakes(change, parts):
    with pytest.raises(ConfigError) as caught:
        make_point(BASE | change)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("batch", [True, 1.0])
def test_a_batch_of_another_type_is_refused_though_an_equal_one_was_used(batch):
    make_point(BASE | {"batch": 1})
    with pytest.raises(ConfigError, match="positive integer"):
        make_point(BASE | {"batch": batch})


def test_a_trace_s_digest_is_of_its_content(tmp_path):
    copied = tmp_path / "other-name.jsonl.gz"
    copy(f"{zoo.__path__[0]}/resnet18-cifar.jsonl.gz", copied)
    assert trace_digest(str(copied)) == trace_digest("resnet18-cifar") != trace_digest("resnet18")


def test_methods_rewrite_the_workload():
    dense, sparse = (workload_of("resnet18-cifar", 2, method) for method in ("dense", "bdwp:2:8"))
    assert dense.dense_macs() == sparse.dense_macs() == dense.effective_macs > sparse.effective_macs
    assert sparse.method == "bdwp:2:8"
