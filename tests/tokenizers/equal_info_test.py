"""Equal-information windows: every code is one text, and the paper's rule where it falls short."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from latent_jax.tokenizers.equal_info import EqualInfoAC
from tests.launching import environment
from tests.tokenizers.bit_tokenizers_test import TOPICS
from tests.tokenizers.byte_models import byte_model


@pytest.mark.parametrize(("window_bits", "precision"), [(8, 14), (12, 16)])
def test_every_code_is_one_text_and_that_text_has_this_code(window_bits, precision):
    tokenizer = EqualInfoAC(byte_model(lanes=64), window_bits, 2, precision=precision)
    codes = np.arange(2**window_bits)
    shifts = np.arange(window_bits - 1, -1, -1)
    batch = list((codes[:, None] >> shifts) & 1)
    texts = tokenizer.decode_batch(batch)
    assert len(set(texts)) == 2**window_bits and b"" not in texts
    assert {text[:1] for text in texts} == {bytes([b]) for b in range(256)}
    assert window_bits == 8 or max(map(len, texts)) > 3
    for ids, (found, _) in zip(batch, tokenizer.encode_batch(texts), strict=True):
        np.testing.assert_array_equal(found, ids)


def test_windows_end_where_the_next_byte_has_no_code():
    """Greedy: no window could have taken the first byte of the next one."""
    tokenizer = EqualInfoAC(byte_model(), 16, 65536)
    text = TOPICS[0][:600]
    _, lengths = tokenizer.encode_batch([text])[0]
    windows = list(itertools.pairwise(np.cumsum(lengths)[:-1]))
    assert len(windows) > 100
    for more, n_ids in ((0, 1), (1, 2)):
        encoded = tokenizer.encode_batch([text[start : end + more] for start, end in windows])
        assert {len(ids) for ids, _ in encoded} == {n_ids}


DECODE = """
import json, pathlib, sys
import latent_jax.models.byte_model
from latent_jax import tokenizers
folder = pathlib.Path(sys.argv[1])
tokenizer = tokenizers.load(folder / "tokenizer")
batch = json.loads((folder / "ids.json").read_text())
print(*[tokenizer.decode(ids).hex() for ids in batch])
for ids in batch:
    assert tokenizer.encode(tokenizer.decode(ids)).tolist() == ids
"""


def test_80_texts_at_once_on_8_devices_and_one_by_one_on_1_in_another_process(tmp_path):
    texts = [TOPICS[i % 60][:60] + bytes([i]) for i in range(80)]
    tokenizer = EqualInfoAC(byte_model(), 32, 256)
    encoded = tokenizer.encode_batch(texts)
    some = slice(None, None, 9)
    (tmp_path / "ids.json").write_text(json.dumps([ids.tolist() for ids, _ in encoded[some]]))
    tokenizer.save(tmp_path / "tokenizer")
    done = subprocess.run(
        [sys.executable, "-c", DECODE, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**environment(), "JAX_NUM_CPU_DEVICES": "1"},
    )
    assert not done.returncode, done.stderr
    assert [bytes.fromhex(line) for line in done.stdout.split()] == texts[some]


def test_longer_memory_gives_longer_windows():
    """M1 that is not reset knows more, so fewer bits are needed for the same text."""
    texts = [topic[:300] for topic in TOPICS[:8]]
    n_ids = {}
    for reset in ("every", "every_other", "never"):
        tokenizer = EqualInfoAC(byte_model(), 16, 65536, reset=reset)
        encoded = tokenizer.encode_batch(texts)
        assert tokenizer.decode_batch([ids for ids, _ in encoded]) == texts
        n_ids[reset] = sum(len(ids) for ids, _ in encoded)
    assert n_ids["never"] < n_ids["every_other"] < n_ids["every"]


def test_the_papers_rule_falls_short_only_at_the_end_of_windows():
    texts = [topic[:400] for topic in TOPICS[:16]]
    paper = EqualInfoAC(byte_model(), 64, 65536, rule="paper")
    delay = EqualInfoAC(byte_model(), 64, 65536, rule="delay")
    encoded = paper.encode_batch(texts)
    found = paper.decode_batch([ids for ids, _ in encoded])
    for text, (_, lengths), read in zip(texts, encoded, found, strict=True):
        assert lengths.sum() == len(text)
        # What is read too much are bytes coded by the zeros that fill a window.
        assert read == text or len(read) > len(text)
    assert found != texts
    delayed = delay.encode_batch(texts)
    assert delay.decode_batch([ids for ids, _ in delayed]) == texts
    assert sum(len(ids) for ids, _ in delayed) >= sum(len(ids) for ids, _ in encoded)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(window_bits=4, vocab=2), "8 to 128 bits"),
        (dict(window_bits=129, vocab=2), "8 to 128 bits"),
        (dict(window_bits=8, vocab=65536), "a token of 16 bits is longer than a window"),
        (dict(window_bits=12, vocab=256, rule="paper"), "up to 16 bits under the paper's rule"),
        (dict(window_bits=16, vocab=256, rule="delay", reset="never"), "give reset=every"),
        (dict(window_bits=16, vocab=256, rule="exakt"), "did you mean 'exact'"),
        (dict(window_bits=16, vocab=256, reset="evry"), "did you mean 'every'"),
        (dict(window_bits=16, vocab=300), "power of 2"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EqualInfoAC(byte_model(), **options)
