"""Compressed files as they were written before."""

import json

from latent_jax.codec.header import MAGIC


def as_version_1(packed, without=()):
    """Return a file of version 2 as one of version 1, without some fields of its header."""
    first = len(MAGIC) + 5
    stop = first + int.from_bytes(packed[first - 4 : first], "little")
    header = json.loads(packed[first:stop])
    assert packed[7] == 2 and set(without) <= header.keys()
    content = json.dumps({k: v for k, v in header.items() if k not in without}).encode()
    return MAGIC + b"\x01" + len(content).to_bytes(4, "little") + content + packed[stop + 4 :]
