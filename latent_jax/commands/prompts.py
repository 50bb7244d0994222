"""Prompts of the command line, of a file, and of a run's own held-out text."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from latent_jax.data import Corpus, data_config, open_corpus
from latent_jax.data.encodings import is_wide, packed_kind, to_utf8
from latent_jax.data.problems import parse_problem
from latent_jax.data.sources import PROBLEMS
from latent_jax.experiments.evaluate import read_config
from latent_jax.generation.prompts import first_sentence
from latent_jax.paths import open_path

_SPLIT = "validation"
_VALIDATION = re.compile(rf"{_SPLIT}:([0-9]+)")


def read_prompts(
    prompts: Sequence[str], path: str = "", workdir: str | Path = ""
) -> tuple[bytes, ...]:
    """Return the prompts of the command line and of a file, one a line.

    Args:
        prompts: of the command line.
        path: of the file; or "validation:N" for the first sentences of the first N documents of the
            validation split of a run, as in Fifty 2025; or "".
        workdir: folder of that run.

    Raises:
        ValueError: the file or the run's text cannot be read or is empty.
    """
    lines = [prompt.encode("utf-8", "surrogateescape") for prompt in prompts]
    asked = _VALIDATION.fullmatch(path)
    if asked:
        lines += _validation_prompts(workdir, int(asked[1]))
    elif path:
        try:
            text = Path(path).read_bytes()
            packed = packed_kind(text)
            if packed or is_wide(text):
                kind = packed[0] if packed else "UTF-16 or UTF-32 without a byte order mark"
                raise ValueError(f"{path} holds {kind}: write the prompts as text in UTF-8")
            found = [line for line in b"".join(to_utf8([text])).splitlines() if line]
        except OSError as error:
            raise ValueError(f"cannot read the prompts of {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} has a byte order mark and is not in {error.encoding}: {error.reason}"
            ) from error
        if not found:
            raise ValueError(f"{path} has no prompt: write one on each line")
        lines += found
    return tuple(lines)


def _validation_prompts(workdir: str | Path, n: int) -> list[bytes]:
    """Return the first sentences of the first `n` validation documents of a run's text.

    Of problems, these are the questions.
    """
    has_problems = read_config(open_path(workdir)).data.source in PROBLEMS
    first = _question if has_problems else first_sentence
    documents = text_of(workdir).documents(_SPLIT)
    sentences = filter(None, (first(document.text) for document in documents))
    found = [*itertools.islice(sentences, n)]
    if len(found) < max(n, 1):
        raise ValueError(
            f"--prompts={_SPLIT}:{n} asks for {n} documents, and the validation split of "
            f"{workdir} has {len(found)} with text: ask for fewer, and at least one"
        )
    return found


def _question(text: bytes) -> bytes:
    return parse_problem(text).question.encode("utf-8", "surrogatepass")


def text_of(workdir: str | Path) -> Corpus:
    """Return the corpus that a run was trained on.

    Raises:
        ValueError: the folder holds no run, or its text is not to be found here any more.
    """
    return open_corpus(data_config(read_config(open_path(workdir))))
