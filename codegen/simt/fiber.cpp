#include "codegen/simt/fiber.h"

#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <new>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace tessera::simt {
namespace {

namespace context = boost::context::detail;
constexpr std::size_t kGuard = 4096;

}  // namespace

StackPool::~StackPool() {
  for (std::byte* p : all_) {
#ifdef __SANITIZE_ADDRESS__
    // Fibers that never end leave marks of their frames, which would outlive the memory.
    ASAN_UNPOISON_MEMORY_REGION(p, bytes_);
#endif
    munmap(p - kGuard, bytes_ + kGuard);
  }
}

std::byte* StackPool::take() {
  void* p = mmap(nullptr, bytes_ + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  mprotect(p, kGuard, PROT_NONE);
  all_.push_back(static_cast<std::byte*>(p) + kGuard);
  return all_.back();
}

struct Fiber::Trampoline {
  static void run(context::transfer_t from) {
    auto* self = static_cast<Fiber*>(from.data);
    self->scheduler_ = from.fctx;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &self->scheduler_stack_, &self->scheduler_bytes_);
#endif
    self->body_(self->argument_);
  }
};

void Fiber::start(std::byte* stack, std::size_t bytes, Body body, void* argument) {
  stack_ = stack;
  stack_bytes_ = bytes;
  body_ = body;
  argument_ = argument;
  fake_stack_ = nullptr;
  fiber_ = context::make_fcontext(stack + bytes, bytes, Trampoline::run);
}

void Fiber::enter() {
#ifdef __SANITIZE_ADDRESS__
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack_, stack_bytes_);
#endif
  fiber_ = context::jump_fcontext(fiber_, this).fctx;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::leave() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&fake_stack_, scheduler_stack_, scheduler_bytes_);
#endif
  scheduler_ = context::jump_fcontext(scheduler_, nullptr).fctx;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack_, &scheduler_stack_, &scheduler_bytes_);
#endif
}

}  // namespace tessera::simt
