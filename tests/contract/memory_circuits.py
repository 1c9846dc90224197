"""Memories of many shapes and ways to read and write, which Yosys maps to DP16KD of ECP5."""

__all__ = ["BITS", "MEMORIES", "WORDS", "verilog_of_memories"]

BITS, WORDS = 64, 1 << 14

_FILL = "integer i; initial for (i = 0; i < {words}; i = i + 1) m[i] = {{i * 32'h9e3779b1, i * 32'h85ebca77}} >> 7;"


def _writes(bits: int, group: int, address: str = "w", data: str = "d") -> str:
    """Whole words, or groups of bits that each have an enable."""
    if not group:
        return f"if (c[0]) m[{address}] <= {data};"
    places = range(0, bits, group)
    return " ".join(
        f"if (c[0] & c[{8 + k}]) m[{address}][{at + group - 1}:{at}] <= d[{at + group - 1}:{at}];"
        for k, at in enumerate(places)
    )


def _memory(bits: int, words: int, body: str, group: int = 0, shown: str = "q") -> str:
    """`w`, `r`: addresses; `c`: what is done, its bits 8 and up are the groups' enables; `q`: what is read."""
    high = (words - 1).bit_length() - 1
    return "\n  ".join(
        [
            f"wire [{high}:0] w = wa[{high}:0], r = ra[{high}:0];",
            f"reg [{bits - 1}:0] m [0:{words - 1}], q = 0; assign y = {shown};",
            _FILL.format(words=words) if words <= 2048 else "",  # Yosys takes long over larger ones; these begin with zeros
            body.replace("WRITE", _writes(bits, group)),
        ]
    )


OTHER = "always @(posedge clk) begin WRITE if (c[1]) q <= m[r]; end"  # two ports; where both meet, the old word is read
FRESH = "always @(posedge clk) begin WRITE if (c[1]) q <= c[0] && w == r ? d : m[r]; end"
RESET = "always @(posedge clk) begin WRITE if (c[2]) q <= 0; else if (c[1]) q <= m[r]; end"
OLD = "always @(posedge clk) begin WRITE q <= m[w]; end"  # one port
NEW = "always @(posedge clk) begin WRITE if (c[0]) q <= d; else q <= m[w]; end"
HOLD = "always @(posedge clk) if (c[0]) begin WRITE end else q <= m[w];"
HOLD_ENABLED = "always @(posedge clk) if (c[3]) begin if (c[0]) begin WRITE end else q <= m[w]; end"
HOLD_RESET = "always @(posedge clk) if (c[2]) q <= 0; else if (c[0]) begin WRITE end else q <= m[w];"
READ = "always @(posedge clk) if (c[1]) q <= m[r];"
BOTH = """reg [17:0] p = 0;  // two ports that write and read, never at one address
  always @(posedge clk) if (c[0]) m[w & ~1] <= d; else q <= m[w & ~1];
  always @(posedge clk) if (c[1]) m[r | 1] <= d >> 20; else p <= m[r | 1];"""

MEMORIES = {
    "bits_1": _memory(1, 16384, OTHER),
    "bits_2": _memory(2, 8192, OTHER),
    "bits_4": _memory(4, 4096, OTHER),
    "bits_8": _memory(8, 2048, OTHER),
    "bits_16": _memory(16, 1024, OTHER),
    "bits_36": _memory(36, 512, OTHER),
    "bits_64": _memory(64, 512, OTHER),
    "groups_16": _memory(16, 1024, OTHER, 8),
    "groups_36": _memory(36, 512, OTHER, 9),
    "groups_64": _memory(64, 512, OTHER, 16),
    "fresh_16": _memory(16, 1024, FRESH),
    "reset_18": _memory(18, 1024, RESET),
    "old_16": _memory(16, 1024, OLD),
    "old_groups_16": _memory(16, 1024, OLD, 8),
    "new_1": _memory(1, 16384, NEW),
    "new_18": _memory(18, 1024, NEW),
    "hold_4": _memory(4, 4096, HOLD),
    "hold_groups_64": _memory(64, 1024, HOLD, 8),
    "hold_enabled_16": _memory(16, 1024, HOLD_ENABLED),
    "hold_reset_16": _memory(16, 1024, HOLD_RESET),
    "both_18": _memory(18, 1024, BOTH, shown="{p, q}"),
    "read_36": _memory(36, 512, READ),
}


def verilog_of_memories(top: str) -> str:
    """All of them, each a submodule of the name it has here, written as Yosys writes. They share their inputs."""
    outputs = [f"y_{name}" for name in MEMORIES]
    lines = [f"module {top}(clk, wa, ra, d, c, {', '.join(outputs)});"]
    lines += ["  input clk;", "  input [13:0] wa;", "  input [13:0] ra;", f"  input [{BITS - 1}:0] d;", "  input [15:0] c;"]
    for name, y in zip(MEMORIES, outputs, strict=True):
        lines += [
            f"  output [{BITS - 1}:0] {y};",
            f"  memory_{name} {name}(.clk(clk), .wa(wa), .ra(ra), .d(d), .c(c), .y({y}));",
        ]
    lines.append("endmodule")
    for name, body in MEMORIES.items():
        lines.append(f"module memory_{name}(input clk, input [13:0] wa, ra, input [63:0] d, input [15:0] c, output [63:0] y);")
        lines += [f"  {body}", "endmodule"]
    return "\n".join(lines) + "\n"
