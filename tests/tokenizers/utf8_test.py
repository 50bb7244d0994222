"""Any bytes as text and the bytes between."""

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from latent_jax.tokenizers.utf8 import stretches


@given(text=st.lists(st.one_of(st.binary(), st.text().map(str.encode))).map(b"".join))
def test_parts_join_to_the_bytes_and_alternate(text):
    parts = list(stretches(text))
    assert b"".join(p.encode() if isinstance(p, str) else p for p in parts) == text
    assert all(type(left) is not type(right) for left, right in itertools.pairwise(parts))
    assert all(parts)


@given(text=st.text())
def test_valid_text_is_one_part(text):
    assert list(stretches(text.encode())) == ([text] if text else [])


def test_broken_bytes_are_cut_out():
    assert list(stretches(b"caf\xc3 \xc3\xa9\xff\xfe")) == ["caf", b"\xc3", " é", b"\xff\xfe"]
    # A surrogate, a character beyond U+10FFFF and an overlong form are not UTF-8.
    for broken in (b"\xed\xb2\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"):
        assert list(stretches(b"a" + broken + b"b")) == ["a", broken, "b"]


def test_chosen_characters_are_cut_out_too():
    spelled = re.compile(r"([\udc80-\udcff▁]+)")
    text = "a▁b".encode() + b"\xff" + "▁".encode()
    assert list(stretches(text, spelled)) == ["a", "▁".encode(), "b", b"\xff" + "▁".encode()]
