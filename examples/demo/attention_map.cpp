#include "attention_map.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string_view>

namespace demo {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '<': out += "\\u003c"; break;  // so that no text can end the script element
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char escape[8];
          std::snprintf(escape, sizeof escape, "\\u%04x", c);
          out += escape;
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string base64(const std::vector<unsigned char>& bytes) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned word = 0;
    for (std::size_t j = 0; j < 3; ++j) word = word << 8 | (i + j < bytes.size() ? bytes[i + j] : 0u);
    for (std::size_t j = 0; j < 4; ++j) out += i + j <= bytes.size() ? digits[word >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

/// Square roots as bytes: small weights keep their digits.
unsigned char packed(float weight) { return static_cast<unsigned char>(std::lround(255 * std::sqrt(std::clamp(weight, 0.f, 1.f)))); }

}  // namespace

std::string render(const AttentionMap& map, const Owned<float>& weights, const std::string& page) {
  const auto [B, H, rows, columns] = weights.shape;
  const auto n = static_cast<std::int64_t>(map.tokens.size());
  if (B != 1 || rows != n || columns != n) throw std::runtime_error("the attention map wants one sequence and as many tokens as rows and columns");

  std::string data = "{\"head\": " + std::to_string(map.head) + ", \"from\": " + std::to_string(map.from);
  data += ",\n\"lead\": " + quoted(map.lead) + ",\n\"source\": " + quoted(map.source) + ",\n\"facts\": [";
  for (const auto& [name, value] : map.facts) data += "[" + quoted(name) + ", " + quoted(value) + "],";
  data += "],\n\"tokens\": [";
  for (const std::string& token : map.tokens) data += quoted(token) + ",";
  data += "],\n\"weights\": [";
  for (std::int64_t h = 0; h < H; ++h) {
    const auto begin = weights.data.begin() + h * n * n;
    std::vector<unsigned char> bytes(static_cast<std::size_t>(n * n));
    std::transform(begin, begin + n * n, bytes.begin(), packed);
    data += "\n\"" + base64(bytes) + "\",";
  }
  data += "]}";

  static constexpr std::string_view placeholder = "/*DATA*/";
  const std::size_t at = page.find(placeholder);
  if (at == std::string::npos) throw std::runtime_error("the page has no placeholder for the data");
  return page.substr(0, at) + data + page.substr(at + placeholder.size());
}

}  // namespace demo
