"""Published BPE vocabularies: their ids, their marks, and bytes that they lack."""

import dataclasses
import json

import numpy as np
import pytest
import tokenizers as hf

from latent_jax import tokenizers
from latent_jax.tokenizers.pretrained_bpe import QWEN2, RULES, PretrainedBPE
from tests.tokenizers.published import LACKING, MARKS, published

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PATTERNS = {"smollm": (r"\p{N}", GPT2), "qwen2": (QWEN2,)}
"""How llama.cpp writes the rules (llama-vocab.cpp): regular expressions, one after the other."""

TEXTS = [
    'In 1066, 3x+14 = 20.5!\n\n  He\'ll  say "no".\r\n\tE = mc²; ½ of Ⅻ, ٣٤ and 中文。\n',
    "x=1 \n y  =\n\n2\u00a0\u3000z.\n.\n\n  \n",
    "It'S WE'LL d'accord ’s — naïve cafe\u0301 😀😀  \t end ",
]


def reference(vocabulary):
    """Return the library's pipeline with the rule as llama.cpp writes it, on whole texts."""
    made = hf.Tokenizer(
        hf.models.BPE(
            {t: i for i, t in enumerate(vocabulary.tokens) if i not in vocabulary.marks},
            [*vocabulary.merges],
        )
    )
    cuts = [
        hf.pre_tokenizers.Split(hf.Regex(pattern), "isolated")
        for pattern in PATTERNS[vocabulary.rule]
    ]
    level = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = hf.pre_tokenizers.Sequence([*cuts, level])
    return made


@pytest.mark.parametrize("rule", RULES)
def test_ids_equal_those_of_llama_cpp_s_rule_on_whole_texts(rule, bpe, corpus):
    vocabulary = published(bpe, rule)
    ours, theirs = PretrainedBPE(vocabulary), reference(vocabulary)
    for text in [*(text.decode() for text in corpus), *TEXTS]:
        assert ours.encode(text.encode()).tolist() == theirs.encode(text).ids, text[:200]


def test_the_rules_differ(bpe):
    """By words, because the merges of this vocabulary were learned within GPT-2's words."""
    for text in ("a.\n\nb", "(word", "IT'S"):
        smollm, qwen2 = (RULES[rule].make().pre_tokenize_str(text) for rule in RULES)
        assert smollm != qwen2, text


def test_marks_in_a_text_are_text(bpe):
    made = PretrainedBPE(published(bpe))
    text = "".join(MARKS).encode()
    ids = made.encode(text)
    assert not set(range(len(MARKS))) & set(ids.tolist())
    assert made.decode(ids) == text
    assert made.decode([0, 1, 2, 3, made.vocab_size - 1]) == b""
    assert made.mark_ids == {mark: i for i, mark in enumerate(MARKS)}
    assert made.separator_id == 0


def test_a_byte_that_the_vocabulary_lacks_is_an_escape_and_changes_no_other_id(bpe):
    whole, poor = published(bpe), published(bpe, lacking=LACKING)
    made = PretrainedBPE(poor)
    escape = MARKS.index("<|never|>")
    for byte in LACKING:
        ids = made.encode(bytes([byte]))
        assert ids[0] == escape and len(ids) == 2, byte
        assert made.byte_lengths(ids).tolist() == [0, 1]
        assert made.decode(ids) == bytes([byte])
        assert made.decode(ids[:1]) == b"" and made.decode(ids[1:]) != bytes([byte])
    assert len({tuple(made.encode(bytes([byte])).tolist()) for byte in range(256)}) == 256
    # An escape before an id that stands for no byte is nothing.
    longer = next(i for i in range(len(poor.tokens)) if len(poor.tokens[i]) > 2 and i > escape)
    assert made.decode([escape, longer]) == made.decode([longer])
    assert made.decode([escape]) == b""
    # Text without such bytes has the ids of the vocabulary that has them.
    renamed = {i: poor.tokens.index(t) for i, t in enumerate(whole.tokens) if t in poor.tokens}
    ids = PretrainedBPE(whole).encode("A text, 12 é".encode()).tolist()
    assert made.encode("A text, 12 é".encode()).tolist() == [renamed[i] for i in ids]
    # Characters around one that is escaped keep their words.
    text = "word ĀĿ word \U00041234 word\x04 \u1234 \U00100000".encode()
    assert made.decode(made.encode(text)) == text


def test_it_is_saved_with_all_that_decides(bpe, tmp_path):
    made = PretrainedBPE(published(bpe, "qwen2", LACKING))
    made.save(tmp_path / "t")
    again = tokenizers.load(tmp_path / "t")
    assert again.vocabulary == made.vocabulary
    assert again.fingerprint() == made.fingerprint() and again.name == made.name
    text = TEXTS[0].encode() + b"\x04\xff"
    np.testing.assert_array_equal(again.encode(text), made.encode(text))
    others = [
        published(bpe, "smollm", LACKING),
        published(bpe, "qwen2", LACKING, template=""),
        published(bpe, "qwen2", LACKING, n_unused=3),
        published(bpe, "qwen2"),
    ]
    prints = {PretrainedBPE(other).fingerprint() for other in others}
    assert len(prints | {made.fingerprint()}) == 5
    path = tmp_path / "t" / "vocabulary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "separator_id": 1}))
    with pytest.raises(tokenizers.FingerprintError):
        tokenizers.load(tmp_path / "t")


def changed(bpe, **words):
    return dataclasses.replace(published(bpe), **words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"rule": "gpt-4o"}, "cut by the rule 'gpt-4o'; smollm, qwen2 are known"),
        ({"separator_id": 7}, "the id 7 that ends a text is no mark"),
        ({"separator_id": -1}, "the id -1 that ends a text is no mark"),
        ({"marks": frozenset({0, 600})}, "the token '<|im_start|>' .* is not spelled|not spelled"),
        ({"merges": (("a", "ĝĝ"),)}, "the merge 'a' 'ĝĝ' uses what is no token of text"),
        ({"merges": (("<|im_end|", ">"),)}, "uses what is no token of text"),
    ],
)
def test_what_is_no_vocabulary_is_refused(bpe, words, message):
    with pytest.raises(ValueError, match=message):
        PretrainedBPE(changed(bpe, **words))


def test_a_token_that_is_there_twice_is_refused(bpe):
    tokens = published(bpe).tokens
    with pytest.raises(ValueError, match=f"the ids 9 and {len(tokens)} have one token"):
        PretrainedBPE(changed(bpe, tokens=(*tokens, tokens[9])))


def test_bytes_without_which_no_text_comes_back_are_refused(bpe):
    with pytest.raises(ValueError, match="lacks the byte 0x80, which text consists of"):
        PretrainedBPE(published(bpe, lacking=(0x80,)))
    vocabulary = published(bpe, lacking=(4,))
    # Without a mark to spare nothing can stand for the byte.
    tokens = [t for t in vocabulary.tokens if t not in ("<spare>", "<|never|>")]
    marks = frozenset(i for i, t in enumerate(tokens) if t in MARKS or not t)
    poor = dataclasses.replace(vocabulary, tokens=tuple(tokens), marks=marks)
    with pytest.raises(ValueError, match="lacks 1 single bytes, such as 0x04, and has no mark"):
        PretrainedBPE(poor)
