#include <algorithm>
#include <map>

#include "dsl/builder.h"
#include "dsl/text.h"
#include "dsl/text_lex.h"
#include "dsl/text_words.h"
#include "dsl/verify.h"

namespace tessera::ir {

namespace {

constexpr int kDeepest = 200;

class Parser {
 public:
  explicit Parser(std::string_view text) : c_(text) {}

  std::unique_ptr<Kernel> run() {
    header();
    scopes_.emplace_back();
    for (auto& [arg, name] : arguments_) scopes_.back().emplace(name.key, arg);
    c_.expect('{', "before the body");
    block(kernel_->body);
    if (!c_.at_end()) c_.fail(c_.here(), "text after the kernel");
    return std::move(kernel_);
  }

 private:
  using Name = TextCursor::ValueName;

  template <typename F>
  void list(char open, char close, std::string_view where, F&& item) {
    c_.expect(open, where);
    if (c_.eat(close)) return;
    do item();
    while (c_.eat(','));
    c_.expect(close, where);
  }

  DType dtype() {
    std::size_t begin = c_.here();
    std::string w = c_.word("a dtype");
    auto t = dtype_from_name(w);
    if (!t) c_.fail(begin, "`{}` is no dtype", w);
    return *t;
  }

  std::optional<Mode> mode() {
    for (Mode m : {Mode::In, Mode::Out, Mode::InOut, Mode::Scatter, Mode::Add})
      if (c_.eat_word(name(m))) return m;
    return std::nullopt;
  }

  // --- header

  void argument(const Name& name, Type type) {
    for (const auto& [arg, other] : arguments_)
      if (other.key == name.key) c_.fail(name.begin, "value `%{}` defined twice", name.key);
    arguments_.emplace_back(kernel_->body.add_arg(std::move(type), name.hint), name);
  }

  void param() {
    Param p;
    std::optional<Name> value;
    std::size_t begin = c_.here();
    if (c_.peek('%')) {
      value = c_.value_name();
      p.name = value->hint;
      if (p.name.empty()) c_.fail(begin, "a parameter needs a name: `%0.x`");
    } else {
      p.name = c_.name("a parameter's name");
    }
    c_.expect(':', "after a parameter's name");
    if (c_.eat_word("peer")) {
      c_.expect('[', "after `peer`");
      p.peers = c_.integer("the number of ranks");
      if (p.peers < 1) c_.fail(begin, "the number of ranks is positive");
      c_.expect(']', "after the number of ranks");
      p.is_view = true;
    }
    if (auto m = mode()) {
      p.mode = *m;
      p.is_view = true;
    }
    if (p.is_view)
      c_.expect_word("view");
    else
      p.is_view = c_.eat_word("view");
    p.dtype = dtype();
    if (c_.eat_word("as")) p.nominal = c_.name("a nominal type");
    if (p.is_view) {
      list('[', ']', "of a view's dims", [&] { p.dims.push_back(c_.sym(",]")); });
      p.strided = c_.eat_word("strided");
      bool absent = c_.eat_word("absent");
      p.present = !absent;
      p.optional = absent || c_.eat('?');
    }
    if (p.present && !value) c_.fail(begin, "a present parameter has a value: `%0.x`");
    if (!p.present && value) c_.fail(begin, "an absent parameter has no value");
    if (value && p.is_view) argument(*value, ViewType{p.dtype, static_cast<int>(p.dims.size()), p.mode});
    if (value && !p.is_view) argument(*value, scalar(p.dtype));
    kernel_->params.push_back(std::move(p));
  }

  Compare comparison() {
    constexpr Compare longest_first[] = {Compare::Eq, Compare::Ne, Compare::Le, Compare::Ge, Compare::Lt, Compare::Gt};
    std::size_t begin = c_.here();
    for (Compare k : longest_first) {
      std::string_view sign = text(k);
      if (!c_.peek(sign[0])) continue;
      c_.eat(sign[0]);
      if (sign.size() == 1 || c_.eat(sign[1])) return k;
      if (sign[0] == '<') return Compare::Lt;
      if (sign[0] == '>') return Compare::Gt;
      break;
    }
    c_.fail(begin, "expected a comparison");
  }

  void condition() {
    SymCondition k;
    k.lhs = c_.sym(",)");
    if (c_.eat_word("in")) {
      list('{', '}', "of a set", [&] { k.rhs.push_back(c_.sym(",}")); });
    } else {
      k.op = comparison();
      k.rhs.push_back(c_.sym(",)"));
    }
    kernel_->where.push_back(std::move(k));
  }

  void header() {
    c_.expect_word("kernel");
    kernel_->name = c_.name("the kernel's name");
    list('(', ')', "of the parameters", [&] { param(); });
    if (c_.eat_word("symbols")) list('(', ')', "of the symbols", [&] { kernel_->symbols.push_back(c_.name("a symbol")); });
    if (c_.eat_word("where")) list('(', ')', "of the conditions", [&] { condition(); });
    if (c_.eat_word("grid"))
      list('(', ')', "of the grid", [&] {
        Name name = c_.value_name();
        if (name.hint.empty()) c_.fail(name.begin, "a grid axis needs a name: `%0.i`");
        c_.expect('<', "after a grid axis");
        kernel_->grid.push_back({name.hint, c_.sym(",)")});
        argument(name, scalar(DType::Idx));
      });
    kernel_->strict = c_.eat_word("strict");
    kernel_->deterministic = c_.eat_word("deterministic");
    kernel_->resident = c_.eat_word("resident");
    if (c_.eat_word("constants"))
      list('(', ')', "of the constants", [&] {
        std::string name = c_.name("a constant's name");
        c_.expect('=', "after a constant's name");
        kernel_->constants.emplace_back(std::move(name), c_.quoted());
      });
    if (c_.eat_word("in_place"))
      list('(', ')', "of the pairs", [&] {
        std::string written = c_.name("a written view");
        c_.expect('=', "between a written and a read view");
        kernel_->in_place.emplace_back(std::move(written), c_.name("a read view"));
      });
  }

  // --- body

  Type type() {
    if (c_.eat_word("range")) {
      c_.expect('<', "after `range`");
      RangeType t{c_.integer("a size")};
      c_.expect('>', "after a range's size");
      return t;
    }
    if (c_.eat_word("view")) {
      c_.expect('<', "after `view`");
      ViewType v;
      v.dtype = dtype();
      c_.expect(',', "after a view's dtype");
      std::size_t begin = c_.here();
      std::int64_t rank = c_.integer("a rank");
      if (rank < 0 || rank > 64) c_.fail(begin, "invalid rank");
      v.rank = static_cast<int>(rank);
      if (c_.eat(',')) {
        begin = c_.here();
        auto m = mode();
        if (!m) c_.fail(begin, "expected a mode");
        v.mode = *m;
      }
      c_.expect('>', "after a view type");
      return v;
    }
    TileType t{dtype(), {}};
    if (c_.peek('[')) list('[', ']', "of a tile's dims", [&] { t.dims.push_back(c_.integer("a dim")); });
    return t;
  }

  std::vector<Type> types() {
    std::vector<Type> all;
    do all.push_back(type());
    while (c_.eat(','));
    return all;
  }

  void define(const Name& name, Value* v) {
    for (const auto& scope : scopes_)
      if (scope.count(name.key)) c_.fail(name.begin, "value `%{}` defined twice", name.key);
    scopes_.back().emplace(name.key, v);
  }

  Value* use() {
    Name name = c_.value_name();
    for (const auto& scope : scopes_)
      if (auto it = scope.find(name.key); it != scope.end()) return it->second;
    c_.fail(name.begin, "value `%{}` is not defined here", name.key);
  }

  AttrValue attribute_value(OpKind op, Attr a) {
    if (c_.peek('"')) return c_.quoted();
    if (c_.peek('[')) {
      Dims dims;
      list('[', ']', "of a list", [&] { dims.push_back(c_.integer("an integer")); });
      return dims;
    }
    char first = c_.next();
    if (first != '-' && !c_.peek_digit()) {
      if (a == Attr::Value) return c_.number();  // inf, nan
      std::size_t begin = c_.here();
      std::string w = c_.word("a value");
      auto v = words::to_value(op, a, w);
      if (!v) c_.fail(begin, "`{}` is no value of `{}`", w, name(a));
      return *v;
    }
    return c_.number();
  }

  void attributes(Op& op) {
    list('{', '}', "of the attributes", [&] {
      std::size_t begin = c_.here();
      std::string w = c_.word("an attribute");
      auto a = attr_from_name(w);
      if (!a) c_.fail(begin, "`{}` is no attribute", w);
      if (op.has(*a)) c_.fail(begin, "attribute `{}` given twice", w);
      if (c_.eat('='))
        op.attrs[*a] = attribute_value(op.kind, *a);
      else if (words::is_flag(*a))
        op.attrs[*a] = std::int64_t{1};
      else
        c_.fail(begin, "attribute `{}` needs a value", w);
    });
  }

  void region(Op& op) {
    if (static_cast<int>(scopes_.size()) > kDeepest) c_.fail(c_.here(), "regions nested too deep");
    auto block_ptr = std::make_unique<Block>();
    block_ptr->parent = &op;
    scopes_.emplace_back();
    list('(', ')', "of a region's arguments", [&] {
      Name name = c_.value_name();
      c_.expect(':', "after an argument's name");
      define(name, block_ptr->add_arg(type(), name.hint));
    });
    c_.expect('{', "before a region");
    block(*block_ptr);
    scopes_.pop_back();
    op.regions.push_back(std::move(block_ptr));
  }

  void op(Block& parent) {
    std::size_t begin = c_.here();
    std::vector<Name> names;
    if (c_.peek('%')) {
      do names.push_back(c_.value_name());
      while (c_.eat(','));
      c_.expect('=', "after the results");
    }
    std::size_t op_begin = c_.here();
    std::string w = c_.word("an op");
    auto kind = op_from_name(w);
    if (!kind) c_.fail(op_begin, "`{}` is no op", w);
    auto op = std::make_unique<Op>();
    op->kind = *kind;
    op->parent = &parent;
    if (c_.peek('%')) {
      do op->operands.push_back(use());
      while (c_.eat(','));
    }
    if (c_.peek('{')) attributes(*op);
    std::vector<Type> stated;
    if (c_.eat(':')) stated = types();
    if (stated.size() != names.size()) c_.fail(begin, "{} results with {} types", names.size(), stated.size());
    while (c_.peek('(')) {
      if (static_cast<int>(op->regions.size()) >= info(*kind).regions) c_.fail(begin, "too many regions for `{}`", w);
      region(*op);
    }
    InferredTypes inferred = infer_types(*op, stated);
    if (!inferred.error.empty()) c_.fail(begin, "ill-typed `{}`: {}", w, inferred.error);
    if (inferred.types.size() != stated.size()) c_.fail(begin, "`{}` has {} results, not {}", w, inferred.types.size(), stated.size());
    for (std::size_t i = 0; i < stated.size(); ++i) {
      auto v = std::make_unique<Value>();
      v->type = stated[i];
      v->hint = names[i].hint;
      v->def = op.get();
      v->index = i;
      define(names[i], v.get());
      op->results.push_back(std::move(v));
    }
    parent.ops.push_back(std::move(op));
  }

  void block(Block& b) {
    while (!c_.eat('}')) {
      if (c_.at_end()) c_.fail(c_.here(), "expected `}}`, found the end of the text");
      op(b);
    }
  }

  TextCursor c_;
  std::unique_ptr<Kernel> kernel_ = std::make_unique<Kernel>();
  std::vector<std::pair<Value*, Name>> arguments_;
  std::vector<std::map<std::string, Value*>> scopes_;
};

}  // namespace

std::unique_ptr<Kernel> parse_kernel(const SourceMap& sources, FileId file, Diagnostics& diagnostics) {
  auto report = [&](std::size_t begin, std::size_t end, std::string message) {
    Diagnostic d;
    d.code = Code::E0803;
    d.span = {file, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
    d.message = std::move(message);
    diagnostics.add(std::move(d));
  };
  try {
    auto kernel = Parser(sources.file(file).text).run();
    std::vector<std::string> faults = verify(*kernel);
    for (const std::string& fault : faults) report(0, 0, fault);
    return faults.empty() ? std::move(kernel) : nullptr;
  } catch (const TextError& e) {
    report(e.begin, e.end, e.message);
    return nullptr;
  }
}

}  // namespace tessera::ir
