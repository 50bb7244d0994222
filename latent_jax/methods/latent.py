"""`Latent[conv1d,c=2,k=512]`: a learned code, one latent for every C bytes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax.chunking.fixed import compressors, make_config
from latent_jax.contracts import Task, Variables, Vocabulary, Writer
from latent_jax.generation.latent_writer import LatentWriter
from latent_jax.methods.family import (
    Family,
    MethodName,
    Option,
    Sources,
    head_of,
    transformer_keys,
)
from latent_jax.methods.registry import register
from latent_jax.methods.solve import solve_steps
from latent_jax.models.autoencoder import AutoencoderConfig
from latent_jax.models.bert import BERTConfig
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.latent_lm import LatentLMConfig
from latent_jax.platform import Platform
from latent_jax.quantizers import QUANTIZERS, QuantizerConfig
from latent_jax.tasks.beta_schedule import BetaSchedule
from latent_jax.tasks.latent_language import LatentLanguage
from latent_jax.tokenizers import Bytes, Tokenizer


@register
class Latent(Family):
    """The latent language of Fifty 2025: an autoencoder over bytes, and a GPT over its codes."""

    name = "Latent"
    rank, colour = 7, 4
    summary = "learned codes, one for every C bytes (Fifty 2025)"
    options = {
        "compressor": Option("shortens rows of bytes", tuple(compressors()), is_positional=True),
        "c": Option("bytes per latent"),
        "k": Option("size of the codebook; left out with q=none"),
        "q": Option("quantizer; none keeps latents continuous", tuple(QUANTIZERS), "vq"),
    }
    example = "Latent[conv1d,c=2,k=512]"
    learns_code = True
    reads_ids = False
    ids_are_bytes = True

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults; continuous latents have no codebook, so its size is 0."""
        usual = super().defaults(options)
        return {**usual, "k": 0} if options.get("q") == "none" else usual

    def check(self, method: MethodName) -> None:
        """Refuse a codebook size for continuous latents."""
        if method["q"] == "none" and method["k"]:
            raise ValueError(
                f"'{method}' has continuous latents (q=none) and no codes: leave k out"
            )

    def bytes_per_latent(self, method: MethodName) -> int:
        """Return C, the compression factor."""
        return method["c"]

    def vocab_size(self, method: MethodName) -> int:
        """Return the number of byte ids, because rows hold bytes."""
        return Bytes.vocab_size

    def make_code(self, method: MethodName, sources: Sources) -> Tokenizer:
        """Return the tokenizer of bytes: the learned code is part of the model."""
        return Bytes()

    def make_task(
        self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary, platform: Platform
    ) -> Task:
        """Return autoencoder and language model, trained together; see `Family`.

        Raises:
            ValueError: z_loss, snippets or quantized are set, which need a language model over a
                tokenizer's ids; or a row is shorter than a latent.
        """
        if config.z_loss or config.snippets.every or config.quantized:
            raise ValueError(
                f"z_loss={config.z_loss}, snippets.every={config.snippets.every} and "
                f"quantized={config.quantized} are keys of a language model over a tokenizer's "
                f"ids: leave them as they are for {method}"
            )
        length, factor = config.row_length, method["c"]
        if length < factor:
            raise ValueError(
                f"a row of row_length={length} bytes is shorter than a latent of {method}: raise "
                f"row_length to {factor} or more, or lower c"
            )
        transformer = transformer_keys(config.autoencoder, platform)
        d_model = transformer["d_model"]
        # A configuration read from a run folder has a list here, which cannot be hashed; jit hashes
        # its static arguments.
        quantizer = {**config.quantizer, "fsq_levels": tuple(config.quantizer.fsq_levels)}
        encoder = BERTConfig(**transformer, vocab_size=vocabulary.size, max_length=length)
        decoder = BERTConfig(**transformer, vocab_size=0, max_length=length)
        autoencoder = AutoencoderConfig(
            encoder=encoder.resolved(platform),
            decoder=decoder.resolved(platform),
            compressor=make_config(
                method["compressor"],
                config.compressor,
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
                **transformer_keys(config.model, platform),
                vocab_size=method["k"],
                max_length=-(-length // factor),
            ).resolved(platform)
        latent = config.latent
        task = LatentLanguage(
            LatentLMConfig(autoencoder, language_model),
            row_length=length,
            beta=BetaSchedule(latent.beta, latent.beta_schedule, latent.beta_warmup_steps),
            lm_gradient=latent.lm_gradient,
            freeze=tuple(latent.freeze),
            head=head_of(config, method["k"], platform),
            bytes_per_id=vocabulary.bytes_per_token,
        )
        if latent.freeze_after == 1:
            return task
        steps, _ = solve_steps(config, task)
        return dataclasses.replace(task, freeze_step=max(round(latent.freeze_after * steps), 1))

    def make_writer(
        self, task: Task, variables: Variables, tokenizer: Tokenizer, row_length: int
    ) -> Writer:
        """Return a writer of codes; see `Family`."""
        if task.model_config.language_model is None:
            raise ValueError("continuous latents (q=none) have no language model to write with")
        return LatentWriter(task.model_config, variables, tokenizer, row_length)
