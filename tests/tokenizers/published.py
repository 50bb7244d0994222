"""A small vocabulary in the form of a published one, made of a trained BPE."""

from latent_jax.tokenizers.bpe import SEPARATOR, byte_alphabet
from latent_jax.tokenizers.pretrained_bpe import Vocabulary

MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<spare>", "<|never|>")
LACKING = (4, 0xC0, 0xC1, 0xC4, 0xE1, 0xF1, 0xF4, 0xFF)
"""Bytes of each length of a character, and two that UTF-8 never has."""

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a test.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Of SmolLM2 and Qwen2, with another system message."""


def published(bpe, rule="smollm", lacking=(), template=TEMPLATE, n_unused=2):
    """Return the vocabulary: marks first, as SmolLM2 has them, and unused ids last, as Qwen2 has.

    Args:
        bpe: a trained one.
        rule: how text is cut into words.
        lacking: bytes that it shall not have.
        template: of chats.
        n_unused: ids without a token.
    """
    alphabet = byte_alphabet()
    without = {alphabet[byte] for byte in lacking}
    kept = [t for t in bpe._vocab if t != SEPARATOR and not set(t) & without]
    tokens = (*MARKS, *kept, *[""] * n_unused)
    merges = [pair for pair in bpe._merges if not set("".join(pair)) & without]
    marks = {*range(len(MARKS)), *range(len(tokens) - n_unused, len(tokens))}
    return Vocabulary(rule, tokens, frozenset(marks), tuple(merges), 0, template)
