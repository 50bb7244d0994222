"""Compress any file through a tokenizer, and restore it bit for bit.

    python launch/compress.py compress book.txt --method 'AC[v=256]'
    python launch/compress.py decompress book.txt.latent --out copy.txt
    python launch/compress.py table book.txt photo.png --verify --methods 'AC[v=256],GZip[v=256]'

`compress` writes FILE.latent: method, fingerprint, checksums and the ids. `decompress` refuses what
is foreign, cut short or damaged, and leaves no partial output. `table` prints bits per byte and
MB/s beside gzip, xz and zstd. Commas inside brackets belong to the name.
"""

import re
from pathlib import Path

from absl import flags

from latent_jax.experiments.command_line import run_command
from latent_jax.experiments.compress import (
    SUFFIX,
    compare_files,
    compress_file,
    decompress_file,
    open_tokenizer,
)

METHOD = flags.DEFINE_string("method", "AC[v=256]", "compress: literature name.")
METHODS = flags.DEFINE_string(
    "methods",
    "GZip[v=256],AC[v=256],EqualInfoAC[b=16,v=65k]",
    "table: literature names between commas.",
)
TOKENIZER = flags.DEFINE_string(
    "tokenizer", "", "Folder of a saved tokenizer, instead of --method."
)
M1 = flags.DEFINE_string("m1", "", "Byte model of coders, a file; by default the shipped one.")
LANES = flags.DEFINE_integer(
    "lanes", 0, "compress, table: texts that M1 reads side by side; 0 = the platform's choice."
)
OUT = flags.DEFINE_string("out", None, "File to write; by default FILE.latent, or without it.")
MAX_BYTES = flags.DEFINE_integer("max_bytes", 0, "table: raw bytes of each file; 0 = all.")
VERIFY = flags.DEFINE_bool("verify", False, "table: restore every file and compare.")
JSON = flags.DEFINE_string("json", None, "table: also write the unrounded records to this file.")

VERBS = ("compress", "decompress", "table")


def main(words):
    """Compress, decompress or compare."""
    verb, *names = words or [""]
    paths = [Path(name) for name in names]
    if verb not in VERBS or not paths:
        raise ValueError(
            f"write {', '.join(VERBS)} and the files; got {' '.join(words) or 'nothing'}"
        )
    if verb == "table":
        compare_files(
            paths,
            re.split(r",(?![^\[]*\])", METHODS.value),
            max_bytes=MAX_BYTES.value,
            verify=VERIFY.value,
            m1=M1.value,
            lanes=LANES.value,
            json_path=JSON.value,
        )
        return
    if len(paths) > 1:
        raise ValueError(f"{verb} takes one file at a time; got {' '.join(names)}")
    path = paths[0]
    if verb == "compress":
        tokenizer = open_tokenizer(METHOD.value, TOKENIZER.value, M1.value, LANES.value)
        compress_file(path, Path(OUT.value or f"{path}{SUFFIX}"), tokenizer)
    else:
        if not OUT.value and path.suffix != SUFFIX:
            raise ValueError(f"{path} does not end with {SUFFIX}: name the output with --out")
        decompress_file(path, Path(OUT.value or path.with_suffix("")), TOKENIZER.value, M1.value)


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
