"""A corpus encoded once into rows of ids, for tokenizers that are slower than training."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.bars import Bar
from latent_jax.codec.measure import cut_texts, join_and_cut
from latent_jax.contracts import FieldSpec
from latent_jax.data import Corpus, DataConfig, open_corpus
from latent_jax.data.documents import CorpusError
from latent_jax.data.packing import Lane, RowLayout
from latent_jax.data.pipeline import FirstBytes
from latent_jax.data.rows import DONE, PLAN, PLAN_KIND, TOKENIZER, write_rows
from latent_jax.folder_lock import hold
from latent_jax.json_files import Kind, read_json, write_sealed
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.tokenizers import Tokenizer, load
from latent_jax.tokenizers.base import ended
from latent_jax.tokenizers.bit_tokenizer import encode_batches
from latent_jax.tokenizers.promises import check_encoded

SHARD_DOCUMENTS = 256

_SHARD = Kind(
    keys=dict.fromkeys(("n_rows", "n_tokens", "n_bytes", "n_documents", "raw_bytes"), int)
    | {"seconds": float},
    maybe={"files": dict},
    error=CorpusError,
    way_out="remove it, and the same command makes its rows again",
)

Row = tuple[np.ndarray, int, int]
Encoded = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How rows are made.

    Attributes:
        tokenizer: literature name.
        row_length: ids in a row.
        example_bytes: 0 packs whole documents, with separators between them, into full rows.
            Otherwise documents are joined and cut into examples of so many bytes, each encoded by
            itself, and a row is the beginning of an example (the paper: 10,240).
        cut_bytes: cut documents into texts of at most so many bytes, with separators between them;
            0 = do not cut. Many short texts are coded side by side, one long text is not.
        split_bytes: the splits to encode, and how many raw bytes of each, 0 = all; {} = all splits,
            whole.
        m1: file of the byte model; "" = the one in the package.
        lanes: texts that it reads side by side; 0 = as many as the folder was begun with, or the
            platform's choice for a new one.
        process: number of this process, from 0: each process makes its share of the files.
        n_processes: processes that work at the same time, on one machine or several that share a
            disk.
    """

    tokenizer: str
    row_length: int = 512
    example_bytes: int = 0
    cut_bytes: int = 0
    split_bytes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    m1: str = ""
    lanes: int = 0
    process: int = 0
    n_processes: int = 1

    def __post_init__(self):
        """Check ranges."""
        if self.row_length < 1 or self.example_bytes < 0 or self.cut_bytes < 0:
            raise ValueError(
                "row_length must be at least 1, example_bytes and cut_bytes at least 0"
            )
        if self.example_bytes and self.cut_bytes:
            raise ValueError("example_bytes cuts joined documents: leave cut_bytes 0")
        if not 0 <= self.process < self.n_processes:
            raise ValueError(
                f"process must be from 0 to n_processes - 1 = {self.n_processes - 1}; "
                f"got {self.process}"
            )


def encode_corpus(config: EncodeConfig, data: DataConfig, out: str | Path) -> bool:
    """Write the rows of one tokenizer; see `encode_corpora`."""
    return encode_corpora([config], data, [out])


def encode_corpora(
    configs: Sequence[EncodeConfig], data: DataConfig, outs: Sequence[str | Path]
) -> bool:
    """Write the rows of every split, or go on where an earlier call stopped.

    Args:
        configs: one, or several that differ in the width of tokens only; M1 then runs once for all.
        data: the corpus.
        outs: a folder for each config; see `latent_jax.data.rows`.

    Returns:
        Whether the folders are complete now; other processes may still be at work.

    Raises:
        ValueError: a folder was begun with another corpus, tokenizer or rows, another process makes
            the same files of it, or the tokenizers do not share their bits.
    """
    for one in configs:
        if family(parse(one.tokenizer).family).reads_problems:
            raise ValueError(
                f"{one.tokenizer} reads rows of problems, which are encoded while it trains: there "
                "is nothing to encode beforehand"
            )
    corpus = open_corpus(data)
    config, folders = configs[0], [Path(out) for out in outs]
    with contextlib.ExitStack() as opened:
        for out in folders:
            # Those that share a folder have a share of the files each, and a lock each.
            lock = f"lock-{config.process}-of-{config.n_processes}.json"
            opened.enter_context(hold(out, "the rows of one text", lock))
        # What was begun is read when nobody else can change it.
        makers = [
            make_tokenizer(parse(c.tokenizer), corpus, m1=c.m1, lanes=c.lanes or _begun_lanes(out))
            for c, out in zip(configs, folders, strict=True)
        ]
        for one, tokenizer in zip(configs, makers, strict=True):
            _check_fields(one, tokenizer)
        return _encode(corpus, configs, folders, makers)


def _check_fields(config: EncodeConfig, tokenizer: Tokenizer) -> None:
    """Refuse a code whose rows hold more than ids."""
    more = sorted({*tokenizer.fields} - {"ids"})
    if more:
        raise ValueError(
            f"rows of {config.tokenizer} hold {' and '.join(more)} beside ids, and encoded rows "
            "hold ids alone: train it on the text itself, which is encoded while it trains"
        )


def _encode(
    corpus: Corpus,
    configs: Sequence[EncodeConfig],
    folders: Sequence[Path],
    makers: Sequence[Tokenizer],
) -> bool:
    """Do what `encode_corpora` says, in folders where no other process does the same."""
    config = configs[0]
    for out, one, tokenizer in zip(folders, configs, makers, strict=True):
        _check_plan(out, _plan(one, corpus, tokenizer))
        tokenizer.save(out / TOKENIZER)
    splits = {
        split: FirstBytes(corpus.split(split), config.split_bytes.get(split, 0))
        for split in config.split_bytes or corpus.n_documents
    }
    shards = [
        (split, number, start)
        for split, documents in splits.items()
        for number, start in enumerate(range(0, len(documents), SHARD_DOCUMENTS))
    ]
    mine = shards[config.process :: config.n_processes]
    n_bytes = sum(config.split_bytes.get(s) or corpus.n_bytes[s] for s in splits)
    with Bar("encoding", n_bytes // config.n_processes, "B", stays=True) as bar:
        for split, number, start in mine:
            documents = splits[split]
            stop = min(start + SHARD_DOCUMENTS, len(documents))
            texts = [documents[i].text for i in range(start, stop)]
            paths = [_path(out, split, number) for out in folders]
            if not all(path.exists() and path.with_suffix(".json").exists() for path in paths):
                _write_shard(texts, makers, configs, paths)
            bar.update(sum(map(len, texts)))
    return all([_finish(out, shards) for out in folders])


def _write_shard(
    texts: Sequence[bytes],
    makers: Sequence[Tokenizer],
    configs: Sequence[EncodeConfig],
    paths: Sequence[Path],
) -> None:
    """Encode some documents and write their rows, one file for each tokenizer."""
    began, config = time.monotonic(), configs[0]
    pieces = join_and_cut(texts, config.example_bytes) if config.example_bytes else texts
    if config.cut_bytes:
        pieces = cut_texts(texts, config.cut_bytes)
    encoded = [makers[0].encode_batch(pieces)] if len(makers) == 1 else None
    for number, encodings in enumerate(encoded or encode_batches(makers, pieces)):
        for text, (ids, byte_lengths) in zip(pieces, encodings, strict=True):
            check_encoded(makers[number], text, ids, byte_lengths)
        one, rows = configs[number], _beginnings if config.example_bytes else _packed
        sums = write_rows(paths[number], rows(encodings, makers[number].separator_id, one))
        write_sealed(
            paths[number].with_suffix(".json"),
            {
                **sums,
                "n_documents": len(texts),
                "raw_bytes": sum(map(len, texts)),
                "seconds": time.monotonic() - began,
            },
        )


def _plan(config: EncodeConfig, corpus: Corpus, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "method": str(parse(config.tokenizer)),
        "tokenizer": tokenizer.fingerprint(),
        "corpus": corpus.fingerprint,
        "row_length": config.row_length,
        "example_bytes": config.example_bytes,
        "cut_bytes": config.cut_bytes,
        "split_bytes": dict(config.split_bytes),
        "separator_id": tokenizer.separator_id,
        "tokenizer_flops_per_byte": tokenizer.flops_per_byte,
    }


def _begun_lanes(out: Path) -> int:
    """Return the lanes of the byte model that a folder was begun with; 0 = there is none."""
    folder = out / TOKENIZER
    return load(folder).lanes if folder.exists() else 0


def _check_plan(out: Path, plan: dict[str, Any]) -> None:
    """Write the plan of a new folder, or compare it with the plan that is there."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / PLAN
    if not path.exists():
        write_sealed(path, plan)
        return
    begun = read_json(path, PLAN_KIND)
    different = [key for key in plan if begun.get(key) != plan[key]]
    if different:
        listed = ", ".join(f"{key}: {begun.get(key)} then, {plan[key]} now" for key in different)
        raise ValueError(f"{out} was begun with another plan ({listed}): choose another --out")


def _packed(encoded: Encoded, separator_id: int, config: EncodeConfig) -> Iterator[Row]:
    """Yield rows of whole texts, each followed by the separator; the last one is padded."""
    lane = Lane([ended(*document, separator_id) for document in encoded], first=0, stride=1)
    layout = RowLayout(config.row_length, {"ids": FieldSpec(padding=separator_id)}, ("bytes",))
    while True:
        row, n_ids = lane.row(layout)
        if not n_ids:
            return
        yield row["ids"], n_ids, int(row["n_bytes"])


def _beginnings(encoded: Encoded, separator_id: int, config: EncodeConfig) -> Iterator[Row]:
    """Yield one row for each example; ids that do not fit into it are left out."""
    for ids, lengths in encoded:
        row = np.full(config.row_length, separator_id, np.int32)
        n_ids = min(len(ids), config.row_length)
        row[:n_ids] = ids[:n_ids]
        yield row, n_ids, int(lengths[:n_ids].sum())


def _path(out: Path, split: str, number: int) -> Path:
    return out / f"{split}-{number:05d}.array_record"


def _finish(out: Path, shards: Sequence[tuple[str, int, int]]) -> bool:
    """Write the sums if every file is there; return whether it is."""
    sums: dict[str, dict[str, float]] = {}
    files: dict[str, Any] = {}
    for split, number, _ in shards:
        path = _path(out, split, number).with_suffix(".json")
        if not path.exists():
            return False
        made = read_json(path, _SHARD)
        files |= made.pop("files", {})
        for key, value in made.items():
            by_split = sums.setdefault(key, {})
            by_split[split] = by_split.get(split, 0) + value
    write_sealed(out / DONE, {**sums, "files": files})
    raw, seconds = sum(sums["raw_bytes"].values()), sum(sums["seconds"].values())
    ratio = sum(sums["n_bytes"].values()) / sum(sums["n_tokens"].values())
    n_rows = sum(sums["n_rows"].values())
    print(
        f"wrote {out}: {n_rows:,} rows, {ratio:.3f} bytes per id, {raw / 1e6:.2f} MB of text at "
        f"{raw / seconds / 1e6:.3g} MB/s of one process"
    )
    return True
