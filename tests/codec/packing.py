"""Bytes through compressed files and back, for tests."""

import io

from latent_jax.codec import container
from latent_jax.codec.header import read_header


def pack(raw, tokenizer):
    """Return a compressed file."""
    target = io.BytesIO()
    assert sum(container.compress(io.BytesIO(raw), target, tokenizer)) == len(raw)
    return target.getvalue()


def unpack(packed, tokenizer):
    """Return the content of a compressed file, which messages call FILE."""
    source, target = io.BytesIO(packed), io.BytesIO()
    header = read_header(source, "FILE")
    n_bytes = sum(container.decompress(source, target, tokenizer, header, "FILE"))
    assert n_bytes == len(target.getvalue())
    return target.getvalue()
