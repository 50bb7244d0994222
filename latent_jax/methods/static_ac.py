"""`StaticAC[v=256]`: arithmetic coding by the frequencies of bytes."""

from latent_jax import tokenizers
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode
from latent_jax.tokenizers.counts import PRECISIONS


@register
class StaticAC(TextCode):
    """Arithmetic coding without a model, as a baseline of Lester et al. 2024."""

    name = "StaticAC"
    rank, colour = 4, 5
    summary = "arithmetic coding by the frequencies of bytes (Lester et al. 2024, section 3.2)"
    options = {
        "v": Option("ids besides the separator: tokens of log2(v) bits"),
        "p": Option("bits of the integer counts", default=14, numbers=PRECISIONS),
    }
    example = "StaticAC[v=256]"
    learns_code = True

    def vocab_size(self, method: MethodName) -> int:
        """Return v and the separator."""
        return method["v"] + 1

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the coder, with the byte frequencies of the corpus; see `Family`."""
        v, p = method["v"], method["p"]
        return sources.kept(method, lambda texts: tokenizers.StaticAC.train(texts, v, p))
