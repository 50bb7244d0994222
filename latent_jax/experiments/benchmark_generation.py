"""Tokens per second of generation beside Hugging Face transformers: the same weights, in turns."""

import dataclasses
import importlib.metadata
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from latent_jax.generation import Decoder, Sampling, draw, start
from latent_jax.generation.token_writer import CHUNK
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.reports.tables import Column, text_table, write_json

COLUMNS = (
    "peer",
    "version",
    Column("vocab_size", "vocabulary", ",d"),
    "lanes",
    Column("prompt_length", "prompt\nids", ",d"),
    Column("n_new", "new ids\na lane", ",d"),
    "n_parameters",
    "tokens_per_s",
    "greedy_agreement",
    Column("speed_ratio", "times the\npeer's speed", ".2f"),
)

Generate = Callable[[np.ndarray, Sampling], np.ndarray]
"""(prompts int32[B, T], how) -> new ids int32[B, N]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationBenchmark:
    """What is measured. The defaults are a GPT-2 of 3.3M parameters over bytes, float32.

    Attributes:
        vocab_size: ids of the model.
        row_length: its longest row.
        n_layers: blocks.
        d_model: width.
        n_heads: attention heads.
        batch_size: lanes.
        prompt_length: ids of every prompt, random.
        n_new: ids that are drawn, a multiple of `token_writer.CHUNK`.
        n_steps: how often, in turns.
    """

    vocab_size: int = 257
    row_length: int = 512
    n_layers: int = 4
    d_model: int = 256
    n_heads: int = 4
    batch_size: int = 1
    prompt_length: int = 64
    n_new: int = 256
    n_steps: int = 5

    def __post_init__(self):
        """Check ranges."""
        if self.prompt_length < 1 or self.batch_size < 1 or self.n_steps < 1:
            raise ValueError("prompt_length, batch_size and n_steps must be at least 1")
        if self.n_new < CHUNK or self.n_new % CHUNK:
            raise ValueError(f"n_new must be a multiple of {CHUNK}; got {self.n_new}")
        if self.prompt_length + self.n_new > self.row_length:
            raise ValueError(
                f"a prompt of {self.prompt_length} ids and {self.n_new} new ones do not fit into a "
                f"row of {self.row_length}: raise row_length"
            )

    @property
    def model(self) -> GPTConfig:
        """The GPT of both sides."""
        return GPTConfig(
            vocab_size=self.vocab_size,
            max_length=self.row_length,
            n_layers=self.n_layers,
            d_model=self.d_model,
            n_heads=self.n_heads,
        )


def benchmark_generation(benchmark: GenerationBenchmark) -> list[dict[str, Any]]:
    """Return one flat record for each side, the peer first.

    Both draw with temperature 0.9, top-k 50 and top-p 0.95, which is timed, and greedily, which
    shows that they compute the same.

    Raises:
        ValueError: PyTorch or transformers is not installed.
    """
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"this measures against {package}, which is not installed: "
                "python -m pip install -e '.[benchmark]'"
            )
    variables = GPT(benchmark.model).init(jax.random.key(0), np.zeros((1, 1), np.int32))
    # As far from 0 as trained parameters, so that greedy choices are clear.
    variables = jax.tree.map(lambda leaf: 4 * leaf if leaf.ndim > 1 else leaf, variables)
    sides: dict[str, Generate] = {
        "transformers": _hugging_face(benchmark, variables["params"]),
        "latent_jax": _ours(benchmark, variables),
    }
    draws = np.random.default_rng(0)
    shape = (benchmark.batch_size, benchmark.prompt_length)
    prompts = draws.integers(0, benchmark.vocab_size - 1, shape, dtype=np.int32)
    greedy = [generate(prompts, Sampling(0.0)) for generate in sides.values()]
    # A lane of ours ends with the separator, theirs goes on.
    is_open = np.cumsum(greedy[1] == benchmark.vocab_size - 1, axis=1) == 0
    agreement = float(np.mean((greedy[0] == greedy[1])[is_open]))
    seconds: dict[str, list[float]] = {peer: [] for peer in sides}
    for step in range(1 + benchmark.n_steps):
        for peer, generate in sides.items():
            began = time.perf_counter()
            generate(prompts, Sampling())
            if step:
                seconds[peer].append(time.perf_counter() - began)
    pairs = zip(seconds["transformers"], seconds["latent_jax"], strict=True)
    ratio = statistics.median(theirs / ours for theirs, ours in pairs)
    versions = {
        "transformers": importlib.metadata.version("transformers"),
        "latent_jax": f"jax {jax.__version__}",
    }
    n_tokens = benchmark.batch_size * benchmark.n_new
    return [
        {
            "peer": peer,
            "version": versions[peer],
            **dataclasses.asdict(benchmark),
            "lanes": benchmark.batch_size,
            "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(variables)),
            "tokens_per_s": n_tokens / statistics.median(seconds[peer]),
            "greedy_agreement": agreement,
            "speed_ratio": ratio if peer == "latent_jax" else 1.0,
        }
        for peer in sides
    ]


def benchmark_generation_and_print(
    benchmark: GenerationBenchmark, json_path: str | None = None
) -> None:
    """Print `benchmark_generation` as a table, and keep the records if a path is given."""
    records = benchmark_generation(benchmark)
    print(text_table(records, COLUMNS))
    if json_path:
        write_json(records, json_path)


def _ours(benchmark: GenerationBenchmark, variables) -> Generate:
    """Return generation as `TokenWriter` does it: chunks of ids, each brought to the host."""
    # transformers begins with the prompt's first id; here the separator stands before it.
    first = benchmark.vocab_size - 1
    decoder = Decoder(benchmark.model, separator_id=first)

    def generate(prompts: np.ndarray, sampling: Sampling) -> np.ndarray:
        keys = jax.random.split(jax.random.key(0), len(prompts))
        lengths = np.full(len(prompts), benchmark.prompt_length, np.int32)
        lanes = start(decoder, variables, prompts, lengths, n_slots=benchmark.row_length)
        parts = []
        for _ in range(0, benchmark.n_new, CHUNK):
            lanes, drawn = draw(decoder, variables, lanes, keys, sampling, CHUNK)
            parts.append(np.asarray(drawn.ids_BN))
        return np.concatenate(parts, axis=1)

    return generate


def _hugging_face(benchmark: GenerationBenchmark, params) -> Generate:
    import torch

    from latent_jax.experiments.huggingface_gpt import to_hugging_face

    model = to_hugging_face(benchmark.model, params)
    first = benchmark.vocab_size - 1

    def generate(prompts: np.ndarray, sampling: Sampling) -> np.ndarray:
        rows = np.pad(prompts, ((0, 0), (1, 0)), constant_values=first)
        ids = torch.from_numpy(rows).long()
        words: dict[str, Any] = {"do_sample": False}
        if sampling.temperature:
            words = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "top_p": sampling.top_p,
            }
        with torch.inference_mode():
            whole = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=benchmark.n_new,
                min_new_tokens=benchmark.n_new,
                pad_token_id=first,
                use_cache=True,
                **words,
            )
        return whole[:, rows.shape[1] :].numpy()

    return generate
