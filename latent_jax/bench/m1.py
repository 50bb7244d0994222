"""Speed of a coder that M1 drives, by the number of texts that M1 reads side by side."""

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.bars import Bar
from latent_jax.bench.tokenizers import read_texts
from latent_jax.costs.hardware import matmul_rate
from latent_jax.methods.equal_info_ac import step_by_step
from latent_jax.methods.family import MethodName
from latent_jax.methods.names import parse
from latent_jax.models.byte_model import GPTByteModel
from latent_jax.models.gpt import GPT
from latent_jax.platform import Platform
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import keep_each, text_table
from latent_jax.tokenizers import EqualInfoAC
from latent_jax.tokenizers.byte_model import BEGIN

logger = logging.getLogger(__name__)

FIRST_BYTES, LAST_BYTES = 16, 2048
"""Bytes of a text in the first round, and at most."""
N_STEPS = 50

COLUMNS = (
    "method",
    "lanes",
    Column("workers", "workers", "d"),
    "n_bytes",
    Column("start_up_s", "start-up\ns", ".1f"),
    Column("step_ms", "a step\nms", ".2f"),
    "encode_kb_per_s",
    "flops_per_byte",
    "matmul_flops_per_s",
    "share_of_matmul",
    "prefix_kb_per_s",
    "speed_ratio",
)


def benchmark_m1(
    files: Sequence[str],
    *,
    method: str = "EqualInfoAC[b=32,v=256]",
    m1: str = "",
    lanes: Sequence[int] = (0,),
    seconds: float = 10.0,
    text_field: str = "text",
    max_bytes: int = 1 << 20,
    json_path: str | None = None,
) -> list[dict[str, Any]]:
    """Print and return the speed of encoding with M1, and two speeds to compare it with.

    They are the speed that M1's FLOPs allow, and that of one forward pass per prefix. Every lane of
    every worker gets a text. There are rounds of longer and longer texts, as the time allows, and
    the last round counts. The fixed cost of a text weighs less in long texts, so thousands of lanes
    need more seconds. Compilation and the tokenizer's probe do not count; they are stated as
    `start_up_s`. The result of each number of lanes is printed as soon as it is known.

    Args:
        files: the text; if the lanes need more, it is read again from the beginning.
        method: literature name.
        m1: file of the byte model; "" = the one in the package.
        lanes: numbers of lanes of M1, one record for each; 0 = the platform's choice.
        seconds: for the rounds of one number of lanes, without start-up.
        text_field: of .jsonl files.
        max_bytes: of the text.
        json_path: file that also gets the unrounded records.

    Raises:
        ValueError: the method's M1 does not run for every byte, or a file cannot be read.
    """
    if seconds <= 0:
        raise ValueError(f"seconds must be more than 0; got {seconds}")
    parsed = parse(method)
    if parsed.family != "EqualInfoAC":
        raise ValueError(f"{parsed} has no windows: give EqualInfoAC[...]")
    text = b"".join(read_texts(files, text_field, max_bytes))
    records = keep_each(_measured(parsed, m1, lanes, text, seconds), json_path)
    print(text_table(records, COLUMNS))
    return records


def _measured(
    method: MethodName, m1: str, lanes: Sequence[int], text: bytes, seconds: float
) -> Iterator[dict[str, Any]]:
    matmul, prefix_rates = matmul_rate(), {}
    for n_lanes in lanes:
        tokenizer, start_up = _started(method, m1, n_lanes)
        rate, n_bytes, window = _encode_rate(tokenizer, text, seconds)
        if window not in prefix_rates:
            prefix_rates[window] = _prefix_rate(tokenizer.model, window)
        record = {
            "method": tokenizer.name,
            "device": jax.devices()[0].device_kind,
            "lanes": tokenizer.lanes,
            "workers": tokenizer.model.workers,
            "n_bytes": n_bytes,
            "start_up_s": start_up,
            "step_ms": 1e3 * _step_seconds(tokenizer.model),
            "encode_kb_per_s": rate / 1e3,
            "flops_per_byte": tokenizer.flops_per_byte,
            "matmul_flops_per_s": matmul,
            "share_of_matmul": rate * tokenizer.flops_per_byte / matmul,
            "prefix_kb_per_s": prefix_rates[window] / 1e3,
            "speed_ratio": rate / prefix_rates[window],
        }
        print(text_table([record], COLUMNS[1:7]), flush=True)
        yield record


def _started(method, m1: str, n_lanes: int) -> tuple[EqualInfoAC, float]:
    """Return a coder whose programs are all compiled, and the seconds that this took."""
    began = time.perf_counter()
    tokenizer = step_by_step(method, m1, lanes=n_lanes)
    if tokenizer.model.is_exact:
        raise ValueError(f"--m1={m1} is in integers: what is measured here is a float M1's step")
    logger.info("%d lanes: compiling the step and reading the probe", tokenizer.lanes)
    # So many texts that every worker compiles for its device.
    tokenizer.encode_batch([b"now"] * tokenizer.lanes * tokenizer.model.workers)
    return tokenizer, time.perf_counter() - began


def _encode_rate(tokenizer: EqualInfoAC, text: bytes, seconds: float) -> tuple[float, int, int]:
    """Return bytes per second, the bytes that were encoded, and the mean bytes of a window."""
    n_texts, length = tokenizer.lanes * tokenizer.model.workers, FIRST_BYTES
    ends = time.perf_counter() + seconds
    with Bar(f"{tokenizer.lanes} lanes", LAST_BYTES, "B") as bar:
        while True:
            texts = _pieces(text, n_texts, length)
            began = time.perf_counter()
            encoded = tokenizer.encode_batch(texts)
            taken = time.perf_counter() - began
            n_bytes = sum(map(len, texts))
            bar.update(length - bar.n, note=f"{n_bytes / taken / 1e3:.1f} kB/s")
            # A round with n times longer texts takes at most n times as long.
            times = int((ends - time.perf_counter()) / taken)
            if times < 2 or length == LAST_BYTES:
                break
            length = min(LAST_BYTES, length << times.bit_length() - 1)
    n_windows = sum(len(ids) for ids, _ in encoded) * tokenizer.token_bits / tokenizer.window_bits
    return n_bytes / taken, n_bytes, max(1, round(n_bytes / n_windows))


def _pieces(text: bytes, n_texts: int, length: int) -> list[bytes]:
    """Return `n_texts` pieces of one length, which begin again at the start of a short text."""
    starts = itertools.islice(
        itertools.cycle(range(0, max(1, len(text) - length), length)), n_texts
    )
    return [text[at : at + length] for at in starts]


def _step_seconds(model: GPTByteModel) -> float:
    """Return the seconds of one step of one worker, with the copy of its result to the host."""
    state = model.start()
    began = 0.0
    for position in range(N_STEPS + 1):
        if position == 1:
            began = time.perf_counter()
        ids_B = np.full(model.lanes, BEGIN if position == 0 else 32, np.int32)
        _, state = model.step(state, ids_B, np.full(model.lanes, position, np.int32))
    return (time.perf_counter() - began) / N_STEPS


def _prefix_rate(model: GPTByteModel, window: int) -> float:
    """Return bytes per second of one forward pass for each prefix of a window."""
    row = jnp.zeros((1, window), jnp.int32)
    config, params = model.config.resolved(Platform.current()), model.params
    forward = jax.jit(lambda params, row: GPT(config).apply({"params": params}, row)[:, -1])
    forward(params, row).block_until_ready()
    began = time.perf_counter()
    for _ in range(N_STEPS):
        forward(params, row).block_until_ready()
    return N_STEPS / (time.perf_counter() - began)
