// Behaviour of the ECP5 cells that Yosys maps to but has only the ports of: MULT18X18D and DP16KD.
//
// They cover what Yosys 0.70 and rtl/fpga/absorb.py put into a netlist; another parameter value or another port stops the
// simulator when the netlist is compiled, and what a chip leaves undefined stops it, or yields wrong values on purpose, when it
// happens. What is modelled is what Yosys takes the cells to be, in its share/lattice: dsp_map_18x18.v for the multiplier; for
// the memory brams_16kd.txt (widths, bytes, what a port reads where it writes, resets) and brams_map_16kd.v (pins).

// One rank of registers of a multiplier, which is never reset.
module NMDSE_MULTIPLIER_RANK #(
  parameter BITS = 18,
  parameter CLOCK = "NONE",
  parameter ENABLE = "CE0",
  parameter RESET = "RST0"
) (
  input [BITS-1:0] d,
  input [3:0] clocks, enables, resets,
  output [BITS-1:0] q
);
  localparam K = CLOCK == "CLK0" ? 0 : CLOCK == "CLK1" ? 1 : CLOCK == "CLK2" ? 2 : CLOCK == "CLK3" ? 3 : -1;
  localparam E = ENABLE == "CE0" ? 0 : ENABLE == "CE1" ? 1 : ENABLE == "CE2" ? 2 : ENABLE == "CE3" ? 3 : -1;
  localparam R = RESET == "RST0" ? 0 : RESET == "RST1" ? 1 : RESET == "RST2" ? 2 : RESET == "RST3" ? 3 : -1;
  generate
    if (CLOCK == "NONE") begin
      assign q = d;
    end else if (K < 0 || E < 0 || R < 0) begin
      $fatal(1, "MULT18X18D: a rank must have one of CLK0..3, CE0..3 and RST0..3, not %s, %s and %s", CLOCK, ENABLE, RESET);
    end else begin
      reg [BITS-1:0] held = 0;
      always @(posedge clocks[K])
        if (resets[R]) $fatal(1, "MULT18X18D: the reset of a rank is not modelled");
        else if (enables[E]) held <= d;
      assign q = held;
    end
  endgenerate
endmodule

// 18 x 18 bits, each signed or not (a constant). Without operand C, the shift chains (SRI, SRO) and the ways to the adder (RO).
module MULT18X18D (
  input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
  input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
  input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
  input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
  input CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
  output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
  output P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0";
  parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0";
  parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0", REG_PIPELINE_RST = "RST0";
  parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
  parameter RESETMODE = "SYNC";
  generate
    if (RESETMODE != "SYNC") $fatal(1, "MULT18X18D: RESETMODE must be SYNC, not %s", RESETMODE);
  endgenerate

  wire [3:0] clocks = {CLK3, CLK2, CLK1, CLK0}, enables = {CE3, CE2, CE1, CE0}, resets = {RST3, RST2, RST1, RST0};
  wire [17:0] a, b;
  NMDSE_MULTIPLIER_RANK #(.BITS(18), .CLOCK(REG_INPUTA_CLK), .ENABLE(REG_INPUTA_CE), .RESET(REG_INPUTA_RST)) rank_a (
    .d({A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0}),
    .clocks(clocks), .enables(enables), .resets(resets), .q(a)
  );
  NMDSE_MULTIPLIER_RANK #(.BITS(18), .CLOCK(REG_INPUTB_CLK), .ENABLE(REG_INPUTB_CE), .RESET(REG_INPUTB_RST)) rank_b (
    .d({B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0}),
    .clocks(clocks), .enables(enables), .resets(resets), .q(b)
  );
  wire signed [35:0] wide_a = {{18{SIGNEDA & a[17]}}, a}, wide_b = {{18{SIGNEDB & b[17]}}, b};
  wire [35:0] between, product;
  NMDSE_MULTIPLIER_RANK #(.BITS(36), .CLOCK(REG_PIPELINE_CLK), .ENABLE(REG_PIPELINE_CE), .RESET(REG_PIPELINE_RST)) pipeline (
    .d(wide_a * wide_b), .clocks(clocks), .enables(enables), .resets(resets), .q(between)
  );
  NMDSE_MULTIPLIER_RANK #(.BITS(36), .CLOCK(REG_OUTPUT_CLK), .ENABLE(REG_OUTPUT_CE), .RESET(REG_OUTPUT_RST)) rank_p (
    .d(between), .clocks(clocks), .enables(enables), .resets(resets), .q(product)
  );
  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
          P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = product;

  always @(*) if (SOURCEA || SOURCEB) $fatal(1, "MULT18X18D: SOURCEA and SOURCEB must be 0, not %b and %b", SOURCEA, SOURCEB);
endmodule

// 18 kbit of memory with two ports of 1, 2, 4, 9 or 18 bits; or port A writes 36 bits and port B reads as many or fewer.
//
// An address counts bits of bytes of 8, each of which has a ninth bit: ADx[13:3] is the byte, of 18 bits ADx[13:4], of 36 bits
// ADx[13:5]. Ports of 18 or 36 bits write the bytes of 9 bits that ADx[0], ADx[1] (ADA[2], ADA[3]) enable. At 36 bits the low
// half is DIA and DOA, the high half DIB and DOB; a narrower reader of such a memory has its bits at DOB. (The cell PDPW16KD,
// which Yosys 0.70 doesn't use, has its outputs the other way round, DO[17:0] being DOB: so does nextpnr's ecp5/pack.cc take
// it apart, and this cell agrees with it.)
module DP16KD (
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
  parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
  parameter GSR = "AUTO";
  // 16 words of 18 bits each, 20 bits apart.
  parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0, INITVAL_05 = 0;
  parameter [319:0] INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0;
  parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0;
  parameter [319:0] INITVAL_12 = 0, INITVAL_13 = 0, INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0;
  parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0;
  parameter [319:0] INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0;
  parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0, INITVAL_28 = 0, INITVAL_29 = 0;
  parameter [319:0] INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0;
  parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0;
  parameter [319:0] INITVAL_36 = 0, INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0;
  parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
  localparam [64*320-1:0] INITIAL = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
    INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
    INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
    INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
    INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
    INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
    INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
    INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
  };

  function is_width(input integer width);
    is_width = width == 1 || width == 2 || width == 4 || width == 9 || width == 18 || width == 36;
  endfunction

  generate
    if (!is_width(DATA_WIDTH_A) || !is_width(DATA_WIDTH_B) || (DATA_WIDTH_B == 36 && DATA_WIDTH_A != 36))
      $fatal(1, "DP16KD: widths must be 1, 2, 4, 9 or 18, or 36 at port A, not %0d and %0d", DATA_WIDTH_A, DATA_WIDTH_B);
    if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG")
      $fatal(1, "DP16KD: REGMODE must be NOREG, not %s and %s", REGMODE_A, REGMODE_B);
    if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000")
      $fatal(1, "DP16KD: CSDECODE must be 0b000, not %s and %s", CSDECODE_A, CSDECODE_B);
    if ((CLKAMUX != "CLKA" && CLKAMUX != "INV") || (CLKBMUX != "CLKB" && CLKBMUX != "INV"))
      $fatal(1, "DP16KD: CLKAMUX, CLKBMUX must be CLKA, CLKB or INV, not %s and %s", CLKAMUX, CLKBMUX);
    if ((WRITEMODE_A != "NORMAL" && WRITEMODE_A != "WRITETHROUGH" && WRITEMODE_A != "READBEFOREWRITE")
        || (WRITEMODE_B != "NORMAL" && WRITEMODE_B != "WRITETHROUGH" && WRITEMODE_B != "READBEFOREWRITE"))
      $fatal(1, "DP16KD: WRITEMODE must be one of three, not %s and %s", WRITEMODE_A, WRITEMODE_B);
  endgenerate

  reg [35:0] memory [0:511];
  integer i;
  initial
    for (i = 0; i < 512; i = i + 1) memory[i] = {INITIAL[40*i+20+:18], INITIAL[40*i+:18]};

  wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
                     DIA1, DIA0};
  wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
                     DIB1, DIB0};

  // Where an access begins among the 36 bits, and which of its bits it writes.
  function [5:0] place(input integer width, input [13:0] address);
    case (width)
      1: place = 18 * address[4] + 9 * address[3] + address[2:0];
      2: place = 18 * address[4] + 9 * address[3] + 2 * address[2:1];
      4: place = 18 * address[4] + 9 * address[3] + 4 * address[2];
      9: place = 18 * address[4] + 9 * address[3];
      18: place = 18 * address[4];
      default: place = 0;
    endcase
  endfunction

  function [35:0] all_bits(input integer width);
    all_bits = 36'hfffffffff >> (36 - width);
  endfunction

  function [35:0] written(input integer width, input [13:0] address);
    case (width)
      36: written = {{9{address[3]}}, {9{address[2]}}, {9{address[1]}}, {9{address[0]}}};
      18: written = {18'd0, {9{address[1]}}, {9{address[0]}}};
      default: written = all_bits(width);
    endcase
  endfunction

  // Both ports have one clock, or one of them is never enabled.
  wire clock_a = CLKA ^ (CLKAMUX == "INV"), clock_b = CLKB ^ (CLKBMUX == "INV");
  wire enable_a = CEA && {CSA2, CSA1, CSA0} == 0, enable_b = CEB && {CSB2, CSB1, CSB0} == 0;
  wire clock = CLKAMUX == "INV" || CLKBMUX == "INV" ? clock_a & clock_b : clock_a | clock_b;

  reg [35:0] out_a = 0, out_b = 0;
  reg [35:0] old_a, old_b, mask_a, mask_b, new_a, new_b, seen_a, seen_b;
  always @(posedge clock) begin
    if ((enable_a && !clock_a) || (enable_b && !clock_b)) $fatal(1, "DP16KD: both ports must have one clock");
    if (RESETMODE != "SYNC" && (RSTA || RSTB)) $fatal(1, "DP16KD: an asynchronous reset is not modelled");
    old_a = memory[ada[13:5]];
    old_b = memory[adb[13:5]];
    mask_a = enable_a && WEA && !RSTA ? written(DATA_WIDTH_A, ada) << place(DATA_WIDTH_A, ada) : 36'd0;
    mask_b = enable_b && WEB && !RSTB ? written(DATA_WIDTH_B, adb) << place(DATA_WIDTH_B, adb) : 36'd0;
    new_a = (DATA_WIDTH_A == 36 ? {dib, dia} : {18'd0, dia}) << place(DATA_WIDTH_A, ada);
    new_b = {18'd0, dib} << place(DATA_WIDTH_B, adb);

    // What a port reads while the other writes it is undefined in the chip: here every such bit is wrong.
    seen_a = ada[13:5] == adb[13:5] ? old_a ^ mask_b : old_a;
    seen_b = ada[13:5] == adb[13:5] ? old_b ^ mask_a : old_b;
    if (RSTA) out_a <= 0;
    else if (enable_a && !(WEA && WRITEMODE_A == "NORMAL"))
      out_a <= (WRITEMODE_A == "WRITETHROUGH" ? (seen_a & ~mask_a) | (new_a & mask_a) : seen_a) >> place(DATA_WIDTH_A, ada)
               & all_bits(DATA_WIDTH_A);
    if (RSTB) out_b <= 0;
    else if (enable_b && !(WEB && WRITEMODE_B == "NORMAL"))
      out_b <= (WRITEMODE_B == "WRITETHROUGH" ? (seen_b & ~mask_b) | (new_b & mask_b) : seen_b) >> place(DATA_WIDTH_B, adb)
               & all_bits(DATA_WIDTH_B);

    if (ada[13:5] == adb[13:5] && (mask_a & mask_b) != 0) $fatal(1, "DP16KD: both ports must not write one bit");
    memory[ada[13:5]] = (old_a & ~mask_a) | (new_a & mask_a);
    memory[adb[13:5]] = (memory[adb[13:5]] & ~mask_b) | (new_b & mask_b);
  end

  wire [35:0] out = DATA_WIDTH_B == 36 ? out_b : {out_b[17:0], out_a[17:0]};
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0}
    = out[35:18];
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0}
    = out[17:0];
endmodule
