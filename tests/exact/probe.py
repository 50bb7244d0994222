"""Tables of M1 in this process, hashed: started by tests under many settings of its compilers.

    python -m tests.exact.probe N_BYTES [quick | kernels]

Prints JSON: the hash of the integer model's tables by each way of computing them, and that of the
float model's probabilities, which depend on the setting.
"""

import hashlib
import json
import pydoc_data.topics
import sys
from pathlib import Path

import jax
import numpy as np

from latent_jax.exact import operations
from latent_jax.methods import artefacts
from latent_jax.methods.shipped_files import INTEGER_M1
from latent_jax.models import integer_gpt
from latent_jax.models.gpt import GPT
from latent_jax.models.integer_byte_model import IntegerByteModel
from latent_jax.models.integer_device import IntegerDeviceModel, weight_tree
from latent_jax.platform import Platform
from latent_jax.tokenizers.byte_model import BEGIN

CONTEXT = 32
TEXT = "".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)).encode()


def main(n_bytes, is_quick):
    print(
        json.dumps({"integer": integer_digests(n_bytes, is_quick), "float": float_digest(n_bytes)})
    )


def ids_of(n_bytes):
    return np.array([[BEGIN, *TEXT[5000 : 5000 + n_bytes]]], np.int32)


def kernel_tables(n_bytes):
    """Return the model, and its tables by the kernels that Numba has compiled."""
    model = IntegerByteModel.from_bytes(Path(INTEGER_M1).read_bytes(), context=CONTEXT)
    return model, np.concatenate(list(model.tables(bytes(ids_of(n_bytes)[0, 1:].tolist()))))


def integer_digests(n_bytes, is_quick=False):
    """By the way in which tables are computed."""
    ids_BT = ids_of(n_bytes)
    model, by_kernels = kernel_tables(n_bytes)
    found = {"kernels": by_kernels}
    weights = weight_tree(model.arrays)
    for dtype, n_rows in (("bfloat16", 3), ("float32", 1))[: 1 if is_quick else 2]:
        found[f"rows {dtype}, {n_rows}"] = rows(weights, np.repeat(ids_BT, n_rows, 0), dtype)
    for dtype, lanes in (("float32", 1), ("bfloat16", 5))[: 1 if is_quick else 2]:
        device = IntegerDeviceModel(model.config, model.arrays, lanes, dtype)
        found[f"steps {dtype}, {lanes}"] = steps(device, ids_BT[0])
    return {name: digest(tables) for name, tables in found.items()}


def float_digest(n_bytes):
    m1 = artefacts.load_m1(context=CONTEXT, lanes=1)
    config, params = m1.config.resolved(Platform.current()), m1.params
    logits = jax.jit(lambda ids: GPT(config).apply({"params": params}, ids))(ids_of(n_bytes))
    return digest(np.asarray(logits))


def rows(weights, ids_BT, dtype):
    """Prefill, from all rows of which the last is taken."""

    def run(weights, ids_BT):
        powers = weights["attention_powers"]
        logits = integer_gpt.row_logits(operations, weights, powers, CONTEXT, ids_BT, dtype)
        return integer_gpt.table(logits, weights["output_powers"])

    return np.asarray(jax.jit(run)(weights, ids_BT))[-1]


def steps(device, ids):
    """One position after the other, in the last lane, while the others read something else."""
    state, tables = device.start(), []
    for position, one in enumerate(ids):
        ids_B = np.random.default_rng(position).integers(0, 256, device.lanes)
        ids_B[-1] = one
        table_BV, state = device.step(state, ids_B, np.full(device.lanes, position, np.int32))
        tables.append(table_BV[-1])
    return np.stack(tables)


def digest(tables):
    return hashlib.sha256(np.ascontiguousarray(tables).tobytes()).hexdigest()


if __name__ == "__main__":
    if "kernels" in sys.argv:
        found = {"kernels": digest(kernel_tables(int(sys.argv[1]))[1])}
        print(json.dumps({"integer": found}))
    else:
        main(int(sys.argv[1]), "quick" in sys.argv)
