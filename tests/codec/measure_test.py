"""Tokenizers measured in parts: progress is said, and the parts do not show in the numbers."""

import pytest

from latent_jax import bars
from latent_jax.codec import measure
from latent_jax.codec.measure import MeasureOptions, measure_and_print
from latent_jax.tokenizers import GZip

TEXTS = [bytes([65 + i]) * (37 * i % 101 + 1) + b"green bottles" * i for i in range(40)]
TIMES = {"encode_mb_per_s", "decode_mb_per_s"}


def test_parts_do_not_show_in_the_numbers(monkeypatch):
    whole = measure.measure(GZip(256), TEXTS)
    monkeypatch.setattr(measure, "PART_BYTES", 500)
    parts = measure.measure(GZip(256), TEXTS)
    assert whole["lossless_share"] == parts["lossless_share"] == 1.0
    assert {k: v for k, v in whole.items() if k not in TIMES} == {
        k: v for k, v in parts.items() if k not in TIMES
    }


def test_a_tokenizer_with_lanes_fills_them(monkeypatch):
    sizes = []
    tokenizer = GZip(256)
    monkeypatch.setattr(tokenizer, "encode_width", 16)
    monkeypatch.setattr(
        tokenizer,
        "encode_batch",
        lambda texts: sizes.append([len(t) for t in texts]) or GZip(256).encode_batch(texts),
    )
    measure.measure(tokenizer, TEXTS)
    parts = [part for part in sizes if len(part) > 1]  # without what is coded before the clock
    assert [len(part) for part in parts] == [16, 16, 8]
    lengths = [length for part in parts for length in part]
    assert lengths == sorted(map(len, TEXTS), reverse=True)


def test_what_is_measured_and_how_far_it_is(monkeypatch, tmp_path, capsys):
    (tmp_path / "text.txt").write_bytes(b"".join(TEXTS))
    monkeypatch.setattr(bars, "LINE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(measure, "PART_BYTES", 4000)
    names = ("Bytes", "GZip[v=256]")
    options = MeasureOptions(names=names, files=[str(tmp_path / "text.txt")], cut_bytes=100)
    assert [record["method"] for record in measure_and_print(options)] == list(names)
    lines = capsys.readouterr().err.splitlines()
    for name in names:
        for verb in ("encode", "decode"):
            own = [line for line in lines if line.startswith(f"{verb} {name}: ")]
            assert len(own) > 2 and "100%" in own[-1] and "100%" not in own[0]


def test_texts_are_cut_in_one_way():
    with pytest.raises(ValueError, match="leave cut_bytes 0"):
        MeasureOptions(names=["Bytes"], files=["x"], cut_bytes=1, example_bytes=1)
