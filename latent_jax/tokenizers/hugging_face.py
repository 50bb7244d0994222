"""A compiled code as a Hugging Face tokenizer, for tools that read a `tokenizer.json`.

Their WordPiece takes the longest match that the vocabulary holds, then the next one, and with every
prefix of a text in the vocabulary that is the walk down our tree. It looks for the match from the
far end of the text, so the time grows with the square of the length: this is for interchange and
short texts. The library's other models choose by merges or by probability and cannot represent it.
"""

import tokenizers as hf

from latent_jax.tokenizers.bpe import byte_alphabet
from latent_jax.tokenizers.compiled import CompiledCode

SEPARATOR = "<|separator|>"


def to_hugging_face(code: CompiledCode, max_bytes: int = 100_000) -> hf.Tokenizer:
    """Return a tokenizer with the same ids; bytes are spelled in GPT-2's alphabet.

    Args:
        code: any compiled code.
        max_bytes: longer texts become one separator, as WordPiece does with words it gives up on.
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
