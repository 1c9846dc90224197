"""FST: all three GEMMs N:M, with transposable weight masks and an unbiased pruned gradient in the weight gradient.

``dW = MVUE(dY') X``: groups lie along the positions P, which wu reduces over, so P (images x height x width, or tokens)
must divide by M. bp reads the dense dY. The paper applies it to the two linears of each feed-forward block and trains
the last part dense; here every GEMM layer takes it, for a trace doesn't say which linears are feed-forward.
"""

from workloads.gemm import Stage
from workloads.graph import Workload
from workloads.methods.method import Method, MethodInfo
from workloads.methods.recipe import Recipe, follow
from workloads.methods.transposable import greedy_search
from workloads.sparsity import NM

__all__ = ["METHOD", "pattern_search"]

_PATTERNS_2_4 = 90  # 0/1 matrices of 4 x 4 with two ones in every row and column


def pattern_search(pattern: NM) -> int:
    """Element operations of the mask search on one M x M block (arXiv:2404.01847; its code, huyz2023/2by4-pretrain).

    For 2:4 a product of the block's 16 magnitudes with all 90 patterns, then the largest score: 90*16 + 89 = 1529.
    Other ratios have too many patterns (2:8 has over 10^8) and take the greedy search of the transposable method.
    """
    if pattern == NM(2, 4):
        return _PATTERNS_2_4 * pattern.group**2 + _PATTERNS_2_4 - 1
    return greedy_search(pattern)


def rewrite(workload: Workload, method: Method) -> Workload:
    """Weights N:M in ff and bp from one mask, with masked decay; dY N:M along P in wu, pruned online."""
    recipe = Recipe(
        weights=(Stage.FF, Stage.BP),
        gradients=(Stage.WU,),
        transposable=True,
        search=pattern_search,
        decay=True,
    )
    return follow(workload, method, recipe)


METHOD = MethodInfo(
    name="fst",
    description="all three GEMMs N:M: transposable weight masks in ff and bp, unbiased pruned gradient in wu",
    source="2404.01847",
    options=("keep_dense", "every"),
    rewrite=rewrite,
)
