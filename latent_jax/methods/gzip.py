"""`GZip[v=256]`: tokens of one or two bytes of zlib streams."""

from latent_jax import tokenizers
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode


@register
class GZip(TextCode):
    """Text compressed by Deflate, as a baseline of Lester et al. 2024."""

    name = "GZip"
    rank, colour = 6, 2
    summary = "bytes of zlib streams (Lester et al. 2024, section 3.2)"
    options = {
        "v": Option("256 or 65k: tokens of 8 or 16 bits"),
        "header": Option("whether streams keep their header", ("yes", "no"), "yes"),
    }
    example = "GZip[v=256]"

    def vocab_size(self, method: MethodName) -> int:
        """Return v and the separator."""
        return method["v"] + 1

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the code, which needs nothing; see `Family`."""
        return tokenizers.GZip(method["v"], header=method["header"] == "yes")
