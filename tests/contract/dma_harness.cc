// Five DMA channels between scheduled commands and a memory, in closed loop; appended to rtl/native/memory_model.h.

#include "Vtop.h"
#include "verilated.h"

struct Model { VerilatedContext context; Vtop top{&context}; };

struct Command { uint64_t channel, at, write_beats; uint32_t fields[4]; };
struct Channel { std::deque<Command> commands; std::deque<uint64_t> promised; const uint8_t* source; };
struct Scenario {
  uint64_t bus, latency, base, size, count, cycles, lag, seed;
  double stalls[6];  // arready, awready, wready, rvalid, bvalid, write data
  uint64_t extra_latency;
  uint8_t* memory;
  const Command* commands;
  const uint8_t* sources[2];  // the store channels' beats, payload after payload
};
struct Beat { uint64_t cycle, channel, bytes, flags; uint8_t data[128]; };
struct Request { uint64_t cycle, write, address; };
struct Log {
  uint32_t* events;
  Beat* beats;
  Request* requests;
  uint64_t beat_count, request_count, most_in_flight;
  const char* violation;
};

extern "C" void* dma_new() { Model* model = new Model; model->top.eval(); return model; }
extern "C" void dma_delete(void* model) { delete static_cast<Model*>(model); }

#define EACH_LOAD(DO) DO(0, load_a) DO(1, load_b) DO(2, load_work)
#define EACH_STORE(DO) DO(3, store_c) DO(4, store_work)
#define EACH(DO) EACH_LOAD(DO) EACH_STORE(DO)

extern "C" void dma_play(void* handle, const Scenario* scenario, Log* log) {
  Vtop& top = static_cast<Model*>(handle)->top;
  const Scenario& s = *scenario;
  AxiStalls stalls{s.stalls[0], s.stalls[1], s.stalls[2], s.stalls[3], s.stalls[4], unsigned(s.extra_latency), s.seed};
  AxiMemory memory(s.memory, s.base, s.size, unsigned(s.bus), unsigned(s.latency), stalls);
  std::mt19937_64 random(s.seed + 1);
  Channel channels[5] = {};
  for (uint64_t i = 0; i < s.count; ++i) channels[s.commands[i].channel].commands.push_back(s.commands[i]);
  channels[3].source = s.sources[0];
  channels[4].source = s.sources[1];

  auto edge = [&] { top.eval(); top.clk = 1; top.eval(); top.clk = 0; };
  top.rst = 1;
  edge();
  top.rst = 0;
#define FORGET(i, name) top.name##_command_valid = 0;
  EACH(FORGET)
#define DRY(i, name) top.name##_write_data_valid = 0;
  EACH_STORE(DRY)

  std::deque<Command> started[5];
  for (uint64_t cycle = 0; cycle < s.cycles; ++cycle) {
    memory.before();
    AXI_DRIVE_READ(memory, top, axi);
    AXI_DRIVE_WRITE(memory, top, axi);
#define OFFER(i, name)                                                                                   \
    top.name##_command_valid = !channels[i].commands.empty() && cycle >= channels[i].commands[0].at;     \
    if (top.name##_command_valid)                                                                        \
      std::memcpy(&top.name##_command_payload, channels[i].commands[0].fields, sizeof(Command::fields)); \
    else                                                                                                 \
      std::memset(&top.name##_command_payload, 0x5A, 13);
    EACH(OFFER)
#define SUPPLY(i, name)                                                                                                \
    if (!top.name##_write_data_valid && !channels[i].promised.empty() && cycle >= channels[i].promised[0] &&           \
        !(s.stalls[5] > 0 && double(random() >> 11) * 0x1p-53 < s.stalls[5])) {                                        \
      top.name##_write_data_valid = 1;                                                                                 \
      std::memcpy(&top.name##_write_data_payload, channels[i].source, sizeof top.name##_write_data_payload);           \
    }                                                                                                                  \
    if (!top.name##_write_data_valid)                                                                                  \
      std::memset(&top.name##_write_data_payload, int(cycle), s.bus + s.bus / 8);
    EACH_STORE(SUPPLY)
    top.eval();

    uint32_t events = top.read_fault << 20 | top.write_fault << 21 | top.read_error << 22 | top.write_error << 23;
#define RECORD(i, name)                                                                                                 \
    {                                                                                                                   \
      const bool accepts = top.name##_command_valid && top.name##_command_ready;                                        \
      events |= accepts << i | top.name##_started << (5 + i) | top.name##_ended << (10 + i) | top.name##_done << (15 + i); \
      if (accepts) {                                                                                                    \
        started[i].push_back(channels[i].commands[0]);                                                                  \
        channels[i].commands.pop_front();                                                                               \
      }                                                                                                                 \
    }
    EACH(RECORD)
    log->events[cycle] = events;
#define RECEIVE(i, name)                                                                                                     \
    if (top.name##_beat_valid) {                                                                                             \
      const unsigned flags = top.name##_beat_first | top.name##_beat_last << 1 | top.name##_beat_end << 2;                   \
      Beat& beat = log->beats[log->beat_count++];                                                                            \
      beat = {cycle, i, top.name##_beat_bytes, flags, {}};                                                                   \
      std::memcpy(beat.data, &top.name##_beat_data, s.bus);                                                                  \
    }
    EACH_LOAD(RECEIVE)
    AXI_SAMPLE_READ(memory, top, axi);
    AXI_SAMPLE_WRITE(memory, top, axi);
    if (memory.in.arvalid && memory.out.arready) log->requests[log->request_count++] = {cycle, 0, memory.in.araddr};
    if (memory.in.awvalid && memory.out.awready) log->requests[log->request_count++] = {cycle, 1, memory.in.awaddr};
    memory.after();
    // A command's data are there from `lag` cycles after its start.
#define TAKE(i, name)                                                                \
    const bool took_##name = top.name##_write_data_valid && top.name##_write_data_ready; \
    if (top.name##_started) {                                                        \
      for (uint64_t n = 0; n < started[i][0].write_beats; ++n) channels[i].promised.push_back(cycle + s.lag); \
      started[i].pop_front();                                                        \
    }                                                                                \
    if (took_##name) {                                                               \
      channels[i].promised.pop_front();                                              \
      channels[i].source += sizeof top.name##_write_data_payload;                   \
    }
    EACH_STORE(TAKE)
    edge();
#define TAKEN(i, name) if (took_##name) top.name##_write_data_valid = 0;
    EACH_STORE(TAKEN)
  }
  log->most_in_flight = memory.most_in_flight;
  log->violation = memory.violation;
}
