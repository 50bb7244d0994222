"""What an integer model writes is drawn from the tables of its file."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import m1
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.exact import operations
from latent_jax.generation import Sampling
from latent_jax.generation.written import LENGTH
from latent_jax.methods.registry import family
from latent_jax.methods.tasks import make_task
from latent_jax.models import integer_gpt, quantized_gpt
from latent_jax.models.integer_byte_model import IntegerByteModel
from latent_jax.tokenizers import Bytes
from latent_jax.tokenizers.byte_model import BEGIN

PROMPTS = [b"An elephant", b"", b"never forgets, they say"]
ROW = 64


@pytest.fixture(scope="module")
def made():
    """A task of configs/m1.py in integers, and what it writes."""
    config = m1.get_config("quantized=true")
    config.model.update(d_model=32, n_heads=2, n_layers=2, d_ff=64)
    config.update(row_length=ROW)
    config.snippets.every = 0
    task = make_task(config, assumed_vocabulary(config, 1.0))
    variables = task.init(jax.random.key(0), None)
    writer = family("Bytes").make_writer(task, variables, Bytes(), ROW)
    keys = jax.random.split(jax.random.key(1), len(PROMPTS))
    return task, variables, writer.write(PROMPTS, keys, Sampling(), 90)


def test_nats_are_those_of_the_file_at_any_length(made):
    """Also beyond the row, where a lane attends to its last positions."""
    task, variables, written = made
    shape = quantized_gpt.integer_config(task.model_config, ROW)
    arrays = quantized_gpt.export(variables["params"], task.model_config)
    weights = {k: jnp.asarray(x) for k, x in arrays.items() if "/" not in k}
    weights["blocks"] = {k[7:]: jnp.asarray(x) for k, x in arrays.items() if "/" in k}

    @jax.jit
    def row_logits(ids):
        powers = weights["attention_powers"]
        return integer_gpt.row_logits(operations, weights, powers, ROW, ids[None])

    for prompt, one in zip(PROMPTS, written, strict=True):
        assert one.kept == prompt and len(one.text) > 5
        ids = np.array([BEGIN, *prompt, *one.text], np.int32)
        padded = np.pad(ids, (0, 2 * ROW - len(ids)))  # one shape, so one compilation
        logits = row_logits(jnp.asarray(padded))[:, : len(ids)]
        nats_TV = -jax.nn.log_softmax(logits[0] * (np.log(2) / 64))
        drawn = range(len(prompt), len(ids) - 1)
        nats = sum(float(nats_TV[t, ids[t + 1]]) for t in drawn)
        if one.stop != LENGTH:
            nats += float(nats_TV[-1, BEGIN])
        np.testing.assert_allclose(one.nats, nats, rtol=1e-4)
        tables = np.concatenate(
            list(IntegerByteModel(shape, arrays).tables(bytes(ids[1:].tolist())))
        )
        np.testing.assert_array_equal(
            integer_gpt.table(logits, weights["output_powers"])[0], tables
        )
    assert max(len(one.prompt) + len(one.text) for one in written) > ROW


def test_a_prompt_in_other_company_is_continued_alike(made):
    task, variables, written = made
    writer = family("Bytes").make_writer(task, variables, Bytes(), ROW)
    keys = jax.random.split(jax.random.key(1), len(PROMPTS))
    assert writer.write(PROMPTS[:1], keys[:1], Sampling(), 90) == [
        dataclasses.replace(written[0], nats=pytest.approx(written[0].nats))
    ]
