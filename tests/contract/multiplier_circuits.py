"""Small circuits with a multiplication each, and which of their registers a MULT18X18D of ECP5 can take in."""

from dataclasses import dataclass

__all__ = ["CIRCUITS", "OUT_BITS", "Circuit", "verilog_of_circuits"]

OUT_BITS = 48
A, B, P, Q = "INPUTA", "INPUTB", "OUTPUT", "PIPELINE"


@dataclass(frozen=True, slots=True)
class Circuit:
    """`body` has the inputs `clk`, `a` and `b` of 18 bits, `e`, `f` and `r` of one, and assigns `y`. `ranks` says which ranks
    of each multiplier are used, in any order; `absorbed` how many flip-flops went into them."""

    body: str
    ranks: tuple[frozenset[str], ...]
    absorbed: int


def _circuit(body: str, absorbed: int, *ranks: str) -> Circuit:
    """Ranks of a multiplier as letters: a, b of the operands, p behind the product, q behind that."""
    names = {"a": A, "b": B, "p": P, "q": Q}
    return Circuit(body, tuple(frozenset(names[letter] for letter in each) for each in ranks), absorbed)


def _reg(name: str, bits: str, value: str, when: str = "", *, init: int = 0, edge: str = "posedge", reset: str = "") -> str:
    condition = f"if ({when}) " if when else ""
    clear = f"if ({reset}) {name} <= 0; else " if reset else ""
    return f"reg {bits} {name} = {init}; always @({edge} clk) {clear}{condition}{name} <= {value};"


U18, S18, U36, S36 = "[17:0]", "signed [17:0]", "[35:0]", "signed [35:0]"
_AB = [_reg("qa", U18, "a"), _reg("qb", U18, "b")]
_ABE = [_reg("qa", U18, "a", "e"), _reg("qb", U18, "b", "e")]


def _lines(*parts: str | list[str]) -> str:
    return "\n  ".join(line for part in parts for line in ([part] if isinstance(part, str) else part))


CIRCUITS = {
    "operands": _circuit(_lines(_AB, "assign y = qa * qb;"), 36, "ab"),
    "operands_enabled": _circuit(_lines(_ABE, "assign y = qa * qb;"), 36, "ab"),
    "operands_signed": _circuit(
        _lines(
            _reg("qa", "signed [11:0]", "a[11:0]", "e"),
            _reg("qb", "signed [6:0]", "b[6:0]", "e"),
            "wire signed [18:0] p = qa * qb;",
            "assign y = p;",
        ),
        19,
        "ab",
    ),
    "operands_full_signed": _circuit(
        _lines(_reg("qa", S18, "a"), _reg("qb", S18, "b"), f"wire {S36} p = qa * qb;", "assign y = p;"), 36, "ab"
    ),
    "product": _circuit(_lines(_reg("p", U36, "a * b"), "assign y = p;"), 36, "p"),
    "product_enabled": _circuit(_lines(_reg("p", U36, "a * b", "e"), "assign y = p;"), 36, "p"),
    "product_two_ranks": _circuit(_lines(_reg("p", U36, "a * b", "e"), _reg("q", U36, "p", "e"), "assign y = q;"), 72, "pq"),
    "product_three_ranks": _circuit(
        _lines(_reg("p", U36, "a * b"), _reg("q", U36, "p"), _reg("s", U36, "q"), "assign y = s;"), 72, "pq"
    ),
    "product_low_bits": _circuit(_lines(_reg("p", "[8:0]", "a * b", "e"), "assign y = p;"), 9, "p"),
    "all_ranks": _circuit(_lines(_ABE, _reg("p", U36, "qa * qb", "e"), _reg("q", U36, "p", "e"), "assign y = q;"), 108, "abpq"),
    "all_ranks_signed": _circuit(
        _lines(
            _reg("qa", "signed [9:0]", "a[9:0]", "e"),
            _reg("qb", "signed [13:0]", "b[13:0]", "e"),
            _reg("p", "signed [23:0]", "qa * qb", "e"),
            _reg("q", "signed [23:0]", "p", "e"),
            "assign y = q;",
        ),
        72,
        "abpq",
    ),
    "operand_behind_another": _circuit(
        _lines(_reg("a0", U18, "a", "e"), _reg("qa", U18, "a0", "e"), "assign y = qa * b;"), 18, "a"
    ),
    "product_then_operand": _circuit(_lines(_reg("p", U18, "a * b", "e"), "assign y = p * a;"), 18, "p", ""),
    "zero_bits": _circuit(
        _lines(_reg("qa", "[8:0]", "a[8:0]", "e"), _reg("qb", "[8:0]", "b[8:0]", "e"), "assign y = qa * qb;"), 18, "ab"
    ),
    # What must stay outside, at least in part.
    "operands_reset": _circuit(_lines(_reg("qa", U18, "a", reset="r"), _reg("qb", U18, "b"), "assign y = qa * qb;"), 18, "b"),
    "operands_reset_enabled": _circuit(
        _lines(_reg("qa", U18, "a", "e", reset="r"), _reg("qb", U18, "b", "e"), "assign y = qa * qb;"), 18, "b"
    ),
    "product_reset": _circuit(_lines(_reg("p", U36, "a * b", reset="r"), "assign y = p;"), 0, ""),
    "operand_read_elsewhere": _circuit(_lines(_AB, "assign y = (qa * qb) ^ {qa[17], 40'd0};"), 18, "b"),
    "operand_leaves": _circuit(_lines(_reg("qa", "[8:0]", "a", "e"), "assign y = {qa, 39'd0} | (qa * b[8:0]);"), 0, ""),
    "operands_two_enables": _circuit(
        _lines(_reg("qa", U18, "a", "e"), _reg("qb", U18, "b", "f"), "assign y = qa * qb;"), 18, "a"
    ),
    "one_operand_two_enables": _circuit(
        _lines(_reg("lo", "[8:0]", "a[8:0]", "e"), _reg("hi", "[8:0]", "a[17:9]", "f"), "assign y = {hi, lo} * b;"), 0, ""
    ),
    "ranks_two_enables": _circuit(_lines(_reg("p", U36, "a * b", "e"), _reg("q", U36, "p", "f"), "assign y = q;"), 36, "p"),
    "inverted_enable": _circuit(_lines(_reg("p", U36, "a * b", "!e"), "assign y = p;"), 0, ""),
    "one_bit": _circuit(_lines(_reg("qa", "[16:0]", "a[16:0]"), "assign y = {qa, 1'b1} * b;"), 0, ""),
    "operand_half_registered": _circuit(_lines(_reg("qa", "[8:0]", "a[8:0]"), "assign y = {a[17:9], qa} * b;"), 0, ""),
    "operand_shared": _circuit(_lines(_AB, _reg("qc", U18, "a ^ b"), "assign y = (qa * qb) + ((qa * qc) << 8);"), 36, "b", "b"),
    "square": _circuit(_lines(_reg("qa", U18, "a", "e"), "assign y = qa * qa;"), 0, ""),
    "initially_one": _circuit(_lines(_reg("qa", U18, "a", init=1), "assign y = qa * b;"), 0, ""),
    "product_initially_one": _circuit(_lines(_reg("p", U36, "a * b", init=4), "assign y = p;"), 0, ""),
    "other_edge": _circuit(
        _lines(_reg("qa", U18, "a"), _reg("na", U18, "qa", edge="negedge"), _reg("p", U36, "na * b"), "assign y = p;"), 36, "p"
    ),
    "product_half_registered": _circuit(
        _lines("wire [35:0] p = a * b;", _reg("q", U18, "p[17:0]"), "assign y = {p[35:18], q};"), 0, ""
    ),
    "product_read_elsewhere": _circuit(
        _lines("wire [35:0] p = a * b;", _reg("q", U36, "p"), "assign y = q ^ {p[3], 40'd0};"), 0, ""
    ),
    "product_twice": _circuit(
        _lines("wire [35:0] p = a * b;", _reg("q", U36, "p", "e"), _reg("s", U36, "p", "f"), "assign y = q ^ (s << 12);"), 0, ""
    ),
    "product_enables_itself": _circuit(_lines("wire [35:0] p = a * b;", _reg("q", U36, "p", "p[5]"), "assign y = q;"), 0, ""),
    "first_rank_read_elsewhere": _circuit(
        _lines(_reg("p", U36, "a * b"), _reg("q", U36, "p"), "assign y = q ^ {p[7], 40'd0};"), 36, "p"
    ),
    "wide": _circuit(
        # Two multipliers, which share an operand; the other's upper part equals bits of this one.
        _lines(_reg("qa", "[23:0]", "{b[5:0], a}", "e"), _reg("qb", U18, "b", "e"), "assign y = qa * qb;"),
        18,
        "a",
        "",
    ),
}


def verilog_of_circuits(top: str) -> str:
    """All circuits, each a submodule of the name it has here, with its own inputs: none shares a register with another. Written
    as Yosys writes it."""
    ports = {name: (f"{name}_a", f"{name}_b", f"{name}_c", f"{name}_y") for name in CIRCUITS}
    lines = [f"module {top}(clk, {', '.join(port for each in ports.values() for port in each)});", "  input clk;"]
    for name, (a, b, c, y) in ports.items():
        lines += [f"  input [17:0] {a};", f"  input [17:0] {b};", f"  input [2:0] {c};", f"  output [{OUT_BITS - 1}:0] {y};"]
        lines.append(f"  circuit_{name} {name}(.clk(clk), .a({a}), .b({b}), .e({c}[0]), .f({c}[1]), .r({c}[2]), .y({y}));")
    lines.append("endmodule")
    for name, circuit in CIRCUITS.items():
        lines.append(f"module circuit_{name}(input clk, input [17:0] a, input [17:0] b, input e, f, r, output [47:0] y);")
        lines += [f"  {circuit.body}", "endmodule"]
    return "\n".join(lines) + "\n"
