#!/usr/bin/env python3
"""Times several forms of one kernel in turns and prints the rate of each by that of the first: how RESULTS.md compares schedules, tiles and builds.

usage: compare.py FILE --kernel K --const NAME=VALUE .. --size B=1,H=8,.. [--arg NAME=VALUE ..] [--without V,W] [--target cuda]
                  [--rounds N] [--seconds S] --form LABEL=FORM --form LABEL=FORM ..

A FORM is a list split by `;`: `NAME=VALUE` sets a constant, `build PATH` another tessera command, anything else is a directive of the kernel's
schedule for `--family` (sm90). An empty FORM is the kernel as it stands:
  compare.py kernels/attention/flash.tile --kernel flash --const T=bf16 D=128 BM=128 BN=128 --size B=4,H=16,G=16,Sq=4096,Sk=4096 \\
      --arg scale=0.09 --without lse,sink --form plain= --form 176=BN=176 --form order=persistent row_major

The same cell differs by 5 % and more from one minute to the next on a GPU at its power limit: read the rounds beside the median.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file")
parser.add_argument("--kernel", required=True)
parser.add_argument("--const", nargs="*", default=[])
parser.add_argument("--size", default="")
parser.add_argument("--arg", action="append", default=[])
parser.add_argument("--without")
parser.add_argument("--target", default="cuda")
parser.add_argument("--family", default="sm90")
parser.add_argument("--rounds", type=int, default=4)
parser.add_argument("--seconds", type=float, default=0.1)
parser.add_argument("--tessera", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "tessera"))
parser.add_argument("--form", action="append", required=True)
args = parser.parse_args()


def command_of(form, folder, number):
    constants, directives, build = dict(c.split("=", 1) for c in args.const), [], args.tessera
    for part in filter(None, (p.strip() for p in form.split(";"))):
        name, equals, value = part.partition("=")
        if part.startswith("build "):
            build = part[len("build "):]
        elif equals and name.isidentifier():
            constants[name] = value
        else:
            directives.append(part)
    file = args.file
    if directives:
        # Beside the kernel, so that what it imports is found; its winners are another file's.
        file = os.path.join(folder, f".compare_{os.getpid()}_{number}.tile")
        with open(args.file) as source, open(file, "w") as out:
            out.write(f"{source.read()}\nschedule {args.kernel} on {args.family} {{ {'; '.join(directives)}; }}\n")
    command = [build, "bench", file, "--kernel", args.kernel, "--target", args.target, "--seconds", str(args.seconds), "--json"]
    command += ["--const", *(f"{n}={v}" for n, v in constants.items())] if constants else []
    command += ["--size", args.size] if args.size else []
    command += ["--without", args.without] if args.without else []
    for a in args.arg:
        command += ["--arg", a]
    return command, file if directives else None


def seconds(command):
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["median_s"]
    except (json.JSONDecodeError, KeyError):
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")


made = []
try:
    forms = []
    for number, form in enumerate(args.form):
        label, _, text = form.partition("=")
        command, file = command_of(text, os.path.dirname(os.path.abspath(args.file)), number)
        made += [file] if file else []
        forms.append((label, command))
    times = [[] for _ in forms]
    for _ in range(args.rounds):
        for (_, command), own in zip(forms, times):
            own.append(seconds(command))
    print(f"{args.kernel}: {forms[0][0]} {statistics.median(times[0]) * 1e6:.1f} us")
    for (label, _), own in list(zip(forms, times))[1:]:
        rounds = [first / mine for first, mine in zip(times[0], own)]
        print(f"  {label}: {statistics.median(rounds):.3f} of its rate ({' '.join(f'{r:.3f}' for r in rounds)})")
finally:
    for file in made:
        os.unlink(file)
