"""Do compiled programs compute the product, whatever the machine, dataflow, tiling, pattern and time of pruning?

INT8 sums are exact, so the golden model's answer must equal the product of integer matrices with the dropped elements zero.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import accelerators, gemm, gemms, mappings, wide_machine

from dataflows.compile import compile_workload
from dataflows.mapping import Mapping
from simulator.arch import Dataflow, Pe
from simulator.golden import execute
from simulator.schedule import Multiply, Program, Prune, UnsupportedError
from workloads.graph import Workload
from workloads.sparsity import DENSE, NM, Producer


def pruned(matrix, pattern):
    """Rows with all but the `keep` largest magnitudes of each group zero; ties go to the lower position."""
    out = np.zeros_like(matrix)
    for at in np.ndindex(matrix.shape[:-1]):
        for start in range(0, matrix.shape[-1], pattern.group):
            group = range(start, start + pattern.group)
            for i in sorted(group, key=lambda i: (-abs(int(matrix[at][i])), i))[: pattern.keep]:
                out[at][i] = matrix[at][i]
    return out


def expected(op, a, b):
    wide_a, wide_b = a.astype(np.int64), b.astype(np.int64)
    if isinstance(op.pattern, NM):
        if op.sparse_operand == "a":
            wide_a = pruned(wide_a, op.pattern)
        else:
            wide_b = pruned(wide_b.transpose(0, 2, 1), op.pattern).transpose(0, 2, 1)
    return wide_a @ wide_b


def values(op, seed):
    rng = np.random.default_rng(seed)
    return (rng.integers(-128, 128, shape, dtype=np.int8) for shape in ((op.batch, op.m, op.k), (op.batch, op.k, op.n)))


def check(op, accelerator, mapping, seed):
    try:
        program = compile_workload(Workload(name="w", batch=1, ops=(op,)), accelerator, mapping)
    except UnsupportedError:
        assume(False)
    a, b = values(op, seed)
    result = execute(program, {op.a.tensor: a, op.b.tensor: b}, accelerator)[op.c]
    np.testing.assert_array_equal(result, expected(op, a, b))
    return list(program)


@given(op=gemms(largest=24), accelerator=accelerators(number="int8"), mapping=mappings(), seed=st.integers(0, 99))
@settings(max_examples=150)
def test_compiled_programs_compute_the_product(op, accelerator, mapping, seed):
    check(op, accelerator, mapping, seed)


@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("pregenerate", [True, False])
@pytest.mark.parametrize(("pattern", "sparse"), [(DENSE, "b"), (NM(2, 8), "a"), (NM(2, 8), "b"), (NM(3, 4), "b")])
def test_each_way_of_running_a_product(dataflow, pregenerate, pattern, sparse):
    """Edges in every dimension, two batch entries; pruned at use exactly where the mask is not made ahead."""
    op = gemm(13, 11, 24, batch=2, pattern=pattern, sparse=sparse, producer=Producer.UPDATE)
    machine = wide_machine(Pe(format="int8", group=8, lanes=1, registers=8), 4, 4, double=True)
    commands = check(op, machine, Mapping(dataflow=dataflow, pregenerate=pregenerate), seed=1)
    assert {c.dataflow for c in commands if isinstance(c, Multiply)} == {dataflow}
    at_use = isinstance(pattern, NM) and not pregenerate
    assert any(isinstance(c, Prune) for c in commands) == at_use


def test_several_products_share_the_buffers():
    """Two GEMMs in one program: the second reads its own operands from memory."""
    first, second = gemm(9, 7, 16, name="f"), gemm(5, 6, 8, pattern=NM(2, 4), name="s")
    machine = wide_machine(Pe(format="int8", group=8, registers=8), 4, 4, double=True)
    program = compile_workload(Workload(name="w", batch=1, ops=(first, second)), machine, Mapping())
    tensors = {}
    for op in (first, second):
        tensors[op.a.tensor], tensors[op.b.tensor] = values(op, 3)
    results = execute(program, tensors, machine)
    for op in (first, second):
        np.testing.assert_array_equal(results[op.c], expected(op, tensors[op.a.tensor], tensors[op.b.tensor]))


def test_a_program_that_skips_a_tile_is_seen():
    op = gemm(9, 7, 16)
    machine = wide_machine(Pe(format="int8", group=8, registers=8), 4, 4, double=True)
    whole = list(compile_workload(Workload(name="w", batch=1, ops=(op,)), machine, Mapping()))
    a, b = values(op, 3)
    for missing in range(len(whole)):
        part = Program(ops=(op,), choices=("os",), emit=lambda skip=missing: (c for i, c in enumerate(whole) if i != skip))
        with pytest.raises(RuntimeError):
            execute(part, {op.a.tensor: a, op.b.tensor: b}, machine)
