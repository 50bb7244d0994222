"""Speed of the compiled code, compared with tiktoken and Hugging Face's tokenizers, in turns."""

import importlib.metadata
import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.data import DataConfig, open_corpus
from latent_jax.json_files import Kind, read_json
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import text_table, write_table
from latent_jax.tokenizers import BPE, CompiledCode
from latent_jax.tokenizers.bpe import byte_alphabet

N_TURNS = 5
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

COLUMNS = (
    "peer",
    Column("version", "version"),
    Column("threads", "threads", "d"),
    "bytes_per_token",
    "encode_mb_per_s",
    "decode_mb_per_s",
    Column("speed_ratio", "encode over\ntiktoken", ".2f"),
)

Job = Callable[[], Any]


def benchmark_tokenizers(
    files: Sequence[str],
    vocab_file: str,
    merges_file: str,
    *,
    text_field: str = "text",
    max_bytes: int = 0,
    json_path: str | None = None,
) -> list[dict[str, Any]]:
    """Print and return the speed of the compiled code and of its peers.

    Args:
        files: the text.
        vocab_file: GPT-2's vocab.json.
        merges_file: GPT-2's merges.txt.
        text_field: of .jsonl files.
        max_bytes: of the text; 0 = all.
        json_path: file that also gets the unrounded records.

    Raises:
        ValueError: tiktoken is not installed, or a file cannot be read.
    """
    if importlib.util.find_spec("tiktoken") is None:
        raise ValueError(
            "this measures against tiktoken, which is not installed: "
            "python -m pip install -e '.[benchmark]'"
        )
    texts = read_texts(files, text_field, max_bytes)
    code = make_tokenizer(parse("EqualInfoAC[b=16,v=65k]"), None)
    if not isinstance(code, CompiledCode):
        raise ValueError("the package carries no compiled code: python launch/prepare.py compile")
    jobs = {
        **_own_jobs(code, texts),
        **_tiktoken_jobs(_tiktoken(vocab_file), texts),
        **_hugging_face_jobs(BPE.from_files(Path(vocab_file), Path(merges_file)), texts),
    }
    seconds = _in_turns({key: job for key, (job, _) in jobs.items()})
    n_bytes = sum(map(len, texts))
    records = []
    for (peer, threads, what), (_, n_ids) in jobs.items():
        if what != "encode":
            continue
        encode = seconds[peer, threads, "encode"]
        record = {
            "peer": peer,
            "version": _version(peer),
            "threads": threads,
            "n_bytes": n_bytes,
            "bytes_per_token": n_bytes / n_ids,
            "encode_mb_per_s": n_bytes / statistics.median(encode) / 1e6,
            "speed_ratio": statistics.median(
                theirs / ours
                for theirs, ours in zip(seconds["tiktoken", threads, "encode"], encode, strict=True)
            ),
        }
        if decode := seconds.get((peer, threads, "decode")):
            record["decode_mb_per_s"] = n_bytes / statistics.median(decode) / 1e6
        records.append(record)
    print(text_table(records, COLUMNS))
    if json_path:
        write_table(records, json_path)
    return records


def read_texts(files: Sequence[str], text_field: str, max_bytes: int) -> list[bytes]:
    """Return the documents of files, up to the one that reaches `max_bytes` bytes; 0 = all."""
    words = dict(source="files", files=tuple(files), text_field=text_field)
    corpus = open_corpus(DataConfig(**words, validation_percent=0.0, test_percent=0.0))
    return [document.text for document in corpus.documents("train", max_bytes)]


def _own_jobs(code: CompiledCode, texts: Sequence[bytes]) -> dict:
    ids = [code.encode(text) for text in texts]
    n_ids = sum(map(len, ids))
    joined = np.concatenate(ids)
    return {
        (code.name, 1, "encode"): (lambda: [code.encode(text) for text in texts], n_ids),
        (code.name, 1, "decode"): (lambda: code.decode(joined), n_ids),
        (code.name, 2, "encode"): (lambda: code.encode_batch(texts, n_threads=2), n_ids),
    }


def _tiktoken(vocab_file: str) -> Any:
    import tiktoken

    vocab = read_json(vocab_file, Kind(items=int))
    byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    ranks = {
        bytes(byte_of[character] for character in token): rank
        for token, rank in vocab.items()
        if token != "<|endoftext|>"
    }
    return tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})


def _tiktoken_jobs(encoding: Any, texts: Sequence[bytes]) -> dict:
    strings = [text.decode("utf-8", "replace") for text in texts]
    ids = [encoding.encode_ordinary(string) for string in strings]
    n_ids = sum(map(len, ids))
    joined = [id_ for part in ids for id_ in part]
    return {
        ("tiktoken", 1, "encode"): (
            lambda: [encoding.encode_ordinary(string) for string in strings],
            n_ids,
        ),
        ("tiktoken", 1, "decode"): (lambda: encoding.decode_bytes(joined), n_ids),
        ("tiktoken", 2, "encode"): (
            lambda: encoding.encode_ordinary_batch(strings, num_threads=2),
            n_ids,
        ),
    }


def _hugging_face_jobs(bpe: BPE, texts: Sequence[bytes]) -> dict:
    strings = [text.decode("utf-8", "replace") for text in texts]
    model = bpe.model
    n_ids = sum(len(model.encode(string, add_special_tokens=False).ids) for string in strings)
    return {
        ("tokenizers", 1, "encode"): (
            lambda: [model.encode(string, add_special_tokens=False).ids for string in strings],
            n_ids,
        ),
    }


def _in_turns(jobs: dict[Any, Job]) -> dict[Any, list[float]]:
    """Return seconds of each job in each turn, after one turn that is not counted."""
    seconds = {key: [] for key in jobs}
    for turn in range(N_TURNS + 1):
        for key, job in jobs.items():
            start = time.perf_counter()
            job()
            if turn:
                seconds[key].append(time.perf_counter() - start)
    return seconds


def _version(peer: str) -> str:
    package = peer if peer in ("tiktoken", "tokenizers") else "latent_jax"
    return importlib.metadata.version(package)
