// A technology map the other way: tables become Yosys' own, which it writes as expressions. As instances they would be most of
// a netlist, and take Verilator minutes.

module LUT4 (input A, B, C, D, output Z);
  parameter [15:0] INIT = 0;
  \$lut #(.WIDTH(4), .LUT(INIT)) _TECHMAP_REPLACE_ (.A({D, C, B, A}), .Y(Z));
endmodule

module PFUMX (input ALUT, BLUT, C0, output Z);
  \$mux #(.WIDTH(1)) _TECHMAP_REPLACE_ (.A(BLUT), .B(ALUT), .S(C0), .Y(Z));
endmodule

module L6MUX21 (input D0, D1, SD, output Z);
  \$mux #(.WIDTH(1)) _TECHMAP_REPLACE_ (.A(D0), .B(D1), .S(SD), .Y(Z));
endmodule

module SB_LUT4 (input I0, I1, I2, I3, output O);
  parameter [15:0] LUT_INIT = 0;
  \$lut #(.WIDTH(4), .LUT(LUT_INIT)) _TECHMAP_REPLACE_ (.A({I3, I2, I1, I0}), .Y(O));
endmodule
