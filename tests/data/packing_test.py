import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from latent_jax.contracts import Document, Encoded, FieldSpec
from latent_jax.data.packing import Lane, RowLayout
from latent_jax.tokenizers import Bytes

TEXTS = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=12)


def _tokenized(texts):
    return [Bytes().encode_example(Document(str(i), text)) for i, text in enumerate(texts)]


def _rows(lane, row_length):
    """Every row of a finite lane, the rest of the last one -1, with its number of raw bytes."""
    layout = RowLayout(row_length, {"ids": FieldSpec(padding=-1)}, ("bytes",))
    while True:
        row, filled = lane.row(layout)
        assert (row["ids"] >= 0).sum() == filled
        if filled:
            yield row["ids"], int(row["n_bytes"])
        if filled < row_length:
            return


@given(TEXTS, st.integers(1, 40))
def test_rows_are_the_documents_and_separators_in_order(texts, row_length):
    rows = list(_rows(Lane(_tokenized(texts), 0, 1), row_length))
    ids = np.concatenate([row for row, _ in rows])
    expected = np.concatenate([[*text, Bytes().separator_id] for text in texts])
    np.testing.assert_array_equal(ids[: len(expected)], expected)
    assert (ids[len(expected) :] == -1).all()
    for row, n_bytes in rows:
        assert n_bytes == ((row >= 0) & (row != Bytes().separator_id)).sum()


@given(TEXTS, st.integers(1, 4), st.integers(1, 20))
def test_lanes_share_the_documents(texts, stride, row_length):
    total = 0
    for first in range(stride):
        lane = Lane(_tokenized(texts), first, stride)
        mine = sum(n_bytes for _, n_bytes in _rows(lane, row_length))
        assert mine == sum(len(text) for text in texts[first::stride])
        total += mine
    assert total == sum(map(len, texts))


@given(TEXTS, st.integers(1, 20), st.integers(0, 10))
def test_a_lane_continues_from_two_integers(texts, row_length, n_before):
    documents = _tokenized(texts)
    lane = Lane(documents, 0, 1)
    for _ in range(n_before):
        lane.row(RowLayout.of(Bytes(), row_length))
    other = Lane(documents, 0, 1)
    other.seek(lane.turn, lane.offset)
    rest, other_rest = list(_rows(lane, row_length)), list(_rows(other, row_length))
    assert [n for _, n in rest] == [n for _, n in other_rest]
    for (row, _), (other_row, _) in zip(rest, other_rest, strict=True):
        np.testing.assert_array_equal(row, other_row)


class Miscounting(Bytes):
    """Counts every id as two bytes."""

    def byte_lengths(self, ids):
        return 2 * super().byte_lengths(ids)


def test_byte_lengths_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"document 'k' of 3 bytes .* add up to 6"):
        Miscounting().encode_example(Document("k", b"abc"))


@pytest.mark.parametrize("name", ["weights", "n_answers"])
def test_a_field_that_would_hide_something_else_is_refused(name):
    with pytest.raises(ValueError, match=f"a code cannot have a field '{name}'"):
        RowLayout(8, {"ids": FieldSpec(), name: FieldSpec("float32")}, ("answers",))


def test_an_example_is_held_to_what_its_code_declares():
    layout = RowLayout(8, {"ids": FieldSpec(), "values": FieldSpec("float32", (2,))}, ("bytes",))
    ids, values = np.zeros(3, np.int32), np.zeros((3, 2), np.float32)

    def check(amounts=("bytes",), **fields):
        amounts = {unit: np.ones(3, np.int32) for unit in amounts}
        return layout.check("C", Encoded({"ids": ids, "values": values, **fields}, amounts))

    assert check().fields["values"] is values
    assert check(values=values.astype(np.float64)).fields.keys() == {"ids", "values"}
    for wrong, message in (
        (dict(amounts=()), r"declares the amounts \['bytes'\] and gives \[\]"),
        (dict(other=ids), r"declares the fields .* and gives \['ids', 'other', 'values'\]"),
        (dict(values=values[:2]), r"'values' as float32\[3, 2\] .* gives float32\[2, 2\]"),
        (dict(values=values[:1]), r"gives float32\[1, 2\]"),
        (dict(values=values[:, 0]), r"gives float32\[3\]"),
        (dict(ids=ids.astype(np.float32)), r"'ids' as int32\[3\] .* gives float32\[3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            check(**wrong)
