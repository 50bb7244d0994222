"""Files compressed and restored by tokenizers, and compared with gzip, xz and zstd."""

import gzip
import io
import lzma
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from latent_jax.bars import Bar
from latent_jax.codec import container
from latent_jax.codec.compiling import announced
from latent_jax.codec.header import Header, read_header
from latent_jax.codec.named_file import open_to_read
from latent_jax.codec.new_file import new_file
from latent_jax.codec.reading import ContainerError
from latent_jax.methods.shipped_files import INTEGER_M1, read_integer_m1
from latent_jax.models.integer_byte_model import IntegerByteModel
from latent_jax.spelling import one_line
from latent_jax.tokenizers import AC, Tokenizer, load

SUFFIX = ".latent"
DEFAULT = "AC[v=256]"
"""The method of a file that names none; from the package's integer M1 it needs no JAX."""

COLUMNS = (
    "method",
    "n_bytes",
    "bits_per_byte",
    "encode_mb_per_s",
    "decode_mb_per_s",
    "lossless_share",
)

PEERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip -9": (lambda raw: gzip.compress(raw, 9), gzip.decompress),
    "xz -6": (lambda raw: lzma.compress(raw, preset=6), lzma.decompress),
    "zstd -19": (
        lambda raw: zstandard.ZstdCompressor(level=19).compress(raw),
        lambda packed: zstandard.ZstdDecompressor().decompress(packed),
    ),
}


def open_tokenizer(
    method: str, folder: str = "", m1: str = "", lanes: int = 0, is_exact: bool = True
) -> Tokenizer:
    """Return a saved tokenizer, or the one of a method that learns nothing from a corpus.

    Args:
        method: literature name.
        folder: of a saved tokenizer, for which the other arguments are ignored; "" makes the
            method's.
        m1: file of the byte model; "" = the one in the package.
        lanes: of the byte model; 0 = the platform's choice.
        is_exact: whether the package's integer M1 is taken, or its float one.

    Raises:
        ValueError: the method learns from a corpus, or a file cannot be read.
    """
    if method == DEFAULT and not folder and not m1 and is_exact:
        return AC(IntegerByteModel.from_bytes(read_integer_m1(), lanes=lanes), 256)
    # JAX, which these import, takes longer than a small file.
    from latent_jax.methods import artefacts  # noqa: F401
    from latent_jax.methods.names import parse
    from latent_jax.methods.registry import family
    from latent_jax.methods.tokenizers import make_tokenizer

    if folder:
        return load(Path(folder))
    parsed = parse(method)
    if family(parsed.family).is_learned(parsed):
        raise ValueError(
            f"{parsed} is learned from text: compress and decompress take the folder of a saved "
            "one with --tokenizer, such as runs/NAME/tokenizer"
        )
    if is_exact and not m1 and family(parsed.family).is_driven(parsed):
        m1 = INTEGER_M1
    return make_tokenizer(parsed, m1=m1, lanes=lanes)


def compress_file(
    path: Path, out: Path, make: Callable[[], Tokenizer], verify: bool = True
) -> None:
    """Compress one file of any size, or what comes out of a pipe.

    Args:
        path: of the file.
        out: is made, and is there only when all is well.
        make: returns the tokenizer; called when files have proved good, because it may take long.
        verify: decode what was written, and compare, before `out` appears.

    Raises:
        ValueError: the file cannot be read or does not come back from what was written, `out`
            exists, or the tokenizer is not made to give every text back.
    """
    with open_to_read(path) as source, new_file(out) as target, announced():
        tokenizer = make()
        if not tokenizer.is_lossless:
            raise ValueError(
                f"{tokenizer.name} does not give every text back, and a file must come back: give "
                "another rule, such as rule=exact; launch/compress.py table measures this one"
            )
        size = os.fstat(source.fileno()).st_size or None  # a pipe does not say
        raw = sum(_bar(container.compress(source, target, tokenizer), size, path))
        packed = target.tell()
        if verify:
            _verify(target, path, out, tokenizer, raw)
    rate = f", {8 * packed / raw:.3f} bits per byte" if raw else ""
    checked = "" if verify else ", not verified"
    print(f"{one_line(str(out))}: {packed:,} of {raw:,} bytes{rate}{checked}")


def _verify(packed: BinaryIO, path: Path, out: Path, tokenizer: Tokenizer, n_bytes: int) -> None:
    """Decode a container; it knows the SHA-256 of what was compressed."""
    packed.seek(0)
    try:
        header = read_header(packed, str(out))
        blocks = container.decompress(packed, _Nowhere(), tokenizer, header, str(out))
        for _ in _bar(blocks, n_bytes, f"verify {path}"):
            pass
    except ValueError as error:
        raise ValueError(
            f"{path} was not compressed: {tokenizer.name} does not give it back ({error}). Use "
            "another --method, such as GZip[v=256], and report this one"
        ) from error


class _Nowhere(io.RawIOBase):
    """Takes bytes and keeps none."""

    def write(self, content: Any) -> int:
        """Return how many they were."""
        return len(content)


def decompress_file(path: Path, out: Path, folder: str = "", m1: str = "") -> None:
    """Restore one file.

    Raises:
        ValueError: the file is not a compressed one, is cut short or damaged, its tokenizer cannot
            be made, or `out` exists. Nothing is written then.
    """
    name = one_line(str(path))
    with open_to_read(path) as source, new_file(out) as target, announced():
        header = read_header(source, name)
        tokenizer = None
        if header.method:
            tokenizer = _tokenizer_of(header, path, folder, m1)
        blocks = container.decompress(source, target, tokenizer, header, name)
        n_bytes = sum(_bar(blocks, None, path))
    print(f"{one_line(str(out))}: {n_bytes:,} bytes")


def _tokenizer_of(header: Header, path: Path, folder: str, m1: str) -> Tokenizer:
    """Return the tokenizer that a file asks for; what is wrong with that is said of the file.

    What a header cannot say of its method is refused before a tokenizer is made.
    """
    try:
        if not folder and (header.method, bool(header.model)) != (DEFAULT, True):
            # JAX, which these import, takes longer than a small file.
            from latent_jax.codec.asked import check_asked
            from latent_jax.methods.names import parse

            check_asked(header, parse(header.method), m1)
        return open_tokenizer(header.method, folder, m1, header.lanes, bool(header.model))
    except ValueError as error:
        raise ContainerError(
            f"{one_line(str(path))} asks for {header.method[:80]}: {error}"
        ) from error


def compare_files(
    paths: Sequence[Path],
    methods: Sequence[str],
    *,
    max_bytes: int = 0,
    verify: bool = False,
    m1: str = "",
    lanes: int = 0,
    json_path: str | None = None,
) -> list[dict[str, Any]]:
    """Print bits per byte and speed of methods on files, beside gzip, xz and zstd.

    Args:
        paths: files; each is compressed by itself.
        methods: literature names.
        max_bytes: bytes to read of each file; 0 = all.
        verify: whether to restore every file and compare it.
        m1: file of the byte model; "" = the one in the package.
        lanes: of the byte model; 0 = the platform's choice.
        json_path: file that also gets the unrounded records.

    Returns:
        The records.

    Raises:
        ValueError: a name is wrong, a file cannot be read, or all are empty.
    """
    from latent_jax.reports.tables import text_table, write_table

    raws = []
    for path in paths:
        with open_to_read(path) as file:
            raws.append(file.read(max_bytes or -1))
    if not any(raws):
        raise ValueError(f"{' '.join(map(str, paths))}: there is no byte to measure bits of")
    records = []
    for name, (pack, unpack) in PEERS.items():
        records.append(_measure(name, raws, pack, unpack, verify))
    for method in methods:
        tokenizer = open_tokenizer(method, m1=m1, lanes=lanes)
        tokenizer.decode(tokenizer.encode(b"what is compiled is compiled now"))
        records.append(_measure(tokenizer.name, raws, *_packers(tokenizer), verify))
    print(text_table(records, COLUMNS if verify else COLUMNS[:4]))
    if json_path:
        write_table(records, json_path)
    return records


def _packers(tokenizer: Tokenizer) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Return compression and decompression of bytes by a tokenizer."""
    name = tokenizer.name

    def pack(raw):
        target = io.BytesIO()
        for _ in _bar(container.compress(io.BytesIO(raw), target, tokenizer), len(raw), name):
            pass
        return target.getvalue()

    def unpack(packed):
        source, target = io.BytesIO(packed), io.BytesIO()
        header = read_header(source, name)
        for _ in container.decompress(source, target, tokenizer, header, name):
            pass
        return target.getvalue()

    return pack, unpack


def _measure(name, raws, pack, unpack, verify) -> dict[str, Any]:
    start = time.perf_counter()
    packed = [pack(raw) for raw in raws]
    seconds = time.perf_counter() - start
    n_bytes = sum(map(len, raws))
    record = {
        "method": name,
        "n_files": len(raws),
        "n_bytes": n_bytes,
        "bits_per_byte": 8 * sum(map(len, packed)) / n_bytes,
        "encode_mb_per_s": n_bytes / seconds / 1e6,
    }
    if verify:
        start = time.perf_counter()
        restored = [unpack(content) for content in packed]
        record["decode_mb_per_s"] = n_bytes / (time.perf_counter() - start) / 1e6
        same = [a == b for a, b in zip(raws, restored, strict=True)]
        record["lossless_share"] = sum(same) / len(same)
    return record


def _bar(blocks: Iterator[int], total: int | None, label: Any) -> Iterator[int]:
    """Yield the bytes of each block, with a progress bar."""
    with Bar(one_line(str(label)), total, "B") as bar:
        for n_bytes in blocks:
            bar.update(n_bytes)
            yield n_bytes
