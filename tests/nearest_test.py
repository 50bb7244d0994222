import pytest

from latent_jax.nearest import nearest

KINDS = ("conv1d", "ssm", "attention_pool")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", "conv1d"),
        ("Conv1D", "conv1d"),
        ("SSN", "ssm"),
        ("attentionpool", "attention_pool"),
    ],
)
def test_names_the_known_name_that_is_most_alike(name, expected):
    assert nearest(name, KINDS) == f" (did you mean {expected!r}?)"


@pytest.mark.parametrize("name", ["", "zzz", "quantizer_kind"])
def test_says_nothing_when_no_name_is_alike(name):
    assert nearest(name, KINDS) == ""


def test_keeps_the_known_spelling():
    assert nearest("bpe", ["Bytes", "BPE"]) == " (did you mean 'BPE'?)"
