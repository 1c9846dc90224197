"""Is what a tile moves what lies in memory? Bytes worked out from the layouts' description."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import accelerators, gemm, gemms

from dataflows.traffic import operand_runs, result_runs, stored_bits
from simulator.arch import Accelerator, Pe
from workloads.gemm import Conv, Stage
from workloads.sparsity import NM, Producer

MACHINE = Accelerator(name="x", pe=Pe(format="fp16"))
INT8 = Accelerator(name="x", pe=Pe(format="int8"))


def runs(op, side, batch, positions, depth, pregenerate=True, machine=MACHINE):
    return operand_runs(op, side, machine, batch, positions, depth, pregenerate=pregenerate)


def test_rows_of_the_reduction_are_runs():
    op = gemm(10, 20, 30)
    assert runs(op, "a", 1, 5, 30) == (5, 30 * 2)  # whole rows too: each begins at a burst
    assert runs(op, "a", 1, 5, 10) == (5, 10 * 2)  # a part of each of five rows
    assert runs(op, "b", 1, 20, 30) == (20, 30 * 2)
    assert runs(op, "b", 1, 4, 15) == (4, 15 * 2)


def test_weight_gradients_read_across():
    """The reduction (positions) is the slow axis of both operands."""
    op = gemm(10, 20, 30, stage=Stage.WU)
    assert runs(op, "a", 1, 10, 6) == (6, 10 * 2)
    assert runs(op, "a", 1, 5, 6) == (6, 5 * 2)
    assert runs(op, "b", 1, 4, 30) == (30, 4 * 2)


def test_data_gradients_read_the_weights_as_the_forward_pass_has_them():
    """W[O][I]: the reduction (outputs) is the slow axis; dY has it fastest."""
    op = gemm(10, 20, 30, stage=Stage.BP)
    assert runs(op, "a", 1, 5, 6) == (5, 6 * 2)
    assert runs(op, "b", 1, 4, 6) == (6, 4 * 2)


@pytest.mark.parametrize("side", "ab")
def test_compressed_rows_across(side):
    """A row is a group's step: of each line the kept ones in turn."""
    op = gemm(10, 20, 32, stage=Stage.WU, pattern=NM(2, 8), sparse=side)
    assert runs(op, side, 1, 5, 16) == (2, -(-5 * 2 * 19 // 8))
    assert runs(op, side, 1, 5, 16, pregenerate=False) == (16, 5 * 2)


def test_each_batch_entry_has_runs_of_its_own():
    op = gemm(10, 20, 30, batch=7)
    assert runs(op, "a", 3, 10, 30) == (30, 30 * 2)


@pytest.mark.parametrize("side", "ab")
def test_compressed_unless_pruned_at_use(side):
    op = gemm(10, 20, 32, pattern=NM(2, 8), sparse=side)
    assert stored_bits(op, side, MACHINE, pregenerate=True) == (2 * (16 + 3), 8)
    assert stored_bits(op, side, MACHINE, pregenerate=False) == (16, 1)
    assert runs(op, side, 1, 4, 16) == (4, -(-2 * 2 * 19 // 8))
    assert runs(op, side, 1, 4, 16, pregenerate=False) == (4, 32)
    other = "a" if side == "b" else "b"
    assert runs(op, other, 1, 4, 16) == (4, 32)


@pytest.mark.parametrize(("producer", "at_use"), [(Producer.STATIC, False), (Producer.ONLINE, False), (Producer.UPDATE, True)])
def test_who_makes_the_mask_decides(producer, at_use):
    op = gemm(10, 20, 32, pattern=NM(2, 8), producer=producer)
    assert op.operand("b").pruned_at_use(pregenerate=False) == at_use
    assert not op.operand("b").pruned_at_use(pregenerate=True)
    assert not op.operand("a").pruned_at_use(pregenerate=False)


@given(op=gemms(), accelerator=accelerators(), pregenerate=st.booleans(), side=st.sampled_from("ab"), data=st.data())
def test_no_tile_moves_less_than_its_elements(op, accelerator, pregenerate, side, data):
    positions = data.draw(st.integers(1, op.m if side == "a" else op.n))
    unit = op.pattern.group if isinstance(op.pattern, NM) else 1
    depth = unit * data.draw(st.integers(1, op.k // unit))
    count, size = operand_runs(op, side, accelerator, op.batch, positions, depth, pregenerate=pregenerate)
    bits, group = stored_bits(op, side, accelerator, pregenerate=pregenerate)
    need = op.batch * positions * depth * bits
    assert 8 * group * count * size >= need
    assert 8 * group * count * (size - 1) < need


CONV = Conv(operand="a", images=2, height=8, width=8, channels=4, taps_h=3, taps_w=3, stride=1, out_h=8, out_w=8)


def test_a_feature_map_is_loaded_once_where_the_machine_lowers_it():
    op = replace(gemm(2 * 64, 6, 36), conv=CONV)
    count, size = runs(op, "a", 1, 128, 36)
    assert count * size == CONV.elements * 2  # not 9 times as much
    lowered = replace(MACHINE, implicit_im2col=False)
    assert runs(op, "a", 1, 128, 36, machine=lowered) == (128, 36 * 2)
    assert runs(op, "b", 1, 6, 36) == (6, 36 * 2)  # the filter is no feature map


def test_a_weight_gradient_s_feature_map():
    op = replace(gemm(6, 36, 128, stage=Stage.WU), conv=replace(CONV, operand="b"))
    count, size = runs(op, "b", 1, 36, 128)
    assert count * size == CONV.elements * 2


def test_results_in_their_format():
    assert result_runs(MACHINE, 1, 5, 20) == (5, 20 * 2)
    assert result_runs(MACHINE, 2, 5, 10) == (10, 10 * 2)
    assert result_runs(INT8, 1, 5, 10) == (5, 10 * 4)
