// Products of a warpgroup: asynchronous, operands behind descriptors of shared memory (PTX ISA 9.0, "Asynchronous Warpgroup Level Matrix
// Multiply-Accumulate Instructions").
//
// Each warp computes its 16 of the 64 rows. What a product gives before its wait are tokens: signalling NaNs that carry the product and the register,
// so that copies keep them, arithmetic makes quiet NaNs of them, and the wait knows which values to put in their place. Reads of shared memory are
// recorded when the product is issued, as those of an agent of the warp at the epoch of the product's group.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "codegen/simt/hooks.h"
#include "dsl/dtype.h"

namespace tessera::simt {

using gpu::Primitive;

namespace {

enum Fixed : u32 { kA, kB, kSteps, kAccumulate, kAHigh, kBHigh, kAOuter, kBOuter, kAStep, kAPanel, kBStep, kBPanel, kDone };

constexpr std::size_t kKept = 32;
constexpr u32 kToken = 0x7f800000, kQuiet = 0x00400000, kNumbers = 0x7fff;

u32 token(u32 number, u32 reg) { return kToken | number << 7 | reg; }
bool is_token(u32 bits) { return (bits & 0xff800000) == kToken && (bits & kQuiet) == 0 && (bits >> 7 & kNumbers) != 0; }
bool was_token(u32 bits) { return (bits & 0xffc00000) == (kToken | kQuiet) && (bits >> 7 & kNumbers) != 0 && (bits & 0x3fffff) != 0; }

struct Types {
  DType a, b;
  u32 bytes;  ///< of an element
};

Types types_of(Primitive p) {
  if (p == Primitive::WgmmaF16) return {DType::F16, DType::F16, 2};
  if (p == Primitive::WgmmaBf16) return {DType::BF16, DType::BF16, 2};
  if (p == Primitive::WgmmaTf32) return {DType::F32, DType::F32, 4};
  if (p == Primitive::WgmmaE4m3E4m3) return {DType::E4M3, DType::E4M3, 1};
  if (p == Primitive::WgmmaE4m3E5m2) return {DType::E4M3, DType::E5M2, 1};
  if (p == Primitive::WgmmaE5m2E4m3) return {DType::E5M2, DType::E4M3, 1};
  return {DType::E5M2, DType::E5M2, 1};
}

double value_of(DType t, u32 code) {
  if (t == DType::F32) return static_cast<double>(std::bit_cast<float>(code & 0xffffe000u));
  if (t == DType::BF16) return static_cast<double>(std::bit_cast<float>(code << 16));
  return decode_float(t, code);
}

/// One operand behind a descriptor: 8 rows of 128 bytes make an atom, whose 16-byte chunks are permuted by the row's address.
struct Operand {
  u32 start, leading, stride;  ///< bytes; start is an offset into the CTA's shared memory and may be off by the swizzle's period
  bool outer;                  ///< k outside: rows of 128 bytes run along m or n

  /// Offset of byte `k_byte` of row `row` within one step of 32 bytes of k.
  u32 at(u32 row, u32 k, u32 bytes) const {
    const u32 linear = outer ? start + row * bytes / 128 * leading + k / 8 * stride + k % 8 * 128 + row * bytes % 128
                             : start + row / 8 * stride + row % 8 * 128 + k * bytes;
    return linear ^ ((linear >> 7 & 7) << 4);
  }
};

Operand operand(const Cta& cta, u32 low, u32 high, bool outer) {
  const u32 address = (low & 0x3fff) << 4, window = cta.base & 0x3ffff;
  return {address - window, (low >> 16 & 0x3fff) << 4, (high & 0x3fff) << 4, outer};
}

u32 step_of(const std::array<u32, kProductOperands>& f, u32 s, bool a) { return s % 4 * f[a ? kAStep : kBStep] + s / 4 * f[a ? kAPanel : kBPanel]; }

/// Calls f(offset) for the 16-byte chunks of `rows` rows from `first` on of one step.
template <class F>
void each_chunk(const Operand& o, u32 first, u32 rows, u32 bytes, F f) {
  if (o.outer) {
    for (u32 k = 0; k < 32 / bytes; ++k) {
      for (u32 row = first; row < first + rows; row += 16 / bytes) f(o.at(row, k, bytes));
    }
    return;
  }
  for (u32 row = first; row < first + rows; ++row) {
    for (u32 half = 0; half < 2; ++half) f(o.at(row, half * 16 / bytes, bytes));
  }
}

/// A sum of 8-bit products as tensor cores add it: the sum so far and the products are cut, toward zero, to kKeptBits bits behind the point of the
/// largest of them. Measured on Hopper; so sums of many numbers of one sign come out too small.
constexpr int kKeptBits = 13;

double add_cut(double sum, const double* a, const double* b, u32 k) {
  double most = std::fabs(sum);
  bool finite = std::isfinite(sum);
  for (u32 i = 0; i < k; ++i) {
    const double x = std::fabs(a[i] * b[i]);
    finite = finite && std::isfinite(x);
    most = std::max(most, x);
  }
  if (!finite || most == 0) {
    for (u32 i = 0; i < k; ++i) sum += a[i] * b[i];
    return sum;
  }
  const int down = kKeptBits - std::ilogb(most);
  const double scale = std::ldexp(1.0, down);
  auto units = static_cast<std::int64_t>(sum * scale);
  for (u32 i = 0; i < k; ++i) units += static_cast<std::int64_t>(a[i] * b[i] * scale);
  return std::ldexp(static_cast<double>(units), -down);
}

void compute(Cta& cta, Warp& w, Product& p) {
  const Types t = types_of(p.primitive);
  const u32 n = static_cast<u32>(p.values.size() / 32), columns = 2 * n, k_step = 32 / t.bytes;
  const bool from_registers = !p.a_registers.empty();
  std::vector<double> a(16 * k_step), b(columns * k_step), sum(16 * columns);
  const auto place = [&](u32 l, u32 r) { return (l / 4 + 8 * (r / 2 % 2)) * columns + r / 4 * 8 + l % 4 * 2 + r % 2; };
  const bool cut = t.bytes == 1;
  for (u32 l = 0; l < 32 && cut; ++l) {
    for (u32 r = 0; r < n; ++r) sum[place(l, r)] = static_cast<double>(p.values[l * n + r]);
  }
  const auto read = [&](const Operand& o, u32 row, u32 k, DType type) {
    u32 code = 0;
    const u32 offset = o.at(row, k, t.bytes);
    if (offset + t.bytes > cta.run.shared_bytes) return std::numeric_limits<double>::quiet_NaN();
    std::memcpy(&code, cta.shared + offset, t.bytes);
    return value_of(type, code);
  };
  for (u32 s = 0; s < p.fixed[kSteps]; ++s) {
    const Operand oa = operand(cta, p.fixed[kA] + step_of(p.fixed, s, true), p.fixed[kAHigh], p.fixed[kAOuter]);
    const Operand ob = operand(cta, p.fixed[kB] + step_of(p.fixed, s, false), p.fixed[kBHigh], p.fixed[kBOuter]);
    for (u32 row = 0; row < 16; ++row) {
      for (u32 k = 0; k < k_step; ++k) {
        if (!from_registers) {
          a[row * k_step + k] = read(oa, w.id % 4 * 16 + row, k, t.a);
          continue;
        }
        // Register i of a lane: row g + 8 (i mod 2), four bytes at k byte 4 q + 16 (i / 2).
        const u32 byte = k * t.bytes, lane = row % 8 * 4 + byte % 16 / 4, i = row / 8 + byte / 16 * 2;
        const u32 word = p.a_registers[(lane * p.fixed[kSteps] + s) * 4 + i];
        a[row * k_step + k] = value_of(t.a, t.bytes == 4 ? word : word >> byte % 4 * 8 & ((1u << 8 * t.bytes) - 1));
      }
    }
    for (u32 column = 0; column < columns; ++column) {
      for (u32 k = 0; k < k_step; ++k) b[column * k_step + k] = read(ob, column, k, t.b);
    }
    for (u32 row = 0; row < 16; ++row) {
      for (u32 column = 0; column < columns; ++column) {
        if (cut) {
          double& x = sum[row * columns + column];
          x = add_cut(x, &a[row * k_step], &b[column * k_step], k_step);
          continue;
        }
        double x = 0;
        for (u32 k = 0; k < k_step; ++k) x += a[row * k_step + k] * b[column * k_step + k];
        sum[row * columns + column] += x;
      }
    }
  }
  for (u32 l = 0; l < 32; ++l) {
    for (u32 r = 0; r < n; ++r) {
      float& v = p.values[l * n + r];
      v = static_cast<float>(cut ? sum[place(l, r)] : static_cast<double>(v) + sum[place(l, r)]);
      // One NaN, as the hardware has, whatever the operands': others are tokens.
      if (std::isnan(v)) v = std::numeric_limits<float>::quiet_NaN();
    }
  }
  p.done = true;
}

void issue(Cta& cta, Thread* lanes, u32 site) {
  Warp& w = *lanes[0].warp;
  Product p;
  p.primitive = lanes[0].primitive;
  p.site = site;
  std::copy_n(lanes[0].fixed, p.fixed.size(), p.fixed.begin());
  const u32 n = lanes[0].outputs, first = p.fixed[kAccumulate] ? n : 0;
  const Types t = types_of(p.primitive);
  for (u32 l = 1; l < 32; ++l) {
    if (!std::equal(p.fixed.begin(), p.fixed.end(), lanes[l].fixed)) {
      cta.report(HazardKind::BadOperand, site, "gets different descriptors from lanes of one warp");
      break;
    }
  }
  if (!(p.fixed[kDone] & 1)) p.fixed[kSteps] = 0;
  const u32 steps = p.fixed[kSteps];
  if ((p.fixed[kAOuter] || p.fixed[kBOuter]) && t.bytes != 2) {
    cta.report(HazardKind::BadOperand, site, "has an operand with k outside, which 16-bit elements alone may have");
  }
  p.group = ++w.product_groups;
  p.number = w.product_numbers = w.product_numbers % kNumbers + 1;
  // Sums that are themselves on their way are taken over from the product that makes them.
  p.values.assign(32 * n, steps ? 0.0f : std::numeric_limits<float>::quiet_NaN());
  bool chained = false;
  for (u32 l = 0; l < 32 && first; ++l) {
    for (u32 r = 0; r < n; ++r) {
      const u32 bits = lanes[l].registers[r];
      if (is_token(bits)) {
        const auto of = std::find_if(w.products.begin(), w.products.end(), [&](const Product& q) { return q.number == (bits >> 7 & kNumbers); });
        if (of == w.products.end() || (bits & 127) != r || of->values.size() != p.values.size()) {
          cta.report(HazardKind::BadOperand, site, "starts from the registers of another product under way");
          continue;
        }
        if (!of->done) compute(cta, w, *of);
        p.values[l * n + r] = of->values[l * n + r];
        chained = true;
      } else {
        if (was_token(bits)) cta.report(HazardKind::Race, site, "starts from a value made of a product's result before its wait");
        p.values[l * n + r] = std::bit_cast<float>(bits);
      }
    }
  }
  if (lanes[0].inputs > first && steps) {
    for (u32 l = 0; l < 32; ++l) p.a_registers.insert(p.a_registers.end(), lanes[l].registers + first, lanes[l].registers + first + 4 * steps);
  }
  bool inside = true;
  const auto touch = [&](u32 offset) {
    if (offset % 16 != 0 || static_cast<std::uint64_t>(offset) + 16 > cta.run.shared_bytes) {
      inside = false;
    } else if (cta.run.options.races) {
      cta.shadow.access(offset, 16, {Touch::Read, lanes[0].product_agent(), p.group, site, &lanes[0], true});
    }
  };
  for (u32 s = 0; s < steps; ++s) {
    if (p.a_registers.empty()) {
      each_chunk(operand(cta, p.fixed[kA] + step_of(p.fixed, s, true), p.fixed[kAHigh], p.fixed[kAOuter]), w.id % 4 * 16, 16, t.bytes, touch);
    }
    each_chunk(operand(cta, p.fixed[kB] + step_of(p.fixed, s, false), p.fixed[kBHigh], p.fixed[kBOuter]), 0, 2 * n, t.bytes, touch);
  }
  if (!inside) cta.report(HazardKind::OutOfBounds, site, fmt::format("reads outside of the {} bytes of shared memory", cta.run.shared_bytes));
  const bool now = cta.run.policy == SimtPolicy::Eager || (cta.run.policy == SimtPolicy::Random && cta.random() % 2 == 0) || chained;
  if (now) compute(cta, w, p);
  for (u32 l = 0; l < 32; ++l) {
    for (u32 r = 0; r < n; ++r) lanes[l].registers[r] = token(p.number, r);
  }
  // Results of ended products are kept for waits that pass them on late.
  if (w.products.size() == kKept) w.products.erase(w.products.begin());
  w.products.push_back(std::move(p));
}

void wait(Cta& cta, Thread* lanes, u32 site) {
  Warp& w = *lanes[0].warp;
  const u32 allowed = lanes[0].operands[0], last = w.product_groups > allowed ? w.product_groups - allowed : 0;
  for (Product& p : w.products) {
    if (p.group <= last && !p.done) compute(cta, w, p);
  }
  for (u32 l = 0; l < 32; ++l) {
    lanes[l].products_known = std::max(lanes[l].products_known, last);
    for (u32 r = 0; r < lanes[l].outputs; ++r) {
      u32& bits = lanes[l].registers[r];
      if (was_token(bits)) cta.report(HazardKind::Race, site, "passes on a value made of a product's result before its wait");
      if (!is_token(bits)) continue;
      const auto of = std::find_if(w.products.begin(), w.products.end(), [&](const Product& p) { return p.number == (bits >> 7 & kNumbers); });
      if (of == w.products.end()) {
        cta.report(HazardKind::Race, site, "passes on the result of a product that an earlier wait ended without it");
      } else if (of->group <= last) {
        bits = std::bit_cast<u32>(of->values[l * (of->values.size() / 32) + (bits & 127)]);
      }
    }
  }
}

void product(Thread* t, u32 site, Primitive p, const u32 (&fixed)[kProductOperands], u32* registers, u32 counts) {
  t->fixed = fixed;
  t->registers = registers;
  t->inputs = counts & 0xffff;
  t->outputs = counts >> 16;
  collective(*t, site, p, issue);
}

}  // namespace

namespace hooks {

#define TESSERA_WARPGROUP_PRODUCT(id)                                                                                                               \
  void id(Thread* t, u32 site, u32 a, u32 b, u32 steps, u32 accumulate, u32 a_high, u32 b_high, u32 a_outer, u32 b_outer, u32 a_step, u32 a_panel,  \
          u32 b_step, u32 b_panel, u32 done, u32* registers, u32 counts) {                                                                          \
    product(t, site, Primitive::id, {a, b, steps, accumulate, a_high, b_high, a_outer, b_outer, a_step, a_panel, b_step, b_panel, done}, registers, \
            counts);                                                                                                                                \
  }
TESSERA_WARPGROUP_PRODUCT(WgmmaF16)
TESSERA_WARPGROUP_PRODUCT(WgmmaBf16)
TESSERA_WARPGROUP_PRODUCT(WgmmaTf32)
TESSERA_WARPGROUP_PRODUCT(WgmmaE4m3E4m3)
TESSERA_WARPGROUP_PRODUCT(WgmmaE4m3E5m2)
TESSERA_WARPGROUP_PRODUCT(WgmmaE5m2E4m3)
TESSERA_WARPGROUP_PRODUCT(WgmmaE5m2E5m2)
#undef TESSERA_WARPGROUP_PRODUCT

void WgmmaWait(Thread* t, u32 site, u32 allowed, u32* registers, u32 counts) {
  t->operands = {allowed, 0};
  t->registers = registers;
  t->outputs = counts >> 16;
  collective(*t, site, Primitive::WgmmaWait, wait);
}

void FenceProxyAsync(Thread* t, u32 site) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (!cta.run.options.races) return;
  Clock seen(cta.clocks);
  seen.join(t->base);
  seen.join(t->proxy);
  t->publish(seen);
  t->proxy = std::move(seen);
  Cta::release(*t);
}

}  // namespace hooks
}  // namespace tessera::simt
