#include "runtime/tune/estimate.h"

#include <algorithm>
#include <cmath>

#include "codegen/cpu/target.h"
#include "runtime/cuda_device.h"

namespace tessera::tuning {
namespace {

/// Multiply-adds of 16-bit products a clock and multiprocessor (NVIDIA's whitepapers of each architecture), times two.
double flops_a_clock(int sm) {
  if (sm >= 100 && sm < 120) return 8192;
  if (sm >= 90 && sm < 100) return 4096;
  if (sm == 80) return 2048;
  return 1024;
}

}  // namespace

Machine machine_of(const Context& context) {
  Machine m;
  if (context.is_cuda()) {
    const cuda::Properties& p = context.gpu()->properties();
    const double sms = std::max(p.multiprocessors, 1), clock = 1.7e9;
    const int sm = p.major * 10 + p.minor;
    m.flops = sms * clock * flops_a_clock(sm);
    m.elements = sms * clock * 64;  // half of the lanes: their inputs move too
    m.memory = sm >= 100 ? 7e12 : sm == 90 ? 4e12 : sm == 80 ? 1.8e12 : 0.8e12;
    m.cache = sms * clock * 32;
    m.step = 2e-7;
    m.launch = 3e-6;
    m.workers = sms;
    m.near_bytes = 128 << 10;  // of registers, half of what a multiprocessor has
    m.wide_products = sm >= 90 ? 0.6 : 1;
    return m;
  }
  const std::string features = CpuTarget::host().features;
  const double lanes = features.find("+avx512f") != std::string::npos ? 16 : 8, clock = 3e9;
  const bool pairs = features.find("+avx512bf16") != std::string::npos;
  m.workers = context.threads();
  m.flops = m.workers * clock * lanes * 4 * (pairs ? 2 : 1);
  m.elements = m.workers * clock * lanes / 2;
  m.memory = std::min(m.workers, 8.0) * 1.2e10;
  m.cache = m.workers * clock * 16;
  m.step = 1.5e-8;
  m.launch = 1e-6;
  m.near_bytes = 256 << 10;  // a share of L2
  return m;
}

bool products_of_16_bits(const ir::Kernel& kernel) {
  bool narrow = true;
  ir::walk(kernel.body, [&](const ir::Op& op) {
    if (op.kind == ir::OpKind::Dot) narrow &= bits(ir::tile(op.operands[0]->type).dtype) <= 16;
  });
  return narrow;
}

Roof roof(const Machine& m, bool narrow) { return {narrow ? m.flops : m.flops / (m.wide_products < 1 ? 16 : 2), m.memory}; }

double estimate(const Effort& e, const Machine& m, bool narrow) {
  const double over = std::max(1.0, e.largest_tile / m.near_bytes);
  const double compute = e.flops / roof(m, narrow).flops + (e.elements / m.elements + e.steps / m.workers * m.step) * std::min(4.0, over);
  const double move = std::max(e.bytes / m.memory, e.traffic / m.cache);
  // The last round of instances may leave workers idle.
  const double rounds = e.instances / m.workers;
  const double idle = rounds > 0 ? std::ceil(rounds) / rounds : 1;
  return m.launch + std::max(compute, move) * idle + 0.25 * std::min(compute, move);
}

}  // namespace tessera::tuning
