"""Speed of generation, compared with Hugging Face transformers: the same weights, in turns.

Both run on the same kind of device, in the platform's dtype. If transformers is not installed, only
this project's generation is measured, and the records say so.
"""

import dataclasses
import importlib.metadata
import importlib.util
import itertools
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from latent_jax.generation import Sampling, TokenDecoder, draw, start
from latent_jax.generation.token_writer import CHUNK
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.platform import Platform
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import keep_each, kept_records, text_table

logger = logging.getLogger(__name__)

COLUMNS = (
    "peer",
    "version",
    Column("vocab_size", "vocabulary", ",d"),
    "lanes",
    "dtype",
    Column("prompt_length", "prompt\nids", ",d"),
    Column("n_new", "new ids\na lane", ",d"),
    "n_parameters",
    "tokens_per_s",
)
BYTE_COLUMNS = ("bytes_per_id", "new_bytes_per_s", "ms_per_100_bytes")
PEER_COLUMNS = (
    "greedy_agreement",
    Column("speed_ratio", "times the\npeer's speed", ".2f"),
)

PEER_PACKAGES = ("torch", "transformers")
VERSIONS = {
    "transformers": lambda: importlib.metadata.version("transformers"),
    "latent_jax": lambda: f"jax {jax.__version__}",
}

Generate = Callable[[np.ndarray, Sampling], np.ndarray]
"""(prompts int32[B, T], sampling) -> new ids int32[B, N]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationBenchmark:
    """The settings of the benchmark. The defaults are a GPT-2 of 3.3M parameters over bytes.

    Attributes:
        vocab_size: ids of the model.
        row_length: its longest row.
        n_layers: blocks.
        d_model: width.
        n_heads: attention heads.
        lanes: numbers of texts that are drawn at the same time; one measurement for each.
        prompt_length: ids of every prompt, random.
        n_new: ids that are drawn, a multiple of `token_writer.CHUNK`.
        n_steps: turns; each side generates once per turn.
        bytes_per_id: raw bytes that an id of some code stands for in real text; 0 = not known. With
            it the records say bytes per second, and how long 100 bytes take at this rate.
    """

    vocab_size: int = 257
    row_length: int = 512
    n_layers: int = 4
    d_model: int = 256
    n_heads: int = 4
    lanes: tuple[int, ...] = (1,)
    prompt_length: int = 64
    n_new: int = 256
    n_steps: int = 5
    bytes_per_id: float = 0.0

    def __post_init__(self):
        """Check ranges."""
        if min(self.prompt_length, self.n_steps, *self.lanes) < 1:
            raise ValueError("prompt_length, lanes and n_steps must be at least 1")
        if self.bytes_per_id < 0:
            raise ValueError(f"bytes_per_id must not be negative; got {self.bytes_per_id}")
        if self.n_new < CHUNK or self.n_new % CHUNK:
            raise ValueError(f"n_new must be a multiple of {CHUNK}; got {self.n_new}")
        if self.prompt_length + self.n_new > self.row_length:
            raise ValueError(
                f"a prompt of {self.prompt_length} ids and {self.n_new} new ones do not fit into a "
                f"row of {self.row_length}: raise row_length"
            )

    def model(self, platform: Platform) -> GPTConfig:
        """Return the GPT of both sides."""
        config = GPTConfig(
            vocab_size=self.vocab_size,
            max_length=self.row_length,
            n_layers=self.n_layers,
            d_model=self.d_model,
            n_heads=self.n_heads,
            dtype=platform.dtype,
            attention_implementation="auto",
            scan_unroll=0,
        )
        return config.resolved(platform)


def benchmark_generation(
    benchmark: GenerationBenchmark, platform: Platform | None = None
) -> Iterator[dict[str, Any]]:
    """Yield flat records for each number of lanes: the peer's, if it is installed, and ours.

    The timed draws have temperature 0.9, top-k 50 and top-p 0.95. Both sides also draw greedily,
    which shows that they compute the same; in bfloat16, choices that are nearly even may differ.

    Args:
        benchmark: the settings.
        platform: decides dtype and attention; None = the platform of this process.
    """
    config = benchmark.model(platform or Platform.current())
    variables = GPT(config).init(jax.random.key(0), np.zeros((1, 1), np.int32))
    # Scale weights to the size of trained ones, so that greedy choices are clear.
    variables = jax.tree.map(lambda leaf: 4 * leaf if leaf.ndim > 1 else leaf, variables)
    missing = [name for name in PEER_PACKAGES if importlib.util.find_spec(name) is None]
    sides: dict[str, Generate] = {}
    if not missing:
        sides["transformers"] = _hugging_face(benchmark, config, variables["params"])
    sides["latent_jax"] = _ours(benchmark, config, variables)
    left_out = ("lanes",) if benchmark.bytes_per_id else ("lanes", "bytes_per_id")
    shared = {
        **{k: value for k, value in dataclasses.asdict(benchmark).items() if k not in left_out},
        "dtype": config.dtype,
        "device": jax.devices()[0].device_kind,
        "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(variables)),
        **({"no_peer": f"{' and '.join(missing)} not installed"} if missing else {}),
    }
    for n_lanes in benchmark.lanes:
        for record in _measured(benchmark, n_lanes, sides):
            yield {**shared, **record}


def _measured(
    benchmark: GenerationBenchmark, n_lanes: int, sides: Mapping[str, Generate]
) -> list[dict[str, Any]]:
    """Return the records of one number of lanes, without the keys that all records share."""
    draws, separator = np.random.default_rng(0), benchmark.vocab_size - 1
    shape = (n_lanes, benchmark.prompt_length)
    prompts = draws.integers(0, separator, shape, dtype=np.int32)
    compared = {}
    if "transformers" in sides:
        theirs, ours = (generate(prompts, Sampling(0.0)) for generate in sides.values())
        # Our lanes end with the separator, those of transformers go on: compare up to there.
        is_open = np.cumsum(ours == separator, axis=1) == 0
        compared["greedy_agreement"] = float(np.mean((theirs == ours)[is_open]))
    seconds: dict[str, list[float]] = {peer: [] for peer in sides}
    for step in range(1 + benchmark.n_steps):
        for peer, generate in sides.items():
            began = time.perf_counter()
            generate(prompts, Sampling())
            if step:
                seconds[peer].append(time.perf_counter() - began)
    records = []
    for peer in sides:
        if "transformers" in sides:
            pairs = zip(seconds["transformers"], seconds[peer], strict=True)
            compared["speed_ratio"] = statistics.median(theirs / own for theirs, own in pairs)
        record = {
            "peer": peer,
            "version": VERSIONS[peer](),
            "lanes": n_lanes,
            "tokens_per_s": n_lanes * benchmark.n_new / statistics.median(seconds[peer]),
            **compared,
        }
        if benchmark.bytes_per_id:
            record["new_bytes_per_s"] = benchmark.bytes_per_id * record["tokens_per_s"]
            record["ms_per_100_bytes"] = 1e5 * n_lanes / record["new_bytes_per_s"]
        logger.info("%s, %d lanes: %.0f tokens/s", peer, n_lanes, record["tokens_per_s"])
        records.append(record)
    return records


def benchmark_generation_and_print(
    benchmark: GenerationBenchmark, json_path: str | None = None, append: bool = False
) -> None:
    """Print `benchmark_generation` as a table, and keep the records if a path is given.

    Args:
        benchmark: the settings.
        json_path: file for the records.
        append: whether they are added to those of the file.
    """
    kept = kept_records(json_path, append)
    measured = benchmark_generation(benchmark)
    records = keep_each(itertools.chain(kept, measured), json_path)[len(kept) :]
    columns = (*COLUMNS, *(BYTE_COLUMNS if benchmark.bytes_per_id else ()))
    if "no_peer" in records[0]:
        print(text_table(records, columns))
        print(f"no peer: {records[0]['no_peer']}; python -m pip install -e '.[benchmark]'")
    else:
        print(text_table(records, (*columns, *PEER_COLUMNS)))


def _ours(benchmark: GenerationBenchmark, config: GPTConfig, variables) -> Generate:
    """Return generation as `TokenWriter` does it: chunks of ids, each brought to the host."""
    # transformers begins with the prompt's first id; here the separator stands before it.
    first = benchmark.vocab_size - 1
    decoder = TokenDecoder(config, separator_id=first)

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


def _hugging_face(benchmark: GenerationBenchmark, config: GPTConfig, params) -> Generate:
    """Return transformers' generation, on the kind of device that JAX has."""
    import torch

    from latent_jax.bench.huggingface_gpt import to_transformers
    from latent_jax.bench.torch_gpt import torch_device

    device = torch_device()
    model = to_transformers(config, params).to(device, getattr(torch, config.dtype))
    first = benchmark.vocab_size - 1

    def generate(prompts: np.ndarray, sampling: Sampling) -> np.ndarray:
        rows = np.pad(prompts, ((0, 0), (1, 0)), constant_values=first)
        ids = torch.from_numpy(rows).long().to(device)
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
        return whole[:, rows.shape[1] :].cpu().numpy()

    return generate
