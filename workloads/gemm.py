"""The GEMM: one matrix product of one layer in one stage of a training step."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Literal

from workloads.sparsity import DENSE, NM, Pattern, Producer

__all__ = ["Conv", "Gemm", "Operand", "Phase", "Role", "Stage", "require_positive"]


class Stage(StrEnum):
    """What a GEMM computes for its layer. With P positions, I inputs, O outputs of the layer:"""

    FF = "ff"  # forward              Y[P,O]  = X[P,I]  W[I,O]
    BP = "bp"  # data gradient        dX[P,I] = dY[P,O] W'[O,I]
    WU = "wu"  # weight gradient      dW[O,I] = dY'[O,P] X[P,I]
    AA = "aa"  # activation x activation (attention), in either direction: see the op's phase


class Phase(StrEnum):
    """When in the step an operation runs."""

    FORWARD = "forward"
    RECOMPUTE = "recompute"  # forward work repeated in backward by activation checkpointing
    BACKWARD = "backward"
    UPDATE = "update"


class Role(StrEnum):
    """What an operand is."""

    WEIGHT = "weight"
    ACTIVATION = "activation"
    GRADIENT = "gradient"


def require_positive(thing: str, **fields: int) -> None:
    """Raise ValueError naming the first field that is not a positive integer."""
    for name, value in fields.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{thing}: {name} must be a positive integer, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """One operand of a GEMM: a tensor in a role, its pattern along the reduction, and who makes the mask."""

    tensor: str
    role: Role
    parameter: str = ""  # the weight's name in the model, where the role is weight
    pattern: Pattern = DENSE
    producer: Producer = Producer.STATIC

    def pruned_at_use(self, *, pregenerate: bool) -> bool:
        """Whether it arrives dense and passes the pruner at each use: a mask of this step's weights, not made in advance."""
        return isinstance(self.pattern, NM) and self.producer is Producer.UPDATE and not pregenerate


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """Geometry of the feature map that one operand is lowered from (im2col), and of the taps in this GEMM.

    A strided data gradient is split into one GEMM per output phase, each with its own subset of the kernel's taps, so
    that no multiplication by an inserted zero is counted. The reduction runs over (tap row, tap column, channel) with
    channel fastest, so that N:M groups lie along channels.
    """

    operand: Literal["a", "b"]
    images: int
    height: int
    width: int
    channels: int
    taps_h: int
    taps_w: int
    stride: int
    out_h: int
    out_w: int

    def __post_init__(self) -> None:
        require_positive(
            "Conv",
            images=self.images,
            height=self.height,
            width=self.width,
            channels=self.channels,
            taps_h=self.taps_h,
            taps_w=self.taps_w,
            stride=self.stride,
            out_h=self.out_h,
            out_w=self.out_w,
        )

    @property
    def elements(self) -> int:
        """Elements of the feature map, each counted once."""
        return self.images * self.height * self.width * self.channels

    def footprint(self, positions: int, depth: int) -> int:
        """Distinct feature-map elements that `positions` consecutive output positions need over `depth` of the reduction.

        Counted by whole output rows, and never above the lowered size `positions * depth` or the map itself.
        """
        taps = min(-(-depth // self.channels), self.taps_h * self.taps_w)
        taps_w = min(taps, self.taps_w)
        taps_h = -(-taps // self.taps_w)
        per_image = self.out_h * self.out_w
        images, rest = divmod(positions, per_image)
        pixels = images * self._pixels(self.out_h, self.out_w, taps_h, taps_w)
        if rest >= self.out_w:
            pixels += self._pixels(-(-rest // self.out_w), self.out_w, taps_h, taps_w)
        elif rest:
            pixels += self._pixels(1, rest, taps_h, taps_w)
        return min(pixels * min(depth, self.channels), positions * depth, self.elements)

    def _pixels(self, rows: int, cols: int, taps_h: int, taps_w: int) -> int:
        high = rows * taps_h if self.stride >= taps_h else (rows - 1) * self.stride + taps_h
        wide = cols * taps_w if self.stride >= taps_w else (cols - 1) * self.stride + taps_w
        return min(high, self.height) * min(wide, self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """``C[b,m,n] = sum_k A[b,m,k] B[b,k,n]`` for each of `batch` independent entries b."""

    name: str
    layer: str
    stage: Stage
    phase: Phase
    m: int
    n: int
    k: int
    batch: int = 1
    a: Operand
    b: Operand
    c: str  # the tensor that it writes
    conv: Conv | None = None

    def __post_init__(self) -> None:
        require_positive(f"Gemm {self.name!r}", m=self.m, n=self.n, k=self.k, batch=self.batch)
        for side, operand in (("a", self.a), ("b", self.b)):
            if isinstance(operand.pattern, NM) and not operand.pattern.divides(self.k):
                raise ValueError(
                    f"Gemm {self.name!r}: pattern {operand.pattern} of operand {side} must divide the reduction k={self.k}"
                )
        if isinstance(self.a.pattern, NM) and isinstance(self.b.pattern, NM):
            raise ValueError(f"Gemm {self.name!r}: at most one operand can be N:M, not both a and b")

    def operand(self, side: Literal["a", "b"]) -> Operand:
        """The operand on a side."""
        return self.a if side == "a" else self.b

    def lines_fastest(self, side: Literal["a", "b"]) -> bool:
        """Whether an operand's lines (A's m, B's n), not its reduction, follow one another in memory: both operands of weight
        gradients, and the weights of data gradients. So W[O][I], X[P][I] and dY[P][O] are one matrix each for all readers."""
        return self.stage is Stage.WU or (self.stage is Stage.BP and self.operand(side).role is Role.WEIGHT)

    @property
    def pattern(self) -> Pattern:
        """The pattern that shortens the reduction."""
        return self.a.pattern if isinstance(self.a.pattern, NM) else self.b.pattern

    @property
    def sparse_operand(self) -> Literal["a", "b"]:
        """The operand that carries the pattern; "b" where both are dense."""
        return "a" if isinstance(self.a.pattern, NM) else "b"

    @property
    def dense_macs(self) -> int:
        return self.batch * self.m * self.n * self.k

    @property
    def effective_macs(self) -> int:
        """Multiplications left when the pattern's zeros are skipped."""
        exact = self.dense_macs * self.pattern.density
        assert exact.denominator == 1  # groups divide k
        return exact.numerator

    @property
    def density(self) -> Fraction:
        return self.pattern.density
