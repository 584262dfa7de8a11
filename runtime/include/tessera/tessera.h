// Tessera: kernels written in .tile files, compiled in the process, launched from C++.
//
//   auto ctx = tessera::Context::best();
//   auto mod = tessera::load("softmax.tile");
//   auto softmax = mod.kernel<tessera::In<float, 2>, tessera::Out<float, 2>>("softmax");
//   softmax(ctx, tessera::View<const float, 2>(x, {rows, cols}), tessera::View<float, 2>(y, {rows, cols}));
#pragma once

#include "tessera/argument.h"
#include "tessera/context.h"
#include "tessera/dlpack.h"
#include "tessera/dtype.h"
#include "tessera/error.h"
#include "tessera/kernel.h"
#include "tessera/module.h"
#include "tessera/view.h"
