"""Codes whose every answer is known beforehand, and a text to use them on."""

import pydoc_data.topics
import re

import numpy as np

from latent_jax.analysis.codes import Code, Coded

TEXT = "".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)).encode()


def pieces_of(length: int, n: int) -> list[bytes]:
    """Return `n` texts of `length` bytes."""
    return [TEXT[at : at + length] for at in range(0, n * length, length)]


class Words(Code):
    """One id for every word with the space before it, numbered as they come."""

    name, n_ids = "Words", 1 << 20

    def __init__(self):
        self.ids: dict[bytes, int] = {}

    def encode(self, texts):
        coded = []
        for text in texts:
            words = re.findall(rb"\s*\S+|\s+$", text)
            ids = [self.ids.setdefault(word, len(self.ids)) for word in words]
            coded.append(Coded(np.array(ids, np.int32), np.array([*map(len, words)], np.int32)))
        return coded

    def decode(self, batch):
        words = list(self.ids)
        return [b"".join(words[i] for i in ids) for ids in batch]
