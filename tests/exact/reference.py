"""The specification of version 2 of compressed files, as a decoder in NumPy's int64.

It reads a container of AC that an integer M1 drives, and the file of the model, and imports nothing
of the package. Slow, plain, and what every faster program has to agree with.

    python tests/exact/reference.py m1_integer.safetensors book.txt.latent > book.txt
"""

import hashlib
import json
import math
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

BEGIN = END = 256
INT8, INT15, STREAM, GATE, SCORE = 127, 16_319, (1 << 19) - 1, 2047, 1 << 28
EXAMPLE = 10_240


def read_model(content):
    """Return shape and integers of a model file (the layout of safetensors)."""
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    shape = header.pop("__metadata__")
    assert (shape["format"], shape["version"]) == ("latent_jax integer byte model", "1")
    arrays = {}
    for name, entry in header.items():
        first, last = (begin + at for at in entry["data_offsets"])
        dtype = {"I8": "<i1", "I32": "<i4"}[entry["dtype"]]
        arrays[name] = np.frombuffer(content[first:last], dtype).reshape(entry["shape"])
    return shape, {name: x.astype(np.int64) for name, x in arrays.items()}


def shift(x, n):
    """floor(x / 2^n + 1/2)."""
    return (x + ((1 << n) >> 1)) >> n


def scale(x, multiplier, n, low, high):
    return np.clip(shift(x * multiplier, n), low, high)


def norm(x, gain, n, limit):
    """x / |x| in units of 2^-14, times a gain, / 2^n."""
    n_bits = max(int(np.abs(x).max()), 1).bit_length()
    y = shift(x << 11, n_bits)
    root = math.isqrt(max(int((y * y).sum()), 1 << 20))
    return scale(shift(y * ((1 << 26) // root), 12), gain, n, -limit, limit)


def power(below, table):
    """table[0] 2^(-below / 64)."""
    return table[below & 63] >> np.minimum(below >> 6, 31)


class Model:
    """The tables after a text, one byte after the other."""

    def __init__(self, content):
        shape, self.w = read_model(content)
        self.n_layers, self.n_heads = int(shape["n_layers"]), int(shape["n_heads"])
        self.context, self.last_age = int(shape["context"]), int(shape["n_ages"]) - 1
        self.seen = [([], []) for _ in range(self.n_layers)]

    def read(self, byte):
        """Return what the next symbol's counts are proportional to, int64[257]."""
        w = self.w
        if byte == BEGIN:
            self.seen = [([], []) for _ in range(self.n_layers)]
        multiplier = w["embedding_multiplier"][byte]
        x = scale(w["embedding"][byte], multiplier, w["embedding_shift"], -STREAM, STREAM)
        for i, (keys, values) in enumerate(self.seen):
            layer = {k[7:]: v[i] for k, v in w.items() if k.startswith("blocks/")}
            x = self.layer(layer, x, keys, values)
        h = norm(x, w["final_gain"], 11, INT15)
        sums = shift(w["embedding"] @ h, 8)
        logits = scale(sums, w["head_multiplier"], w["head_shift"], -SCORE, SCORE)
        return power(logits.max() - logits, w["output_powers"])

    def layer(self, w, x, keys, values):
        h = norm(x, w["attention_gain"], 18, INT8)
        sums = h @ w["query_key_value"]
        parts = scale(
            sums, w["query_key_value_multiplier"], w["query_key_value_shift"], -INT8, INT8
        ).reshape(self.n_heads, 3, -1)
        keys.insert(0, parts[:, 1])  # the newest first, so that places are ages
        values.insert(0, parts[:, 2])
        del keys[self.context :], values[self.context :]
        mixed = self.attend(w, parts[:, 0], np.array(keys), np.array(values))
        sums = mixed.reshape(-1) @ w["attention_out"]
        multiplier = w["attention_out_multiplier"]
        branch = scale(sums, multiplier, w["attention_out_shift"], -STREAM, STREAM)
        x = np.clip(x + branch, -STREAM, STREAM)
        h = norm(x, w["feed_forward_gain"], 18, INT8)
        gate = scale(h @ w["gate"], w["gate_multiplier"], w["gate_shift"], 0, GATE)
        up = scale(h @ w["up"], w["up_multiplier"], w["up_shift"], -GATE, GATE)
        n = max(int(np.abs(gate * up).max()).bit_length() - 7, 0)
        hidden = np.clip(shift(gate * up, n), -INT8, INT8)
        branch = scale(
            hidden @ w["down"], w["down_multiplier"], w["down_shift"] - n, -STREAM, STREAM
        )
        return np.clip(x + branch, -STREAM, STREAM)

    def attend(self, w, query_Hd, keys_SHd, values_SHd):
        sums_HS = np.einsum("Hd,SHd->HS", query_Hd, keys_SHd)
        scores = scale(sums_HS, w["score_multiplier"][:, None], w["score_shift"], -SCORE, SCORE)
        scores = scores + w["position_bias"][:, np.minimum(np.arange(len(keys_SHd)), self.last_age)]
        below = scores.max(axis=1, keepdims=True) - scores
        weights_HS = power(below, self.w["attention_powers"])
        total = (weights_HS.sum(axis=1) >> 5)[:, None]
        mean = (np.einsum("HS,SHd->Hd", weights_HS, values_SHd) + (total >> 1)) // total
        return scale(mean, w["mixed_multiplier"], w["mixed_shift"], -INT8, INT8)


def counts(table, precision):
    """Cumulative integer counts: each symbol 1, the rest in proportion to what is above 1."""
    above = np.maximum((table << precision) - table.sum(), 0)
    rest, running = (1 << precision) - len(table), np.cumsum(above)
    shared = (running * rest + (running[-1] >> 1)) // running[-1]
    return [0, *(int(s) + v + 1 for v, s in enumerate(shared))]


def decode(model, bits, precision, size=62):
    """Return the text of one stream of bits; an arithmetic code (Witten, Neal and Cleary 1987)."""
    bits, at = [*map(int, bits)] + [0] * size, size
    low, width, code = 0, 1 << size, int("".join(map(str, bits[:size])), 2)
    half, quarter, text, byte = 1 << size - 1, 1 << size - 2, bytearray(), BEGIN
    while len(text) < EXAMPLE:
        cumulative = counts(model.read(byte), precision)
        unit = width >> precision
        target = min((code - low) // unit, (1 << precision) - 1)
        byte = next(v for v in range(257) if cumulative[v + 1] > target)
        low += unit * cumulative[byte]
        is_last = cumulative[byte + 1] == 1 << precision
        width = (width if is_last else unit * cumulative[byte + 1]) - unit * cumulative[byte]
        while True:
            if low + width <= half:
                offset = 0
            elif low >= half:
                offset = half
            elif low >= quarter and low + width <= half + quarter:
                offset = quarter
            else:
                break
            low, width = (low - offset) * 2, width * 2
            code = (code - offset) * 2 + (bits[at] if at < len(bits) else 0)
            at += 1
        if byte == END:
            break
        text.append(byte)
    return bytes(text)


def decompress(model_file, packed):
    """Return the content of a container, whose every checksum is right."""
    model, text = Model(model_file), b""
    assert packed[:8] == b"latentj\x02"
    at = 12 + struct.unpack_from("<I", packed, 8)[0]
    header = json.loads(packed[12:at])
    assert struct.unpack_from("<I", packed, at)[0] == zlib.crc32(packed[12:at])
    at, name = at + 4, header.get("method", "AC[]")  # {} where all blocks are stored
    assert name.startswith("AC["), name
    assert header.get("model") in (None, hashlib.sha256(model_file).hexdigest())
    precision = int(name.split("p=")[1].rstrip("]")) if "p=" in name else 14
    while n_bytes := struct.unpack_from("<I", packed, at)[0]:
        checksum, n_texts = struct.unpack_from("<II", packed, at + 4)
        n_ids = struct.unpack_from(f"<{n_texts}I", packed, at + 12)
        at, block, first = at + 12 + 4 * n_texts, b"", 0
        if not n_texts:  # stored
            block, at = packed[at : at + n_bytes], at + n_bytes
        else:
            size = struct.unpack_from("<I", packed, at)[0]
            bits = np.unpackbits(np.frombuffer(packed, np.uint8, size, at + 4))
            at += 4 + size
        for n in n_ids:
            last = first + n * header["id_bits"]
            block, first = block + decode(model, bits[first:last], precision), last
        assert (len(block), zlib.crc32(block)) == (n_bytes, checksum)
        text += block
    total, digest = struct.unpack_from("<Q32s", packed, at + 4)
    assert (total, digest) == (len(text), hashlib.sha256(text).digest())
    return text


if __name__ == "__main__":
    sys.stdout.buffer.write(decompress(*(Path(path).read_bytes() for path in sys.argv[1:3])))
