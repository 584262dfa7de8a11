#include <algorithm>

#include "frontend/format_printer.h"

namespace tessera::formatting {

Doc Printer::item(const ast::Item& item) {
  return std::visit([&](const auto& n) { return print(n, item.span); }, item.node);
}

Doc Printer::print(const ast::Import& n, Span) { return text("import " + dotted(n.path) + (n.as ? " as " + n.as->name : "") + ";"); }

Doc Printer::print(const ast::Const& n, Span) {
  Builder b;
  b << "const " + n.name.name;
  if (n.type) b << ": " << type(*n.type);
  b << " = " << expr(n.value) << ";";
  return b.done();
}

Doc Printer::print(const ast::NewType& n, Span) {
  Builder b;
  b << "type " + n.name.name + " = " << type(n.type) << ";";
  return b.done();
}

Doc Printer::field(const ast::Field& f) {
  Builder b;
  b << f.name.name + ": " << type(f.type);
  if (f.fallback) b << " = " << expr(f.fallback);
  return b.done();
}

Doc Printer::print(const ast::Struct& n, Span span) {
  Builder b;
  b << "struct " + n.name.name << generics(n.generics) << " ";
  std::vector<Element> elements;
  for (const ast::Field& f : n.fields)
    elements.push_back({f.fallback ? join(f.name.span, f.fallback->span) : join(f.name.span, f.type.span), [&] { return field(f); }});
  b << braces(elements, span, on_one_line(span), ",");
  return group(b.take());
}

Doc Printer::param(const ast::Param& p) {
  Builder b;
  b << p.name.name + ": ";
  if (p.peers) b << "peer[" << expr(p.peers) << "] ";
  b << prefix_of(p.mode) << type(p.type);
  if (p.optional) b << " ?";
  if (p.fallback) b << " = " << expr(p.fallback);
  return b.done();
}

namespace {

/// What stands before a parameter list.
Span end_of_head(const ast::Ident& name, const std::vector<ast::Generic>& generics) {
  if (generics.empty()) return name.span;
  const ast::Generic& last = generics.back();
  return last.fallback ? last.fallback->span : last.kind_span;
}

}  // namespace

Doc Printer::params(const std::vector<ast::Param>& params, Span head) {
  auto span_of = [](const ast::Param& p) { return join(p.name.span, p.fallback ? p.fallback->span : p.type.span); };
  hoist_comments(head.end);
  if (!params.empty() && comments_in(head.end, span_of(params.back()).end)) {
    std::vector<Element> elements;
    for (const ast::Param& p : params) elements.push_back({span_of(p), [&] { return param(p); }});
    Builder inner;
    inner << hard_line() << sequence(elements, span_of(params.back()).end, ",");
    Builder b;
    b << "(" << nest(inner.take()) << ")";
    return b.done();
  }
  std::vector<Doc> docs;
  for (const ast::Param& p : params) docs.push_back(param(p));
  return list("(", std::move(docs), ")");
}

Doc Printer::print(const ast::Fn& n, Span) {
  // The brace moves to a line of its own if the header does not fit.
  Builder header;
  header << "fn " + n.name.name << generics(n.generics) << params(n.params, end_of_head(n.name, n.generics));
  if (!n.results.empty()) header << " -> " << results(n.results);
  header << line();
  Builder body;
  body << block(n.body, on_one_line(n.body.span));
  Builder b;
  b << group(header.take()) << group(body.take());
  return b.done();
}

Doc Printer::domain(const std::vector<ast::ExprPtr>& set, const ast::ExprPtr& range) { return range ? expr(range) : list("{", exprs(set), "}"); }

Doc Printer::condition(const ast::Condition& c) {
  Builder b;
  b << expr(c.value);
  if (c.range || !c.set.empty()) b << " in " << domain(c.set, c.range);
  return b.done();
}

Doc Printer::print(const ast::Kernel& n, Span) {
  Builder b;
  b << "kernel " + n.name.name << generics(n.generics) << params(n.params, end_of_head(n.name, n.generics));
  if (!n.where.empty()) {
    std::vector<Doc> docs;
    for (const ast::Condition& c : n.where) docs.push_back(condition(c));
    b << hard_line() << "where " << fill(std::move(docs));
  }
  std::vector<Doc> grid;
  for (const ast::Over& o : n.over) {
    Builder axis;
    axis << o.name.name + " in " << expr(o.domain);
    grid.push_back(axis.done());
  }
  b << hard_line() << "over " << list("(", std::move(grid), ")");
  for (const ast::Ident& f : n.flags) b << " " + f.name;
  b << hard_line() << block(n.body, false);
  return b.done();
}

Doc Printer::print(const ast::KernelInstance& n, Span) {
  Builder b;
  b << "kernel " + n.name.name + " = " + dotted(n.of) << list("[", arguments(n.args), "]") << ";";
  return b.done();
}

Doc Printer::print(const ast::Tune& n, Span span) {
  if (n.like) return text("tune " + dotted(n.target) + " like " + dotted(*n.like) + ";");
  std::vector<Element> elements;
  for (const ast::TuneChoice& c : n.choices)
    elements.push_back({join(c.name.span, c.range ? c.range->span : c.set.back()->span), [&] {
                          Builder b;
                          b << c.name.name + " in " << domain(c.set, c.range) << ";";
                          return b.done();
                        }});
  for (const ast::Condition& c : n.where)
    elements.push_back({c.span, [&] {
                          Builder b;
                          b << "where " << condition(c) << ";";
                          return b.done();
                        }});
  if (!n.keys.empty())
    elements.push_back({join(n.keys.front()->span, n.keys.back()->span), [&] {
                          Builder b;
                          b << "key " << fill(exprs(n.keys)) << ";";
                          return b.done();
                        }});
  if (!n.invariant.empty())
    elements.push_back({join(n.invariant.front().span, n.invariant.back().span), [&] {
                          std::vector<Doc> names;
                          for (const ast::Ident& i : n.invariant) names.push_back(text(i.name));
                          Builder b;
                          b << "invariant " << fill(std::move(names)) << ";";
                          return b.done();
                        }});
  // The tree keeps the entries by sort; the author's order stands in the spans.
  std::sort(elements.begin(), elements.end(), [](const Element& a, const Element& b) { return a.span.begin < b.span.begin; });
  Builder b;
  b << "tune " + dotted(n.target) + " " << braces(elements, span, on_one_line(span));
  return group(b.take());
}

Doc Printer::directive(const ast::Directive& d) {
  std::vector<Doc> args;
  for (const ast::DirectiveArg& a : d.args) {
    Builder b;
    b << dotted(a.subject);
    if (a.index) b << (a.subject.parts.empty() ? "" : " ") << expr(a.index);
    if (a.value) b << ": " << expr(a.value);
    if (a.modifier) b << " " + a.modifier->name;
    args.push_back(b.done());
  }
  Builder b;
  b << d.name.name;
  if (!args.empty()) b << " " << fill(std::move(args));
  b << ";";
  return b.done();
}

Doc Printer::print(const ast::Schedule& n, Span span) {
  if (n.like) return text("schedule " + dotted(n.target) + " like " + dotted(*n.like) + ";");
  std::vector<Element> elements;
  for (const ast::Directive& d : n.directives) {
    Span end = d.name.span;
    if (!d.args.empty()) {
      const ast::DirectiveArg& last = d.args.back();
      end = last.modifier ? last.modifier->span : last.value ? last.value->span : last.index ? last.index->span : last.subject.span;
    }
    elements.push_back({join(d.name.span, end), [&] { return directive(d); }});
  }
  Builder b;
  b << "schedule " + dotted(n.target) + " on " + n.on->name + " " << braces(elements, span, on_one_line(span));
  return group(b.take());
}

}  // namespace tessera::formatting
