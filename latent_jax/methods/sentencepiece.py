"""`SentencePiece[v=4096]`: unigram pieces with byte fallback."""

from latent_jax import tokenizers
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode


@register
class SentencePiece(TextCode):
    """Subwords of a unigram language model, learned from the corpus."""

    name = "SentencePiece"
    rank, colour = 1, 1
    summary = "unigram pieces with byte fallback (Kudo and Richardson 2018)"
    options = {"v": Option("ids, the separator included")}
    example = "SentencePiece[v=4096]"
    learns_code = True

    def vocab_size(self, method: MethodName) -> int:
        """Return v; the separator is one of them."""
        return method["v"]

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the tokenizer of pieces; see `Family`."""
        v = method["v"]
        return sources.kept(method, lambda texts: tokenizers.SentencePiece.train(texts, v))
