"""A small corpus that every Python carries, and the tokenizers trained on it."""

import pydoc_data.topics

import pytest

from latent_jax.tokenizers import BPE, Bytes, SentencePiece


@pytest.fixture(scope="session")
def corpus() -> list[bytes]:
    topics = pydoc_data.topics.topics
    return [topics[name].encode() for name in sorted(topics)[:20]]


@pytest.fixture(scope="session")
def bpe(corpus) -> BPE:
    return BPE.train(corpus, 600)


@pytest.fixture(scope="session")
def sentencepiece(corpus) -> SentencePiece:
    return SentencePiece.train(corpus, 600)


@pytest.fixture(scope="session", params=["bytes", "bpe", "sentencepiece"])
def tokenizer(request, bpe, sentencepiece):
    return {"bytes": Bytes(), "bpe": bpe, "sentencepiece": sentencepiece}[request.param]
