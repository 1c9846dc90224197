"""Is a method's text read, refused and written back as documented, and is every registered method whole?"""

import networkx as nx
import pytest
from layer_steps import net, under, update_of

from workloads.methods import METHODS, KeepDense, Method, apply_method, parse_method
from workloads.sparsity import NM


@pytest.mark.parametrize(
    "text",
    ["dense", "ste:2:4", "srste:2:8", "sdgp:1:16", "sdwp:4:4", "bdwp:2:8,keep_dense=none", "transposable:2:4,every=10",
     "fst:2:4,keep_dense=last,every=1", "bdwp:2:8,keep_dense=first"],
)  # fmt: skip
def test_canonical_text_reads_back(text: str) -> None:
    method = parse_method(text)
    assert str(method) == text
    assert parse_method(str(method)) == method


def test_defaults_are_not_written() -> None:
    assert str(parse_method("fst:2:4,every=40,keep_dense=first+last")) == "fst:2:4"
    assert str(parse_method("fst:2:4,every=5,keep_dense=none")) == "fst:2:4,keep_dense=none,every=5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bwdp:2:8", "must be one of dense, ste, srste, sdgp, sdwp, bdwp, transposable, fst, written name"),
        ("", "must be one of dense"),
        ("bdwp", "must have a ratio N:M: bdwp:N:M"),
        ("bdwp:", "must have a ratio N:M"),
        ("bdwp:2", "must be written bdwp:N:M.*'2' must be written N:M"),
        ("bdwp:2:8:1", "must be written N:M"),
        ("bdwp:8:2", "1 <= N <= M"),
        ("bdwp:0:4", "1 <= N <= M"),
        ("bdwp:1:1", "group M of at least 2, not '1:1'"),
        ("bdwp:-1:4", "must be written N:M"),
        ("dense:2:4", "without a ratio, not with '2:4'"),
        ("dense,keep_dense=none", "options of 'dense' only .none., not 'keep_dense=none'"),
        ("bdwp:2:8,every=4", "options of 'bdwp' only .keep_dense., not 'every=4'"),
        ("bdwp:2:8,", "options of 'bdwp' only"),
        ("bdwp:2:8,keep_dense", "each option once"),
        ("bdwp:2:8,keep_dense=", "each option once"),
        ("bdwp:2:8,keep_dense=none,keep_dense=none", "each option once"),
        ("bdwp:2:8,keep_dense=all", "must be one of first.last, first, last, none, not 'all'"),
        ("fst:2:4,every=0", "positive number of steps, not '0'"),
        ("fst:2:4,every=x", "positive number of steps, not 'x'"),
    ],
)
def test_wrong_text_is_refused_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        parse_method(text)
    assert repr(text) in str(error.value)


def test_method_is_validated_without_parsing() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Method(name="bdwp", pattern=NM(1, 1))
    with pytest.raises(ValueError, match="every must be a positive integer"):
        Method(name="fst", pattern=NM(2, 4), every=0)
    with pytest.raises(ValueError, match="must be one of dense"):
        apply_method(Method(name="nothing"), net())
    with pytest.raises(ValueError, match="must have a ratio N:M, not 'dense'"):
        apply_method(Method(name="bdwp"), net())


def test_a_method_applies_once() -> None:
    with pytest.raises(ValueError, match="must be dense to take method 'ste:2:4', not 'bdwp:2:8'"):
        under("ste:2:4", under("bdwp:2:8"))


@pytest.mark.parametrize("name", METHODS)
def test_registry_describes_every_method(name: str) -> None:
    info = METHODS[name]
    assert info.name == name
    assert info.description
    assert "\n" not in info.description
    assert (info.source == "") == (name == "dense")
    assert info.usage.startswith(name)
    result = under(f"{name}:2:4" if info.takes_pattern else name)
    assert result.method == (f"{name}:2:4" if info.takes_pattern else name)
    assert nx.is_directed_acyclic_graph(result.graph)
    assert update_of(result, "bn.weight") == update_of(net(), "bn.weight")


def test_policy_names() -> None:
    assert [str(policy) for policy in KeepDense] == ["first+last", "first", "last", "none"]
