// An AXI4 memory for compiled harnesses: the latency of docs/machine.md 'Memory port', or slower at random.
//
// A cycle: `before()`, copy `out` to the model's inputs, eval, fill `in` from the model's outputs, `after()`, clock edge.
// `out` depends on earlier cycles only. Beat i of a read accepted in cycle x is offered in cycle x + latency + i at the
// earliest, in order, one a cycle; a write's response in cycle max(x + latency + beats - 1, last data beat + 1). Data are
// read when offered and written when taken. Beats and bursts out of range answer SLVERR (data 0, nothing written).
// `violation` names the first rule of AXI that the master broke.
//
// A master that only reads leaves the write signals of `in` 0. Two memories may share their bytes.

#ifndef RTL_KIT_MEMORY_MODEL_H
#define RTL_KIT_MEMORY_MODEL_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

// Chances of a signal being low in a cycle in which it could be high, and cycles of latency beyond the least.
struct AxiStalls {
  double arready = 0, awready = 0, wready = 0, rvalid = 0, bvalid = 0;
  unsigned extra_latency = 0;  // at most, for each burst
  uint64_t seed = 0;
};

class AxiMemory {
 public:
  static constexpr unsigned kMostBytes = 128;  // of a beat
  using Stalls = AxiStalls;

  struct Outputs {
    uint8_t arready, awready, wready, rvalid, rlast, rresp, bvalid, bresp;
    uint8_t rdata[kMostBytes];
  };

  struct Inputs {
    uint64_t araddr, awaddr;
    uint8_t arvalid, arlen, arsize, arburst, awvalid, awlen, awsize, awburst;
    uint8_t rready, wvalid, wlast, bready;
    uint8_t wdata[kMostBytes], wstrb[kMostBytes / 8];
  };

  Outputs out{};
  Inputs in{};
  const char* violation = nullptr;
  uint64_t cycle = 0;
  size_t in_flight = 0, most_in_flight = 0;  // bursts accepted and not complete

  AxiMemory(uint8_t* bytes, uint64_t base, uint64_t size, unsigned bus_bytes, unsigned latency, const AxiStalls& stalls = {})
      : bytes_(bytes), base_(base), size_(size), bus_(bus_bytes), latency_(latency), stalls_(stalls), random_(stalls.seed) {}

  void before() {
    out.arready = !chance(stalls_.arready);
    out.awready = !chance(stalls_.awready);
    out.wready = !chance(stalls_.wready);
    if (!out.rvalid && !reads_.empty() && cycle >= reads_.front().at + reads_.front().beat && !chance(stalls_.rvalid)) {
      const Burst& burst = reads_.front();
      const uint64_t address = burst.address + uint64_t(burst.beat) * bus_;
      out.rvalid = 1;
      out.rlast = burst.beat + 1 == burst.beats;
      out.rresp = inside(address) ? 0 : kSlaveError;
      std::memset(out.rdata, 0, sizeof out.rdata);
      if (inside(address)) std::memcpy(out.rdata, bytes_ + (address - base_), bus_);
    }
    if (!out.bvalid && !responses_.empty() && cycle >= responses_.front().at && !chance(stalls_.bvalid)) {
      out.bvalid = 1;
      out.bresp = responses_.front().error ? kSlaveError : 0;
    }
  }

  void after() {
    check();
    if (in.arvalid && out.arready) accept(reads_, in.araddr, in.arlen);
    if (in.awvalid && out.awready) accept(writes_, in.awaddr, in.awlen);
    if (out.rvalid && in.rready) {
      out.rvalid = 0;
      if (++reads_.front().beat == reads_.front().beats) finish(reads_);
    }
    if (out.bvalid && in.bready) {
      out.bvalid = 0;
      finish(responses_);
    }
    if (in.wvalid && out.wready) {
      Data beat{};
      std::memcpy(beat.data, in.wdata, bus_);
      std::memcpy(beat.strobe, in.wstrb, (bus_ + 7) / 8);
      beat.last = in.wlast;
      data_.push_back(beat);
    }
    while (!writes_.empty() && !data_.empty()) {  // data may have come before their burst
      write(writes_.front(), data_.front());
      data_.pop_front();
    }
    last_ = in;
    stood_ = {bool(in.arvalid && !out.arready), bool(in.awvalid && !out.awready), bool(in.wvalid && !out.wready)};
    ++cycle;
  }

 private:
  static constexpr uint8_t kSlaveError = 2;

  struct Burst {
    uint64_t address, at;  // the cycle of the first beat, or of the response
    unsigned beats, beat;
    bool error;
  };
  struct Data {
    uint8_t data[kMostBytes], strobe[kMostBytes / 8];
    bool last;
  };
  struct Stood {  // requests that were not taken in the last cycle: they must stay as they are
    bool ar, aw, w;
  };

  bool chance(double part) { return part > 0 && double(random_() >> 11) * 0x1p-53 < part; }
  bool inside(uint64_t address) const { return address >= base_ && address - base_ + bus_ <= size_; }

  void accept(std::deque<Burst>& queue, uint64_t address, unsigned length) {
    const unsigned extra = stalls_.extra_latency ? unsigned(random_() % (stalls_.extra_latency + 1)) : 0;
    queue.push_back({address, cycle + latency_ + extra, length + 1, 0, false});
    most_in_flight = std::max(most_in_flight, ++in_flight);
  }

  void finish(std::deque<Burst>& queue) {
    queue.pop_front();
    --in_flight;
  }

  void write(Burst& burst, const Data& beat) {
    const uint64_t address = burst.address + uint64_t(burst.beat) * bus_;
    burst.error |= !inside(address);
    if (inside(address))
      for (unsigned i = 0; i < bus_; ++i)
        if (beat.strobe[i / 8] >> (i % 8) & 1) bytes_[address - base_ + i] = beat.data[i];
    const bool last = ++burst.beat == burst.beats;
    require(beat.last == last, "WLAST must be high in a burst's last beat only");
    if (last) {
      burst.at = std::max(burst.at + burst.beats - 1, cycle + 1);
      responses_.push_back(burst);
      writes_.pop_front();
    }
  }

  void require(bool holds, const char* rule) {
    if (!holds && !violation) violation = rule;
  }

  void check_request(bool valid, uint64_t address, unsigned length, unsigned size, unsigned burst) {
    if (!valid) return;
    require(1u << size == bus_, "AxSIZE must be the bus's width");
    require(burst == 1, "AxBURST must be INCR");
    require(address % bus_ == 0, "AxADDR must be a beat's");
    require(address / 4096 == (address + uint64_t(length + 1) * bus_ - 1) / 4096, "A burst must not cross 4096 bytes");
  }

  void check() {
    check_request(in.arvalid, in.araddr, in.arlen, in.arsize, in.arburst);
    check_request(in.awvalid, in.awaddr, in.awlen, in.awsize, in.awburst);
    if (stood_.ar) require(in.arvalid && in.araddr == last_.araddr && in.arlen == last_.arlen, "AR must stay until taken");
    if (stood_.aw) require(in.awvalid && in.awaddr == last_.awaddr && in.awlen == last_.awlen, "AW must stay until taken");
    if (stood_.w) {
      const bool same = !std::memcmp(in.wdata, last_.wdata, bus_) && !std::memcmp(in.wstrb, last_.wstrb, (bus_ + 7) / 8);
      require(in.wvalid && same && in.wlast == last_.wlast, "W must stay until taken");
    }
  }

  uint8_t* bytes_;
  uint64_t base_, size_;
  unsigned bus_, latency_;
  AxiStalls stalls_;
  std::mt19937_64 random_;
  std::deque<Burst> reads_, writes_, responses_;
  std::deque<Data> data_;
  Inputs last_{};
  Stood stood_{};
};

// Between the memory and a Verilated model whose master's ports have a prefix: AXI_DRIVE_READ(memory, top, m_axi).
#define AXI_DRIVE_READ(memory, top, prefix)                            \
  do {                                                                 \
    (top).prefix##_arready = (memory).out.arready;                     \
    (top).prefix##_rvalid = (memory).out.rvalid;                       \
    (top).prefix##_rlast = (memory).out.rlast;                         \
    (top).prefix##_rresp = (memory).out.rresp;                         \
    std::memcpy(&(top).prefix##_rdata, (memory).out.rdata, sizeof((top).prefix##_rdata)); \
  } while (0)

#define AXI_DRIVE_WRITE(memory, top, prefix)       \
  do {                                             \
    (top).prefix##_awready = (memory).out.awready; \
    (top).prefix##_wready = (memory).out.wready;   \
    (top).prefix##_bvalid = (memory).out.bvalid;   \
    (top).prefix##_bresp = (memory).out.bresp;     \
  } while (0)

#define AXI_SAMPLE_READ(memory, top, prefix)       \
  do {                                             \
    (memory).in.arvalid = (top).prefix##_arvalid;  \
    (memory).in.araddr = (top).prefix##_araddr;    \
    (memory).in.arlen = (top).prefix##_arlen;      \
    (memory).in.arsize = (top).prefix##_arsize;    \
    (memory).in.arburst = (top).prefix##_arburst;  \
    (memory).in.rready = (top).prefix##_rready;    \
  } while (0)

#define AXI_SAMPLE_WRITE(memory, top, prefix)                                             \
  do {                                                                                    \
    (memory).in.awvalid = (top).prefix##_awvalid;                                         \
    (memory).in.awaddr = (top).prefix##_awaddr;                                           \
    (memory).in.awlen = (top).prefix##_awlen;                                             \
    (memory).in.awsize = (top).prefix##_awsize;                                           \
    (memory).in.awburst = (top).prefix##_awburst;                                         \
    (memory).in.wvalid = (top).prefix##_wvalid;                                           \
    (memory).in.wlast = (top).prefix##_wlast;                                             \
    (memory).in.bready = (top).prefix##_bready;                                           \
    std::memcpy((memory).in.wdata, &(top).prefix##_wdata, sizeof((top).prefix##_wdata));  \
    std::memcpy((memory).in.wstrb, &(top).prefix##_wstrb, sizeof((top).prefix##_wstrb));  \
  } while (0)

#endif
