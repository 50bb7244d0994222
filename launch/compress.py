"""Compress any file through a tokenizer, and restore it bit for bit.

    python launch/compress.py compress book.txt
    python launch/compress.py decompress book.txt.latent --out copy.txt
    python launch/compress.py table book.txt photo.png --verify --methods 'AC[v=256],GZip[v=256]'

    method                    bits per byte of English    speed on two cores
    AC[v=256], the default    2.1                         some 15 kB/s each way, 8 kB in seconds
    EqualInfoAC[b=128,v=256]  2.2                         likewise, after the import of JAX
    EqualInfoAC[b=16,v=65k]   3.2                         20 MB/s, 60 MB/s back, after that import
    GZip[v=256]               4.0                         as gzip; xz -6 needs 2.3 and 2 MB/s

`compress` writes FILE.latent: method, digest of the byte model or fingerprint, checksums and the
ids. What AC and windows make with the package's byte model opens on every machine, because that
model is in integers; only text like English gets smaller than by xz. `decompress` refuses what is
foreign, cut short or damaged, and leaves no partial output. `table` prints bits per byte and MB/s
beside gzip, xz and zstd. Commas inside brackets belong to the name.
"""

import re
from pathlib import Path

from absl import flags

from latent_jax.codec.compress import (
    DEFAULT,
    SUFFIX,
    compare_files,
    compress_file,
    decompress_file,
    open_tokenizer,
)
from latent_jax.command_line import run_verbs

METHOD = flags.DEFINE_string(
    "method", DEFAULT, "Literature name; launch/prepare.py methods lists them."
)
METHODS = flags.DEFINE_string(
    "methods", "GZip[v=256],AC[v=256],EqualInfoAC[b=16,v=65k]", "Literature names between commas."
)
TOKENIZER = flags.DEFINE_string(
    "tokenizer", "", "Folder of a saved tokenizer, instead of --method and --m1."
)
M1 = flags.DEFINE_string(
    "m1", "", "Byte model of coders, a file; by default the shipped one, in integers."
)
LANES = flags.DEFINE_integer(
    "lanes", 0, "Texts that M1 reads side by side; 0 = the platform's choice."
)
OUT = flags.DEFINE_string("out", None, "File to write; by default FILE.latent, or without it.")
MAX_BYTES = flags.DEFINE_integer("max_bytes", 0, "Raw bytes of each file; 0 = all.")
VERIFY = flags.DEFINE_bool("verify", False, "Restore every file and compare.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")


def compress(paths, out, method="", **words):
    """Write FILE.latent."""
    path = _one(paths)
    compress_file(path, Path(out or f"{path}{SUFFIX}"), open_tokenizer(method, **words))


def decompress(paths, out, **words):
    """Write the file again."""
    path = _one(paths)
    if not out and path.suffix != SUFFIX:
        raise ValueError(f"{path} does not end with {SUFFIX}: name the output with --out")
    decompress_file(path, Path(out or path.with_suffix("")), **words)


def table(paths, methods, **words):
    """Compare methods."""
    compare_files(paths, re.split(r",(?![^\[]*\])", methods), **words)


def _one(paths):
    if len(paths) > 1:
        raise ValueError(f"one file at a time; got {' '.join(map(str, paths))}")
    return paths[0]


SAVED = dict(out=OUT, folder=TOKENIZER)

CASES = {
    "compress": (compress, dict(out=OUT, method=METHOD, m1=M1, lanes=LANES)),
    "compress --tokenizer": (compress, SAVED),
    "decompress": (decompress, dict(out=OUT, m1=M1)),
    "decompress --tokenizer": (decompress, SAVED),
    "table": (
        table,
        dict(
            methods=METHODS,
            max_bytes=MAX_BYTES,
            verify=VERIFY,
            m1=M1,
            lanes=LANES,
            json_path=JSON,
        ),
    ),
}

if __name__ == "__main__":
    run_verbs(CASES, takes_files=True, is_alone=True)
