"""Transposable masks: one mask that is N:M along both axes of the weight, so that ff and bp share it.

A mask keeps at most N in every row and every column of each M x M block. Finding it is more than streaming top-N, and
is done once in `every` optimizer steps; the cost per step is the search's element operations over `every`, rounded up.
"""

from workloads.gemm import Stage
from workloads.graph import Workload
from workloads.methods.method import Method, MethodInfo
from workloads.methods.recipe import Recipe, follow
from workloads.sparsity import NM

__all__ = ["METHOD", "greedy_search"]


def greedy_search(pattern: NM) -> int:
    """Element operations of the linear 2-approximation on one M x M block (arXiv:2102.08124, `update_mask_approx2`).

    Sort the block's K = M*M magnitudes: at most ``K ceil(lg K) - 2^ceil(lg K) + 1`` comparisons by merging (Knuth,
    TAOCP 3, 5.2.4). Then visit each once, largest first, and accept it if its row and its column hold fewer than N: two
    comparisons. For M = 4: 49 + 32 = 81. An estimate of the work, not of a given sorter: a network compares more and in
    parallel.
    """
    entries = pattern.group**2
    depth = (entries - 1).bit_length()
    return (entries * depth - 2**depth + 1) + 2 * entries


def rewrite(workload: Workload, method: Method) -> Workload:
    """Weights N:M in ff and bp from one mask, both layouts stored compressed; both axes of a weight must divide."""
    return follow(workload, method, Recipe(weights=(Stage.FF, Stage.BP), transposable=True, search=greedy_search))


METHOD = MethodInfo(
    name="transposable",
    description="ff and bp weights N:M from one mask that holds along both axes, searched every few steps",
    source="2102.08124",
    options=("keep_dense", "every"),
    rewrite=rewrite,
)
