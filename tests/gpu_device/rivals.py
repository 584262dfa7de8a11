#!/usr/bin/env python3
"""Ratios to PyTorch's kernels and to the machine's own rates on the GPU of this machine, each pair timed one after the other; random inputs.

usage: rivals.py [--results FILE] [--only PART] [TESSERA]
  TESSERA    the command, default bin/tessera beside this file. Needs PyTorch with CUDA.
  --results  file that gets a line `KEY, tab, FIGURE` for each cell: the device rows of `./dev accept gpu`
  --only     some of the parts, by commas: attention, half, accuracy, variants, fp8, head_dims, ragged, foreign, schedules, ladder, gemm, rows,
             decode, sampling, launch
FLOPs of attention: 4 B H N^2 D, halved for causal. Prints one Markdown table.
"""
import argparse
import ctypes
import json
import math
import os
import re
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


SECONDS = 0.2  # of each measurement, ours and theirs: clocks of a GPU at its power limit fall with the time that a kernel runs


def ours(file, kernel, constants, sizes, *more):
    """Median seconds of a kernel by `tessera bench`; None with the reason on stderr."""
    command = [tessera, "bench", file, "--kernel", kernel, "--target", "cuda", "--seconds", str(SECONDS), "--json", *more]
    command += ["--const", *constants] if constants else []
    command += ["--size", sizes] if sizes else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr or done.stdout, file=sys.stderr)
        return None
    return json.loads(done.stdout)["median_s"]


def theirs(f):
    """Median seconds by CUDA events, of at least 15 rounds and SECONDS."""
    for _ in range(4):
        f()
    torch.cuda.synchronize()
    times = []
    while len(times) < 15 or sum(times) < SECONDS:
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
    names = {torch.int32: "I32", torch.float32: "F32", torch.int64: "U64", torch.bfloat16: "BF16", torch.float16: "F16",
             torch.float8_e4m3fn: "F8_E4M3"}  # Tessera's seeds are unsigned
    header, at = {}, 0
    for n, t in tensors.items():
        size = t.numel() * t.element_size()
        header[n] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.contiguous().view(torch.uint8).numpy().tobytes())


def read_tensor(path, name, dtype):
    """One tensor of a safetensors file."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        entry = json.loads(f.read(size))[name]
        f.seek(8 + size + entry["data_offsets"][0])
        data = bytearray(f.read(entry["data_offsets"][1] - entry["data_offsets"][0]))
    return torch.frombuffer(data, dtype=dtype).reshape(entry["shape"])


def row(key, name, ratio, text, must=None, goal=None):
    """One line of the table; without bounds a figure is reported only. Where the goal is less than the must, less is better."""
    bounds = "-" if must is None else f"{must:.2f} / {goal:.2f}"
    holds = (lambda bound: ratio >= bound) if must is None or goal >= must else (lambda bound: ratio <= bound)
    verdict = "n/a" if ratio is None else "reported" if must is None else "goal" if holds(goal) else "pass" if holds(must) else "SHORT"
    print(f"| {name} | {'-' if ratio is None else f'{ratio:.2f}'} | {bounds} | {verdict} | {text} |", flush=True)
    if results:
        print(f"{key}\t{'failed: no time, see the log' if ratio is None else f'{ratio:.3f}'}", file=results, flush=True)


def attention_of(kernel, d, n, more=(), constants=(), r=1, sk=None, t="bf16", h=None):
    """Seconds of one attention kernel at B * N = 16384, H * D = 2048 or so many heads."""
    b, h = 16384 // n, h or 2048 // d
    return ours("kernels/attention/flash.tile", kernel, [f"T={t}", f"D={d}", f"R={r}", *constants],
                f"B={b},H={h},G={h // r},Sq={n},Sk={sk or n}", "--arg", f"scale={1 / math.sqrt(d)}", *more)


plain = ("--without", "lse,sink")


def flash_attention_3():
    """FlashAttention-3's function where it is installed."""
    try:
        from flash_attn_interface import flash_attn_func
        return flash_attn_func
    except ImportError:
        return None


def attention():
    fa3 = flash_attention_3()
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


def half():
    """Attention in f16 beside cuDNN and FlashAttention-3."""
    fa3, best = flash_attention_3(), []
    for d in (64, 128, 256):
        for causal in (False, True):
            for n in (2048, 16384):
                b, h = 16384 // n, 2048 // d
                q, k, v = (torch.randn(b, n, h, d, device="cuda", dtype=torch.float16).transpose(1, 2) for _ in range(3))

                def cudnn_of():
                    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                        F.scaled_dot_product_attention(q, k, v, is_causal=causal)

                cudnn = theirs(cudnn_of)
                third = theirs(lambda: fa3(*(x.transpose(1, 2) for x in (q, k, v)), causal=causal)) if fa3 else None
                mine = attention_of("flash_causal" if causal else "flash", d, n, plain, t="f16")
                flops = 4 * b * h * n * n * d / (2 if causal else 1) / 1e12
                text = "" if mine is None else f"{flops / mine:.0f}, cuDNN {flops / cudnn:.0f}" + (f", FlashAttention-3 {flops / third:.0f}" if third else "") + " TFLOP/s"
                cell, name = f"f16_d{d}_{'causal' if causal else 'full'}_{n}", f"attention f16 D={d}{' causal' if causal else ''} N={n} vs "
                row("cudnn_" + cell, name + "cuDNN", None if mine is None else cudnn / mine, text, 0.95, 1.0)
                if third:
                    row("fa3_" + cell, name + "FlashAttention-3", None if mine is None else third / mine, "", 0.95, 1.0)
                if mine is not None:
                    best.append(min(cudnn, third or cudnn) / mine)
    if best:
        row("half_geomean", "attention f16, all cells, vs the best rival of each, geometric mean", statistics.geometric_mean(best), "", 1.0, 1.05)


def accuracy():
    """Root mean square errors against float64, of ours by those of the rivals on the same inputs: normal ones with a thousandth of outliers ten times
    as wide, as FlashAttention-3's paper has them."""
    fa3 = flash_attention_3()
    b, h, n = 1, 4, 1024
    for name, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        for d in (64, 128, 256):
            for causal in (False, True):
                torch.manual_seed(d + causal)
                draw = lambda: (torch.randn(b, n, h, d) + 10 * torch.randn(b, n, h, d) * (torch.rand(b, n, h, d) < 0.001)).to(dtype)
                q, k, v = draw(), draw(), draw()
                exact = F.scaled_dot_product_attention(*(x.cuda().double().transpose(1, 2) for x in (q, k, v)), is_causal=causal).transpose(1, 2)
                error = lambda o: (o.double() - exact).square().mean().sqrt().item()
                with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                    cudnn = error(F.scaled_dot_product_attention(*(x.cuda().transpose(1, 2) for x in (q, k, v)), is_causal=causal).transpose(1, 2))
                third = error((lambda o: o[0] if isinstance(o, tuple) else o)(fa3(q.cuda(), k.cuda(), v.cuda(), causal=causal))) if fa3 else None
                with tempfile.TemporaryDirectory() as folder:
                    write_tensors(folder + "/in.safetensors", {"q": q, "k": k, "v": v})
                    done = subprocess.run([tessera, "run", "kernels/attention/flash.tile", "--kernel", "flash_causal" if causal else "flash", "--target", "cuda",
                                           "--const", f"T={name}", f"D={d}", "--arg", f"scale={1 / math.sqrt(d)}", "--without", "lse", "--in",
                                           folder + "/in.safetensors", "--out", folder + "/out.safetensors"], capture_output=True, text=True)
                    if done.returncode != 0:
                        print(done.stderr or done.stdout, file=sys.stderr)
                    mine = error(read_tensor(folder + "/out.safetensors", "o", dtype).cuda()) if done.returncode == 0 else None
                cell, what = f"{name}_d{d}_{'causal' if causal else 'full'}", f"attention {name} D={d}{' causal' if causal else ''} N={n}, error by that of "
                text = "" if mine is None else f"RMSE {mine:.3e}, cuDNN {cudnn:.3e}" + (f", FlashAttention-3 {third:.3e}" if third else "")
                row("rmse_cudnn_" + cell, what + "cuDNN", None if mine is None else mine / cudnn, text, 1.01, 1.0)
                if third:
                    row("rmse_fa3_" + cell, what + "FlashAttention-3", None if mine is None else mine / third, "", 1.01, 1.0)


def head_dims():
    """Head dims beside the larger one that fills the tiles of theirs: the same heads and lengths, so they should take no longer."""
    n, h = 4096, 8
    known = {}

    def seconds(d, e):
        if (d, e) not in known:
            known[d, e] = attention_of("flash", d, n, plain, constants=[f"E={e}"] if e != d else [], h=h)
        return known[d, e]

    for d, e, at in ((40, 40, 64), (80, 80, 96), (96, 96, 128), (112, 112, 128), (160, 160, 192), (192, 192, 256), (192, 128, 192)):
        mine, other = seconds(d, e), seconds(at, at)
        text = "" if mine is None else f"{2 * 16384 * n * h * (d + e) / mine / 1e12:.0f} TFLOP/s"
        row(f"head_dim_{d}" + (f"_{e}" if e != d else ""), f"attention bf16 D={d}" + (f" E={e}" if e != d else "") + f" N={n}, of the time at D={at}",
            None if mine is None or other is None else other / mine, text, 0.90, 1.0)


def ragged():
    """A packed batch of lengths 1 to 16k that add up to 32k, beside the dense kernel at equal work."""
    d, h = 128, 16
    lengths = [16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
    lengths.append(32768 - sum(lengths))
    dense_n = 4096
    dense = attention_of("flash", d, dense_n, plain)
    starts = torch.tensor([sum(lengths[:i]) for i in range(len(lengths) + 1)], dtype=torch.int32)
    times = []
    for bm, bn in ((64, 64), (64, 128), (128, 128)):
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as pointers:
            write_tensors(pointers.name, {"qptr": starts, "kptr": starts, "slots": torch.zeros(-(-max(lengths) // bm), dtype=torch.int32)})
            t = ours("kernels/attention/ragged.tile", "ragged", ["T=bf16", f"D={d}", f"BM={bm}", f"BN={bn}"], f"NQ=32768,NK=32768,H={h},G={h}", "--in",
                     pointers.name, "--arg", f"scale={1 / math.sqrt(d)}", "--without", "lse,sink")
        if t is not None:
            times.append((t, bm, bn))
    work = sum(n * n for n in lengths) / (16384 * dense_n)
    mine, bm, bn = min(times) if times else (None, 0, 0)
    row("ragged", "ragged batch, lengths 1 to 16k, sum 32k, D=128, vs the dense kernel at equal work", None if mine is None or dense is None else dense * work / mine,
        "" if mine is None else f"tile {bm} x {bn}, {4 * h * d * sum(n * n for n in lengths) / mine / 1e12:.0f} TFLOP/s", 0.90, 0.97)


def foreign():
    """Kernels of no library: the rate of their products beside that of attention with as wide heads and the same mask, a plain loop of two."""
    b, h, n = 4, 16, 4096
    sizes = f"B={b},H={h},Sq={n},Sk={n}"
    for key, constants, flops, args, plain_kernel, d, e in (
        ("three_products", ["T=bf16", "D=128"], 6 * b * h * n * n * 128, ["scale=0.01"], "flash", 128, 128),
        ("two_softmaxes", ["T=bf16", "D=64", "E=128"], 2 * b * h * n * n * 2 * (64 + 128), ["scale=0.125"], "flash", 64, 128),
        ("sigmoid_weights", ["T=bf16", "D=128"], 2 * b * h * n * n * 128, ["scale=0.09", "bias=-1"], "flash_causal", 128, 128),
    ):
        bases = [attention_of(plain_kernel, d, n, plain, [f"E={e}", *tile], h=h) for tile in (["BM=128", "BN=64"], ["BM=128", "BN=128"])]
        base = min((t for t in bases if t is not None), default=None)
        loop = None if base is None else 2 * b * h * n * n * (d + e) / (2 if plain_kernel == "flash_causal" else 1) / base
        times = []
        for bm, bn in ((128, 64), (128, 128)):
            t = ours(f"tests/foreign/{key}.tile", key, [*constants, f"BM={bm}", f"BN={bn}"], sizes, *(w for a in args for w in ("--arg", a)))
            if t is not None:
                times.append((t, bm, bn))
        best, bm, bn = min(times) if times else (None, 0, 0)
        row(f"foreign_{key}", f"{key}, of the rate of {plain_kernel} D={d}, E={e}", None if best is None or loop is None else flops / best / loop,
            "" if best is None or loop is None else f"tile {bm} x {bn}, {flops / best / 1e12:.0f} of {loop / 1e12:.0f} TFLOP/s", 0.85, 1.0)


def with_schedule(file, kernel, directives):
    """A file beside the given one whose kernel has this schedule and no other; directives None: none at all."""
    text = re.sub(r"schedule [^;{]* on sm90 \{[^}]*\}", "", open(os.path.join(here, file)).read())
    text = re.sub(r"schedule [\w.]* like [\w.]*;", "", text)
    path = os.path.join(here, os.path.dirname(file), f"scheduled_{os.getpid()}.tile")
    with open(path, "w") as f:
        f.write(text + (f"\nschedule {kernel} on sm90 {{ {directives} }}\n" if directives else ""))
    return path


def under(file, kernel, directives, *rest):
    path = with_schedule(file, kernel, directives)
    try:
        return ours(path, kernel, *rest)
    finally:
        os.remove(path)


def schedules():
    """Kernels without a schedule beside the same with the one they are shipped with."""
    n, d = 4096, 128
    sizes, constants, scale = f"B=4,H=16,Sq={n},Sk={n}", ["T=bf16", f"D={d}", "BM=128", "BN=128"], ("--arg", f"scale={1 / math.sqrt(d)}")
    tile = ["T=bf16", "BM=256", "BN=128", "BK=64"]
    for key, file, kernel, directives, rest in (
        ("gemm", "kernels/gemm/gemm.tile", "gemm", "swizzle 8; roles producer: 1; ring at: 4, bt: 4; persistent row_major;", (tile, "M=8192,N=8192,K=4096")),
        ("attention", "examples/ladder/09_roles.tile", "attention", "roles producer: 1, consumer: 2; regs producer: 32, consumer: 232;", (constants, sizes, *scale)),
        ("causal", "examples/ladder/10_order.tile", "causal", "persistent dynamic, longest_first;", (constants, sizes, *scale)),
    ):
        with_it, without = under(file, kernel, directives, *rest), under(file, kernel, None, *rest)
        row(f"unscheduled_{key}", f"{kernel} without a schedule, of its rate with one", None if with_it is None or without is None else with_it / without, "", 0.90, 1.0)


def ladder():
    """What each directive of rungs 7 to 10 gives: TFLOP/s under schedules that differ in it."""
    n, d = 4096, 128
    attention_sizes = (["T=bf16", f"D={d}"], f"B=4,H=16,Sq={n},Sk={n}", "--arg", f"scale={1 / math.sqrt(d)}")
    gemm_sizes, flops = (["T=bf16"], "M=8192,N=8192,K=8192"), 4 * 4 * 16 * n * n * d
    for rung, kernel, rest, work, tried in (
        ("07_rings", "gemm", gemm_sizes, 2 * 8192**3, [f"roles producer: 0; ring at: {r}, bt: {r};" for r in (1, 2, 3, 4)]),
        ("08_overlap", "attention", attention_sizes, flops, [f"roles producer: 0; skew acc: {s};" for s in (0, 1)]),
        ("09_roles", "attention", attention_sizes, flops, ["roles producer: 0, consumer: 2;", "roles producer: 1, consumer: 2; regs producer: 40, consumer: 216;",
                                                         "roles producer: 1, consumer: 2; regs producer: 32, consumer: 232;", None]),
        ("10_order", "causal", attention_sizes, flops / 2, [f"persistent {p}, {o};" for p in ("off", "static", "dynamic") for o in ("row_major", "longest_first")]),
        ("07_rings", "gemm", gemm_sizes, 2 * 8192**3, [f"roles producer: 1, consumer: 2; swizzle {s}; ring at: 4, bt: 4; persistent {p};" for p, s in (("off", 0), ("dynamic", 0), ("dynamic", 8))]),
    ):
        for i, directives in enumerate(tried):
            t = under(f"examples/ladder/{rung}.tile", kernel, directives, *rest)
            key = re.sub(r"\W+", "_", directives or "none").strip("_")
            row(f"ladder_{rung}_{key}", f"`{rung}.tile` under `{directives or ''}`, TFLOP/s", None if t is None else work / t / 1e12, "")


def variants():
    """What a variant costs beside the plain kernel at equal visible work; head groupings beside the dense kernel at equal work."""
    n, d = 4096, 128

    def beside(base, mine):
        """Seconds of `base`, measured before and after `mine`, by those of `mine`."""
        before, m, after = base(), mine(), base()
        return None if None in (before, m, after) else (before + after) / 2 / m

    full, causal = (lambda: attention_of("flash", d, n, plain)), (lambda: attention_of("flash_causal", d, n, plain))
    for key, kernel, base, work, more in (
        ("soft_cap", "flash_soft_cap", causal, 1.0, ["--arg", "x.cap=30.0", *plain]),
        ("alibi", "flash_alibi", causal, 1.0, plain),
        ("sink", "flash", full, 1.0, ["--without", "lse", "--with", "sink"]),
        ("window", "flash_window", causal, (1024 * n - 1024 * 1023 / 2) / (n * (n + 1) / 2), ["--arg", "x.left=1023", "--arg", "x.right=0", *plain]),
    ):
        ratio = beside(base, lambda: attention_of(kernel, d, n, more))
        row(f"variant_{key}", f"{kernel} D=128 N=4096 vs the plain kernel at equal visible work", ratio and ratio * work, "", 0.88, 0.95)
    for key, r in (("gqa", 4), ("mqa", 16)):
        row(f"heads_{key}", f"{r} query heads a key head, D=128 N=4096, vs the dense kernel", beside(full, lambda: attention_of("flash", d, n, plain, r=r)), "", 0.90, 0.97)
    half = beside(full, lambda: attention_of("flash", d, n, plain, sk=n // 2))
    row("lengths", "half as many keys as queries, D=128 N=4096, vs the dense kernel at equal work", half and half / 2, "", 0.90, 0.97)


def fp8():
    """e4m3 attention forward, one f32 factor a key head, bf16 out; and the bias of what it gives for values of one sign."""
    file, d = "kernels/attention/fp8.tile", 128
    try:
        from flash_attn_interface import flash_attn_func as fa3
    except ImportError:
        fa3 = None  # FlashAttention-3 takes part where it is installed
    for causal in (False, True):
        for n in (4096, 16384):
            b, h = 16384 // n, 2048 // d
            wide = [torch.randn(b, n, h, d, device="cuda", dtype=torch.bfloat16) for _ in range(3)]
            q, k, v = (x.to(torch.float8_e4m3fn) for x in wide)
            one = torch.ones(b, h, device="cuda")

            def cudnn():
                with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                    F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in wide), is_causal=causal)

            half = theirs(cudnn)
            third = theirs(lambda: fa3(q, k, v, causal=causal, q_descale=one, k_descale=one, v_descale=one)) if fa3 else None
            mine = ours(file, "flash8_causal" if causal else "flash8", ["O=bf16", f"D={d}"], f"B={b},H={h},G={h},Sq={n},Sk={n}",
                        "--arg", f"scale={1 / math.sqrt(d)}", "--without", "lse")
            flops = 4 * b * h * n * n * d / (2 if causal else 1) / 1e12
            cell, name = f"{'causal' if causal else 'full'}_{n}", f"attention e4m3 D={d}{' causal' if causal else ''} N={n} vs "
            text = "" if mine is None else f"{flops / mine:.0f} TFLOP/s, cuDNN bf16 {flops / half:.0f}"
            row("fp8_cudnn_" + cell, name + "cuDNN bf16", None if mine is None else half / mine, text, 1.30, 1.51)
            if third:
                row("fp8_fa3_" + cell, name + "FlashAttention-3 e4m3", None if mine is None else third / mine,
                    f"FlashAttention-3 {flops / third:.0f} TFLOP/s", 0.95, 1.10)
    for n in (8192, 65536):
        m = 256
        q, k = (torch.randn(1, x, 1, d).to(torch.float8_e4m3fn) for x in (m, n))
        v = (1 + 0.1 * torch.randn(1, n, 1, d)).to(torch.float8_e4m3fn)
        one = torch.ones(1, 1)
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as inputs, tempfile.NamedTemporaryFile(suffix=".safetensors") as outputs:
            write_tensors(inputs.name, {"q": q, "k": k, "v": v, "q_scale": one, "k_scale": one, "v_scale": one})
            done = subprocess.run([tessera, "run", file, "--kernel", "flash8", "--target", "cuda", "--const", "O=f32", f"D={d}", "--in", inputs.name,
                                   "--out", outputs.name, "--arg", f"scale={1 / math.sqrt(d)}", "--without", "lse"], capture_output=True, text=True)
            if done.returncode != 0:
                print(done.stderr or done.stdout, file=sys.stderr)
                row(f"fp8_bias_{n}", f"bias of attention e4m3, {n} keys, per cent", None, "", 1.0, 0.3)
                continue
            mine = read_tensor(outputs.name, "o", torch.float32).double()
        q, k, v = (x.cuda().double().squeeze(2).squeeze(0) for x in (q, k, v))
        want = torch.softmax(q @ k.T / math.sqrt(d), -1) @ v
        bias = lambda o: 100 * (o.reshape(m, d).cuda().mean() / want.mean() - 1).item()
        text = f"{bias(mine):+.3f} %"
        if fa3:
            c = [x.to(torch.float8_e4m3fn).reshape(1, -1, 1, d) for x in (q, k, v)]
            text += f", FlashAttention-3 {bias(fa3(*c, causal=False, q_descale=one.cuda(), k_descale=one.cuda(), v_descale=one.cuda()).double()):+.2f} %"
        row(f"fp8_bias_{n}", f"bias of attention e4m3, {n} keys, values 1 + 0.1 N(0, 1), per cent", abs(bias(mine)), text, 1.0, 0.3)


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
    # The driver keeps what it has assembled before: a cold start is one without that.
    run = subprocess.run(["./bin/bench_launch", ".", "libcuda.so.1", "attention.bundle"], capture_output=True, text=True, env={**os.environ, "CUDA_CACHE_DISABLE": "1"})
    figures = dict(line.split("\t") for line in run.stdout.splitlines())
    us = lambda key: float(figures[key]) if key in figures else None
    text = f"the driver alone {us('bare_16_us')} us" if figures else run.stderr.strip()
    row("launch_us", "a typed launch, microseconds of the calling thread", us("launch_us"), text, 2.0, 1.9)
    mine = ours("examples/ladder/01_copy.tile", "copy", ["T=f32"], "M=1,N=1")
    row("launch_row_us", "launches in a row, microseconds each (host and GPU, whichever is slower)", None if mine is None else mine * 1e6, "", None, None)
    own = us("launch_us") - us("bare_16_us") if figures else None
    row("launch_own_us", "of a typed launch, what is not the driver's own call, microseconds", own, "", None, None)
    row("cold_attention_s", "flash_causal, text to launchable with an empty cache, seconds", None if us("cold_attention_us") is None else us("cold_attention_us") / 1e6,
        "", 0.6, 0.4)
    row("bundle_attention_ms", "flash_causal from a bundle with machine code to launchable, milliseconds",
        None if us("bundle_attention_us") is None else us("bundle_attention_us") / 1e3, "", None, None)
    row("launch_attention_us", "the same of flash_causal, with tensor maps", us("launch_attention_us"), f"the driver alone {us('bare_56_4_us')} us")


print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
print("| cell | ratio | must / goal | | measured |\n|---|---|---|---|---|")
if results:
    print(f"# {torch.cuda.get_device_name()}, PyTorch {torch.__version__}", file=results)
for part in (attention, half, accuracy, variants, fp8, head_dims, ragged, foreign, schedules, ladder, gemm, rows, decode, sampling, launch):
    if options.only is None or part.__name__ in options.only.split(","):
        part()
