// A collection that only grows: looking something up takes no lock, so it can be done in a launch.
#pragma once

#include <atomic>
#include <utility>

namespace tessera {

template <class T>
class AppendList {
 public:
  AppendList() = default;
  AppendList(const AppendList&) = delete;
  AppendList& operator=(const AppendList&) = delete;
  ~AppendList() {
    for (Node* n = head_.load(std::memory_order_acquire); n;) delete std::exchange(n, n->next);
  }

  /// The last added element for which `wanted` holds; null if there is none. Any thread.
  template <class P>
  const T* find(P&& wanted) const {
    for (const Node* n = head_.load(std::memory_order_acquire); n; n = n->next) {
      if (wanted(n->value)) return &n->value;
    }
    return nullptr;
  }
  /// Precondition: no other thread adds at the same time.
  const T& add(T value) {
    Node* n = new Node{std::move(value), head_.load(std::memory_order_relaxed)};
    head_.store(n, std::memory_order_release);
    return n->value;
  }

 private:
  struct Node {
    T value;
    Node* next;
  };
  std::atomic<Node*> head_ = nullptr;
};

}  // namespace tessera
