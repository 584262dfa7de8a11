#include "runtime/cli/tune_html.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/errors.h"
#include "runtime/tune/estimate.h"

namespace tessera::cli {
namespace {

constexpr const char* style =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#1c2430;background:#fff}"
    "h1{font-size:1.5em;margin-bottom:0}h2{font-size:1.1em;margin-top:2em}p.sub{color:#667;margin-top:.2em}"
    "table{border-collapse:collapse;width:100%;font-size:.92em}td,th{padding:.25em .6em;text-align:right;border-bottom:1px solid #e4e7ec}"
    "td:first-child,th:first-child,td:last-child,th:last-child{text-align:left}tr.win{background:#e8f5e9;font-weight:600}tr.out{color:#889}"
    "svg{width:100%;height:auto}text{font:12px system-ui,sans-serif;fill:#445}.axis{stroke:#9aa3af}.grid{stroke:#eceff3}"
    ".bar{fill:#7aa6d8}.win{fill:#2e7d32}.rough{fill:#c6d6ea}.rival{fill:#c2703d}.roof{stroke:#1c2430;stroke-width:2;fill:none}";

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string time_text(double s) {
  return s < 1e-3 ? fmt::format("{:.2f} us", s * 1e6) : s < 1 ? fmt::format("{:.3f} ms", s * 1e3) : fmt::format("{:.2f} s", s);
}

std::string rate_text(double flops) {
  return flops < 1e12 ? fmt::format("{:.3g} GFLOP/s", flops * 1e-9) : fmt::format("{:.4g} TFLOP/s", flops * 1e-12);
}

/// One bar a candidate that was timed, the fastest first, and one a rival, with the quartiles' distance as a whisker.
std::string bars(const TunePage& page, const TuneResult& r) {
  struct Row {
    std::string name, kind;
    double seconds, spread;
  };
  std::vector<Row> rows;
  for (std::size_t i = 0; i < r.candidates.size(); ++i) {
    const TunedCandidate& c = r.candidates[i];
    if (c.median_s <= 0 || !c.dropped.empty()) continue;
    rows.push_back({c.text, static_cast<int>(i) == r.winner ? "win" : c.final ? "bar" : "rough", c.median_s, c.spread});
  }
  for (const Rival& v : page.rivals) rows.push_back({v.name, "rival", v.seconds, 0});
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.seconds < b.seconds; });
  if (rows.empty()) return "<p>Nothing was timed.</p>";
  constexpr double left = 230, width = 560, step = 24;
  const double longest = rows.back().seconds;
  std::string out = fmt::format("<svg viewBox=\"0 0 960 {:.0f}\" role=\"img\" aria-label=\"time of each candidate\">",
                                step * static_cast<double>(rows.size()) + 10);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const double y = step * static_cast<double>(i) + 4, w = width * row.seconds / longest;
    out += fmt::format("<text x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", left - 8, y + 13, escaped(row.name));
    out += fmt::format("<rect class=\"{}\" x=\"{:.0f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"17\"/>", row.kind, left, y, w);
    if (row.spread > 0) {
      const double half = w * row.spread / 2;
      out += fmt::format("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", left + w - half, left + w + half, y + 8.5,
                         y + 8.5);
    }
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", left + w + 8, y + 13, time_text(row.seconds));
  }
  return out + "</svg>";
}

/// Both axes by powers of ten.
class LogPlot {
 public:
  LogPlot(double x0, double x1, double y0, double y1)
      : x0_(std::floor(std::log10(x0))), x1_(std::ceil(std::log10(x1))), y0_(std::floor(std::log10(y0))), y1_(std::ceil(std::log10(y1))) {}
  double x(double v) const { return 80 + 840 * (std::log10(v) - x0_) / (x1_ - x0_); }
  double y(double v) const { return 340 - 320 * (std::log10(v) - y0_) / (y1_ - y0_); }
  double least_x() const { return std::pow(10, x0_); }
  double most_x() const { return std::pow(10, x1_); }
  std::string grid(const char* x_title) const {
    std::string out;
    for (double e = x0_; e <= x1_; ++e)
      out += fmt::format(
          "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"20\" y2=\"340\"/><text x=\"{0:.1f}\" y=\"358\" "
          "text-anchor=\"middle\">{1:g}</text>",
          x(std::pow(10, e)), std::pow(10, e));
    for (double e = y0_; e <= y1_; ++e)
      out += fmt::format(
          "<line class=\"grid\" x1=\"80\" x2=\"920\" y1=\"{0:.1f}\" y2=\"{0:.1f}\"/><text x=\"72\" y=\"{1:.1f}\" text-anchor=\"end\">{2}</text>",
          y(std::pow(10, e)), y(std::pow(10, e)) + 4, rate_text(std::pow(10, e)));
    return out + fmt::format("<text x=\"500\" y=\"380\" text-anchor=\"middle\">{}</text>", x_title);
  }

 private:
  double x0_, x1_, y0_, y1_;
};

std::string roofline(const TunePage& page, const TuneResult& r, const Context& context) {
  if (!page.work.flops || *page.work.flops <= 0 || page.work.bytes <= 0 || r.winner < 0) return "";
  const tuning::Roof roof = tuning::roof(tuning::machine_of(context), true);
  const double flops = *page.work.flops, intensity = flops / static_cast<double>(page.work.bytes), ridge = roof.flops / roof.memory;
  double slowest = 0, fastest = 1e30;
  for (const TunedCandidate& c : r.candidates) {
    if (c.median_s <= 0 || !c.dropped.empty()) continue;
    slowest = std::max(slowest, c.median_s);
    fastest = std::min(fastest, c.median_s);
  }
  const LogPlot plot(std::min(intensity, ridge) / 3, std::max(intensity, ridge) * 3, std::min(flops / slowest, roof.flops / 30),
                     std::max(flops / fastest, roof.flops) * 1.5);
  std::string out = "<h2>Under the roofline</h2><svg viewBox=\"0 0 960 390\" role=\"img\" aria-label=\"roofline\">" +
                    plot.grid("FLOP of products for each byte of the views");
  out += fmt::format("<polyline class=\"roof\" points=\"{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}\"/>", plot.x(plot.least_x()),
                     plot.y(plot.least_x() * roof.memory), plot.x(ridge), plot.y(roof.flops), plot.x(plot.most_x()), plot.y(roof.flops));
  const auto point = [&](double seconds, const std::string& kind, const std::string& name) {
    return fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"><title>{}: {}, {}</title></circle>", kind, plot.x(intensity),
                       plot.y(flops / seconds), escaped(name), time_text(seconds), rate_text(flops / seconds));
  };
  for (std::size_t i = 0; i < r.candidates.size(); ++i) {
    const TunedCandidate& c = r.candidates[i];
    if (c.median_s > 0 && c.dropped.empty() && static_cast<int>(i) != r.winner) out += point(c.median_s, c.final ? "bar" : "rough", c.text);
  }
  for (const Rival& v : page.rivals) out += point(v.seconds, "rival", v.name);
  const TunedCandidate& best = r.candidates[static_cast<std::size_t>(r.winner)];
  out += point(best.median_s, "win", best.text);
  return out +
         "</svg><p class=\"sub\">The roof is what this kind of machine can do at best, by its data sheet and not by measurement; f32 products have a "
         "lower one.</p>";
}

std::string table(const TuneResult& r) {
  std::string out = "<table><tr><th>candidate</th><th>median</th><th>spread</th><th>launches</th><th>estimate</th><th>remarks</th></tr>";
  for (std::size_t i = 0; i < r.candidates.size(); ++i) {
    const TunedCandidate& c = r.candidates[i];
    const bool timed = c.median_s > 0 && c.dropped.empty(), wins = static_cast<int>(i) == r.winner;
    const std::string remark = wins ? "winner" : !c.dropped.empty() ? c.dropped : c.known ? "known from an earlier run" : c.final ? "last round" : "";
    out += fmt::format("<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                       wins    ? "win"
                       : timed ? ""
                               : "out",
                       escaped(c.text), timed ? time_text(c.median_s) : "", c.launches > 0 ? fmt::format("{:.1f} %", 100 * c.spread) : "", c.launches,
                       c.estimate_s > 0 ? time_text(c.estimate_s) : "", escaped(remark));
  }
  return out + "</table>";
}

}  // namespace

std::vector<Rival> rivals_from_text(const std::vector<std::string>& words) {
  std::vector<Rival> out;
  for (const std::string& w : words) {
    const std::size_t equals = w.rfind('=');
    Rival r{w.substr(0, equals), 0};
    const char* end = w.data() + w.size();
    if (equals != std::string::npos && equals > 0) {
      const auto [stop, error] = std::from_chars(w.data() + equals + 1, end, r.seconds);
      if (error != std::errc() || stop != end) r.seconds = 0;
    }
    if (!(r.seconds > 0) || !std::isfinite(r.seconds)) fail(Code::E0802, fmt::format("--rival {}: it is no NAME=SECONDS, such as cuBLAS=1.2e-3", w));
    out.push_back(std::move(r));
  }
  return out;
}

std::string tune_page(const TunePage& page, const TuneResult& r, const Context& context) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0} tuned</title><style>{1}</style></head>\n<body><h1>{0}</h1>"
      "<p class=\"sub\">{2}; {3}</p>\n",
      escaped(page.kernel), style, escaped(page.device), escaped(fmt::format("{}", fmt::join(page.sizes, " "))));
  if (r.winner >= 0) {
    const TunedCandidate& best = r.candidates[static_cast<std::size_t>(r.winner)];
    const double rate = page.work.flops.value_or(0) / best.median_s;
    out += fmt::format("<p><b>{}</b>: {}{}, {:.4g} GB/s of the views.</p>\n", escaped(best.text), time_text(best.median_s),
                       rate > 0 ? ", " + rate_text(rate) : "", static_cast<double>(page.work.bytes) / best.median_s * 1e-9);
    out += fmt::format("<p><code>{}</code></p>\n", escaped(r.line));
  } else {
    out += r.stopped ? "<p>Stopped before there was a winner.</p>\n" : "<p>No candidate can win.</p>\n";
  }
  if (r.throttled) out += "<p>The machine became slower while it was measured.</p>\n";
  out += "<h2>Candidates by time</h2>\n" + bars(page, r) + "\n" + roofline(page, r, context) + "\n<h2>All candidates</h2>\n" + table(r);
  return out +
         fmt::format("\n<p class=\"sub\">{:.2f} s were spent, {:.2f} s of processor time on compiling.</p></body></html>\n", r.spent_s, r.compile_s);
}

}  // namespace tessera::cli
