// Attention of one layer of a real encoder through a .tile kernel: its error against float64, its speed beside the kernels that materialise the
// scores, and a page that shows what the heads look at. usage: demo_attention SOURCE_FOLDER OUTPUT_FOLDER [quick]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string_view>

#include "attention_map.h"
#include "reference.h"
#include "tensors.h"

namespace {

using tessera::f16;
constexpr const char* ladder = "/examples/ladder/05_attention.tile";
constexpr const char* materialised = "/kernels/attention/standard.tile";

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Median of five runs after one to warm up.
template <class Run>
double median_seconds(Run run) {
  run();
  std::array<double, 5> times;
  for (double& t : times) {
    const auto start = std::chrono::steady_clock::now();
    run();
    t = seconds_since(start);
  }
  std::sort(times.begin(), times.end());
  return times[2];
}

template <class... T>
std::string text(const char* format, T... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

class Demo {
 public:
  Demo(std::string source, std::string out) : source_(std::move(source)), out_(std::move(out)) {}

  /// Returns whether the error is within bounds.
  bool real_layer() {
    const std::string data = source_ + "/examples/data/minilm_layer.";
    const auto q = demo::read_tensor<f16>(data + "safetensors", "q");
    const auto k = demo::read_tensor<f16>(data + "safetensors", "k");
    const auto v = demo::read_tensor<f16>(data + "safetensors", "v");
    const std::vector<std::string> tokens = demo::read_lines(data + "tokens.txt");
    const auto [batch, length, heads, width] = q.shape;
    const float scale = 1 / std::sqrt(static_cast<float>(width));

    const std::string path = source_ + ladder;
    auto start = std::chrono::steady_clock::now();
    const tessera::AnyKernel attention = tessera::load(path).kernel("attention", {{"T", tessera::ElementType::F16}, {"D", width}});
    fact("text to machine code", text("%.0f ms", 1e3 * seconds_since(start)));

    demo::Owned<f16> o(q.shape);
    const double seconds =
        median_seconds([&] { attention.launch(context_, {{"q", q.view()}, {"k", k.view()}, {"v", v.view()}, {"o", o.view()}, {"scale", scale}}); });
    fact("tokens, heads, width of a head", text("%d, %d, %d", static_cast<int>(length), static_cast<int>(heads), static_cast<int>(width)));
    fact("time of the layer's attention", text("%.2f ms", 1e3 * seconds));

    // The rule of FlashAttention's tests: at most twice the error that plain attention makes in the same precision.
    const demo::Owned<double> exact = demo::attention_float64(q, k, v, 1 / std::sqrt(static_cast<double>(width)));
    const demo::Difference ours = demo::difference(o, exact);
    const demo::Difference plain = demo::difference(demo::attention_half(q, k, v, scale), exact);
    const bool right = ours.largest <= 2 * plain.largest;
    fact("largest error against float64", text("%.2e", ours.largest));
    fact("the same of plain attention in f16, whose double is the bound", text("%.2e", plain.largest));

    const std::string earlier = out_ + "/attention.safetensors";
    if (std::filesystem::exists(earlier)) {
      const auto by_command = demo::read_tensor<f16>(earlier, "o");
      const bool same =
          std::equal(o.data.begin(), o.data.end(), by_command.data.begin(), by_command.data.end(), [](f16 a, f16 b) { return a.bits == b.bits; });
      fact("result of `tessera run`", same ? "equal to the last bit" : "DIFFERS");
      if (!same) return false;
    }
    draw(q, k, tokens, scale, demo::read_text(path));
    return right;
  }

  /// A long sequence, beside the kernels that write the scores to memory.
  void long_sequence() {
    constexpr std::int64_t length = 4096, heads = 4, width = 128;
    demo::Owned<float> q({1, length, heads, width}), k = q, v = q, o = q, o_materialised = q;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (auto* t : {&q, &k, &v}) std::generate(t->data.begin(), t->data.end(), [&] { return normal(random); });
    const float scale = 1 / std::sqrt(static_cast<float>(width));
    const double flops = 4.0 * length * length * heads * width;

    const tessera::AnyKernel fused = tessera::load(source_ + ladder).kernel("attention", {{"T", tessera::ElementType::F32}, {"D", width}});
    const double fused_seconds =
        median_seconds([&] { fused.launch(context_, {{"q", q.view()}, {"k", k.view()}, {"v", v.view()}, {"o", o.view()}, {"scale", scale}}); });

    const tessera::Module standard = tessera::load(source_ + materialised);
    const tessera::AnyKernel scores = standard.kernel("scores", {{"T", tessera::ElementType::F32}, {"D", width}});
    const tessera::AnyKernel weights = standard.kernel("weights", {{"W", tessera::ElementType::F32}});
    const tessera::AnyKernel weighted_sum = standard.kernel("weighted_sum", {{"T", tessera::ElementType::F32}, {"E", width}});
    demo::Owned<float> s({1, heads, length, length}), p = s;
    const double materialised_seconds = median_seconds([&] {
      scores.launch(context_, {{"q", q.view()}, {"k", k.view()}, {"s", s.view()}, {"scale", scale}});
      weights.launch(context_, {{"s", s.view()}, {"p", p.view()}});
      weighted_sum.launch(context_, {{"p", p.view()}, {"v", v.view()}, {"o", o_materialised.view()}});
    });
    double apart = 0;
    for (std::size_t i = 0; i < o.data.size(); ++i) apart = std::max(apart, static_cast<double>(std::abs(o.data[i] - o_materialised.data[i])));

    std::printf("\n");
    fact("4096 tokens, 4 heads of 128, f32: fused", text("%.0f ms, %.1f GFLOP/s", 1e3 * fused_seconds, 1e-9 * flops / fused_seconds));
    fact("the same with the scores in memory", text("%.0f ms, %.1f GFLOP/s, %.0f MB of scores", 1e3 * materialised_seconds,
                                                    1e-9 * flops / materialised_seconds, 2e-6 * static_cast<double>(s.data.size() * sizeof(float))));
    fact("largest difference between the two", text("%.1e", apart));
  }

 private:
  void fact(const std::string& name, const std::string& value) {
    std::printf("  %-62s %s\n", name.c_str(), value.c_str());
    facts_.emplace_back(name, value);
  }

  void draw(const demo::Owned<f16>& q, const demo::Owned<f16>& k, const std::vector<std::string>& tokens, float scale, const std::string& kernel) {
    const auto [batch, length, heads, width] = q.shape;
    // The fused kernel never holds the weights; those that materialise them do.
    using tessera::In, tessera::Out, tessera::Absent;
    demo::Owned<float> s({batch, heads, length, length}), weights = s;
    const tessera::Module standard = tessera::load(source_ + materialised);
    const auto scores = standard.kernel<In<f16, 4>, In<f16, 4>, Out<float, 4>, float>("scores", {{"T", tessera::ElementType::F16}, {"D", width}});
    const auto softmax = standard.kernel<In<float, 4>, Out<float, 4>, Absent>("weights", {{"W", tessera::ElementType::F32}});
    scores(context_, q.view(), k.view(), s.view(), scale);
    softmax(context_, s.view(), weights.view(), tessera::absent);

    demo::AttentionMap map{.tokens = tokens,
                           .lead =
                               "Layer 1 of all-MiniLM-L6-v2 reads the opening of Alice's Adventures in Wonderland. Every weight was computed by a "
                               ".tile kernel on this machine's processor.",
                           .facts = facts_,
                           .source = kernel,
                           .head = 1,
                           .from = static_cast<int>(std::find(tokens.rbegin(), tokens.rend(), "alice").base() - tokens.begin()) - 1};
    const std::string page = demo::render(map, weights, demo::read_text(source_ + "/examples/demo/attention_map.html"));
    std::ofstream file(out_ + "/attention_map.html", std::ios::binary);
    file << page;
    if (!file.flush()) throw std::runtime_error("cannot write " + out_ + "/attention_map.html");
  }

  std::string source_, out_;
  tessera::Context context_ = tessera::Context::cpu();
  std::vector<std::pair<std::string, std::string>> facts_;
};

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc == 4 && std::string_view(argv[3]) == "quick";  // the real layer only
  if (argc != 3 && !quick) {
    std::fputs("usage: demo_attention SOURCE_FOLDER OUTPUT_FOLDER [quick]\n", stderr);
    return 2;
  }
  try {
    std::filesystem::create_directories(argv[2]);
    Demo demo(argv[1], argv[2]);
    const bool right = demo.real_layer();
    if (!quick) demo.long_sequence();
    std::printf("\n  the attention map: %s/attention_map.html\n", argv[2]);
    if (!right) std::puts("\n  the error is OUT OF BOUNDS");
    return right ? 0 : 1;
  } catch (const std::exception& error) {  // tessera::Error among them, with its rendered text
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
