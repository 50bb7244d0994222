"""Rows of problems: every position of the three regions, and what is left out."""

import pickle

import chex
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.contracts import Document
from latent_jax.data import CorpusError, DataConfig, evaluation_batches, open_corpus, train_batches
from latent_jax.data.chains import ChainsConfig
from latent_jax.data.packing import Encode, RowLayout
from latent_jax.data.problem_rows import (
    FIELDS,
    ProblemCode,
    ProblemLayout,
    count_left_out,
    problem_fields,
)
from latent_jax.data.problems import problem_document
from latent_jax.tokenizers import Bytes
from latent_jax.tokenizers.base import TableTokenizer

ANSWER = "a <<1+1=2>>2 b <<2*500=1000>>1,000.\n#### 1000"
LAYOUT = ProblemLayout(text=40, blocks_text=24, n_blocks=3, n_slots=10)


class Pairs(TableTokenizer):
    """Two bytes to an id, and one at an odd end: a token may reach beyond a result."""

    name, vocab_size, separator_id = "Pairs", 65_793, 65_792
    pieces = (*(bytes([a, b]) for a in range(256) for b in range(256)),)
    pieces += (*(bytes([a]) for a in range(256)), b"")

    def encode(self, text):
        pairs = [int.from_bytes(text[i : i + 2]) for i in range(0, len(text) - 1, 2)]
        return np.array([*pairs, *([65_536 + text[-1]] if len(text) % 2 else [])], np.int32)

    def fingerprint(self):
        return "pairs"


def row_of(answer=ANSWER, question="Q", tokenizer=None, layout=LAYOUT, **words):
    code = ProblemCode(tokenizer or Bytes(), layout, **words)
    encoded = Encode(code, RowLayout.of(code, layout.length))(problem_document(question, answer))
    return {**encoded.fields, **encoded.amounts}


def text_of(ids):
    return Bytes().decode(ids).decode()


def test_every_region_of_a_row():
    row = row_of(prompt=("[", "]"))
    chex.assert_shape(list(row.values()), (LAYOUT.length,))
    whole = "[Q]a 2 b 1,000.\n#### 1000"
    a, b, c = (row["ids"][i:j] for i, j in ((0, 40), (40, 64), (64, 94)))
    assert text_of(a) == whole and (a[len(whole) :] == 256).all()
    assert text_of(b) == "2 b 1,000.\n#### 1000"
    assert [text_of(slots) for slots in c.reshape(3, 10)] == ["1+1=2", "2*500=1000", ""]

    def shown(name, start, stop):
        return "".join(map(str, row[name][start:stop]))

    #      [Q]a 2 b 1,000.\n#### 1000 and the end
    a1 = "00011222233333333333333333"
    assert shown("segment", 0, 40) == a1.ljust(40, "0")
    assert shown("opens", 0, 40) == "00001000200000000000000000".ljust(40, "0")
    assert shown("result", 0, 40) == "00000100011111000000000000".ljust(40, "0")
    assert shown("place", 0, 40) == "0" * 40
    assert shown("bytes", 0, 94) == ("000" + "1" * (len(whole) - 3)).ljust(94, "0")
    #                2 b 1,000.\n#### 1000 and the end
    assert shown("segment", 40, 64) == "111122222222222222222".ljust(24, "0")
    assert row["place"][40:64].tolist() == [*range(4), *range(17), 0, 0, 0]
    assert shown("result", 40, 64) == "100011111".ljust(24, "0")
    assert shown("opens", 40, 94) == "0" * 54
    assert shown("segment", 64, 94) == "1" * 5 + "0" * 5 + "2" * 10 + "0" * 10
    assert shown("place", 64, 94) == "0123456789" * 3
    assert shown("result", 64, 94) == "0" * 30
    assert row["problems"].tolist() == [1] + [0] * 93


def test_the_written_thought_may_be_the_expression():
    row = row_of(written="expression")
    assert [text_of(slots) for slots in row["ids"][64:].reshape(3, 10)] == ["1+1", "2*500", ""]


def test_a_first_segment_that_is_empty_hangs_behind_the_prompt():
    row = row_of("<<1+1=2>>2\n#### 2", question="Why", prompt=("", "?"))
    assert text_of(row["ids"][:40]) == "Why?2\n#### 2"
    assert row["opens"].tolist()[:6] == [0, 0, 0, 1, 0, 0] and row["segment"][4] == 2


def test_a_problem_without_marks_has_no_blocks():
    row = row_of("It is 5.\n#### 5")
    assert text_of(row["ids"]) == "QIt is 5.\n#### 5" and not row["opens"].any()
    assert not row["segment"][40:].any() and row["segment"][:17].tolist() == [0] + [1] * 16


def test_pieces_are_tokenized_one_by_one():
    row = row_of(question="Qu", tokenizer=Pairs(), prompt=("", "s"))
    # "Qu|s", "a |", "2 |b |", "1,|00|0.|\n#|##|# |10|00|"
    assert row["segment"][:14].tolist() == [0, 0, 1, 2, 2] + [3] * 9
    assert row["opens"][:14].tolist() == [0, 0, 1, 0, 2] + [0] * 9
    # A token counts for a result where it begins within it: "2 " and "0." do.
    assert row["result"][:14].tolist() == [0, 0, 0, 1, 0, 1, 1, 1] + [0] * 6
    assert row["bytes"][:14].tolist() == [0, 0] + [2] * 11 + [0]


def test_half_a_character_is_text_like_other_text():
    row = row_of("<<1+1=\ud800>>\ud800\n#### 2")
    assert row["result"].sum() == 2 * 3  # three bytes, in A and in B


def test_what_does_not_fit_has_no_position():
    def size(answer=ANSWER, question="Q", **sizes):
        layout = ProblemLayout(
            **{"text": 40, "blocks_text": 24, "n_blocks": 3, "n_slots": 10, **sizes}
        )
        code = ProblemCode(Bytes(), layout)
        document = problem_document(question, answer)
        n = len(row_of(answer, question, layout=layout)["ids"])
        assert code.fits(document) == bool(n) and n in (0, layout.length)
        return n

    n_text, n_blocks_text = len("Qa 2 b 1,000.\n#### 1000") + 1, len("2 b 1,000.\n#### 1000") + 1
    for name, least in dict(
        text=n_text, blocks_text=n_blocks_text, n_blocks=2, n_slots=len("2*500=1000")
    ).items():
        assert size(**{name: least}) and not size(**{name: least - 1}), name
    for least, fits in ((len("1,000.\n#### 1000") + 1, True), (len("1,000.\n#### 1000"), False)):
        limited = ProblemCode(Bytes(), LAYOUT, longest_step=least)
        assert limited.fits(problem_document("Q", ANSWER)) == fits
        assert limited.fits(problem_document("Q", f"It is {'so ' * 6}5.\n#### 5")), "no breakpoint"
    assert size("It is 5.\n#### 5", blocks_text=1, n_blocks=1, n_slots=1)
    assert not size("<<1=1>><<2=2>>2\n#### 2"), "two blocks would hang behind one token"
    code = ProblemCode(Bytes(), LAYOUT)
    documents = [problem_document("Q" * n, ANSWER) for n in (1, 50, 2, 60, 70)]
    assert count_left_out(code, documents) == (3, 5)


def test_a_code_survives_a_worker_and_its_fingerprint_has_everything():
    code = ProblemCode(Bytes(), LAYOUT, ("a", "b"))
    again = pickle.loads(pickle.dumps(code))
    document = problem_document("Q", ANSWER)
    chex.assert_trees_all_equal(again.encode_example(document), code.encode_example(document))
    others = [
        ProblemCode(Bytes(), LAYOUT),
        ProblemCode(Bytes(), LAYOUT, ("ab", "")),
        ProblemCode(Bytes(), LAYOUT, ("a", "b"), "expression"),
        ProblemCode(Pairs(), LAYOUT, ("a", "b")),
        ProblemCode(Bytes(), LAYOUT, ("a", "b"), longest_step=9),
        ProblemCode(Bytes(), ProblemLayout(41, 24, 3, 10), ("a", "b")),
    ]
    prints = {each.fingerprint() for each in (code, again, *others)}
    assert len(prints) == 1 + len(others)
    assert {*code.fields} == {*FIELDS} == {*problem_fields()}
    assert code.fields["ids"].padding == 256


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProblemLayout(0, 1, 1, 1), r"ProblemLayout\.text must be from 1"),
        (lambda: ProblemLayout(1, 1, 1, 1.5), r"ProblemLayout\.n_slots must be a whole number"),
        (lambda: ProblemCode(Bytes(), LAYOUT, written="words"), r"written .* got 'words'"),
        (lambda: ProblemCode(Bytes(), LAYOUT, ("a",)), "prompt must be two texts"),
        (lambda: ProblemCode(Bytes(), LAYOUT, (1, 2)), r"prompt\[0\] must be text"),
        (
            lambda: ProblemCode(Bytes(), LAYOUT).encode_example(Document("k", b"text")),
            "cannot be read as JSON",
        ),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


pieces = st.text("ab 12,.\n", max_size=4)
results = st.sampled_from(["1", "12", "1200", "2.5"])


@given(
    st.text("Qq?", min_size=1, max_size=4),
    pieces,
    st.lists(st.tuples(results, st.booleans(), pieces), max_size=4),
    st.sampled_from([Bytes(), Pairs()]),
)
def test_both_streams_hold_the_answer(question, first, marks, tokenizer):
    """Any problem: A is prompt and answer, B is A behind each breakpoint, C the marks."""
    marks = [(result, (result if opens else "") + text + "x") for result, opens, text in marks]
    answer = first + "".join(f"<<7={result}>>{text}" for result, text in marks) + "\n#### 1"
    layout = ProblemLayout(text=60, blocks_text=50, n_blocks=4, n_slots=8)
    row = row_of(answer, question, tokenizer, layout)
    stated = first + "".join(text for _, text in marks) + "\n#### 1"
    if not len(row["ids"]):
        return
    regions = np.split(np.arange(layout.length), [layout.text_end, layout.blocks_end])
    a, b, c = ({name: x[region] for name, x in row.items()} for region in regions)
    assert tokenizer.decode(a["ids"]).decode() == question + stated
    assert (
        row["bytes"].sum()
        == len(stated)
        == tokenizer.byte_lengths(a["ids"][a["segment"] > 0]).sum()
    )
    for j, (result, text) in enumerate(marks, start=1):
        own = {name: x[b["segment"] == j] for name, x in b.items()}
        twin = {name: x[a["segment"] == j + 1] for name, x in a.items()}
        for name in ("ids", "result"):
            np.testing.assert_array_equal(own[name], twin[name])
        assert own["place"].tolist() == list(range(len(own["ids"])))
        (opening,) = np.flatnonzero(a["opens"] == j)
        assert np.flatnonzero(a["segment"] > j)[0] == opening + 1
        n_result = own["result"].sum()
        assert n_result == 0 or own["result"][:n_result].all()
        if text.startswith(result):
            said = tokenizer.decode(own["ids"][: own["result"].sum()]).decode()
            assert said.startswith(result) and len(said) < len(result) + 2
        thought = c["ids"][c["segment"] == j]
        assert tokenizer.decode(thought).decode() == f"7={result}"
    assert a["opens"].max() == len(marks) == row["segment"][layout.text :].max()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    chains = ChainsConfig(kind="arithmetic", n_problems=150, n_marks=1, n_operations=2)
    folder = str(tmp_path_factory.mktemp("chains"))
    return open_corpus(
        DataConfig(source="chains", chains=chains, cache_dir=folder, validation_percent=30)
    )


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_each_row_of_a_batch_is_one_problem(corpus, num_workers):
    layout = ProblemLayout(text=72, blocks_text=14, n_blocks=1, n_slots=12)
    code = ProblemCode(Bytes(), layout, ("", "\n"))
    documents = list(corpus.documents("train"))
    left_out = count_left_out(code, documents)
    assert 5 < left_out.n < left_out.of - 10
    known = {d.key for d in documents if code.fits(d)}
    seen = []
    with train_batches(
        corpus, code, batch_size=4, row_length=layout.length, seed=0, num_workers=num_workers
    ) as batches:
        for _ in range(len(known) // 2):
            batch = next(batches)
            assert batch["n_problems"].tolist() == [1] * 4 and (batch["weights"] == 1).all()
            assert (batch["place"][:, layout.blocks_end :] == np.arange(12)).all()
            seen += [text_of(row[: layout.text]).partition("\n")[0] for row in batch["ids"]]
    assert {*seen} == known, "what does not fit is left out, and all else is read"


def test_held_out_rows_are_whole_problems(corpus):
    layout = ProblemLayout(text=90, blocks_text=16, n_blocks=1, n_slots=16)
    code = ProblemCode(Bytes(), layout)
    words = dict(batch_size=4, row_length=layout.length)
    documents = list(corpus.documents("validation"))
    n = sum(map(code.fits, documents))
    batches = list(evaluation_batches(corpus, code, **words))
    assert sum(batch["n_problems"].sum() for batch in batches) == n
    few = list(evaluation_batches(corpus, code, **words, max_bytes=len(documents[0].text) + 1))
    assert sum(batch["n_problems"].sum() for batch in few) == sum(map(code.fits, documents[:2]))
    assert few[0]["weights"].sum() == layout.length * few[0]["n_problems"].sum()


def test_rows_of_another_length_are_refused(corpus):
    code = ProblemCode(Bytes(), LAYOUT)
    with pytest.raises(ValueError, match=r"row_length=64, .* has 94 positions.*row_length=94"):
        train_batches(corpus, code, batch_size=4, row_length=64, seed=0)
    small = ProblemCode(Bytes(), ProblemLayout(9, 9, 1, 9))
    with pytest.raises(CorpusError, match="too small for one row"):
        train_batches(corpus, small, batch_size=4, row_length=small.row_length, seed=0)
