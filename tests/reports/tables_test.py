import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.reports import Column, markdown_table, read_table, text_table, write_table
from latent_jax.reports.tables import keep_each

RECORDS = [
    {"method": "Bytes", "step": 1200, "bits_per_byte": 2.34567, "bytes_seen": 4_915_200},
    {
        "method": "Latent[conv1d,c=2,k=512]",
        "step": 90.0,
        "bits_per_byte": 11.5,
        "bytes_seen": 10_000,
        "codebook_usage": 0.825,
    },
]
COLUMNS = ["method", "step", "bytes_seen", "bits_per_byte", "codebook_usage"]


def test_the_terminal_table_is_aligned_and_has_units():
    assert text_table(RECORDS, COLUMNS).split("\n") == [
        "                                 text seen             codes used",
        "method                    steps         MB  bits/byte           %",
        "------------------------  -----  ---------  ---------  ----------",
        "Bytes                     1,200       4.92      2.346           -",
        "Latent[conv1d,c=2,k=512]     90       0.01     11.500        82.5",
    ]


def test_the_markdown_table_holds_the_same_cells():
    assert markdown_table(RECORDS, COLUMNS).split("\n") == [
        "| method | steps | text seen MB | bits/byte | codes used % |",
        "| :--- | ---: | ---: | ---: | ---: |",
        "| Bytes | 1,200 | 4.92 | 2.346 | - |",
        "| Latent[conv1d,c=2,k=512] | 90 | 0.01 | 11.500 | 82.5 |",
    ]


def test_without_a_choice_every_key_is_shown_in_order_of_appearance():
    header = markdown_table([{"a": 1}, {"b": "x", "a": 2}]).split("\n")[0]
    assert header == "| a | b |"


def test_a_column_of_ones_own():
    column = Column("step", "thousand steps", ".1f", 1e-3)
    assert text_table(RECORDS[:1], [column]).split("\n")[-1].strip() == "1.2"


def test_other_values_are_shown_as_they_are():
    row = {"done": True, "note": "a|b\nc", "share": np.float32(0.5), "gone": None}
    assert markdown_table([row]).split("\n")[-1] == "| yes | a\\|b c | 0.5 | - |"


def test_a_misspelt_column_names_the_nearest():
    with pytest.raises(ValueError, match=r"column 'bit_per_byte' \(did you mean 'bits_per_byte'"):
        text_table(RECORDS, ["bit_per_byte"])


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match="at least one record"):
        text_table([])


@given(
    st.lists(
        st.dictionaries(
            st.text(min_size=1),
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(allow_nan=False, allow_infinity=False),
                st.text(),
            ),
            max_size=5,
        ),
        max_size=4,
    )
)
def test_json_keeps_every_digit(tmp_path_factory, records):
    path = write_table(records, tmp_path_factory.mktemp("json") / "records.json")
    assert read_table(path) == records


def test_json_takes_numpy_scalars(tmp_path):
    path = write_table([{"a": np.float64(0.1), "b": np.int32(3)}], tmp_path / "records.json")
    assert json.loads(path.read_text()) == [{"a": 0.1, "b": 3}]


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), [1], {"a": 1}, np.zeros(2)])
def test_what_json_cannot_hold_is_refused_and_the_old_file_kept(tmp_path, value):
    path = write_table([{"a": 1}], tmp_path / "records.json")
    with pytest.raises(ValueError, match="'a' is"):
        write_table([{"a": value}], path)
    assert read_table(path) == [{"a": 1}]
    assert list(tmp_path.iterdir()) == [path]


def test_each_record_is_kept_as_soon_as_it_is_known(tmp_path):
    path = tmp_path / "records.json"

    def measured():
        yield {"a": 1}
        assert read_table(path) == [{"a": 1}]
        yield {"a": 2}
        raise MemoryError

    with pytest.raises(MemoryError):
        keep_each(measured(), path)
    assert read_table(path) == [{"a": 1}, {"a": 2}]
    assert keep_each(iter([{"a": 3}]), None) == [{"a": 3}]
