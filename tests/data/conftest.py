"""A small corpus that every test of this room may read."""

import json
import random

import pytest

from latent_jax.data import DataConfig, open_corpus


def _documents(n):
    rng = random.Random(0)
    words = ["naïve", "cat", "sat", "on", "the", "mat", "日本", "and", "thought\n"]
    return [" ".join(rng.choices(words, k=rng.randint(1, 60))) for _ in range(n)]


@pytest.fixture(scope="session")
def jsonl_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "documents.jsonl"
    texts = _documents(120)
    path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


@pytest.fixture(scope="session")
def config(jsonl_file, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return DataConfig(
        source="files",
        files=(str(jsonl_file),),
        cache_dir=str(cache),
        validation_percent=15,
        test_percent=15,
    )


@pytest.fixture(scope="session")
def corpus(config):
    return open_corpus(config)
