#!/usr/bin/env python3
"""Ratios to PyTorch's kernels on the GPU of this machine, each pair timed one after the other; random inputs.

usage: rivals.py [TESSERA]    TESSERA: the command, default bin/tessera beside this file. Needs PyTorch with CUDA.
FLOPs of attention: 4 B H N^2 D, halved for causal. Prints one Markdown table.
"""
import ctypes
import json
import math
import os
import statistics
import subprocess
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

here = os.path.dirname(os.path.abspath(__file__))
tessera = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "bin", "tessera")


def ours(file, kernel, constants, sizes, *more):
    """Median seconds of a kernel by `tessera bench`; None with the reason on stderr."""
    command = [tessera, "bench", file, "--kernel", kernel, "--target", "cuda", "--seconds", "0.2", "--json", "--const", *constants, "--size", sizes, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr or done.stdout, file=sys.stderr)
        return None
    return json.loads(done.stdout)["median_s"]


def theirs(f, rounds=15):
    """Median seconds by CUDA events."""
    for _ in range(4):
        f()
    torch.cuda.synchronize()
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        f()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def mma_peak():
    """FLOP/s of mma.sync on bf16 from registers alone: 16 independent accumulators a warp, the best of 4, 8 and 16 warps in two CTAs an SM."""
    registers = [[f"%f{4 * i + j}" for j in range(4)] for i in range(16)]
    products = "\n".join(f"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {{{', '.join(c)}}}, {{%a, %a, %a, %a}}, {{%a, %a}}, {{{', '.join(c)}}};" for c in registers)
    each = [r for c in registers for r in c]
    newline = "\n"
    text = f""".version 8.0
.target sm_80
.address_size 64
.visible .entry peak(.param .u64 out, .param .u32 trips) {{
.reg .f32 %f<64>; .reg .f32 %sum; .reg .b32 %a; .reg .u32 %i; .reg .u32 %n; .reg .u64 %o; .reg .pred %p;
mov.u32 %i, %tid.x; mul.lo.u32 %a, %i, 0x01010101; and.b32 %a, %a, 0x3fff3fff;
{newline.join(f"mov.f32 {r}, 0f00000000;" for r in each)}
ld.param.u32 %n, [trips]; mov.u32 %i, 0;
again:
{products}
add.u32 %i, %i, 1; setp.lt.u32 %p, %i, %n; @%p bra again;
mov.f32 %sum, 0f00000000;
{newline.join(f"add.f32 %sum, %sum, {r};" for r in each)}
ld.param.u64 %o, [out]; st.global.f32 [%o], %sum;
ret;
}}
"""
    cuda = ctypes.CDLL("libcuda.so.1")

    def check(result):
        if result != 0:
            raise RuntimeError(f"driver error {result}")

    out = torch.empty(1, device="cuda")
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    check(cuda.cuModuleLoadData(ctypes.byref(module), text.encode() + b"\0"))
    check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"peak"))
    trips = 2000
    address, count = ctypes.c_uint64(out.data_ptr()), ctypes.c_uint32(trips)
    parameters = (ctypes.c_void_p * 2)(ctypes.addressof(address), ctypes.addressof(count))
    ctas = 2 * torch.cuda.get_device_properties(0).multi_processor_count
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)

    def rate(warps):
        seconds = theirs(lambda: check(cuda.cuLaunchKernel(function, ctas, 1, 1, 32 * warps, 1, 1, 0, stream, parameters, None)))
        return ctas * warps * trips * len(registers) * 2 * 16 * 8 * 16 / seconds

    return max(rate(w) for w in (4, 8, 16))


def row(name, ratio, text, must=None, goal=None):
    """One line of the table; without bounds a figure is reported only."""
    bounds = "-" if must is None else f"{must:.2f} / {goal:.2f}"
    verdict = "n/a" if ratio is None else "reported" if must is None else "goal" if ratio >= goal else "pass" if ratio >= must else "SHORT"
    print(f"| {name} | {'-' if ratio is None else f'{ratio:.2f}'} | {bounds} | {verdict} | {text} |", flush=True)


def attention():
    for d in (64, 128):
        for causal in (False, True):
            for n in (512, 1024, 2048, 4096, 8192, 16384):
                b, h = 16384 // n, 2048 // d
                q, k, v = (torch.randn(b, n, h, d, device="cuda", dtype=torch.bfloat16).transpose(1, 2) for _ in range(3))

                def sdpa(backend):
                    with sdpa_kernel(backend):
                        F.scaled_dot_product_attention(q, k, v, is_causal=causal)

                fa2 = theirs(lambda: sdpa(SDPBackend.FLASH_ATTENTION))
                cudnn = theirs(lambda: sdpa(SDPBackend.CUDNN_ATTENTION))
                mine = ours("kernels/attention/flash.tile", "flash_causal" if causal else "flash", ["T=bf16", f"D={d}", "R=1"],
                            f"B={b},H={h},G={h},Sq={n},Sk={n}", "--arg", f"scale={1 / math.sqrt(d)}", "--without", "lse,sink")
                flops = 4 * b * h * n * n * d / (2 if causal else 1) / 1e12
                text = "" if mine is None else f"{flops / mine:.0f}, FlashAttention-2 {flops / fa2:.0f}, cuDNN {flops / cudnn:.0f} TFLOP/s"
                row(f"attention bf16 D={d}{' causal' if causal else ''} N={n} vs FlashAttention-2", None if mine is None else fa2 / mine, text, 0.95, 1.10)


def gemm():
    n = 4096
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    cublas = theirs(lambda: torch.matmul(a, b))
    mine = ours("kernels/gemm/gemm.tile", "gemm", ["T=bf16"], f"M={n},N={n},K={n}")
    flops = 2 * n**3 / 1e12
    peak = mma_peak() / 1e12
    text = "" if mine is None else f"{flops / mine:.0f}, the loop {peak:.0f}, cuBLAS (wgmma) {flops / cublas:.0f} TFLOP/s"
    row("gemm bf16 4096^3, of an mma.sync loop in registers", None if mine is None else flops / mine / peak, text, 0.75, 0.90)


def rows():
    m, n = 16384, 4096
    x = torch.randn(m, 2 * n, device="cuda", dtype=torch.bfloat16)
    y = torch.empty_like(x)
    rate = 2 * x.numel() * 2 / theirs(lambda: y.copy_(x))
    for name, file, kernel, constants, more, passes in (
        ("RMSNorm", "kernels/norm/rms_norm.tile", "rms_norm", ["T=bf16"], ["--arg", "eps=1e-6"], 2),
        ("SiLU gate", "kernels/activation/gates.tile", "silu_and_mul", ["T=bf16"], [], 3),
        ("LayerNorm", "kernels/norm/layer_norm.tile", "layer_norm", ["T=bf16"], ["--arg", "eps=1e-6"], 2),
    ):
        mine = ours(file, kernel, constants, f"M={m},N={n}", *more)
        got = None if mine is None else passes * m * n * 2 / mine / rate
        row(f"{name} 16384 x 4096 bf16, of the copy rate", got, f"copy {rate / 1e9:.0f} GB/s", 0.93, 0.98)
    x = torch.randn(4096, 32768, device="cuda")
    passes = 2 * x.numel() * 4
    mine = ours("kernels/norm/softmax.tile", "softmax", ["T=f32"], "M=4096,N=32768")
    text = f"torch.softmax {passes / theirs(lambda: torch.softmax(x, -1)) / rate:.2f}"
    row("softmax 4096 x 32768 f32, of the copy rate", None if mine is None else passes / mine / rate, text)


print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
print("| cell | ratio | must / goal | | measured |\n|---|---|---|---|---|")
for part in (attention, gemm, rows):
    part()
