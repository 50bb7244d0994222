"""Precision, recall, F1 and chance on texts that a reader can count."""

import numpy as np
import pytest

from latent_jax.analysis.boundaries.agreement import (
    agreement_records,
    byte_ends,
    compared,
    morpheme_reference,
    pair_record,
    piece_reference,
    read_morphemes,
    word_reference,
)
from latent_jax.analysis.boundaries.measure import pair_records
from latent_jax.tokenizers import BPE
from tests.analysis.boundaries.made_cuts import made


def ends_of(*rows, stage=0):
    seen = made(*rows)
    return byte_ends(seen, seen.stages[stage])


def test_ends_at_words_and_one_byte_behind_them():
    reference = word_reference([b"An owl, ok"])
    assert np.flatnonzero(reference.ends_T).tolist() == [1, 5]  # the last word has nothing behind
    at, behind = agreement_records(ends_of("An |owl|, ok"), reference)
    for record in (at, behind):  # one of two each: "An" from behind, "owl" at its end
        assert (record["n_ends"], record["n_reference_ends"]) == (2, 2)
        assert record["precision_share"] == record["recall_share"] == record["f1_share"] == 0.5
    # Nine bytes can be ends, and eight have one before them: 2 x 2 / 9, or 8, meet by chance.
    assert at["random_f1_share"] == pytest.approx(2 / 9)
    assert behind["random_f1_share"] == pytest.approx(2 / 8)
    assert (at["where"], behind["where"]) == ("at the end", "one byte behind")
    at, behind = agreement_records(ends_of("An |owl,| o|k"), reference)
    assert at["f1_share"] == 0
    assert behind["recall_share"] == 1 and behind["precision_share"] == pytest.approx(2 / 3)
    assert behind["f1_share"] == pytest.approx(0.8)


def test_the_end_of_a_document_reaches_no_other_one():
    reference = word_reference([b"a b", b"c d"])
    assert np.flatnonzero(reference.ends_T).tolist() == [0, 3]
    pieces = piece_reference([b"aab", b"aab"], BPE.train([b"aa aa aa b"], 258))
    assert np.flatnonzero(pieces.ends_T)[-1] == 4 and not pieces.ends_T[[2, 5]].any()
    _, behind = agreement_records(ends_of("ab|x", "|ab"), word_reference([b"ab.", b"ab"]))
    assert behind["n_reference_ends"] == 0 and behind["recall_share"] is None


def test_chance_is_that_of_rows_and_nothing_is_a_share_of_nothing():
    one = np.array([1, 1, 0, 0, 0, 0, 0, 0], bool)
    other = np.array([1, 0, 0, 1, 1, 1, 1, 1], bool)
    rows, all_ = np.repeat([3, 4], 4), np.ones(8, bool)
    found = compared(one, other, all_, rows)
    assert found["precision_share"] == 0.5 and found["recall_share"] == pytest.approx(1 / 6)
    # Row 3: 2 x 2 / 4 meet by chance; row 4 has no end of the first set.
    assert found["random_f1_share"] == pytest.approx(2 * 1 / 8)
    shifted = [
        compared(np.append(np.roll(one[:4], n), one[4:]), other, all_, rows) for n in range(4)
    ]
    mean = np.mean([record["f1_share"] for record in shifted])
    assert mean == pytest.approx(found["random_f1_share"])
    nothing = compared(0 * one > 1, 0 * one > 1, all_, rows)
    assert nothing["f1_share"] is None and nothing["precision_share"] is None


def test_two_runs_on_one_text():
    one, same, other = ends_of("ab|cd|ef"), ends_of("ab|cd|ef"), ends_of("a|bc|de|f")
    record = pair_record(one, same)
    assert record["f1_share"] == record["above_random_share"] == 1
    assert record["random_f1_share"] == pytest.approx(2 / 5)
    record = pair_record(one, other)
    assert record["f1_share"] == 0
    # 2 x 3 / 5 of 5 ends would meet by chance, so that 0 is below it.
    assert record["above_random_share"] == pytest.approx(-0.48 / 0.52)
    found = pair_records({"a": [one], "b": [same, other], "c": [other]})
    assert [(r["run"], r["other_run"], r["stage"]) for r in found] == [
        ("a", "b", 1),
        ("a", "c", 1),
        ("b", "c", 1),
    ]
    assert pair_records({"a": [one]}) == []


def test_morphemes_count_inside_of_listed_words_only(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("un|break|able\n\nplay ing\nOwl\n")
    listed = read_morphemes(path)
    assert listed == {b"unbreakable": (2, 7), b"playing": (4,), b"owl": ()}
    text = b"Unbreakable owls playing owl"
    reference = morpheme_reference([text], listed)
    assert np.flatnonzero(reference.ends_T).tolist() == [1, 6, 20]
    assert reference.counts_T.sum() == 10 + 6 + 2
    at, behind = agreement_records(ends_of("Un|break|able |owls play|in|g| owl"), reference)
    assert (at["n_ends"], at["n_reference_ends"], at["n_listed_words"]) == (4, 3, 3)
    assert at["precision_share"] == 0.75 and at["recall_share"] == 1
    assert at["f1_share"] == pytest.approx(6 / 7)
    assert behind["recall_share"] == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("un|do\n?!\n", r"line 2 of .*'\?!', is no word of letters: .*un\|break\|able"),
        ("\n \n", "holds no word: write one a line"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path, content, said):
    path = tmp_path / "words.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=said):
        read_morphemes(path)
    with pytest.raises(ValueError, match=r"--morphemes=.*none.txt cannot be read: No such"):
        read_morphemes(tmp_path / "none.txt")
