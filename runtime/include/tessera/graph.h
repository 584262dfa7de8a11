// Kernels as nodes of CUDA graphs. The graphs are the host program's: it makes, instantiates, launches and destroys them with the CUDA runtime or
// driver, whose handles stand here as pointers (a cudaGraph_t is a CUgraph).
//
//   const GraphNode a = scale.node(ctx, {graph}, {}, x, y, 2.0f), b = norm.node(ctx, {graph}, {a}, y, z);
//   cudaGraphInstantiate(&exec, graph, 0);
//   scale.update(ctx, {exec}, a, x2, y, 3.0f);  // from the next launch of the graph on
#pragma once

namespace tessera {

/// A CUgraph.
struct Graph {
  void* handle = nullptr;
};
/// A CUgraphExec: a graph made ready to run.
struct GraphExec {
  void* handle = nullptr;
};
/// A CUgraphNode.
struct GraphNode {
  void* handle = nullptr;
};

}  // namespace tessera
