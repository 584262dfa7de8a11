"""Times the fused CPU attention of ONNX Runtime and PyTorch for one shape, f32, layout [batch, head, position, dim].

Prints a line a rival: name, tab, best milliseconds, or `skip REASON`. Run by bench_cpu, in turns with ours.
"""
import argparse
import math
import time


def best_ms(run, rounds):
    run()
    best = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def torch_attention(a):
    import torch

    torch.set_num_threads(a.threads)
    g = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, a.heads, a.length, a.dim, generator=g) for _ in range(3))
    with torch.inference_mode():
        return best_ms(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=a.causal), a.rounds)


def onnxruntime_attention(a):
    import numpy
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    # com.microsoft MultiHeadAttention takes [batch, position, heads * dim] and has a flash kernel for the CPU.
    hidden = a.heads * a.dim
    names = ["q", "k", "v"]
    tensor = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, a.length, hidden])
    node = helper.make_node("MultiHeadAttention", names, ["o"], domain="com.microsoft", num_heads=a.heads, unidirectional=int(a.causal))
    graph = helper.make_graph([node], "attention", [tensor(n) for n in names], [tensor("o")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = a.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    g = numpy.random.default_rng(1)
    feed = {n: g.standard_normal((1, a.length, hidden), dtype=numpy.float32) for n in names}
    return best_ms(lambda: session.run(None, feed), a.rounds)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--heads", type=int, default=8)
    p.add_argument("--length", type=int, default=1024)
    p.add_argument("--dim", type=int, default=128)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--causal", action="store_true")
    a = p.parse_args()
    for name, rival in (("ONNX Runtime", onnxruntime_attention), ("PyTorch", torch_attention)):
        try:
            print(f"{name}\t{rival(a):.4f}")
        except Exception as problem:  # a rival that is missing or refuses the shape is a line, not an end
            print(f"{name}\tskip {type(problem).__name__}: {problem}".replace("\n", " "))


if __name__ == "__main__":
    main()
