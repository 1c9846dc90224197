"""The other operations of a training step: vector work, pruning, optimizer updates, and the tensors they touch."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from workloads.gemm import Gemm, Phase, require_positive
from workloads.sparsity import NM

__all__ = ["OPTIMIZERS", "Op", "Optimizer", "Prune", "Tensor", "Update", "Vector", "VectorKind", "streaming_work"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the step. Names are in single-assignment form: an in-place operation writes a new name."""

    name: str
    elements: int


class VectorKind(StrEnum):
    """How a vector operation walks its data."""

    MAP = "map"  # element by element: activation functions and their masks, adds, scales, casts
    NORM = "norm"  # statistics of a row that fits on chip, then the row: layer norm, softmax
    BATCH_NORM = "batch-norm"  # statistics of the whole tensor first: reads it twice
    REDUCE = "reduce"  # many elements to few: sums, means, bias gradients
    POOL = "pool"  # windows
    MOVE = "move"  # copies, gathers, scatters, concatenation


def streaming_work(kind: VectorKind, reads: tuple[Tensor, ...], writes: tuple[Tensor, ...]) -> int:
    """Element operations of vector work that streams its tensors: the elements of the largest one (a lane takes an element
    of each operand at once), twice where statistics come first."""
    elements = max((tensor.elements for tensor in (*reads, *writes)), default=0)
    return 2 * elements if kind in (VectorKind.NORM, VectorKind.BATCH_NORM) else elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """Work of the vector unit.

    `work` is the number of element operations (one lane, one cycle each), see `streaming_work`. `passes` says how often the
    reads stream past if they do not fit on chip.
    """

    name: str
    layer: str
    phase: Phase
    kind: VectorKind
    operation: str
    work: int
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]

    @property
    def passes(self) -> int:
        return 2 if self.kind is VectorKind.BATCH_NORM else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """An optimizer's cost per parameter element: FP32 words of state beside the master weight, and element operations."""

    name: str
    state_words: int
    operations: int

    @property
    def is_adam(self) -> bool:
        """With two moments; weight decay, decoupled or not, is a matter of coefficients."""
        return self.name in ("adam", "adamw")


OPTIMIZERS = {
    # operations: multiply-accumulates and other FP32 operations per element of the textbook update, weight decay included
    "sgd": Optimizer(name="sgd", state_words=0, operations=2),  # g += wd*w; w -= lr*g
    "sgd-momentum": Optimizer(name="sgd-momentum", state_words=1, operations=3),  # g += wd*w; v = mu*v+g; w -= lr*v
    "adam": Optimizer(name="adam", state_words=2, operations=9),  # arXiv:1412.6980 algorithm 1, bias correction folded
    "adamw": Optimizer(name="adamw", state_words=2, operations=10),  # arXiv:1711.05101 algorithm 2: one more for the decay
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The optimizer step of one parameter, and the compressed copies made from the new weights.

    `prune` holds the patterns to produce after the update, one for each stage that uses the weight sparse. `decay` adds
    SR-STE's ``g += lambda (1-mask) w`` (arXiv:2102.04010): one more operation per element.
    """

    name: str
    parameter: str
    elements: int
    optimizer: Optimizer
    gradient: str  # the tensor that holds dW
    prune: tuple[tuple[Literal["ff", "bp"], NM], ...] = ()
    dense_copy: bool = True  # whether some GEMM still reads the dense low-precision copy
    decay: bool = False
    mask_search: int = 0  # element operations of a search beyond streaming top-N (transposable masks)

    def __post_init__(self) -> None:
        require_positive(f"Update {self.name!r}", elements=self.elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Online pruning of a tensor that the step produced: top-N of M along the reduction of the GEMM that reads it."""

    name: str
    layer: str
    phase: Phase
    pattern: NM
    source: Tensor
    target: str  # the compressed tensor
    rescale: bool = False  # SDGP keeps each map's L1 norm (arXiv:2202.00774): one more pass in the vector unit

    def __post_init__(self) -> None:
        require_positive(f"Prune {self.name!r}", elements=self.source.elements)


Op: TypeAlias = Gemm | Vector | Prune | Update
