import pytest

from latent_jax.commands.prepare import _validation


def test_a_checkpoint_that_was_never_evaluated_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 2, "split": "train"}\n{"step": 1, "split": "validation", "bits_per_byte": 3.0}\n'
    )
    assert _validation(tmp_path, 1)["bits_per_byte"] == 3.0
    with pytest.raises(ValueError, match=r"step 2 in .* was never evaluated: .* --checkpoint"):
        _validation(tmp_path, 2)
