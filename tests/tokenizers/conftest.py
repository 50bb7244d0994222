"""A small corpus that every Python carries, and the tokenizers trained on it."""

import pydoc_data.topics

import pytest

from latent_jax.tokenizers import BPE, Bytes, SentencePiece
from latent_jax.tokenizers.pretrained_bpe import RULES, PretrainedBPE
from tests.tokenizers.published import LACKING, published


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


@pytest.fixture(scope="session", params=["bytes", "bpe", "sentencepiece", "smollm", "qwen2"])
def tokenizer(request, bpe, sentencepiece):
    if request.param in RULES:
        lacking = LACKING if request.param == "smollm" else ()
        return PretrainedBPE(published(bpe, request.param, lacking))
    return {"bytes": Bytes(), "bpe": bpe, "sentencepiece": sentencepiece}[request.param]
