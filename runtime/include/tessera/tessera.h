// Tessera: kernels written in .tile files, compiled in the process, launched from C++.
//
//   auto ctx = tessera::Context::cpu();
//   auto mod = tessera::load("softmax.tile");
//   auto softmax = mod.kernel<tessera::In<float, 2>, tessera::Out<float, 2>>("softmax");
//   softmax(ctx, tessera::View<const float, 2>(x, {rows, cols}), tessera::View<float, 2>(y, {rows, cols}));
//
// On a GPU, the same with Context::cuda(), the kernel made for it and memory it can reach:
//
//   auto softmax = mod.kernel<..>("softmax", {}, {.context = ctx});
//   tessera::DeviceBuffer x(ctx, bytes), y(ctx, bytes);
//   softmax(ctx, x.view<float, 2>({rows, cols}), y.view<float, 2>({rows, cols}));
#pragma once

#include "tessera/argument.h"
#include "tessera/bundle.h"
#include "tessera/cache.h"
#include "tessera/context.h"
#include "tessera/device_buffer.h"
#include "tessera/dlpack.h"
#include "tessera/dtype.h"
#include "tessera/error.h"
#include "tessera/graph.h"
#include "tessera/kernel.h"
#include "tessera/module.h"
#include "tessera/prepare.h"
#include "tessera/stream.h"
#include "tessera/tune.h"
#include "tessera/view.h"
