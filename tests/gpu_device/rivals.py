#!/usr/bin/env python3
"""Ratios to PyTorch's kernels and to the machine's own rates on the GPU of this machine, each pair timed one after the other; random inputs.

usage: rivals.py [--results FILE] [--only PART] [TESSERA]
  TESSERA    the command, default bin/tessera beside this file. Needs PyTorch with CUDA.
  --results  file that gets a line `KEY, tab, FIGURE` for each cell: the device rows of `./dev accept gpu`
  --only     attention, gemm, rows, decode, sampling or launch
FLOPs of attention: 4 B H N^2 D, halved for causal. Prints one Markdown table.
"""
import argparse
import ctypes
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

here = os.path.dirname(os.path.abspath(__file__))
parser = argparse.ArgumentParser()
parser.add_argument("--results")
parser.add_argument("--only")
parser.add_argument("tessera", nargs="?", default=os.path.join(here, "bin", "tessera"))
options = parser.parse_args()
tessera = options.tessera
results = open(options.results, "w") if options.results else None


def ours(file, kernel, constants, sizes, *more):
    """Median seconds of a kernel by `tessera bench`; None with the reason on stderr."""
    command = [tessera, "bench", file, "--kernel", kernel, "--target", "cuda", "--seconds", "0.2", "--json", *more]
    command += ["--const", *constants] if constants else []
    command += ["--size", sizes] if sizes else []
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


class Loop:
    """A kernel of PTX with the parameters (u64, u32), loaded by the driver that PyTorch uses."""

    def __init__(self, text):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        torch.empty(1, device="cuda")  # the context
        module, self.function = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.cuda.cuModuleLoadData(ctypes.byref(module), text.encode() + b"\0"))
        self.check(self.cuda.cuModuleGetFunction(ctypes.byref(self.function), module, b"loop"))

    @staticmethod
    def check(result):
        if result != 0:
            raise RuntimeError(f"driver error {result}")

    def seconds(self, address, count, ctas, threads):
        address, count = ctypes.c_uint64(address), ctypes.c_uint32(count)
        parameters = (ctypes.c_void_p * 2)(ctypes.addressof(address), ctypes.addressof(count))
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        return theirs(lambda: self.check(self.cuda.cuLaunchKernel(self.function, ctas, 1, 1, threads, 1, 1, 0, stream, parameters, None)))


def multiprocessors():
    return torch.cuda.get_device_properties(0).multi_processor_count


def mma_peak():
    """FLOP/s of mma.sync on bf16 from registers alone: 16 independent accumulators a warp, the best of 4, 8 and 16 warps in two CTAs an SM."""
    registers = [[f"%f{4 * i + j}" for j in range(4)] for i in range(16)]
    products = "\n".join(f"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {{{', '.join(c)}}}, {{%a, %a, %a, %a}}, {{%a, %a}}, {{{', '.join(c)}}};" for c in registers)
    each = [r for c in registers for r in c]
    newline = "\n"
    loop = Loop(f""".version 8.0
.target sm_80
.address_size 64
.visible .entry loop(.param .u64 out, .param .u32 trips) {{
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
""")
    out = torch.empty(1, device="cuda")
    trips, ctas = 2000, 2 * multiprocessors()
    return max(ctas * w * trips * len(registers) * 2 * 16 * 8 * 16 / loop.seconds(out.data_ptr(), trips, ctas, 32 * w) for w in (4, 8, 16))


def read_rate():
    """Bytes a second of a loop that only reads: 16 bytes a thread, four of them under way, over 4 GiB; the best of 4, 8 and 16 CTAs an SM."""
    loads = "\n".join(f"ld.global.nc.v4.u32 {{%x{4 * i}, %x{4 * i + 1}, %x{4 * i + 2}, %x{4 * i + 3}}}, [%p{i}];" for i in range(4))
    sums = "\n".join(f"xor.b32 %s, %s, %x{i};" for i in range(16))
    steps = "\n".join(f"add.u64 %p{i}, %p{i}, %step;" for i in range(4))
    starts = "\n".join(f"mad.lo.u64 %p{i}, %all, {16 * i}, %p;" for i in range(4))
    loop = Loop(f""".version 8.0
.target sm_80
.address_size 64
.visible .entry loop(.param .u64 from, .param .u32 trips) {{
.reg .u32 %x<16>; .reg .u32 %s; .reg .u32 %i; .reg .u32 %n; .reg .u32 %t; .reg .u32 %c; .reg .u32 %g; .reg .u64 %p; .reg .u64 %p<4>; .reg .u64 %all;
.reg .u64 %me; .reg .u64 %step; .reg .pred %q;
mov.u32 %t, %tid.x; mov.u32 %c, %ctaid.x; mov.u32 %g, %ntid.x; mad.lo.u32 %t, %c, %g, %t; mov.u32 %c, %nctaid.x; mul.lo.u32 %c, %c, %g;
cvt.u64.u32 %me, %t; cvt.u64.u32 %all, %c; ld.param.u64 %p, [from]; mad.lo.u64 %p, %me, 16, %p; mul.lo.u64 %step, %all, 64;
{starts}
ld.param.u32 %n, [trips]; mov.u32 %i, 0; mov.u32 %s, 0;
again:
{loads}
{sums}
{steps}
add.u32 %i, %i, 1; setp.lt.u32 %q, %i, %n; @%q bra again;
setp.eq.u32 %q, %s, 0x9e3779b9; @!%q bra done;
ld.param.u64 %p, [from]; st.global.u32 [%p], %s;
done:
ret;
}}
""")
    memory = torch.randint(-(2**31), 2**31 - 1, (1 << 30,), device="cuda", dtype=torch.int32)
    best = 0
    for a_multiprocessor in (4, 8, 16):
        ctas, threads = a_multiprocessor * multiprocessors(), 256
        trips = memory.numel() * 4 // (ctas * threads * 64)
        best = max(best, ctas * threads * 64 * trips / loop.seconds(memory.data_ptr(), trips, ctas, threads))
    return best


def write_tensors(path, tensors):
    """A safetensors file of CPU tensors by name."""
    names = {torch.int32: "I32", torch.float32: "F32", torch.int64: "U64"}  # Tessera's seeds are unsigned
    header, at = {}, 0
    for n, t in tensors.items():
        size = t.numel() * t.element_size()
        header[n] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.contiguous().numpy().tobytes())


def row(key, name, ratio, text, must=None, goal=None):
    """One line of the table; without bounds a figure is reported only. Where the goal is less than the must, less is better."""
    bounds = "-" if must is None else f"{must:.2f} / {goal:.2f}"
    holds = (lambda bound: ratio >= bound) if must is None or goal >= must else (lambda bound: ratio <= bound)
    verdict = "n/a" if ratio is None else "reported" if must is None else "goal" if holds(goal) else "pass" if holds(must) else "SHORT"
    print(f"| {name} | {'-' if ratio is None else f'{ratio:.2f}'} | {bounds} | {verdict} | {text} |", flush=True)
    if results:
        print(f"{key}\t{'failed: no time, see the log' if ratio is None else f'{ratio:.3f}'}", file=results, flush=True)


def attention_of(kernel, d, n, more=(), constants=(), r=1, sk=None):
    """Seconds of one attention kernel at B * N = 16384, H * D = 2048."""
    b, h = 16384 // n, 2048 // d
    return ours("kernels/attention/flash.tile", kernel, ["T=bf16", f"D={d}", f"R={r}", *constants],
                f"B={b},H={h},G={h // r},Sq={n},Sk={sk or n}", "--arg", f"scale={1 / math.sqrt(d)}", *more)


def attention():
    plain = ("--without", "lse,sink")
    try:
        from flash_attn_interface import flash_attn_func as fa3
    except ImportError:
        fa3 = None  # FlashAttention-3 takes part where it is installed
    best = []
    for d in (64, 128, 256):
        for causal in (False, True):
            for n in (512, 1024, 2048, 4096, 8192, 16384):
                b, h = 16384 // n, 2048 // d
                q, k, v = (torch.randn(b, n, h, d, device="cuda", dtype=torch.bfloat16).transpose(1, 2) for _ in range(3))

                def sdpa(backend):
                    with sdpa_kernel(backend):
                        F.scaled_dot_product_attention(q, k, v, is_causal=causal)

                fa2 = theirs(lambda: sdpa(SDPBackend.FLASH_ATTENTION))
                cudnn = theirs(lambda: sdpa(SDPBackend.CUDNN_ATTENTION))
                third = theirs(lambda: fa3(*(x.transpose(1, 2) for x in (q, k, v)), causal=causal)) if fa3 else None
                mine = attention_of("flash_causal" if causal else "flash", d, n, plain)
                flops = 4 * b * h * n * n * d / (2 if causal else 1) / 1e12
                text = "" if mine is None else f"{flops / mine:.0f}, FlashAttention-2 {flops / fa2:.0f}, cuDNN {flops / cudnn:.0f} TFLOP/s"
                cell, name = f"d{d}_{'causal' if causal else 'full'}_{n}", f"attention bf16 D={d}{' causal' if causal else ''} N={n} vs "
                if d <= 128:
                    row("fa2_" + cell, name + "FlashAttention-2", None if mine is None else fa2 / mine, text, 0.95, 1.10)
                row("cudnn_" + cell, name + "cuDNN", None if mine is None else cudnn / mine, text, 0.95, 1.0)
                if third:
                    row("fa3_" + cell, name + "FlashAttention-3", None if mine is None else third / mine, f"FlashAttention-3 {flops / third:.0f} TFLOP/s", 0.95, 1.0)
                if mine is not None:
                    best.append(min(cudnn, third or cudnn) / mine)
    if best:
        row("attention_geomean", "attention bf16, all cells, vs the best rival of each, geometric mean", statistics.geometric_mean(best), "", 1.0, 1.05)


def variants():
    """What a variant costs beside the plain kernel at equal visible work; head groupings beside the dense kernel at equal work."""
    plain = ("--without", "lse,sink")
    n, d = 4096, 128
    full, causal = attention_of("flash", d, n, plain), attention_of("flash_causal", d, n, plain)
    for key, kernel, base, work, more in (
        ("soft_cap", "flash_soft_cap", causal, 1.0, ["--arg", "x.cap=30.0", *plain]),
        ("alibi", "flash_alibi", causal, 1.0, plain),
        ("sink", "flash", full, 1.0, ["--without", "lse", "--with", "sink"]),
        ("window", "flash_window", causal, (1024 * n - 1024 * 1023 / 2) / (n * (n + 1) / 2), ["--arg", "x.left=1023", "--arg", "x.right=0", *plain]),
    ):
        mine = attention_of(kernel, d, n, more)
        row(f"variant_{key}", f"{kernel} D=128 N=4096 vs the plain kernel at equal visible work", None if mine is None or base is None else base * work / mine, "",
            0.88, 0.95)
    for key, r in (("gqa", 4), ("mqa", 16)):
        mine = attention_of("flash", d, n, plain, r=r)
        row(f"heads_{key}", f"{r} query heads a key head, D=128 N=4096, vs the dense kernel", None if mine is None or full is None else full / mine, "", 0.90, 0.97)
    half = attention_of("flash", d, n, plain, sk=n // 2)
    row("lengths", "half as many keys as queries, D=128 N=4096, vs the dense kernel at equal work", None if half is None or full is None else full / 2 / half, "", 0.90,
        0.97)


def gemm():
    peak = mma_peak() / 1e12
    for key, m, n, k in (("4096", 4096, 4096, 4096), ("8192", 8192, 8192, 8192), ("8192_1024", 8192, 8192, 1024)):
        a, b = torch.randn(m, k, device="cuda", dtype=torch.bfloat16), torch.randn(k, n, device="cuda", dtype=torch.bfloat16)
        cublas = theirs(lambda: torch.matmul(a, b))
        mine = ours("kernels/gemm/gemm.tile", "gemm", ["T=bf16"], f"M={m},N={n},K={k}")
        flops = 2 * m * n * k / 1e12
        text = "" if mine is None else f"{flops / mine:.0f}, the loop {peak:.0f}, cuBLAS {flops / cublas:.0f} TFLOP/s"
        if key == "4096":
            row("gemm_mma_loop", "gemm bf16 4096^3, of an mma.sync loop in registers", None if mine is None else flops / mine / peak, text, 0.75, 0.90)
        row(f"cublas_{key}", f"gemm bf16 {m} x {n} x {k} vs cuBLAS", None if mine is None else cublas / mine, text, 0.93, 1.0)


def rows():
    m, n = 16384, 4096
    x = torch.randn(m, 2 * n, device="cuda", dtype=torch.bfloat16)
    y = torch.empty_like(x)
    rate = 2 * x.numel() * 2 / theirs(lambda: y.copy_(x))
    norm, eps = "kernels/norm/rms_norm.tile", ["--arg", "eps=1e-6"]
    for key, name, file, kernel, constants, sizes, more, passes, bounds in (
        ("rms_norm", "RMSNorm", norm, "rms_norm", ["T=bf16"], f"M={m},N={n}", eps, 2, (0.93, 0.98)),
        ("add_rms_norm", "add + RMSNorm", norm, "rms_norm", ["T=bf16"], f"M={m},N={n}", [*eps, "--with", "res"], 4, (0.93, 0.98)),
        ("silu_gate", "SiLU gate", "kernels/activation/gates.tile", "silu_and_mul", ["T=bf16"], f"M={m},N={n}", [], 3, (0.93, 0.98)),
        ("rope", "RoPE", "kernels/rope/rope.tile", "rope", ["T=bf16", "D=128"], f"N={m},H={n // 128}", ["--arg", "f.theta=10000"], 2, (0.93, 0.98)),
        ("layer_norm", "LayerNorm", "kernels/norm/layer_norm.tile", "layer_norm", ["T=bf16"], f"M={m},N={n}", eps, 2, (None, None)),
    ):
        mine = ours(file, kernel, constants, sizes, *more)
        got = None if mine is None else passes * m * n * 2 / mine / rate
        row(key, f"{name} 16384 x 4096 bf16, of the copy rate", got, f"copy {rate / 1e9:.0f} GB/s", *bounds)
    x = torch.randn(4096, 32768, device="cuda")
    passes = 2 * x.numel() * 4
    mine = ours("kernels/norm/softmax.tile", "softmax", ["T=f32"], "M=4096,N=32768")
    text = f"torch.softmax {passes / theirs(lambda: torch.softmax(x, -1)) / rate:.2f}"
    row("softmax", "softmax 4096 x 32768 f32, of the copy rate", None if mine is None else passes / mine / rate, text)


def decode():
    b, g, r, d, page = 64, 8, 4, 128, 16
    rate = read_rate()
    file, chosen = "kernels/attention/decode.tile", None
    for length in (4096, 16384):
        pages = length // page
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as tables:
            order = torch.randperm(b * pages, dtype=torch.int32).reshape(b, pages)
            write_tensors(tables.name, {"table": order, "len": torch.full((b,), length, dtype=torch.int32)})

            def seconds(shares, bm, bn):
                sizes = f"H={g * r},G={g},NP={b * pages},W={shares}"
                constants = ["T=bf16", f"D={d}", f"R={r}", f"PAGE={page}", f"BM={bm}", f"BN={bn}"]
                parts = ours(file, "decode", constants, sizes, "--in", tables.name, "--arg", f"scale={1 / math.sqrt(d)}")
                merged = ours(file, "merge", ["T=bf16", f"E={d}"], f"B={b},W={shares},H={g * r}", "--without", "lse")
                return None if parts is None or merged is None else parts + merged

            # The split of the keys and the tile are chosen at the shorter length.
            tried = [chosen] if chosen else [(w, r, bn) for w in (1, 2, 4, 8) for bn in (16, 32, 64)]
            times = [(t, c) for c in tried if (t := seconds(*c)) is not None]
            mine, chosen = min(times) if times else (None, None)
        moved = 2 * b * length * g * d * 2
        text = "" if mine is None else f"{moved / mine / 1e9:.0f} of {rate / 1e9:.0f} GB/s, {chosen[0]} shares, tile {chosen[1]} x {chosen[2]}, merge included"
        row(f"decode_{length}", f"paged GQA decode, batch 64, 32/8 heads, D=128, L={length}, of the read-only rate",
            None if mine is None else moved / mine / rate, text, 0.90, 0.97)


def sampling():
    b, v = 64, 128256
    rate = read_rate()
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as inputs:
        write_tensors(inputs.name, {"probs": torch.softmax(2 * torch.randn(b, v), -1), "top_p": torch.full((b,), 0.9),
                                    "seed": torch.tensor([1]), "offset": torch.tensor([0])})
        mine = ours("kernels/sampling/top_p.tile", "top_p", [], "", "--in", inputs.name)
    once = b * v * 4 / rate
    row("top_p", "top-p sampling 64 x 128256 f32, in reads of the logits", None if mine is None else mine / once,
        "" if mine is None else f"{mine * 1e6:.0f} us, one read {once * 1e6:.1f} us", 10, 4)


def launch():
    run = subprocess.run(["./bin/bench_launch", "."], capture_output=True, text=True)
    figures = dict(line.split("\t") for line in run.stdout.splitlines())
    us = lambda key: float(figures[key]) if key in figures else None
    text = f"the driver alone {us('bare_16_us')} us" if figures else run.stderr.strip()
    row("launch_us", "a typed launch, microseconds of the calling thread", us("launch_us"), text, 2.0, 1.9)
    mine = ours("examples/ladder/01_copy.tile", "copy", ["T=f32"], "M=1,N=1")
    row("launch_row_us", "launches in a row, microseconds each (host and GPU, whichever is slower)", None if mine is None else mine * 1e6, "", None, None)
    own = us("launch_us") - us("bare_16_us") if figures else None
    row("launch_own_us", "of a typed launch, what is not the driver's own call, microseconds", own, "", None, None)
    row("launch_attention_us", "the same of flash_causal, with tensor maps", us("launch_attention_us"), f"the driver alone {us('bare_56_4_us')} us")


print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
print("| cell | ratio | must / goal | | measured |\n|---|---|---|---|---|")
if results:
    print(f"# {torch.cuda.get_device_name()}, PyTorch {torch.__version__}", file=results)
for part in (attention, variants, gemm, rows, decode, sampling, launch):
    if options.only in (None, part.__name__):
        part()
