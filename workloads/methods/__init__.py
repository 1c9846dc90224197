"""Methods of sparse training: each a rewrite of a dense workload, found here by name; documented in docs/methods.md."""

from dataclasses import replace

from workloads.graph import Workload
from workloads.methods import bdwp, dense, fst, sdgp, ste, transposable
from workloads.methods.method import GRAMMAR, KeepDense, Method, MethodInfo
from workloads.sparsity import DENSE, NM, Pattern

__all__ = ["METHODS", "KeepDense", "Method", "MethodInfo", "apply_method", "parse_method"]

METHODS: dict[str, MethodInfo] = {
    info.name: info
    for info in (
        dense.METHOD,
        ste.STE,
        ste.SRSTE,
        sdgp.METHOD,
        bdwp.SDWP,
        bdwp.BDWP,
        transposable.METHOD,
        fst.METHOD,
    )
}


def parse_method(text: str) -> Method:
    """Read ``name[:N:M][,option=value...]``, as in ``bdwp:2:8`` or ``fst:2:4,keep_dense=none,every=10``.

    Raises ValueError that names the text, and the known names or the grammar, when it is anything else.
    """
    head, *options = text.split(",")
    name, colon, ratio = head.partition(":")
    info = _info(name, text)
    pattern = _pattern(info, ratio if colon else "", text)
    values: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in info.options:
            known = ", ".join(info.options) or "none"
            raise ValueError(f"Method {text!r} must have options of {name!r} only ({known}), not {option!r}")
        if not (equals and value) or key in values:
            raise ValueError(f"Method {text!r} must give each option once, as {GRAMMAR}, not {option!r}")
        values[key] = value
    keep_dense, every = values.get("keep_dense", ""), values.get("every", "")
    if keep_dense and keep_dense not in list(KeepDense):
        raise ValueError(f"Method {text!r}: keep_dense must be one of {', '.join(KeepDense)}, not {keep_dense!r}")
    if every and not (every.isdecimal() and int(every)):
        raise ValueError(f"Method {text!r}: every must be a positive number of steps, not {every!r}")
    method = Method(name=name, pattern=pattern)
    if keep_dense:
        method = replace(method, keep_dense=KeepDense(keep_dense))
    return replace(method, every=int(every)) if every else method


def _info(name: str, text: str) -> MethodInfo:
    if (info := METHODS.get(name)) is None:
        raise ValueError(f"Method {text!r} must be one of {', '.join(METHODS)}, written {GRAMMAR}, not {name!r}")
    return info


def _pattern(info: MethodInfo, ratio: str, text: str) -> Pattern:
    if not info.takes_pattern:
        if ratio:
            raise ValueError(f"Method {text!r} must be written {info.usage}, without a ratio, not with {ratio!r}")
        return DENSE
    if not ratio:
        raise ValueError(f"Method {text!r} must have a ratio N:M: {info.usage}, as in {info.name}:2:8")
    try:
        pattern = NM.parse(ratio)
    except ValueError as error:
        raise ValueError(f"Method {text!r} must be written {info.usage}: {error}") from None
    if pattern.group < 2:
        raise ValueError(f"Method {text!r}: N:M must have a group M of at least 2, not {ratio!r}")
    return pattern


def apply_method(method: Method, workload: Workload) -> Workload:
    """The workload under a method: patterns on operands, online prunes, updates that make the masks, notices.

    Raises ValueError for an unknown method and for a workload that a method was applied to before.
    """
    if workload.method != "dense":
        raise ValueError(f"Workload {workload.name!r} must be dense to take method '{method}', not {workload.method!r}")
    return replace(_info(method.name, str(method)).rewrite(workload, method), method=str(method))
