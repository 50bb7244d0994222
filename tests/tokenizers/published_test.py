"""Tokenizers from the keys of a GGUF and from tokenizer.json."""

import json

import numpy as np
import pytest
import tokenizers as hf

from latent_jax.tokenizers.pretrained_bpe import RULES, PretrainedBPE
from latent_jax.tokenizers.published import from_gguf_words, from_tokenizer_json
from tests.tokenizers.published import LACKING, MARKS, TEMPLATE, published


def gguf_words(vocabulary):
    kinds = [3 if t in MARKS else 5 if not t else 1 for t in vocabulary.tokens]
    tokens = [t or f"[PAD{i}]" for i, t in enumerate(vocabulary.tokens)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": vocabulary.rule,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array(kinds, np.int32),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in vocabulary.merges],
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": vocabulary.chat_template,
    }


def tokenizer_json(vocabulary, folder, **words):
    """Write a tokenizer.json by the library, with the marks of a chat behind the vocabulary."""
    ids = {t: i for i, t in enumerate(vocabulary.tokens) if i not in vocabulary.marks}
    ids |= {t: i for i, t in enumerate(vocabulary.tokens) if t in MARKS}
    made = hf.Tokenizer(hf.models.BPE(ids, [*vocabulary.merges]))
    made.pre_tokenizer = RULES[vocabulary.rule].make()
    made.add_special_tokens([*MARKS])
    whole = json.loads(made.to_str())
    for key, value in words.items():
        part, _, name = key.rpartition("__")
        (whole[part] if part else whole)[name] = value
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    config = {"eos_token": "<|im_end|>", "chat_template": vocabulary.chat_template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder / "tokenizer.json"


@pytest.mark.parametrize("rule", RULES)
def test_both_forms_give_the_same_tokenizer(rule, bpe, corpus, tmp_path):
    vocabulary = published(bpe, rule, LACKING)
    ours = PretrainedBPE(vocabulary)
    of_gguf = from_gguf_words(gguf_words(vocabulary))
    path = tokenizer_json(vocabulary, tmp_path / "hf")
    of_json = from_tokenizer_json(path, ours.vocab_size)
    assert of_json.fingerprint() == ours.fingerprint()
    for made in (of_gguf, of_json):
        assert (made.separator_id, made.vocab_size) == (0, ours.vocab_size)
        assert made.vocabulary.chat_template == TEMPLATE
        assert made.mark_ids["<|im_end|>"] == 2
        text = corpus[0][:3000] + b"\x04<|im_end|>"
        np.testing.assert_array_equal(made.encode(text), ours.encode(text))
        assert made.decode([ours.vocab_size - 1]) == b""
    assert from_tokenizer_json(path).vocab_size == ours.vocab_size - 2
    # The library itself, where no byte lacks and no mark is in the text.
    theirs = hf.Tokenizer.from_file(str(path))
    assert theirs.encode(corpus[1].decode()).ids == ours.encode(corpus[1]).tolist()


def test_the_normal_form_of_qwen2_is_left_out_and_the_text_comes_back(bpe, tmp_path):
    path = tokenizer_json(published(bpe, "qwen2"), tmp_path / "hf", normalizer={"type": "NFC"})
    made = from_tokenizer_json(path)
    text = "cafe\u0301".encode()
    assert made.decode(made.encode(text)) == text


def test_a_template_in_a_file_of_its_own_is_read(bpe, tmp_path):
    path = tokenizer_json(published(bpe, template=""), tmp_path / "hf")
    assert from_tokenizer_json(path).vocabulary.chat_template == ""
    (tmp_path / "hf" / "chat_template.jinja").write_text(TEMPLATE)
    assert from_tokenizer_json(path).vocabulary.chat_template == TEMPLATE


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tokenizer.ggml.model", "llama", "tokenizer.ggml.model is 'llama'; only 'gpt2'"),
        ("tokenizer.ggml.model", None, "tokenizer.ggml.model is None"),
        ("tokenizer.ggml.pre", "llama-bpe", "the rule 'llama-bpe'; smollm, qwen2 are known"),
        ("tokenizer.ggml.tokens", None, "tokenizer.ggml.tokens is no list of texts"),
        ("tokenizer.ggml.merges", ["a"], "the merge .* is not a pair of tokens"),
        ("tokenizer.ggml.merges", [1], "tokenizer.ggml.merges is no list of texts"),
        ("tokenizer.ggml.token_type", np.ones(3, np.int32), "has not one number for each of"),
        ("tokenizer.ggml.token_type", None, "has not one number for each of"),
    ],
)
def test_keys_of_another_tokenizer_are_refused(bpe, key, value, message):
    words = {**gguf_words(published(bpe)), key: value}
    with pytest.raises(ValueError, match=message):
        from_gguf_words(words)


def test_the_end_of_a_text_is_the_file_s_where_no_mark_has_the_known_name(bpe):
    words = gguf_words(published(bpe))
    words["tokenizer.ggml.tokens"][0] = "<eot>"
    assert from_gguf_words(words).separator_id == 2
    for wrong in ("2", None, 7, 10**9):
        with pytest.raises(ValueError, match="that ends a text is no mark"):
            from_gguf_words({**words, "tokenizer.ggml.eos_token_id": wrong})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model__type": "Unigram"}, "its model is 'Unigram'; only 'BPE' is read"),
        ({"model__byte_fallback": True}, "it asks for byte_fallback"),
        ({"model__ignore_merges": True}, "it asks for ignore_merges"),
        ({"model__dropout": 0.1}, "its dropout is 0.1"),
        ({"model__end_of_word_suffix": "</w>"}, "its end_of_word_suffix is '</w>'"),
        ({"model__merges": 3}, "as its 'merges', where a list was expected"),
        ({"model__vocab": {"a": "b"}}, "holds \"b\" at 'a', where a whole number was expected"),
        ({"model__vocab": {"a": 10**12}}, "its ids are not different numbers from 0 on"),
        ({"model__vocab": {"a": -1}}, "its ids are not different numbers from 0 on"),
        ({"model": None}, "its model"),
        ({"normalizer": {"type": "Lowercase"}}, "its normalizer is .*Lowercase.*; only NFC"),
        ({"pre_tokenizer": None}, "its pre_tokenizer is null; those of smollm, qwen2 are known"),
        ({"added_tokens": []}, "no added token ends a text"),
        ({"added_tokens": [{"id": 1}]}, "an added token"),
    ],
)
def test_what_is_no_tokenizer_json_of_ours_is_refused(bpe, tmp_path, words, message):
    path = tokenizer_json(published(bpe), tmp_path / "hf", **words)
    with pytest.raises(ValueError, match=message) as caught:
        from_tokenizer_json(path)
    assert str(path) in str(caught.value)


def test_a_table_with_too_few_rows_is_refused(bpe, tmp_path):
    path = tokenizer_json(published(bpe), tmp_path / "hf")
    with pytest.raises(ValueError, match="and the model has 100 rows"):
        from_tokenizer_json(path, 100)
