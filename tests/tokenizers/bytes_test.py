"""Bytes: the identity, with a stable identity of its own."""

from latent_jax.tokenizers import Bytes


def test_ids_are_the_bytes():
    every = bytes(range(256))
    assert Bytes().encode(every).tolist() == list(range(256))
    assert Bytes().decode(range(257)) == every
    assert (Bytes().name, Bytes().vocab_size, Bytes().separator_id) == ("Bytes", 257, 256)


def test_fingerprint_is_the_one_that_caches_and_checkpoints_carry():
    # If this changes, everything that was encoded before is refused: change it only on purpose.
    assert (
        Bytes().fingerprint() == "feaae91ad75e519c565df7cb6ebca0ee29c6ff35d9a663446670e22c0566105d"
    )
