"""Is a trace read back as it was written, at any batch, and refused with a reason where it can't be?"""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.affine import Affine
from workloads.formats.trace_file import Trace, TraceError, load_trace, merge_batches, op_record, save_trace
from workloads.gemm import Conv, Gemm, Operand, Phase, Role, Stage
from workloads.ops import OPTIMIZERS, Op, Prune, Tensor, Update, Vector, VectorKind, streaming_work
from workloads.sparsity import NM, Producer
from workloads.zoo import load_workload_trace, zoo_names


def step(batch: int) -> list[Op]:
    """One operation of each type, every field away from its default; sizes grow with the batch in different ways."""
    conv = Conv(operand="a", images=batch, height=8, width=9, channels=4, taps_h=3, taps_w=2, stride=2, out_h=4, out_w=5)
    reads, writes = (Tensor("y", 80 * batch), Tensor("scale", 160)), (Tensor("z", 100 * batch),)
    return [
        Gemm(
            name="conv/ff",
            layer="conv",
            stage=Stage.FF,
            phase=Phase.RECOMPUTE,
            m=20 * batch,
            n=4,
            k=24,
            batch=2,
            a=Operand(tensor="x", role=Role.ACTIVATION),
            b=Operand(tensor="w", role=Role.WEIGHT, parameter="conv.w", pattern=NM(2, 8), producer=Producer.UPDATE),
            c="y",
            conv=conv,
        ),
        Vector(
            name="norm",
            layer="norm",
            phase=Phase.FORWARD,
            kind=VectorKind.NORM,
            operation="layer_norm",
            work=streaming_work(VectorKind.NORM, reads, writes),
            reads=reads,
            writes=writes,
        ),
        Vector(
            name="pool",
            layer="pool",
            phase=Phase.FORWARD,
            kind=VectorKind.POOL,
            operation="avg_pool2d",
            work=900 * batch,
            reads=writes,
            writes=(Tensor("pooled", 25 * batch),),
        ),
        Prune(
            name="prune",
            layer="conv",
            phase=Phase.BACKWARD,
            pattern=NM(1, 4),
            source=Tensor("pooled", 25 * batch + 3),
            target="packed",
            rescale=True,
        ),
        Update(
            name="update",
            parameter="conv.w",
            elements=96,
            optimizer=OPTIMIZERS["adamw"],
            gradient="packed",
            prune=(("ff", NM(2, 8)), ("bp", NM(2, 8))),
            dense_copy=False,
            decay=True,
            mask_search=7,
        ),
    ]


def trace(**changes: object) -> Trace:
    records, saved = merge_batches((2, step(2), 2 * 40 + 5), (3, step(3), 3 * 40 + 5))
    fields: dict[str, object] = {
        "name": "net",
        "batch": 2,
        "batch_scalable": True,
        "optimizer": "adamw",
        "dtype": "fp32",
        "source": "a test",
        "torch": "2.0",
        "saved_elements": saved,
        "records": tuple(records),
        "notes": ("take care",),
    }
    return Trace(**(fields | changes))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_round_trip_at_every_batch(tmp_path: Path, batch: int):
    """The norm's work is of what it reads up to batch 8 and of what it writes above: not linear, yet exact."""
    path = tmp_path / "net.jsonl.gz"
    save_trace(trace(), path)
    loaded = load_trace(path)
    assert loaded == trace()
    workload = loaded.bind(batch)
    assert workload.ops == tuple(step(batch))
    assert workload.saved_elements == 40 * batch + 5


def test_sizes_are_written_as_functions_of_the_batch():
    gemm, norm, pool, prune, update = trace().records
    assert (gemm["m"], gemm["n"], gemm["conv"]["images"]) == ("20*b", 4, "1*b")
    assert "work" not in norm
    assert pool["work"] == "900*b"
    assert prune["source"]["elements"] == "25*b+3"
    assert update["elements"] == 96


def test_same_trace_same_bytes(tmp_path: Path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        save_trace(trace(), tmp_path / name)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl.gz", "b.jsonl.gz"]  # nothing partial left


@given(slope=st.integers(0, 10**12), constant=st.integers(0, 10**12), batch=st.integers(1, 10**6))
def test_affine_sizes(slope: int, constant: int, batch: int):
    size = Affine(constant, slope)
    assert Affine.parse(str(size)) == size
    assert Affine.fit((1, size.at(1)), (5, size.at(5))) == size
    assert size.at(batch) == slope * batch + constant


@pytest.mark.parametrize("text", ["", "b", "3b", "3*b+", "+4", "-1", "3*b4", "2*b*b", " 3", "1.5"])
def test_wrong_sizes(text: str):
    with pytest.raises(ValueError, match="must be written as in"):
        Affine.parse(text)


def test_models_that_change_with_the_batch():
    ops, saved = step(2), 0
    with pytest.raises(TraceError, match="runs 5 operations at batch 2 but 4 at 3"):
        merge_batches((2, ops, saved), (3, step(3)[:4], saved))
    with pytest.raises(TraceError, match="must grow linearly"):
        merge_batches((2, ops, 4), (4, step(4), 9))
    other = [replace(op, operation="other") if op.name == "norm" and isinstance(op, Vector) else op for op in step(3)]
    with pytest.raises(TraceError, match="operation is 'layer_norm' at batch 2 but 'other' at 3"):
        merge_batches((2, ops, saved), (3, other, saved))


def test_trace_of_one_batch():
    fixed = trace(batch_scalable=False, saved_elements="7", records=tuple(op_record(op) for op in step(2)))
    assert fixed.bind().ops == fixed.bind(2).ops == tuple(step(2))
    with pytest.raises(TraceError, match=r"'net': batch must be 2, not 4.*trace the model again"):
        fixed.bind(4)


@pytest.mark.parametrize("batch", [0, -1, 1.0, "2", True])
def test_wrong_batch(batch: object):
    with pytest.raises(TraceError, match="batch must be a positive integer"):
        trace().bind(batch)  # pyright: ignore[reportArgumentType]


def test_files_that_are_no_trace(tmp_path: Path):
    path = tmp_path / "net.jsonl.gz"
    save_trace(trace(), path)
    whole = path.read_bytes()
    lines = gzip.decompress(whole).decode().splitlines()
    header = json.loads(lines[0])

    def packed(*texts: str) -> bytes:
        return gzip.compress("\n".join(texts).encode())

    def changed(**fields: object) -> bytes:
        return packed(json.dumps(header | fields), *lines[1:])

    def with_first(**fields: object) -> bytes:
        return packed(lines[0], json.dumps(json.loads(lines[1]) | fields), *lines[2:])

    for data, message in (
        (b"", "must begin with a header"),
        (b"plain text", "readable gzip file"),
        (whole[:-40], "truncated or damaged"),
        (whole[:60] + bytes([whole[60] ^ 0xFF]) + whole[61:], "damaged|readable gzip|not valid|must begin"),
        (gzip.compress(b"\xff\xfe\x00"), "truncated or damaged"),
        (packed("[1, 2]", *lines[1:]), "must begin with a header"),
        (packed(*lines[1:]), "must begin with a header of format 'nmdse-trace'"),
        (packed(*lines[:-1]), "must hold 5 operations, not 4"),
        (packed(*lines[:-1], '{"op": "up'), "truncated or damaged"),
        (packed(*lines[:-1], "[1]"), "not valid"),
        (packed(*lines[:-1], "{}"), "not valid"),
        (packed(*lines[:-1], '{"op": "sleep"}'), "not valid"),
        (changed(version=2), "version must be 1, not 2"),
        (changed(colour="red"), "not valid.*colour"),
        (changed(batch="x"), "not valid.*batch must be a positive integer"),
        (changed(saved_elements="-4"), "not valid.*'-4'"),
        (with_first(m="3*x"), "not valid.*3\\*x"),
        (with_first(colour="red"), "not valid"),
        (with_first(k=25), "not valid"),
        (packed(lines[0], lines[2], lines[1], *lines[3:]), "not valid.*before it is written"),
    ):
        path.write_bytes(data)
        with pytest.raises(TraceError, match=message) as caught:
            load_trace(path)
        assert str(path) in str(caught.value)
    with pytest.raises(TraceError, match="must be an existing file"):
        load_trace(tmp_path / "none.jsonl.gz")


def test_shipped_traces(tmp_path: Path):
    """Every one loads, scales with the batch, and is written to the same bytes again."""
    for name in zoo_names():
        shipped = load_workload_trace(name)
        assert shipped.batch_scalable
        assert shipped.source == f"python -m workloads.zoo.regenerate {name}"
        one, four = shipped.bind(), shipped.bind(4)
        assert (one.batch, four.dense_macs(), four.parameters) == (1, 4 * one.dense_macs(), one.parameters)
        path = tmp_path / f"{name}.jsonl.gz"
        save_trace(shipped, path)
        assert load_workload_trace(str(path)) == shipped


def test_unknown_workload_lists_the_zoo():
    with pytest.raises(TraceError, match=r"'resnet81' must be a trace file or one of: .*resnet18"):
        load_workload_trace("resnet81")
