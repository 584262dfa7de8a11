// The function, its parameters, blocks and control flow. All control is uniform: conditions are scalars, which every thread computes alike.
#include <fmt/format.h>

#include <numeric>
#include <tuple>
#include <utility>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/stream.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

ThreadEmitter::ThreadEmitter(const ir::Kernel& kernel, const Plan& plan, const GpuTarget& target, const GpuOptions& options, llvm::Module& module)
    : kernel_(kernel), plan_(plan), target_(target), options_(options), e_(module, cpu::VectorTarget{.fma = true}) {}

void ThreadEmitter::bind_parameters(llvm::Function* f) {
  const FrameLayout frame = frame_layout(kernel_);
  const auto word = [&](std::size_t i) -> LV* { return f->getArg(static_cast<unsigned>(i)); };
  for (std::size_t s = 0; s < kernel_.symbols.size(); ++s) symbols_[kernel_.symbols[s]] = word(frame.symbols[s]);
  std::size_t arg = 0;
  for (std::size_t p = 0; p < kernel_.params.size(); ++p) {
    const ir::Param& param = kernel_.params[p];
    if (!param.present) continue;
    const ir::Value* v = kernel_.body.args[arg++].get();
    const FrameSlot& slot = frame.params[p];
    if (!param.is_view) {
      llvm::Type* t = cpu::register_type(e_, param.dtype);
      LV* x = word(slot.base);
      if (is_bool(param.dtype)) {
        x = e_.b.CreateICmpNE(e_.b.CreateAnd(x, e_.idx(0xff)), e_.idx(0));
      } else {
        x = e_.b.CreateBitCast(e_.b.CreateTrunc(x, e_.b.getIntNTy(t->getPrimitiveSizeInBits().getFixedValue())), t);
        if (param.dtype == DType::I4) x = e_.b.CreateAShr(e_.b.CreateShl(x, e_.integer(t, 4)), e_.integer(t, 4));
        if (bits(param.dtype) == 4 && param.dtype != DType::I4) x = e_.b.CreateAnd(x, e_.integer(t, 15));
      }
      set(v, {}, {{x}});
      continue;
    }
    Values extents, strides;
    for (std::size_t a = 0; a < param.dims.size(); ++a) {
      const auto known = param.dims[a].as_constant();
      extents.push_back(known ? static_cast<LV*>(e_.idx(*known)) : word(slot.extents + a));
      const bool unit = a + 1 == param.dims.size() && !param.strided;
      strides.push_back(unit ? static_cast<LV*>(e_.idx(1)) : word(slot.strides + a));
    }
    LV* base = e_.b.CreateIntToPtr(word(slot.base), e_.b.getPtrTy(1));
    views_[v] = cpu::parameter_view(e_, param.dtype, base, std::move(extents), std::move(strides), !param.strided);
  }
  for (std::size_t a = 0; a < kernel_.grid.size(); ++a) counts_.push_back(e_.b.CreateTrunc(word(frame.words + a), e_.i32()));
  together_ = counts_;
  if (const auto axis = plan_.cluster_axis()) together_[*axis] = e_.b.CreateLShr(e_.b.CreateAdd(counts_[*axis], i32(1)), i32(1));
  std::size_t next = frame.words + kernel_.grid.size();
  if (reports_) report_ = e_.b.CreateIntToPtr(word(next++), e_.b.getPtrTy(1));
  if (!maps_.empty()) {
    LV* encoded = word(next++);
    const auto all = [&](GpuEncodedMaps kind) { return e_.b.CreateICmpNE(e_.b.CreateAnd(encoded, e_.idx(kind)), e_.idx(0)); };
    maps_encoded_ = all(kReadMaps);
    stores_encoded_ = all(kStoredMaps);
    for (std::size_t m = 0; m < maps_.size(); ++m) map_arguments_.push_back(word(next++));
  }
  if (plan_.persistent()) tickets_ = word(next++);
}

/// Instance `number` of a plane `columns` x `rows` that is visited in groups of so many rows, column by column in each: its column and row.
std::pair<LV*, LV*> ThreadEmitter::grouped(LV* number, LV* columns, LV* rows, LV* group) {
  LV* group_size = e_.b.CreateMul(columns, group);
  LV* first_row = e_.b.CreateMul(e_.b.CreateUDiv(number, group_size), group);
  // One beyond the last begins a group of no rows.
  LV* height = e_.max(i32(1), e_.min(group, e_.b.CreateSub(rows, first_row)));
  LV* in_group = e_.b.CreateURem(number, group_size);
  return {e_.b.CreateUDiv(in_group, height), e_.b.CreateAdd(first_row, e_.b.CreateURem(in_group, height))};
}

/// Where an instance stands on each grid axis, i32; of clusters, where this CTA's of the cluster of that number does, which may be beyond the end.
Values ThreadEmitter::places_of(LV* instance) {
  std::vector<std::size_t> axes(counts_.size());
  std::iota(axes.begin(), axes.end(), 0);
  Values places = places_in(instance, axes, together_);
  if (const auto cluster = plan_.cluster_axis()) places[*cluster] = e_.b.CreateAdd(e_.b.CreateShl(places[*cluster], i32(1)), rank());
  return places;
}

/// Where number `number` of a grid of these axes, as long as `counts`, stands on each of them.
Values ThreadEmitter::places_in(LV* number, llvm::ArrayRef<std::size_t> axes, llvm::ArrayRef<LV*> counts) {
  LV *column = nullptr, *row = nullptr;  // of the first two axes, visited in groups of rows
  LV *uneven = nullptr, *rest = number;  // of the axis along which trips become fewer
  std::optional<std::size_t> axis;
  for (std::size_t a = 0; a < axes.size() && axes.size() > 1; ++a) {
    if (plan_.uneven_axis() == axes[a]) axis = a;
  }
  const std::optional<std::size_t> cluster = plan_.cluster_axis();
  const std::int64_t rows = cluster == 1 && plan_.group_rows() > 0 ? std::max<std::int64_t>(1, plan_.group_rows() / 2) : plan_.group_rows();
  if (rows > 0 && axes.size() > 1 && axes[0] == 0 && axes[1] == 1) {
    LV* plane = e_.b.CreateMul(counts[0], counts[1]);
    std::tie(column, row) = grouped(e_.b.CreateURem(rest, plane), counts[0], counts[1], i32(rows));
  } else if (rows == 0 && axis) {
    LV *n = counts[*axis], *others = i32(1);
    for (std::size_t a = 0; a < counts.size(); ++a) {
      if (a != *axis) others = e_.b.CreateMul(others, counts[a]);
    }
    const int together = cluster ? kGroupInstances / 2 : kGroupInstances;
    LV* width = e_.b.CreateUDiv(e_.b.CreateAdd(i32(together - 1), n), n);
    std::tie(uneven, rest) = grouped(rest, n, others, width);
  }
  Values places;
  for (std::size_t a = 0; a < counts.size(); ++a) {
    LV* n = counts[a];
    const bool last = a + 1 == counts.size(), own = uneven && a == *axis;
    LV* at = own ? uneven : last ? rest : e_.b.CreateURem(rest, n);
    if (column && a < 2) at = a == 0 ? column : row;
    if (plan_.descending(axes[a])) at = e_.b.CreateSub(e_.b.CreateSub(n, i32(1)), at);
    places.push_back(at);
    if (!last && !own) rest = e_.b.CreateUDiv(rest, n);
  }
  return places;
}

void ThreadEmitter::bind_places(llvm::ArrayRef<LV*> places) {
  const std::size_t first = kernel_.body.args.size() - kernel_.grid.size();
  instance_ = i32(0);
  for (std::size_t a = places.size(); a-- > 0;) {
    set(kernel_.body.args[first + a].get(), {}, {{e_.b.CreateZExt(places[a], e_.i64())}});
    instance_ = e_.b.CreateAdd(e_.b.CreateMul(instance_, counts_[a]), places[a]);
  }
}

void ThreadEmitter::emit(GpuIr& out) {
  llvm::Module& m = e_.module;
  ir::walk(kernel_.body, [&](const Op& op) { reports_ = reports_ || (options_.checks && op.kind == OpKind::Assert); });
  const std::size_t words = frame_layout(kernel_).words + kernel_.grid.size() + (reports_ ? 1 : 0);
  describe_maps();
  std::vector<llvm::Type*> types(words, e_.i64());
  if (!maps_.empty()) types.push_back(e_.i64());
  const std::size_t first_map = types.size();
  types.insert(types.end(), maps_.size(), e_.ptr());
  if (plan_.persistent()) types.push_back(e_.i64());
  auto* type = llvm::FunctionType::get(e_.b.getVoidTy(), types, false);
  llvm::Function* f = llvm::Function::Create(type, llvm::Function::ExternalLinkage, kernel_.name, m);
  for (std::size_t i = 0; i < maps_.size(); ++i) {
    // Not copied to the thread's own memory: bulk copies read the parameter itself.
    const auto arg = static_cast<unsigned>(first_map + i);
    f->addParamAttr(arg, llvm::Attribute::getWithByValType(e_.context, llvm::ArrayType::get(e_.b.getInt8Ty(), kTensorMapBytes)));
    f->addParamAttr(arg, llvm::Attribute::getWithAlignment(e_.context, llvm::Align(64)));
    f->addParamAttr(arg, llvm::Attribute::get(e_.context, "nvvm.grid_constant"));
  }
  f->setCallingConv(llvm::CallingConv::PTX_Kernel);
  f->addFnAttr("nvvm.reqntid", std::to_string(plan_.launched_threads()));
  if (plan_.cluster_axis()) f->addFnAttr("nvvm.cluster_dim", "2,1,1");
  f->addFnAttr(llvm::Attribute::NoUnwind);
  auto* smem = new llvm::GlobalVariable(m, llvm::ArrayType::get(e_.b.getInt8Ty(), 0), false, llvm::GlobalValue::ExternalLinkage, nullptr, "smem",
                                        nullptr, llvm::GlobalValue::NotThreadLocal, 3);
  smem->setAlignment(llvm::Align(plan_.warpgroups() ? 8 * kPanelBytes : 128));
  entry_ = llvm::BasicBlock::Create(e_.context, "entry", f);
  auto* body = llvm::BasicBlock::Create(e_.context, "body", f);
  e_.b.SetInsertPoint(entry_);
  tid_ = call(e_.b, m, Primitive::Tid, {});
  lane_ = e_.b.CreateAnd(tid_, i32(31));
  // The same for the whole warp: what depends on it alone stays in uniform registers.
  warp_ = plan_.warps() == 1 ? i32(0) : call(e_.b, m, Primitive::ShflIdx, {e_.b.CreateLShr(tid_, i32(5)), i32(0)});
  shared_base_ = e_.b.CreatePtrToInt(smem, e_.i32());
  e_.b.CreateBr(body);
  e_.b.SetInsertPoint(body);
  bind_parameters(f);
  if (plan_.roles()) {
    emit_roles();
  } else {
    bind_places(places_of(call(e_.b, m, Primitive::Ctaid, {})));
    const auto work = [&] { emit_block(kernel_.body); };
    passes_over() ? e_.if_then(is_live(), work) : work();
  }
  e_.b.CreateRetVoid();
  keep_marked(*f);
  out.entry = kernel_.name;
  out.threads = plan_.launched_threads();
  out.persistent = plan_.persistent();
  if (const auto axis = plan_.cluster_axis()) out.cluster = {2, *axis};
  out.shared_bytes = std::max(plan_.staged_bytes(), scratch_end_);
  out.registers = plan_.roles() ? 0 : plan_.registers();
  out.checks = std::move(checks_);
  out.maps = std::move(maps_);
  out.plan = {plan_.warps(), out.shared_bytes, 1, plan_.notes()};
  for (const Stage& s : plan_.stages()) out.plan.stages = std::max(out.plan.stages, s.slots);
}

void ThreadEmitter::emit_block(const ir::Block& block) { has_aligned_form(block) ? emit_aligned(block) : emit_straight(block); }

void ThreadEmitter::emit_straight(const ir::Block& block) {
  const ir::Block* const above = std::exchange(block_, &block);
  llvm::MDNode* const outer = source_;
  const std::map<const Op*, Stream> streams = streams_of(block);
  std::set<const Op*> streamed;
  for (const auto& [store, stream] : streams) streamed.insert(stream.ops.begin(), stream.ops.end());
  for (const auto& op : block.ops) {
    if (const auto stream = streams.find(op.get()); stream != streams.end()) {
      if (options_.spans) mark_source(op->span);
      if (op->kind == OpKind::Reduce) {
        emit_reduce(*op, &stream->second);
        stage_defined(op->result());
      } else {
        each_piece(stream->second, [&] { emit_op(*op); });
      }
    } else if (skipped_.count(op.get()) == 0 && streamed.count(op.get()) == 0) {
      if (options_.spans) mark_source(op->span);
      emit_op(*op);
    }
    if (&block == &kernel_.body) free_tiles(*op);
  }
  settle_all();
  block_ = above;
  if (options_.spans) mark_source(outer);
}

void ThreadEmitter::mark_source(Span span) {
  const auto number = [&](std::uint32_t n) { return llvm::ConstantAsMetadata::get(e_.b.getInt32(n)); };
  mark_source(span.known() ? llvm::MDNode::get(e_.context, {number(span.begin), number(span.end), number(span.file)}) : nullptr);
}

void ThreadEmitter::mark_source(llvm::MDNode* source) {
  source_ = source;
  copy_metadata("tessera.span", source);
}

void ThreadEmitter::copy_metadata(const char* name, llvm::MDNode* node) {
  // The builder takes what it shall copy from an instruction only.
  auto* carrier = new llvm::UnreachableInst(e_.context);
  const unsigned kind = e_.context.getMDKindID(name);
  carrier->setMetadata(kind, node);
  e_.b.CollectMetadataToCopy(carrier, {kind});
  carrier->deleteValue();
}

namespace {

/// An idx scalar that is certainly not negative: numbers of instances and trips, and sums and products of such.
bool not_negative(const ir::Kernel& kernel, const ir::Value* v, int depth = 8) {
  if (depth == 0) return false;
  if (!v->def) {
    const Op* loop = v->block ? v->block->parent : nullptr;
    if (!loop) return v->index + kernel.grid.size() >= kernel.body.args.size();  // a grid axis
    return loop->kind == OpKind::For && v->index == 0 && not_negative(kernel, loop->operands[0], depth - 1) &&
           not_negative(kernel, loop->operands[2], depth - 1);
  }
  const Op& op = *v->def;
  const auto of = [&](std::size_t i) { return not_negative(kernel, op.operands[i], depth - 1); };
  switch (op.kind) {
    case OpKind::Const: return op.int_attr(ir::Attr::Value) >= 0;
    case OpKind::Sym:
    case OpKind::Extent: return true;
    case OpKind::Max: return of(0) || of(1);
    case OpKind::Add:
    case OpKind::Mul:
    case OpKind::Div:
    case OpKind::Min: return of(0) && of(1);
    default: return false;
  }
}

bool is_zero(const ir::Value* v) { return v->def && v->def->kind == OpKind::Const && v->def->int_attr(ir::Attr::Value) == 0; }

}  // namespace

void ThreadEmitter::emit_range(const Op& op) {
  RangeValue r;
  r.start = scalar(op.operands[0]);
  r.lo = scalar(op.operands[1]);
  r.hi = scalar(op.operands[2]);
  r.size = ir::range(op.result()->type).size;
  r.full = op.has(ir::Attr::Full);
  const auto cut = [&](LV* x) { return e_.b.CreateTrunc(e_.max(e_.idx(0), e_.min(e_.idx(r.size), e_.sub(x, r.start))), e_.i32()); };
  const bool from_start = r.full || (is_zero(op.operands[1]) && not_negative(kernel_, op.operands[0]));
  r.first = from_start ? static_cast<LV*>(i32(0)) : cut(r.lo);
  r.end = r.full ? static_cast<LV*>(i32(r.size)) : cut(r.hi);
  if (LV* full = full_here(op)) {
    if (!from_start) r.first = e_.b.CreateSelect(full, i32(0), r.first);
    r.end = e_.b.CreateSelect(full, i32(r.size), r.end);
  }
  ranges_[op.result()] = r;
}

LV* ThreadEmitter::inside(LV* p, const RangeValue& r) {
  LV* below = e_.b.CreateICmpSLT(p, r.end);
  if (const auto* first = llvm::dyn_cast<llvm::ConstantInt>(r.first); first && first->isZero()) return below;
  return e_.b.CreateAnd(e_.b.CreateICmpSGE(p, r.first), below);
}

void ThreadEmitter::emit_op(const Op& op) {
  if (op.kind == OpKind::ViewPeer) unsupported(op, "views of other ranks");
  if (!op.results.empty() && ir::is_view(op.result()->type)) {
    views_[op.result()] =
        cpu::apply_view_op(e_, op, [&](const ir::Value* v) { return scalar(v); }, [&](const ir::Value* v) { return view(v); }, plan_.span_bounds(op));
    return;
  }
  if (op.results.size() == 1 && plan_.uses().lazy(op.result())) return;
  if (const SharedBody::Mask* mask = shared_mask(op)) return emit_mask(op, *mask);
  switch (op.kind) {
    case OpKind::Range: return emit_range(op);
    case OpKind::Sym: return set(op.result(), {}, {{symbols_.at(op.string_attr(ir::Attr::Name))}});
    case OpKind::Const:
    case OpKind::Iota:
    case OpKind::Coords:
    case OpKind::Inside: return set(op.result(), {}, {lazy(op.result(), {})});  // scalars
    case OpKind::Broadcast: emit_broadcast(op); break;
    case OpKind::Slice: emit_whole(op); break;
    case OpKind::Extent: return set(op.result(), {}, {{view(op.operands[0])->extents.at(static_cast<std::size_t>(op.int_attr(ir::Attr::Axis)))}});
    case OpKind::Permute: emit_permute(op); break;
    case OpKind::Reshape: emit_reshape(op); break;
    case OpKind::Dot: emit_dot(op); break;
    case OpKind::Reduce: emit_reduce(op); break;
    case OpKind::Load: emit_load(op); break;
    case OpKind::Store: return emit_store(op);
    case OpKind::FetchAdd: emit_fetch_add(op); break;
    case OpKind::For: return emit_for(op);
    case OpKind::While: return emit_while(op);
    case OpKind::If: return emit_if(op);
    case OpKind::Yield: return;
    case OpKind::Assert: return emit_assert(op);
    case OpKind::Print:
      if (options_.checks) unsupported(op, "`print` in a debug run on a GPU");
      return;
    case OpKind::Claim: return;
    case OpKind::Scan: emit_scan(op); break;
    case OpKind::Pick:
    case OpKind::Concat:
    case OpKind::Sort:
    case OpKind::TopK:
    case OpKind::Histogram:
    case OpKind::SolveLower:
    case OpKind::DotScaled: emit_whole(op); break;
    case OpKind::ReduceWith:
    case OpKind::ScanWith: emit_region_fold(op); break;
    case OpKind::Signal:
    case OpKind::Wait: unsupported(op, fmt::format("`{}`: work across instances is not available on a GPU yet", ir::info(op.kind).name));
    default:
      if (!ir::has(op.kind, ir::Elementwise)) TESSERA_UNREACHABLE(fmt::format("no emission of {}", ir::info(op.kind).name));
      emit_elementwise_op(op);
  }
  for (const auto& r : op.results) stage_defined(r.get());
}

void ThreadEmitter::stage_defined(const ir::Value* v) {
  for (const int s : plan_.stages_of(v)) {
    if (!plan_.stages()[static_cast<std::size_t>(s)].from_load) stage_registers(s, v);
  }
}

void ThreadEmitter::flatten(const ir::Value* v, const Layout& layout, Values& out) {
  for (const Element& x : get(v, layout)) out.push_back(plain(e_, x));
}

void ThreadEmitter::bind_flat(const ir::Value* v, const Layout& layout, llvm::ArrayRef<LV*> values, std::size_t& at) {
  Elements regs;
  for (std::int64_t i = 0; i < layout.registers(); ++i) regs.push_back({values[at++]});
  set(v, layout, std::move(regs));
  stage_defined(v);
}

Values ThreadEmitter::yielded(const ir::Block& block, const std::vector<const ir::Value*>& as) {
  Values out;
  for (std::size_t i = 0; i < as.size(); ++i) flatten(block.yielded()[i], layout_of(as[i]), out);
  return out;
}

void ThreadEmitter::emit_if(const Op& op) {
  std::vector<const ir::Value*> results;
  for (const auto& r : op.results) results.push_back(r.get());
  settle_all();
  const SharedState before = state_;
  SharedState first;
  const auto branch = [&](std::size_t i) {
    state_ = before;
    emit_block(op.region(i));
    Values v = yielded(op.region(i), results);
    if (i == 0) first = state_;
    return v;
  };
  const Values values = e_.choose(scalar(op.operands[0]), [&] { return branch(0); }, [&] { return branch(1); });
  state_.join(first);
  std::size_t at = 0;
  for (const ir::Value* r : results) bind_flat(r, layout_of(r), values, at);
}

void ThreadEmitter::emit_assert(const Op& op) {
  if (!options_.checks) return;
  checks_.push_back({op.span, op.string_attr(ir::Attr::Message)});
  const ir::Value* v = op.operands[0];
  Layout l = plan_.has_layout(v) ? plan_.layout(v) : Layout{};
  if (!plan_.has_layout(v)) {
    for (const std::int64_t n : dims(v)) l.axes.push_back(part({{Source::Register, n, 1}}));
  }
  LV* bad = e_.b.getFalse();
  const Elements regs = get(v, l);
  for (std::size_t r = 0; r < regs.size(); ++r) {
    LV* fails = e_.b.CreateNot(regs[r].v);
    if (LV* in = within(l, dims(v), positions(l, static_cast<std::int64_t>(r)))) fails = e_.b.CreateAnd(fails, in);
    bad = e_.b.CreateOr(bad, fails);
  }
  e_.if_then(bad, [&] {
    // Of several instances and threads one report stands.
    LV* code = e_.idx(static_cast<std::int64_t>(checks_.size()));
    LV* swap = e_.b.CreateAtomicCmpXchg(report_, e_.idx(0), code, llvm::Align(8), llvm::AtomicOrdering::Monotonic, llvm::AtomicOrdering::Monotonic);
    e_.if_then(e_.b.CreateExtractValue(swap, 1), [&] { e_.store(e_.b.CreateZExt(instance_, e_.i64()), e_.at(e_.i64(), report_, e_.idx(1)), 8); });
  });
}

void ThreadEmitter::barrier() {
  settle_all();  // what stands behind may overwrite what a product under way reads
  wait_for_all();
  state_.barrier();
}

/// The instruction alone, of the threads that compute.
void ThreadEmitter::wait_for_all() {
  if (plan_.roles()) {
    call(e_.b, e_.module, Primitive::BarSync, {i32(kComputingBarrier), i32(plan_.threads())});
  } else {
    call(e_.b, e_.module, plan_.warps() == 1 ? Primitive::WarpSync : Primitive::BarSyncAll, {});
  }
}

}  // namespace tessera::gpu
