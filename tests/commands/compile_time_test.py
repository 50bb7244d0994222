"""What is compiled is told from what is computed."""

import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from configs import common
from latent_jax.commands import generate
from latent_jax.commands.compile_time import compile_time, covered
from latent_jax.contracts import Written
from latent_jax.tokenizers import Bytes


def test_spans_that_overlap_count_once():
    assert covered([]) == 0.0
    assert covered([(5, 6), (0, 3), (1, 2), (2, 4)]) == pytest.approx(5.0)


def test_only_what_is_compiled_in_the_context_counts():
    @jax.jit
    def step(x):
        for _ in range(20):
            x = jnp.sin(x @ x)
        return x

    x = jnp.ones((8, 8))
    start = time.perf_counter()
    with compile_time() as first:
        step(x).block_until_ready()
        time.sleep(0.2)
    wall = time.perf_counter() - start
    assert 0 < first.seconds < wall - 0.2
    with compile_time() as second:
        step(x).block_until_ready()
    assert second.seconds == 0.0
    seconds = first.seconds
    step(jnp.ones((9, 9))).block_until_ready()
    assert first.seconds == seconds


class Slow:
    """A writer whose program is compiled at every call, and which takes 0.1 s besides."""

    def flops(self, n_prompt_ids, n_ids):
        return 1.0

    def write(self, prompts, keys, sampling, n_bytes, show=None):
        jax.jit(lambda x: jnp.sin(x @ x) + len(prompts))(jnp.ones((8, 8)))
        time.sleep(0.1)
        return [Written(prompt, prompt, b"x" * n_bytes, n_bytes, 0.0, "") for prompt in prompts]


def test_bytes_per_second_leave_compilation_out(monkeypatch):
    monkeypatch.setattr(generate, "make_writer", lambda run, is_chat=False: Slow())
    run = SimpleNamespace(config=common.default(), metadata={"step": 1}, tokenizer=Bytes())
    _, record = generate.generate(run, generate.Request((b"a", b"b"), n_bytes=50))
    took = record["seconds"] - record["compile_seconds"]
    assert 0.1 <= took < record["seconds"]
    assert record["new_bytes_per_s"] == 100 / took
