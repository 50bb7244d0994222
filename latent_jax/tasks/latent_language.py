"""The task of a latent language: the reconstruction loss, plus beta times an LM's loss over codes.

Fifty, "Language, Entropy, and Language Modeling" (2025), joint objective

    L(x) = - sum_i log p(x_i | z)  -  beta sum_k log q(z_k | z_<k)

here divided by the number of scored positions. The code length of a text has two parts: its codes,
-log q(z), and what the codes leave open, -log p(x | z). Both are reported in bits per raw byte.
Their sum is compared with other methods.
"""

import dataclasses

import jax
import jax.numpy as jnp

from latent_jax.models.latent_lm import LM_GRADIENTS, LatentLanguageModel, LatentLMConfig
from latent_jax.nearest import check_word
from latent_jax.quantizers import codebook_perplexity, codebook_usage, dead_codes
from latent_jax.tasks.beta_schedule import BetaSchedule
from latent_jax.tasks.flops_of_text import FlopsOfText
from latent_jax.tasks.heads import HEADS, cross_entropy
from latent_jax.tasks.losses import bits_per_byte, token_nats
from latent_jax.tokenizers.trivial import trivial_models

FREEZABLE = {
    "encoder": (r"params/autoencoder/(encoder|compressor|quantizer)/.*",),
    "decoder": (r"params/autoencoder/(decompressor|decoder|byte_head)/.*",),
    "language_model": (r"params/(language_model|project|start)(/.*)?",),
}
"""Part that can be frozen -> regular expressions of its parameter paths."""


@dataclasses.dataclass(frozen=True)
class LatentLanguage(FlopsOfText):
    """The task of an autoencoder and a language model over its codes.

    Attributes:
        model_config: shapes of both.
        row_length: T, bytes per row.
        beta: weight of the language model's loss.
        lm_gradient: one of `models.latent_lm.LM_GRADIENTS`.
        freeze: any of "encoder", "decoder", "language_model". With a frozen encoder, the codebook
            does not change either.
        freeze_step: optimizer step from which on encoder and codebook stay as they are; 0 = none.
        head: one of `tasks.heads.HEADS` except "auto", for the codes.
        bytes_per_id: raw bytes per id, measured on the corpus: a little under 1, because separators
            stand for no byte. Only budgets use it.

    Raises:
        ValueError: a word is unknown; the message names the nearest known one.
    """

    model_config: LatentLMConfig
    row_length: int
    beta: BetaSchedule = dataclasses.field(default_factory=BetaSchedule)
    lm_gradient: str = "input"
    freeze: tuple[str, ...] = ()
    freeze_step: int = 0
    head: str = "whole"
    bytes_per_id: float = 1.0
    name = "latent_language"
    fields = ("ids",)

    def __post_init__(self):
        check_word("lm_gradient", self.lm_gradient, LM_GRADIENTS)
        check_word("head", self.head, HEADS[1:])
        for part in self.freeze:
            check_word("part to freeze", part, FREEZABLE)

    @property
    def frozen(self):
        """Parameter paths that are not trained, see `Task`."""
        return tuple(path for part in self.freeze for path in FREEZABLE[part])

    @property
    def rates(self):
        """Factors on the learning rate, see `Task`: 0 for the encoder once its codes are settled.

        Without it language models lag behind codes that change: see configs/results/compressors.md.
        """
        if not self.freeze_step or "encoder" in self.freeze:
            return {}
        return {path: self._learns for path in FREEZABLE["encoder"]}

    @property
    def milestones(self):
        """What is said where the codes are settled, see `Task`."""
        said = "from here on encoder and codebook stay as they are (latent.freeze_after)"
        return {self.freeze_step: said} if self.rates else {}

    @property
    def stacks(self):
        """Encoder and decoder over bytes, and the language model over codes, see `Task`."""
        autoencoder, length = self.model_config.autoencoder, self.row_length
        stacks = [(autoencoder.encoder, length), (autoencoder.decoder, length)]
        if self._has_codes:
            language_model = self.model_config.language_model
            stacks.append((language_model, language_model.max_length))
        return tuple(stacks)

    @property
    def headline(self):
        """The code length; for continuous latents, which have none, the reconstruction."""
        return "bits_per_byte" if self._has_codes else "reconstruction_bits_per_byte"

    @property
    def amounts(self):
        """Raw bytes, and tokens, which are codes: one for every C ids; see `Task`."""
        factor = self.model_config.autoencoder.compressor.factor
        return {"bytes": self.bytes_per_id, "tokens": 1.0 / factor}

    @property
    def component_flops(self):
        """Forward FLOPs per raw byte of autoencoder and language model, see `Task`."""
        return self.model_config.forward_flops(self.row_length)

    def init(self, key, batch):
        """Draw parameters and an empty codebook; see `Task`."""
        return self._model.init(
            {"params": key, "quantizer": key}, batch["ids"], batch["weights"] > 0
        )

    def loss(self, variables, batch, key, step, train):
        """Return the joint objective plus the quantizer's own losses; see `Task`."""
        dropout_key, quantizer_key = jax.random.split(key)
        output, state = self._model.apply(
            variables,
            batch["ids"],
            batch["weights"] > 0,
            lm_gradient=self.lm_gradient,
            train=train,
            update_codebook=train and "encoder" not in self.freeze,
            rngs={"dropout": dropout_key, "quantizer": quantizer_key},
            mutable=[name for name in variables if name != "params"],
        )
        if self.freeze_step:
            learns = self._learns(step) > 0
            before = {name: variables[name] for name in state}
            state = jax.tree.map(lambda new, old: jnp.where(learns, new, old), state, before)
        scores = self._scores(variables, output, batch)
        weight = jnp.maximum(scores["weight"], 1.0)
        loss = scores["reconstruction_nats"] / weight
        loss += output.quantized.aux_loss + output.latents.aux_loss
        if self._has_codes:
            language_model_nats = scores["language_model_nats"]
            if self.lm_gradient == "input_and_target":
                language_model_nats += self._target_gradient(variables, output)
            loss += self.beta(step) * language_model_nats / weight
        return loss, (scores, state)

    def evaluate(self, variables, batch):
        """Return the sums of code length, baselines and the LM's likeliest codes; see `Task`."""
        mask_BT = batch["weights"] > 0
        output = self._model.apply(variables, batch["ids"], mask_BT)
        scores = self._scores(variables, output, batch)
        if not self._has_codes:
            return scores
        choice_BK, choice_logits_BTV = self._decode_choice(variables, output, mask_BT)
        choice_nats_BT = token_nats(choice_logits_BTV, batch["ids"])
        hits_BK = (choice_BK == output.quantized.codes_BK) & output.latents.mask_BK
        return {
            **scores,
            "choice_nats": jnp.sum(choice_nats_BT * batch["weights"]),
            "choice_hits": jnp.sum(hits_BK.astype(jnp.float32)),
        }

    def reconstruct(self, variables, batch):
        """Return byte ids int32[B, T] decoded from the codes, and from the LM's likeliest codes."""
        mask_BT = batch["weights"] > 0
        output = self._model.apply(variables, batch["ids"], mask_BT)
        made = {"reconstruction": jnp.argmax(output.byte_logits_BTV, axis=-1)}
        if self._has_codes:
            _, choice_logits_BTV = self._decode_choice(variables, output, mask_BT)
            made["language model's choice"] = jnp.argmax(choice_logits_BTV, axis=-1)
        return made

    def summarize(self, sums):
        """Return the parts of the code length in bits per raw byte, and the codebook's usage.

        Continuous latents (quantizer "none") have no code length, so only the reconstruction is
        reported.
        """
        n_bytes, n_latents = float(sums["n_bytes"]), float(sums["n_latents"])
        metrics = {
            "reconstruction_bits_per_byte": bits_per_byte(sums["reconstruction_nats"], n_bytes),
            "reconstruction_nats_per_byte": float(sums["reconstruction_nats"]) / n_bytes,
            "reconstruction_accuracy": float(sums["byte_hits"] / sums["weight"]),
            "bytes_per_latent": n_bytes / n_latents,
        }
        if not self._has_codes:
            return metrics
        counts_V = sums["code_counts"]
        perplexity, usage = codebook_perplexity(counts_V), codebook_usage(counts_V)
        language_model = bits_per_byte(sums["language_model_nats"], n_bytes)
        metrics |= {
            "bits_per_byte": metrics["reconstruction_bits_per_byte"] + language_model,
            "language_model_bits_per_byte": language_model,
            "language_model_nats_per_byte": float(sums["language_model_nats"]) / n_bytes,
            **trivial_models(counts_V, n_bytes),
            "codebook_perplexity": perplexity,
            "codebook_perplexity_share": perplexity / len(counts_V),
            "codebook_usage": usage,
            "dead_codes": float(dead_codes(counts_V)),
            "quantization_error": float(sums["quantization_error_sum"] / n_latents),
        }
        if "choice_nats" in sums:
            metrics["language_model_choice_nats_per_byte"] = float(sums["choice_nats"]) / n_bytes
            metrics["language_model_accuracy"] = float(sums["choice_hits"]) / n_latents
        else:  # a window of training steps
            metrics["restarted_codes"] = float(sums["n_restarted"])
        return metrics

    def _learns(self, step):
        """Return 1 where the encoder still learns at a step, else 0."""
        return (step < self.freeze_step) * 1.0

    @property
    def _model(self):
        return LatentLanguageModel(self.model_config)

    @property
    def _has_codes(self):
        return self.model_config.language_model is not None

    def _scores(self, variables, output, batch):
        """Return the sums that training and evaluation share."""
        weights_BT = batch["weights"]
        byte_nats_BT = token_nats(output.byte_logits_BTV, batch["ids"])
        hits_BT = jnp.argmax(output.byte_logits_BTV, axis=-1) == batch["ids"]
        weight = jnp.sum(weights_BT)
        scores = {
            "weight": weight,
            "n_tokens": output.quantized.stats["n_latents"],
            "n_bytes": jnp.sum(batch["n_bytes"]),
            "reconstruction_nats": jnp.sum(byte_nats_BT * weights_BT),
            "byte_hits": jnp.sum(hits_BT * weights_BT),
            **output.quantized.stats,
        }
        if self._has_codes:
            params = variables["params"]["language_model"]
            scores["language_model_nats"], _ = cross_entropy(
                self.head,
                output.code_features_BKD,
                params["token_embedding"]["embedding"],
                output.quantized.codes_BK,
                output.latents.mask_BK.astype(jnp.float32),
            )
        return scores

    def _decode_choice(self, variables, output, mask_BT):
        """Return the LM's likeliest code after the true codes before it, int32[B, K].

        The second result is the byte logits that the decoder gives for these codes,
        float32[B, T, V].
        """
        choice_BK = jnp.argmax(output.code_logits_BKV, axis=-1).astype(jnp.int32)
        logits_BTV = self._model.apply(
            variables,
            choice_BK,
            output.latents.mask_BK,
            mask_BT,
            method=LatentLanguageModel.decode_codes,
        )
        return choice_BK, logits_BTV

    def _target_gradient(self, variables, output):
        """Return a term of value 0 whose gradient moves latents towards codes likely under the LM.

        With p(v | z) the soft assignment, the gradient is that of the expected code length
        - sum_v p(v | z) log q(v | z_<k) with respect to p only; q already learns from the hard
        codes.
        """
        log_p_BKV = self._model.apply(
            variables, output.latents.z_BKD, method=LatentLanguageModel.log_assignment
        )
        log_q_BKV = jax.lax.stop_gradient(jax.nn.log_softmax(output.code_logits_BKV, axis=-1))
        nats_BK = -jnp.sum(jnp.exp(log_p_BKV) * log_q_BKV, axis=-1)
        nats = jnp.sum(nats_BK * output.latents.mask_BK)
        return nats - jax.lax.stop_gradient(nats)
