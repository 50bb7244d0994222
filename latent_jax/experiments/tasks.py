"""A configuration made into a task; nothing is read, so that a test can build every config."""

import dataclasses

from ml_collections import ConfigDict

from latent_jax.compressors import CompressorConfig
from latent_jax.methods.artefacts import load_compiled
from latent_jax.methods.names import MethodName, parse
from latent_jax.models.autoencoder import AutoencoderConfig
from latent_jax.models.bert import BERTConfig
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.latent_lm import LatentLMConfig
from latent_jax.platform import Platform
from latent_jax.quantizers import QuantizerConfig
from latent_jax.tasks.base import Task
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tasks.latent_language import BetaSchedule, LatentLanguage
from latent_jax.tasks.snippets import Snippets
from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.trie import Trie


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What a task needs to know of a tokenizer.

    Attributes:
        size: number of ids.
        separator_id: the id between documents.
        bytes_per_token: raw bytes per id, measured on the corpus.
        flops_per_byte: forward FLOPs of the tokenizer's own model per raw byte.
    """

    size: int
    separator_id: int
    bytes_per_token: float
    flops_per_byte: float = 0.0

    @classmethod
    def of(cls, tokenizer: Tokenizer, bytes_per_token: float) -> "Vocabulary":
        """Return the vocabulary of a tokenizer."""
        return cls(
            tokenizer.vocab_size,
            tokenizer.separator_id,
            bytes_per_token,
            tokenizer.flops_per_byte,
        )


def make_task(config: ConfigDict, vocabulary: Vocabulary, platform: Platform | None = None) -> Task:
    """Return the task of a configuration.

    Args:
        config: as `configs.common.default` makes it.
        vocabulary: of its tokenizer.
        platform: what its programs are made for; it settles every "auto". None: this process's.

    Raises:
        ValueError: the configuration describes no network; the message names the word.
    """
    method = parse(config.method)
    platform = platform or Platform.current()
    if method.family == "Latent":
        return _latent_language(config, method, vocabulary, platform)
    model = GPTConfig(
        **_words(config.model, platform), vocab_size=vocabulary.size, max_length=config.row_length
    ).resolved(platform)
    return LanguageModeling(
        model,
        vocabulary.separator_id,
        config.row_length,
        vocabulary.bytes_per_token,
        z_loss=config.z_loss,
        head=_head(config, vocabulary.size, platform),
        tokenizer_flops_per_byte=vocabulary.flops_per_byte,
        snippets=Snippets(**config.snippets),
        windows=_windows(config.snippets),
    )


def _windows(snippets: ConfigDict) -> Trie | None:
    """Return the tree of the code at whose windows snippets begin."""
    if not snippets.every or not snippets.windows:
        return None
    code = load_compiled("" if snippets.windows == "shipped" else snippets.windows)
    return code.trie


def _latent_language(
    config: ConfigDict, method: MethodName, vocabulary: Vocabulary, platform: Platform
) -> Task:
    if config.z_loss or config.snippets.every:
        raise ValueError(
            f"z_loss={config.z_loss} and snippets.every={config.snippets.every} are words of a "
            f"language model over a tokenizer's ids: leave them 0 for {method}"
        )
    length, factor = config.row_length, method["c"]
    transformer = _words(config.autoencoder, platform)
    d_model = transformer["d_model"]
    # A list where the configuration was read from a run folder; jit's static arguments hash it.
    quantizer = {**config.quantizer, "fsq_levels": tuple(config.quantizer.fsq_levels)}
    autoencoder = AutoencoderConfig(
        encoder=BERTConfig(**transformer, vocab_size=vocabulary.size, max_length=length).resolved(
            platform
        ),
        decoder=BERTConfig(**transformer, vocab_size=0, max_length=length).resolved(platform),
        compressor=CompressorConfig(
            **config.compressor,
            kind=method["compressor"],
            factor=factor,
            d_model=d_model,
            max_length=length,
            dtype=transformer["dtype"],
        ),
        quantizer=QuantizerConfig(
            **quantizer, kind=method["q"], codebook_size=method["k"], d_model=d_model
        ),
    )
    language_model = None
    if method["k"]:
        language_model = GPTConfig(
            **_words(config.model, platform),
            vocab_size=method["k"],
            max_length=-(-length // factor),
        ).resolved(platform)
    latent = config.latent
    return LatentLanguage(
        LatentLMConfig(autoencoder, language_model),
        row_length=length,
        beta=BetaSchedule(latent.beta, latent.beta_schedule, latent.beta_warmup_steps),
        lm_gradient=latent.lm_gradient,
        freeze=tuple(latent.freeze),
        head=_head(config, method["k"], platform),
    )


def _head(config: ConfigDict, n_ids: int, platform: Platform) -> str:
    return platform.head(n_ids) if config.head == "auto" else config.head


def _words(section: ConfigDict, platform: Platform) -> dict:
    """Return a section with the dtype settled, which compressors share."""
    words = dict(section)
    if words["dtype"] == "auto":
        words["dtype"] = platform.dtype
    return words
