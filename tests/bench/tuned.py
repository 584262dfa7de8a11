#!/usr/bin/env python3
"""How good the tuner's choice is, and what it costs, beside an exhaustive search on the same machine.

usage: tuned.py --target cpu|cuda [--tessera PATH] [--seconds S] [--only PART] [--results FILE]

For each kernel and shape, `tessera tune` runs twice with nothing known and nothing cached: as it is, and with --exhaustive --seconds 1, which times
every candidate for as long as `tessera bench` does, all in turns. A row has
  choice    the time of the tuner's choice over that of the exhaustive search's, both as the exhaustive search timed them: on a CPU their
            fastest launches, since whatever else runs on a machine only makes one longer; on a GPU the median, since its clock is what
            candidates make of it
  cost      seconds of the tuner's run over those of an exhaustive search that compiles one candidate after the other: its run, with the processor
            time of its compilations in the place of what they took in parallel
  parallel  the same over the exhaustive run as it was, compiled in parallel
A run counts from the first candidate to the winner: estimates, compilations, comparison of results and launches. Lines `KEY, tab, FIGURE` go to FILE.
"""
import argparse
import json
import os
import subprocess
import sys

ATTENTION = [("64", "1024", "16"), ("64", "4096", "4"), ("128", "1024", "16"), ("128", "4096", "4"), ("128", "16384", "1"), ("256", "4096", "4")]
GEMM = [(4096, 4096, 4096), (8192, 8192, 1024), (2048, 8192, 2048), (1024, 1024, 8192)]


def gpu_cells():
    for d, n, b in ATTENTION:
        h = 2048 // int(d)
        yield ("attention", f"attention_d{d}_n{n}", "kernels/attention/flash.tile", "flash_causal", [f"T=bf16", f"D={d}"],
               f"B={b},H={h},Sq={n},Sk={n}", ["--without", "lse"])
    for m, n, k in GEMM:
        yield ("gemm", f"gemm_{m}_{n}_{k}", "kernels/gemm/gemm.tile", "gemm", ["T=bf16"], f"M={m},N={n},K={k}", [])


def cpu_cells():
    yield ("rows", "softmax", "kernels/norm/softmax.tile", "softmax", ["T=f32"], "M=512,N=4096", [])
    yield ("rows", "rms_norm", "kernels/norm/rms_norm.tile", "rms_norm", ["T=f32"], "M=512,N=4096", [])
    yield ("attention", "flash_causal", "kernels/attention/flash.tile", "flash_causal", ["T=f32", "D=64"], "B=1,H=4,Sq=512,Sk=512", ["--without", "lse"])
    yield ("gemm", "gemm", "kernels/gemm/gemm.tile", "gemm", ["T=f32"], "M=512,N=512,K=512", [])


def tune(args, cell, more):
    _, _, file, kernel, constants, size, extra = cell
    command = [args.tessera, "tune", file, "--kernel", kernel, "--const", *constants, "--size", size, "--target", args.target, *(["--threads", "1"] if args.target == "cpu" else []),
               "--json", *extra, *more]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TESSERA_CACHE": "off"})
    try:
        out = json.loads(done.stdout)
    except json.JSONDecodeError:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    if not out.get("ok"):
        sys.exit(f"{' '.join(command)}: {out['errors']}")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--tessera", default="build/dev/bin/tessera")
    parser.add_argument("--seconds", type=float, default=1, help="for which the exhaustive search times each")
    parser.add_argument("--only")
    parser.add_argument("--results")
    args = parser.parse_args()
    cells = list(cpu_cells() if args.target == "cpu" else gpu_cells())
    worst = {"choice": 0.0, "cost": 0.0}
    lines = []
    print(f"{'kernel':26} {'candidates':>10} {'choice':>7} {'cost':>6} {'parallel':>8}  chosen (best)")
    for cell in cells:
        if args.only and cell[0] != args.only:
            continue
        every = tune(args, cell, ["--exhaustive", "--seconds", str(args.seconds)])
        quick = tune(args, cell, [])
        of = "fastest_s" if args.target == "cpu" else "median_s"
        times = {json.dumps(c["constants"], sort_keys=True): c[of] for c in every["candidates"] if c.get(of)}
        chosen, best = (json.dumps(r["winner"], sort_keys=True) for r in (quick, every))
        # What the exhaustive search dropped, as spilling or wrong, the tuner should not have chosen.
        choice = times.get(chosen, float("inf")) / min(times.values())
        serial = every["spent_s"] - every["compile_wall_s"] + every["compile_s"]
        cost, parallel = quick["spent_s"] / serial, quick["spent_s"] / every["spent_s"]
        worst["choice"], worst["cost"] = max(worst["choice"], choice), max(worst["cost"], cost)
        words = lambda t: " ".join(f"{n}={v}" for n, v in json.loads(t).items())
        print(f"{cell[1]:26} {len(every['candidates']):10} {choice:7.3f} {cost:6.3f} {parallel:8.3f}  {words(chosen)} ({words(best)})"
              f"{', throttled' if every['throttled'] or quick['throttled'] else ''}; {quick['spent_s']:.2f} of {serial:.2f} s", flush=True)
        lines.append((f"tuned_{cell[1]}_choice", choice))
        lines.append((f"tuned_{cell[1]}_cost", cost))
        if args.results:
            with open(args.results + ".winners", "a") as f:
                f.write(every["line"] + "\n")
    lines += [(f"tuned_{args.target}_worst_choice", worst["choice"]), (f"tuned_{args.target}_worst_cost", worst["cost"])]
    print(f"worst: {worst['choice']:.3f} of the best, at {worst['cost']:.3f} of the cost")
    if args.results:
        with open(args.results, "w") as f:
            f.writelines(f"{k}\t{v:.4f}\n" for k, v in lines)


if __name__ == "__main__":
    main()
