"""From names to tokenizers: what is made once and kept."""

import pytest

from latent_jax.data import DataConfig, open_corpus
from latent_jax.methods import equal_info_ac
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.tokenizers import CompiledCode, EqualInfoAC
from tests.tokenizers.byte_models import byte_model


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "text.txt").write_text("a text of some words\n" * 200)
    words = dict(source="files", files=(str(tmp_path / "text.txt"),), cache_dir=str(tmp_path))
    return open_corpus(DataConfig(**words, validation_percent=0.0, test_percent=0.0))


def test_a_code_is_compiled_once_for_each_m1(corpus, tmp_path, monkeypatch):
    method = parse("EqualInfoAC[b=8,v=256]")
    files = [str(tmp_path / f"m1-{seed}") for seed in (0, 1)]
    for seed, file in enumerate(files):
        with open(file, "wb") as out:
            out.write(byte_model(lanes=8, seed=seed).to_bytes())
    first = make_tokenizer(method, corpus, m1=files[0])
    assert isinstance(first, CompiledCode) and first.name == "EqualInfoAC[b=8,v=256]"

    def refuse(*arguments):
        raise AssertionError("compiled again")

    with monkeypatch.context() as patch:
        patch.setattr(equal_info_ac, "compiled", refuse)
        again = make_tokenizer(method, corpus, m1=files[0])
        assert again.fingerprint() == first.fingerprint()
        with pytest.raises(AssertionError, match="compiled again"):
            make_tokenizer(method, corpus, m1=files[1])
        with pytest.raises(AssertionError, match="compiled again"):
            make_tokenizer(method, None, m1=files[0])
    assert make_tokenizer(method, corpus, m1=files[1]).pieces == first.pieces, "bytes, by any M1"


def test_cells_are_coded_step_by_step(corpus, tmp_path):
    (tmp_path / "m1").write_bytes(byte_model(lanes=8).to_bytes())
    method = parse("EqualInfoAC[b=16,v=65k,rule=exact]")
    tokenizer = make_tokenizer(method, corpus, m1=str(tmp_path / "m1"))
    assert isinstance(tokenizer, EqualInfoAC) and tokenizer.name == str(method)
