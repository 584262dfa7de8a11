#include "dsl/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_set>

#include "dsl/builder.h"
#include "dsl/diagnostic.h"
#include "dsl/text.h"
#include "dsl/text_words.h"

namespace tessera::ir {

namespace {

/// Ops that store or move storage-only dtypes without computing with them. Products multiply them as they are.
bool takes_storage(OpKind k) {
  switch (info(k).rule) {
    case TypeRule::Stated:
    case TypeRule::Select:
    case TypeRule::Cast:
    case TypeRule::Broadcast:
    case TypeRule::Reshape:
    case TypeRule::Permute:
    case TypeRule::Slice:
    case TypeRule::Concat:
    case TypeRule::Pick:
    case TypeRule::Dot:
    case TypeRule::DotScaled:
    case TypeRule::Store:
    case TypeRule::For:
    case TypeRule::While:
    case TypeRule::If: return true;
    case TypeRule::Load: return k == OpKind::Load;
    case TypeRule::None: return k == OpKind::Yield;
    case TypeRule::IdxScalar:
    case TypeRule::Range:
    case TypeRule::Coords:
    case TypeRule::Inside:
    case TypeRule::Same:
    case TypeRule::SameFloat:
    case TypeRule::SameInt:
    case TypeRule::SameBits:
    case TypeRule::Compare:
    case TypeRule::Reduce:
    case TypeRule::ReduceWith:
    case TypeRule::ScanWith:
    case TypeRule::TopK:
    case TypeRule::Histogram:
    case TypeRule::SolveLower:
    case TypeRule::ViewDrop:
    case TypeRule::ViewSame:
    case TypeRule::ViewMerge:
    case TypeRule::ViewSplit:
    case TypeRule::ViewDropFirst: return false;
  }
  TESSERA_UNREACHABLE("TypeRule");
}

class Verifier {
 public:
  explicit Verifier(const Kernel& kernel) : kernel_(kernel) {}

  std::vector<std::string> run() {
    header();
    if (kernel_.body.parent) fault("the body has a parent op");
    body_args();
    block(kernel_.body, nullptr);
    end_of(kernel_.body, nullptr, 0);
    return std::move(faults_);
  }

 private:
  void fault(std::string what) { faults_.push_back(fmt::format("kernel {}: {}", kernel_.name, what)); }
  void fault(const Op& op, std::string_view what) {
    constexpr std::size_t named = 50;  // naming an op numbers the whole kernel
    fault(fmt::format("`{}`: {}", faults_.size() < named ? print_op(kernel_, op) : info(op.kind).name, what));
  }

  void symbols_of(const Sym& s, const std::string& where) {
    for (const std::string& name : s.symbols())
      if (!symbols_.count(name)) fault(fmt::format("{} uses the symbol `{}`, which the kernel does not list", where, name));
  }

  void header() {
    for (const std::string& s : kernel_.symbols) {
      if (!words::is_word(s)) fault(fmt::format("`{}` cannot name a symbol", s));
      if (!symbols_.insert(s).second) fault(fmt::format("symbol `{}` is listed twice", s));
    }
    std::set<std::string> names;
    auto named = [&](const std::string& name) {
      if (!words::is_word(name)) fault(fmt::format("`{}` cannot name a parameter or a grid axis", name));
      if (!names.insert(name).second) fault(fmt::format("`{}` names two parameters or grid axes", name));
    };
    for (const Param& p : kernel_.params) {
      named(p.name);
      for (const Sym& d : p.dims) symbols_of(d, fmt::format("parameter `{}`", p.name));
      bool view_only = p.optional || !p.present || p.strided || p.peers != 0 || !p.dims.empty() || p.mode != Mode::In;
      if (!p.is_view && view_only) fault(fmt::format("the scalar parameter `{}` has properties of a view", p.name));
      if (!p.present && !p.optional) fault(fmt::format("parameter `{}` is absent but not optional", p.name));
      if (p.peers < 0) fault(fmt::format("parameter `{}` has a negative number of peers", p.name));
    }
    for (const SymCondition& c : kernel_.where) {
      symbols_of(c.lhs, "a `where` condition");
      for (const Sym& s : c.rhs) symbols_of(s, "a `where` condition");
      if (c.rhs.empty() || (c.rhs.size() > 1 && c.op != Compare::Eq)) fault("a malformed `where` condition");
    }
    for (const GridAxis& axis : kernel_.grid) {
      named(axis.name);
      symbols_of(axis.count, fmt::format("grid axis `{}`", axis.name));
    }
  }

  void body_args() {
    std::vector<Type> types;
    for (const Param& p : kernel_.params) {
      if (p.is_view && p.present) types.push_back(ViewType{p.dtype, static_cast<int>(p.dims.size()), p.mode});
      if (!p.is_view) types.push_back(scalar(p.dtype));
    }
    types.insert(types.end(), kernel_.grid.size(), scalar(DType::Idx));
    const auto& args = kernel_.body.args;
    if (args.size() != types.size()) fault(fmt::format("the body has {} arguments, not {}", args.size(), types.size()));
    for (std::size_t i = 0; i < std::min(args.size(), types.size()); ++i)
      if (args[i]->type != types[i]) fault(fmt::format("argument {} of the body is a {}, not a {}", i, str(args[i]->type), str(types[i])));
  }

  void block(const Block& b, const Op* parent) {
    if (b.parent != parent) fault("a block is not linked to the op it belongs to");
    std::vector<const Value*> defined;
    auto define = [&](const Value* v) {
      visible_.insert(v);
      defined.push_back(v);
    };
    for (std::size_t i = 0; i < b.args.size(); ++i) {
      const Value& v = *b.args[i];
      if (v.block != &b || v.def || v.index != i) fault(fmt::format("argument {} of a block is not linked to it", i));
      define(&v);
    }
    for (const auto& op : b.ops) {
      if (!op) {
        fault("a block holds a null op");
        continue;
      }
      links(*op, b);
      operands(*op);
      if (has(op->kind, Trait::Terminator) && op != b.ops.back()) fault(*op, "a yield that is not the last op of its block");
      for (std::size_t i = 0; i < op->regions.size(); ++i) {
        block(*op->regions[i], op.get());
        end_of(*op->regions[i], op.get(), i);
      }
      if (typed(*op)) {
        attributes(*op);
        modes(*op);
      }
      for (const auto& r : op->results) define(r.get());
    }
    for (const Value* v : defined) visible_.erase(v);
  }

  void operands(const Op& op) {
    for (std::size_t i = 0; i < op.operands.size(); ++i)
      if (!visible_.count(op.operands[i])) {
        fault(op, fmt::format("operand {} is not defined before it", i));
        unreadable_.insert(&op);
      }
  }

  void links(const Op& op, const Block& b) {
    if (op.parent != &b) fault(op, "not linked to its block");
    for (std::size_t i = 0; i < op.results.size(); ++i) {
      const Value& v = *op.results[i];
      if (v.def != &op || v.block || v.index != i) fault(op, fmt::format("result {} is not linked to it", i));
    }
  }

  /// False if the op breaks its type rule, so that nothing further can be said about it.
  bool typed(const Op& op) {
    // A value that is not visible may be gone, so its type cannot be read, neither as an operand nor as what a region yields.
    if (unreadable_.count(&op)) return false;
    for (const auto& region : op.regions)
      if (!region->ops.empty() && (!region->ops.back() || unreadable_.count(region->ops.back().get()))) return false;
    const OpInfo& i = info(op.kind);
    std::vector<Type> stated;
    for (const auto& r : op.results) stated.push_back(r->type);
    InferredTypes inferred = infer_types(op, stated);
    std::string error = inferred.error;
    if (error.empty() && inferred.types.size() != stated.size()) error = fmt::format("{} results, not {}", stated.size(), inferred.types.size());
    if (error.empty() && i.results >= 0 && static_cast<int>(stated.size()) != i.results)
      error = fmt::format("{} results, not {}", stated.size(), i.results);
    if (!error.empty()) {
      fault(op, error);
      return false;
    }
    auto storage = [&](const Type& t) { return is_tile(t) && storage_only(tile(t).dtype); };
    if (!takes_storage(op.kind) && (std::any_of(op.operands.begin(), op.operands.end(), [&](const Value* v) { return storage(v->type); }) ||
                                    std::any_of(stated.begin(), stated.end(), storage)))
      fault(op, "computes with a storage-only dtype");
    return true;
  }

  /// What infer_types has no reason to look at.
  void attributes(const Op& op) {
    if (op.kind == OpKind::Sym && !symbols_.count(op.string_attr(Attr::Name)))
      fault(op, fmt::format("the kernel does not list the symbol `{}`", op.string_attr(Attr::Name)));
    if ((op.kind == OpKind::Assert || op.kind == OpKind::Claim || op.kind == OpKind::Print) && op.has(Attr::Message) &&
        !std::holds_alternative<std::string>(op.attrs.at(Attr::Message)))
      fault(op, "attribute `message` is not a string");
  }

  void modes(const Op& op) {
    if (op.operands.empty() || !is_view(op.operands[0]->type)) return;
    Mode mode = view(op.operands[0]->type).mode;
    bool adds = op.kind == OpKind::FetchAdd || (op.kind == OpKind::Store && op.has(Attr::Add) && op.int_attr(Attr::Add) == 1);
    bool stores = (op.kind == OpKind::Store && !adds) || op.kind == OpKind::Signal;
    bool loads = op.kind == OpKind::Load || op.kind == OpKind::Wait;
    bool good = true;
    switch (mode) {
      case Mode::In: good = !adds && !stores; break;
      case Mode::Out:
      case Mode::Scatter: good = !adds && !loads; break;
      case Mode::Add: good = !stores && !loads; break;
      case Mode::InOut: break;
    }
    if (!good) fault(op, fmt::format("{} view is {}", name(mode), loads ? "loaded" : adds ? "added to" : "stored"));
    // A page table or a list of ids is read, whatever it is used for.
    for (std::size_t i = 1; i < op.operands.size(); ++i) {
      const Type& t = op.operands[i]->type;
      if (is_view(t) && view(t).mode != Mode::In && view(t).mode != Mode::InOut) fault(op, fmt::format("{} view is loaded", name(view(t).mode)));
    }
  }

  /// A region ends in one yield. What it yields is part of its op's type rule; a region left empty is caught here.
  void end_of(const Block& b, const Op* op, std::size_t region) {
    bool ends = !b.ops.empty() && b.ops.back() && b.ops.back()->kind == OpKind::Yield;
    if (!ends && op) fault(*op, fmt::format("region {} does not end in a yield", region));
    if (!ends && !op) fault("the body does not end in a yield");
    if (ends && !op && !b.ops.back()->operands.empty()) fault("the body yields values");
  }

  const Kernel& kernel_;
  std::set<std::string> symbols_;
  std::unordered_set<const Value*> visible_;
  std::unordered_set<const Op*> unreadable_;  ///< with operands that are not visible
  std::vector<std::string> faults_;
};

}  // namespace

std::vector<std::string> verify(const Kernel& kernel) { return Verifier(kernel).run(); }

void verify_or_die(const Kernel& kernel, const std::string& after) {
  std::vector<std::string> faults = verify(kernel);
  if (faults.empty()) return;
  std::string text = fmt::format("unsound IR after {}:", after);
  for (const std::string& f : faults) text += "\n  " + f;
  TESSERA_UNREACHABLE(text);
}

}  // namespace tessera::ir
