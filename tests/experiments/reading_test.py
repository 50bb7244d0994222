import pytest

from latent_jax import platform
from latent_jax.experiments.reading import Documents
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer


def test_workers_on_the_cpu_do_not_run_a_byte_model_of_another_platform(monkeypatch):
    tokenizer = make_tokenizer(parse("AC[v=256]"), None)
    monkeypatch.setattr(
        platform.Platform, "current", classmethod(lambda cls: platform.Platform("cuda"))
    )
    with pytest.raises(ValueError, match=r"data\.num_workers=2: .* is driven by M1"):
        Documents(None, tokenizer, tokenizer, 1.0).train(num_workers=2)
