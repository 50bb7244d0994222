"""`Bytes`: one id for each byte."""

from latent_jax import tokenizers
from latent_jax.methods.family import MethodName, Sources
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode


@register
class Bytes(TextCode):
    """The identity code."""

    name = "Bytes"
    rank, colour = 0, 6
    summary = "one id for each byte"
    example = "Bytes"
    ids_are_bytes = True

    def vocab_size(self, method: MethodName) -> int:
        """Return 256 bytes and the separator."""
        return tokenizers.Bytes.vocab_size

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the code, which needs nothing; see `Family`."""
        return tokenizers.Bytes()
