import numpy as np
import pytest

from latent_jax.analysis.codes import Code, Coded, TokenizerCode
from latent_jax.analysis.tokens.decoding import decode_each, decoding_scores, exhibit
from latent_jax.tokenizers import Bytes, EqualInfoAC, GZip, StaticAC
from tests.analysis.made_codes import TEXT, Words, pieces_of
from tests.tokenizers.byte_models import byte_model

RUNS = (1, 4, 8)


def scores_of(code, texts, **words):
    scores = decoding_scores(code, texts, code.encode(texts), runs=RUNS, n_samples=40, **words)
    assert [record["run_tokens"] for record in scores] == list(RUNS)
    return scores


@pytest.mark.parametrize("make", [Words, lambda: TokenizerCode(Bytes())])
def test_ids_that_stand_for_one_text_are_right_alone(make):
    for record in scores_of(make(), pieces_of(500, 3)):
        assert record["decoding_error_share"] == 0 and record["exact_share"] == 1


def test_ids_from_inside_an_arithmetic_code_are_wrong_alone_and_together():
    texts = pieces_of(3000, 3)
    for record in scores_of(TokenizerCode(StaticAC.train(texts, 256)), texts):
        assert record["decoding_error_share"] > 0.7 and record["exact_share"] < 0.1


def test_windows_are_right_where_they_are_whole():
    code = TokenizerCode(EqualInfoAC(byte_model(), 32, 256))
    assert code.window_tokens == 4
    one, four, eight = scores_of(code, pieces_of(300, 3), from_windows=True)
    assert one["decoding_error_share"] == 1  # an id of four decodes to nothing
    for whole in (four, eight):
        assert whole["decoding_error_share"] == 0 and whole["exact_share"] == 1
    anywhere = scores_of(code, pieces_of(300, 3))[2]
    assert 0.3 < anywhere["decoding_error_share"] < 1


def test_ids_that_are_no_beginning_are_counted_and_not_decoded():
    code = TokenizerCode(GZip(256))
    texts = pieces_of(2000, 3)
    record = scores_of(code, texts)[1]
    assert record["undecodable_share"] > 0.8
    assert record["decoding_error_share"] > 0.9
    whole = code.encode(texts)
    batch = [whole[0].ids, whole[1].ids[5:], whole[2].ids]
    assert decode_each(code, batch) == [texts[0], None, texts[2]]


def test_errors_are_shares_of_the_bytes():
    class Off(Code):
        """Decodes the last byte of every four wrong."""

        name, n_ids = "Off", 256

        def encode(self, texts):
            return [
                Coded(np.frombuffer(t, np.uint8).astype(np.int32), np.ones(len(t), np.int32))
                for t in texts
            ]

        def decode(self, batch):
            return [bytes(0 if i % 4 == 3 else b for i, b in enumerate(ids)) for ids in batch]

    one, four, eight = scores_of(Off(), pieces_of(500, 2))
    assert one["decoding_error_share"] == 0 and one["exact_share"] == 1
    assert four["decoding_error_share"] == eight["decoding_error_share"] == 0.25
    assert four["exact_share"] == 0


def test_runs_longer_than_every_text_are_left_out():
    code = TokenizerCode(Bytes())
    records = decoding_scores(code, [b"abc", b""], code.encode([b"abc", b""]), runs=(1, 3, 4))
    assert [record["run_tokens"] for record in records] == [1, 3]


def test_the_exhibit_is_the_whole_sentence_piece_by_piece():
    shown = exhibit(TokenizerCode(Bytes()), TEXT[:30], runs=(1, 7))
    assert list(shown) == [1, 7, 0]
    for pieces in shown.values():
        assert b"".join(pieces) == TEXT[:30]
    assert [len(pieces) for pieces in shown.values()] == [30, 5, 1]
