"""The rewrite that all weight and gradient pruning methods share: a recipe says which operand of which stage is N:M."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.graph import Notice, Workload, read_names, write_names
from workloads.methods.method import KeepDense, Method
from workloads.ops import Op, Prune, Tensor, Update, Vector, VectorKind
from workloads.sparsity import DENSE, NM, Producer

__all__ = ["Recipe", "follow", "kept_parameters", "no_search", "reduction_axis"]

Side = Literal["a", "b"]


def no_search(pattern: NM) -> int:  # noqa: ARG001 (the signature of a search cost)
    """Cost of finding a mask by streaming top-N alone: nothing beyond the prune."""
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A method as data: which operands become N:M along the reduction, and the work that this adds.

    `weights` lists the stages (ff, bp) whose weight is N:M, `gradients` those (bp, wu) whose output gradient is.
    `transposable` asks for one mask N:M along both axes of the weight; `search` is its cost in element operations for
    one M x M block. `decay` adds the masked decay to the update, `rescale` the L1 rescale to gradient pruning.
    """

    weights: tuple[Stage, ...] = ()
    gradients: tuple[Stage, ...] = ()
    transposable: bool = False
    search: Callable[[NM], int] = no_search
    decay: bool = False
    rescale: bool = False


def side_of(gemm: Gemm, role: Role) -> Side | None:
    """Which operand has a role; None where neither has."""
    if gemm.stage is Stage.AA:
        return None
    return "a" if gemm.a.role is role else "b" if gemm.b.role is role else None


def with_operand(gemm: Gemm, side: Side, new: Operand) -> Gemm:
    """The GEMM with one operand replaced."""
    return replace(gemm, a=new) if side == "a" else replace(gemm, b=new)


def weight_of(gemm: Gemm) -> str:
    """The parameter that a GEMM reads as its weight; "" where it reads none."""
    side = side_of(gemm, Role.WEIGHT)
    return gemm.operand(side).parameter if side else ""


def kept_parameters(workload: Workload, policy: KeepDense) -> frozenset[str]:
    """Weights that stay dense by policy, in every layer that shares them (tied weights): one weight, one treatment.

    The first is that of the first forward GEMM with a weight, the last that of the last; recomputed GEMMs don't count.
    """
    forward = [g for g in workload.gemms if g.stage is Stage.FF and g.phase is Phase.FORWARD and weight_of(g)]
    ends = {
        KeepDense.FIRST_LAST: forward[:1] + forward[-1:],
        KeepDense.FIRST: forward[:1],
        KeepDense.LAST: forward[-1:],
        KeepDense.NONE: [],
    }[policy]
    return frozenset(weight_of(gemm) for gemm in ends)


def reduction_axis(gemm: Gemm) -> tuple[int, str]:
    """Length of the run along which groups lie, and what it counts: a convolution's channels at one tap, else all k."""
    if gemm.stage is Stage.WU:
        return gemm.k, "positions"
    if gemm.conv is None:
        return gemm.k, "inputs" if gemm.stage is Stage.FF else "outputs"
    side = "input" if gemm.stage is Stage.FF else "output"
    per_group = " per group" if gemm.batch > 1 else ""
    return gemm.k // (gemm.conv.taps_h * gemm.conv.taps_w), f"{side} channels{per_group}"


def obstacle(gemm: Gemm, pattern: NM, side: Side, transposable: bool) -> str:
    """Why a GEMM can't take the pattern on an operand; "" where it can."""
    size, unit = reduction_axis(gemm)
    if not (pattern.divides(size) and pattern.divides(gemm.k)):
        return f"{size} {unit} along the reduction are not a multiple of M={pattern.group}"
    if gemm.stage is Stage.WU and gemm.conv is not None and gemm.conv.operand == side:
        return "its gradient is lowered (a transposed convolution): taps shift the positions that a group would hold"
    across = gemm.m if side == "a" else gemm.n
    if transposable and not pattern.divides(across):
        return f"one mask for both axes needs both divisible: {across} across are not a multiple of M={pattern.group}"
    return ""


def source_elements(gemm: Gemm, side: Side, workload: Workload) -> int:
    """Elements of the map that an operand is, each once: a lowered operand counts them once per tap.

    The smallest reading among the layer's GEMMs, for the weight gradient reads dY as a plain matrix.
    """
    tensor = gemm.operand(side).tensor
    sizes = [gemm.batch * gemm.conv.elements] if gemm.conv and gemm.conv.operand == side else []
    for other in workload.gemms:
        if other.layer == gemm.layer and other.a.tensor == tensor:
            sizes.append(other.batch * other.m * other.k)
        if other.layer == gemm.layer and other.b.tensor == tensor:
            sizes.append(other.batch * other.k * other.n)
    return min(sizes)


def fresh(name: str, taken: set[str]) -> str:
    """A name not yet taken, which it then takes."""
    candidate, count = name, 2
    while candidate in taken:
        candidate, count = f"{name}.{count}", count + 1
    taken.add(candidate)
    return candidate


def updated(update: Update, workload: Workload, method: Method, recipe: Recipe) -> Update:
    """The update, with the compressed copies that the rewritten GEMMs read and what it costs to find their masks."""
    readers = [gemm for gemm in workload.gemms if weight_of(gemm) == update.parameter]
    prune: dict[tuple[Literal["ff", "bp"], NM], None] = {}
    for gemm in sorted(readers, key=lambda gemm: gemm.stage is Stage.BP):
        if isinstance(gemm.pattern, NM) and gemm.stage in recipe.weights:
            prune[("ff" if gemm.stage is Stage.FF else "bp", gemm.pattern)] = None
    if not prune:
        return update
    weights = {update.parameter} | {g.operand(side).tensor for g in readers if (side := side_of(g, Role.WEIGHT))}
    looked_up = any(  # an embedding tied to the weight
        isinstance(op, Vector) and op.kind is VectorKind.MOVE and weights.intersection(read_names(op)) for op in workload.ops
    )
    pattern = next(iter(prune))[1]
    blocks = -(-update.elements // pattern.group**2)
    return replace(
        update,
        prune=tuple(prune),
        dense_copy=looked_up or any(gemm.pattern == DENSE for gemm in readers),
        decay=recipe.decay,
        mask_search=-(-blocks * recipe.search(pattern) // method.every),
    )


def follow(workload: Workload, method: Method, recipe: Recipe) -> Workload:
    """Rewrite a dense workload by a recipe. GEMMs that can't take the pattern stay dense and are noticed, with numbers.

    A gradient is pruned once for all GEMMs of one stage that read it (the phases of a strided convolution). Raises
    ValueError where the method has no N:M.
    """
    pattern = method.pattern
    if not isinstance(pattern, NM):
        raise ValueError(f"Method {method.name!r} must have a ratio N:M, not {str(pattern)!r}")
    kept = kept_parameters(workload, method.keep_dense)
    kept_layers = {gemm.layer for gemm in workload.gemms if weight_of(gemm) in kept}
    trained = {op.parameter for op in workload.ops if isinstance(op, Update)}
    trains = {op.gradient: op.parameter for op in workload.ops if isinstance(op, Update)}
    notices: dict[tuple[str, Stage], Notice] = {}
    targets: dict[tuple[str, str, Stage], str] = {}
    op_names = {op.name for op in workload.ops}
    tensors = {name for op in workload.ops for name in (*read_names(op), *write_names(op))}
    ops: list[Op] = []
    for op in workload.ops:
        if not isinstance(op, Gemm):
            ops.append(op)
            continue
        parameter = weight_of(op) or trains.get(op.c, "")
        if parameter in kept if parameter else op.layer in kept_layers:
            ops.append(op)
            continue
        by_weight = op.stage in recipe.weights
        side = side_of(op, Role.WEIGHT) if by_weight else None
        if op.stage in recipe.gradients:
            side = side_of(op, Role.GRADIENT)
        if side is None:
            ops.append(op)
            continue
        old = op.operand(side)
        reason = obstacle(op, pattern, side, recipe.transposable and by_weight)
        if by_weight and not reason and old.parameter not in trained:
            reason = f"no optimizer update trains {old.parameter!r}, so nothing makes its mask"
        if reason:
            notices.setdefault((op.layer, op.stage), Notice(op.layer, op.stage, f"stays dense under {pattern}: {reason}"))
            ops.append(op)
        elif by_weight:
            ops.append(with_operand(op, side, replace(old, pattern=pattern, producer=Producer.UPDATE)))
        else:
            key = (op.layer, old.tensor, op.stage)
            if key not in targets:
                targets[key] = fresh(f"{old.tensor}.{op.stage}.{pattern}", tensors)
                ops.append(
                    Prune(
                        name=fresh(f"{op.layer}.{op.stage}.prune", op_names),
                        layer=op.layer,
                        phase=op.phase,
                        pattern=pattern,
                        source=Tensor(old.tensor, source_elements(op, side, workload)),
                        target=targets[key],
                        rescale=recipe.rescale,
                    )
                )
            new = replace(old, tensor=targets[key], pattern=pattern, producer=Producer.ONLINE)
            ops.append(with_operand(op, side, new))
    rewritten = replace(workload, ops=tuple(ops), notices=(*workload.notices, *notices.values()))
    return rewritten.with_ops(
        tuple(updated(op, rewritten, method, recipe) if isinstance(op, Update) else op for op in rewritten.ops)
    )
