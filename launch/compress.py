"""Compress any file with a tokenizer, and restore it bit for bit.

    python launch/compress.py compress book.txt
    python launch/compress.py decompress book.txt.latent --out copy.txt
    python launch/compress.py table book.txt photo.png --verify --methods 'AC[v=256],GZip[v=256]'
    python launch/compress.py explain 'The three currently living species are African elephants.'
    python launch/compress.py explain XY YXX --p X=2/3,Y=1/3

    method                    bits per byte of English    speed on two cores
    AC[v=256], the default    2.1                         about 15 kB/s each way, and half of it to
                                                          compress and verify; 8 kB in seconds,
                                                          after half a minute on a new machine
    EqualInfoAC[b=128,v=256]  2.2                         the same, after the import of JAX
    EqualInfoAC[b=16,v=65k]   3.2                         20 MB/s, 60 MB/s back, after that import
    GZip[v=256]               4.0                         as gzip; xz -6 needs 2.3 and 2 MB/s

`compress` writes FILE.latent: method, digest of the byte model or fingerprint, checksums and the
ids. It decodes what it wrote before it reports success. A block that ids would make longer is
stored unchanged. Files that AC and windows make with the package's byte model open on every
machine, because that model is in integers; only text like English gets smaller than by xz. A file
has about 190 bytes of its own. configs/results/files.md says how to open one in ten years.
`decompress` refuses a file that is not of this format, cut short or damaged. Both leave no partial
output and replace no file. `table` prints bits per byte and MB/s, also for gzip, xz and zstd.
Commas inside brackets belong to the name.

`explain` shows a text, its windows, their code bits and ids, in colour on a terminal unless
NO_COLOR is set. With --p it shows how messages of a small alphabet become intervals and codewords,
in exact fractions: the given messages, all messages of their lengths, and mean bits per symbol.
--picture=FILE.png draws either.
"""

import functools
import re
from pathlib import Path

from absl import flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.codec.compress import (
    DEFAULT,
    SUFFIX,
    compare_files,
    compress_file,
    decompress_file,
    open_tokenizer,
)
from latent_jax.codec.explain_message import explain_messages
from latent_jax.codec.explain_text import METHOD as EXPLAINED
from latent_jax.codec.explain_text import explain_text
from latent_jax.codec.header import MAX_LANES
from latent_jax.command_verbs import run_verbs
from latent_jax.system_errors import check_file_name

METHOD = flags.DEFINE_string(
    "method",
    "",
    f"Literature name; launch/prepare.py methods lists them. By default {DEFAULT}, and for explain "
    f"{EXPLAINED}.",
)
METHODS = flags.DEFINE_string(
    "methods", "GZip[v=256],AC[v=256],EqualInfoAC[b=16,v=65k]", "Literature names between commas."
)
TOKENIZER = flags.DEFINE_string(
    "tokenizer", "", "Folder of a saved tokenizer, instead of --method and --m1."
)
M1 = flags.DEFINE_string(
    "m1", "", "File of the byte model of coders; by default the shipped one, in integers."
)
LANES = flags.DEFINE_integer(
    "lanes",
    0,
    "Texts that M1 reads side by side; 0 = the platform's choice.",
    lower_bound=0,
    upper_bound=MAX_LANES,
)
OUT = flags.DEFINE_string(
    "out", None, "File to write; by default .latent is added to the name, or removed from it."
)
MAX_BYTES = flags.DEFINE_integer(
    "max_bytes", 0, "Bytes to read of each file; 0 = all.", lower_bound=0
)
NO_VERIFY = flags.DEFINE_bool(
    "no_verify", False, "Do not decode the written file before success is reported."
)
VERIFY = flags.DEFINE_bool("verify", False, "Restore every file and compare.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")
P = flags.DEFINE_string("p", "", "Symbols and their probabilities, such as X=2/3,Y=1/3.")
SUMMARY = flags.DEFINE_string("summary", None, "Also write mean bits per symbol to this file.")
PICTURE = flags.DEFINE_string("picture", None, "PNG to draw.")


def compress(paths, out, no_verify, method="", **words):
    """Write FILE.latent."""
    path = _one(paths)
    make = functools.partial(open_tokenizer, method or DEFAULT, **words)
    compress_file(path, _file(out or f"{path}{SUFFIX}"), make, verify=not no_verify)


def decompress(paths, out, **words):
    """Restore the file."""
    path = _one(paths)
    if not out and path.suffix != SUFFIX:
        raise ValueError(f"{path} does not end with {SUFFIX}: name the output with --out")
    decompress_file(path, _file(out or path.with_suffix("")), **words)


def table(paths, methods, **words):
    """Compare methods."""
    compare_files(paths, re.split(r",(?![^\[]*\])", methods), **words)


def explain(texts, method, m1, lanes, **words):
    """Show the windows and code bits of a text."""
    make = functools.partial(open_tokenizer, method or EXPLAINED, m1=m1, lanes=lanes)
    explain_text(texts, make, **words)


def _file(out):
    check_file_name(out)
    return Path(out)


def _one(paths):
    if len(paths) > 1:
        raise ValueError(f"one file at a time; got {' '.join(map(str, paths))}")
    return paths[0]


MADE = dict(out=OUT, no_verify=NO_VERIFY)

CASES = {
    "compress": (compress, dict(**MADE, method=METHOD, m1=M1, lanes=LANES)),
    "compress --tokenizer": (compress, dict(**MADE, folder=TOKENIZER)),
    "decompress": (decompress, dict(out=OUT, m1=M1)),
    "decompress --tokenizer": (decompress, dict(out=OUT, folder=TOKENIZER)),
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
    "explain": (
        explain,
        dict(method=METHOD, m1=M1, lanes=LANES, json_path=JSON, picture=PICTURE),
    ),
    "explain --p": (
        explain_messages,
        dict(p=P, json_path=JSON, summary_path=SUMMARY, picture=PICTURE),
    ),
}

if __name__ == "__main__":
    run_verbs(CASES, takes_files=True, takes_texts=("explain",), is_alone=True)
