"""Entropies of real text in codes: records, the table of 4-grams, pictures, and mistakes."""

import json
import math
import pydoc_data.topics

import numpy as np
import pytest

from latent_jax.analysis.codes import TokenizerCode
from latent_jax.experiments.analyze.entropy import (
    FIFTY_2025,
    count_characters,
    entropy_and_print,
    entropy_records,
    summarize,
)
from latent_jax.experiments.analyze.opening import open_texts
from latent_jax.experiments.analyze.uniformity import uniformity_and_print, uniformity_records
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.tokenizers import Bytes

TEXTS = [topic.encode() for _, topic in sorted(pydoc_data.topics.topics.items())]
TRAIN, VALIDATION = TEXTS[8:48], TEXTS[:8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of real text."""
    folder = tmp_path_factory.mktemp("text")
    lines = [json.dumps({"text": text.decode()}) for text in TEXTS]
    (folder / "topics.jsonl").write_text("\n".join(lines))
    return folder


def code_of(name):
    return TokenizerCode(make_tokenizer(parse(name), None))


def test_bytes_cost_less_with_every_n_and_units_agree():
    records = entropy_records(TokenizerCode(Bytes()), TRAIN, VALIDATION, 4)
    assert [record["n"] for record in records] == [1, 2, 3, 4]
    held_out = [record["held_out_bits_per_byte"] for record in records]
    assert (np.diff(held_out) < 0).all()
    for record in records:
        assert record["n_bytes"] == record["n_tokens"] == sum(map(len, VALIDATION))
        assert record["held_out_bits_per_token"] == pytest.approx(record["held_out_bits_per_byte"])
        assert record["plug_in_bits_per_token"] == pytest.approx(record["plug_in_bits_per_byte"])
        assert record["plug_in_bits_per_byte"] <= record["miller_madow_bits_per_byte"]
        assert record["held_out_bits_per_character"] == pytest.approx(
            record["held_out_bits_per_byte"] * record["bytes_per_character"]
        )


def test_a_unigram_of_bytes_is_the_entropy_of_their_frequencies():
    record = entropy_records(TokenizerCode(Bytes()), TRAIN, VALIDATION, 1)[0]
    counts = np.bincount(np.frombuffer(b"".join(TRAIN), np.uint8))
    p = counts[counts > 0] / counts.sum()
    assert record["plug_in_bits_per_byte"] == pytest.approx(-(p * np.log2(p)).sum())
    assert record["n_samples"] == counts.sum()
    assert record["uniform_bits_per_byte"] == 8.0


def test_codes_of_other_widths_are_compared_per_byte():
    text = entropy_records(TokenizerCode(Bytes()), TRAIN, VALIDATION, 2)[-1]
    windows = entropy_records(code_of("EqualInfoAC[b=16,v=65k]"), TRAIN, VALIDATION, 2)[-1]
    assert windows["bytes_per_token"] > 3
    assert windows["held_out_bits_per_token"] == pytest.approx(
        windows["held_out_bits_per_byte"] * windows["bytes_per_token"]
    )
    # Two windows see about ten bytes, two bytes see two.
    assert windows["held_out_bits_per_byte"] < text["held_out_bits_per_byte"]


def test_characters_are_code_points():
    assert count_characters(["déjà vu €".encode(), b"", b"ab"]) == 9 + 2


def test_the_summary_has_n_4_the_best_n_and_the_blogs_numbers_below():
    def record(n, bits, **more):
        return {"text": "a", "method": "M", "model": f"{n}-gram", "n": n} | {
            "held_out_bits_per_byte": bits,
            **more,
        }

    model = {"text": "a", "method": "M", "model": "language model", "held_out_bits_per_byte": 1.5}
    records = [record(3, 2.0), record(4, 2.2, bytes_per_token=3.0), record(5, 2.3), model]
    summary, *blog = summarize(records)
    assert summary["held_out_bits_per_byte"] == 2.2
    assert (summary["best_n"], summary["best_bits_per_byte"]) == (3, 2.0)
    assert summary["language_model_bits_per_byte"] == 1.5
    assert [row["paper_bits_per_character"] for row in blog] == [1.8, 3.0]
    assert blog == list(FIFTY_2025)


def test_entropy_prints_a_table_and_writes_records_and_a_picture(folder, tmp_path, capsys):
    words = dict(json_path=str(tmp_path / "all.json"), summary_path=str(tmp_path / "four.json"))
    records = entropy_and_print(
        ["Bytes", "GZip[v=256]"],
        [],
        texts=[f"some={folder}", f"the same={folder}"],
        train_bytes=60_000,
        validation_bytes=20_000,
        max_n=4,
        out=str(tmp_path),
        **words,
    )
    assert len(records) == 2 * 2 * 4
    assert json.loads((tmp_path / "all.json").read_text()) == records
    summary = json.loads((tmp_path / "four.json").read_text())
    assert [row["text"] for row in summary] == ["some"] * 2 + ["the same"] * 2 + ["OpenWebText"] * 2
    assert summary[0]["held_out_bits_per_byte"] == summary[2]["held_out_bits_per_byte"]
    printed = capsys.readouterr().out
    assert "4-grams" in printed
    assert (tmp_path / "entropy.png").stat().st_size > 10_000


def test_compressed_bits_are_nearer_to_random_than_text_and_random_ones_nearest(folder, tmp_path):
    records = uniformity_and_print(
        ["Bytes", "GZip[v=256]"], [], files=[str(folder)], out=str(tmp_path)
    )
    assert (tmp_path / "uniformity.png").stat().st_size > 10_000
    for n in (4, 8):
        of_n = [record for record in records if record["n"] == n]
        for values in ("n-grams", "tokens of n bits"):
            text, packed = (record for record in of_n if record["values"] == values)
            assert text["kl_bits"] > 10 * packed["kl_bits"] > packed["random_kl_bits"] > 0
    # The first bit of every byte of ASCII is 0, so 8 bits hold 7 at most.
    eight = next(r for r in records if r["n"] == 8 and r["values"] != "n-grams")
    assert eight["method"] == "Bytes" and eight["kl_bits"] > 1


def test_the_random_baseline_is_the_bias_of_so_many_samples():
    records = uniformity_records(code_of("GZip[v=256]"), TEXTS[:4])
    for record in records:
        if record["values"] != "n-grams" and record["n"] in (4, 8):
            expected = (2 ** record["n"] - 1) / (2 * record["n_samples"] * math.log(2))
            assert record["random_kl_bits"] == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize(
    ("files", "named", "message"),
    [
        ([], [], "say which text"),
        (["a.txt"], ["b=c.txt"], "give one of them"),
        ([], ["c.txt"], r"written NAME=FILES; got 'c.txt'"),
        ([], ["=c.txt"], r"written NAME=FILES; got 'c.txt'"),
        ([], ["a={0}", "a={0}"], "the same name"),
    ],
)
def test_texts_that_are_named_wrongly_are_refused(folder, files, named, message):
    with pytest.raises(ValueError, match=message):
        open_texts(files, [name.format(folder) for name in named])


def test_codes_without_groups_of_bits_are_refused(folder):
    with pytest.raises(ValueError, match=r"BPE\[v=300\] has 299 ids"):
        uniformity_and_print(["BPE[v=300]"], [], files=[str(folder)])


def test_a_summary_needs_4_grams(folder):
    with pytest.raises(ValueError, match="set --n to 4"):
        entropy_and_print(["Bytes"], [], files=[str(folder)], max_n=3, summary_path="s.json")
