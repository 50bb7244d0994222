"""Families whose language model is a GPT over the ids of a tokenizer."""

from ml_collections import ConfigDict

from latent_jax.contracts import Task, Variables, Vocabulary, Writer
from latent_jax.generation.decoders import TokenDecoder
from latent_jax.generation.integer_decoder import IntegerDecoder
from latent_jax.generation.token_writer import TokenWriter
from latent_jax.methods.artefacts import load_compiled
from latent_jax.methods.family import Family, MethodName, head_of, transformer_keys
from latent_jax.models.gpt import GPTConfig
from latent_jax.platform import Platform
from latent_jax.tasks.integer_language_modeling import IntegerLanguageModeling
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tasks.snippets import Snippets
from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.trie import Trie


class TextCode(Family):
    """A family that differs from others by its tokenizer only: `make_code` and `vocab_size`."""

    def make_task(
        self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary, platform: Platform
    ) -> Task:
        """Return language modeling with a GPT; see `Family`."""
        del method
        model = GPTConfig(
            **transformer_keys(config.model, platform),
            vocab_size=vocabulary.size,
            max_length=config.row_length,
        ).resolved(platform)
        task = IntegerLanguageModeling if config.quantized else LanguageModeling
        return task(
            model,
            vocabulary.separator_id,
            config.row_length,
            vocabulary.bytes_per_token,
            z_loss=config.z_loss,
            head=head_of(config, vocabulary.size, platform),
            tokenizer_flops_per_byte=vocabulary.flops_per_byte,
            snippets=Snippets(**config.snippets),
            windows=_windows(config.snippets),
        )

    def make_writer(
        self, task: Task, variables: Variables, tokenizer: Tokenizer, row_length: int
    ) -> Writer:
        """Return a writer of ids; see `Family`."""
        kind = IntegerDecoder if isinstance(task, IntegerLanguageModeling) else TokenDecoder
        decoder = kind(task.model_config, tokenizer.separator_id)
        return TokenWriter(decoder, variables, tokenizer, row_length)


def _windows(snippets: ConfigDict) -> Trie | None:
    """Return the trie of the code at whose windows snippets begin; None = they begin anywhere."""
    if not snippets.every or not snippets.windows:
        return None
    code = load_compiled("" if snippets.windows == "shipped" else snippets.windows)
    return code.trie
