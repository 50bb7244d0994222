import dataclasses

import pytest

from latent_jax.bench import agreement
from latent_jax.platform import Platform
from latent_jax.reports.tables import read_table


@dataclasses.dataclass(frozen=True)
class Half(Platform):
    """A CPU whose choices are those of an accelerator, as far as a CPU can run them."""

    dtype = "bfloat16"
    attention = "recomputed"

    def head(self, vocab_size):
        return "fused"


@pytest.mark.slow
def test_the_kernels_of_this_machine_agree(tmp_path, capsys):
    agreement.agreement_and_print(str(tmp_path / "agreement.json"))
    records = read_table(tmp_path / "agreement.json")
    assert len(records) == 9 and all(record["agrees"] for record in records)
    assert {record["implementation"] for record in records} == {"tiled", "whole", "blocks"}
    assert "attention, relative and lengths" in capsys.readouterr().out


def test_what_an_accelerator_takes_agrees_in_half_precision():
    records = [*agreement.agreement(Half("cpu"))]
    assert all(record["agrees"] for record in records), records
    assert {record["implementation"] for record in records} == {"recomputed", "fused"}
    assert max(record["error"] for record in records) > 1e-4, "it was not half precision"


def test_a_kernel_that_forgets_the_lengths_is_named(monkeypatch):
    def forgetful(q, k, v, *, implementation, lengths_B=None, **words):
        lengths_B = lengths_B if implementation == "xla" else None
        return right(q, k, v, implementation=implementation, lengths_B=lengths_B, **words)

    right, forms = agreement.attend, agreement._attention
    some = {f"attention, {form}" for form in ("causal", "lengths", "relative and lengths")}
    monkeypatch.setattr(
        agreement, "_attention", lambda platform: (f for f in forms(platform) if f[0] in some)
    )
    monkeypatch.setattr(agreement, "_heads", lambda platform: ())
    monkeypatch.setattr(agreement, "attend", forgetful)
    with pytest.raises(ValueError, match="attention, lengths, attention, relative and lengths: "):
        agreement.agreement_and_print()
