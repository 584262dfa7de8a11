// The graph calls of a driver, which a host program makes itself; Tessera only adds nodes and changes them.
#pragma once

#include <dlfcn.h>

#include <type_traits>

#include "tessera/graph.h"

namespace tessera::testing {

struct GraphCalls {
  int (*begin)(void* stream, int mode) = nullptr;
  int (*end)(void* stream, void** graph) = nullptr;
  int (*create)(void** graph, unsigned flags) = nullptr;
  int (*destroy)(void* graph) = nullptr;
  int (*instantiate)(void** exec, void* graph, unsigned long long flags) = nullptr;
  int (*exec_destroy)(void* exec) = nullptr;
  int (*launch)(void* exec, void* stream) = nullptr;
  int (*retain)(void** context, int device) = nullptr;
  int (*make_current)(void* context) = nullptr;

  explicit GraphCalls(const char* library_name) {
    void* library = dlopen(library_name, RTLD_NOW);
    const auto find = [&](auto& f, const char* name) {
      if (library) f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(dlsym(library, name));
    };
    find(begin, "cuStreamBeginCapture_v2");
    find(end, "cuStreamEndCapture");
    find(create, "cuGraphCreate");
    find(destroy, "cuGraphDestroy");
    find(instantiate, "cuGraphInstantiateWithFlags");
    find(exec_destroy, "cuGraphExecDestroy");
    find(launch, "cuGraphLaunch");
    find(retain, "cuDevicePrimaryCtxRetain");
    find(make_current, "cuCtxSetCurrent");
  }
};

}  // namespace tessera::testing
