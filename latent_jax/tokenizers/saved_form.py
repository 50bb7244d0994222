"""The description of a saved tokenizer, and the hash of its files that it is known by."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from latent_jax.json_files import is_a, parse
from latent_jax.tokenizers.storage import read_file

METADATA_FILE = "tokenizer.json"

# Part of every fingerprint. Raise it when the same files start to mean other ids.
_FORMAT = b"latent_jax tokenizer 1"


def read_metadata(folder: Path) -> dict[str, str | int]:
    """Return the content of `tokenizer.json` in a saved folder.

    Raises:
        ValueError: the file is missing, truncated or incomplete.
    """
    text = read_file(folder, METADATA_FILE)
    types = {"kind": str, "name": str, "vocab_size": int, "fingerprint": str}
    try:
        metadata = parse(text, METADATA_FILE)
        missing = sorted(k for k, kind in types.items() if not is_a(metadata.get(k), kind))
    except ValueError:
        missing = ["a whole JSON object"]
    if missing:
        raise ValueError(
            f"{Path(folder) / METADATA_FILE} is damaged or not ours: it lacks "
            f"{', '.join(missing)}. Restore it, or train and save the tokenizer again."
        )
    return metadata


def hash_files(kind: str, files: Mapping[str, bytes]) -> str:
    """Return the hash of a kind and its files, with the length of every part before the part."""
    digest = hashlib.sha256()
    parts = [_FORMAT, kind.encode()]
    for name in sorted(files):
        parts += [name.encode(), files[name]]
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
