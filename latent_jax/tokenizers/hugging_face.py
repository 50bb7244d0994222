"""A compiled code as a Hugging Face tokenizer, for tools that read a `tokenizer.json`.

Hugging Face's WordPiece takes the longest match in the vocabulary, then the next one. A compiled
code does the same. WordPiece tries the longest substring first, so its time grows with the square
of the text's length: use it for interchange and short texts. The library's other models choose by
merges or by probability and cannot represent this code.
"""

import tokenizers as hf

from latent_jax.tokenizers.bpe import byte_alphabet
from latent_jax.tokenizers.compiled import CompiledCode

SEPARATOR = "<|separator|>"


def to_hugging_face(code: CompiledCode, max_bytes: int = 100_000) -> hf.Tokenizer:
    """Return a Hugging Face tokenizer with the same ids; bytes are spelled in GPT-2's alphabet.

    Args:
        code: any compiled code.
        max_bytes: WordPiece turns a longer text into a single separator, its unknown token.
    """
    alphabet = byte_alphabet()
    vocab = {"".join(map(alphabet.__getitem__, piece)): i for i, piece in enumerate(code.pieces)}
    del vocab[""]
    vocab[SEPARATOR] = code.separator_id
    model = hf.models.WordPiece(
        vocab,
        unk_token=SEPARATOR,
        max_input_chars_per_word=max_bytes,
        continuing_subword_prefix="",
    )
    made = hf.Tokenizer(model)
    made.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = hf.decoders.ByteLevel()
    return made
