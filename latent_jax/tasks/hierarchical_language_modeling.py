"""Language modeling over bytes that the model cuts into chunks by itself, in bits per raw byte.

Hwang et al. 2025 (H-Net, arXiv 2507.07955): the loss is the cross-entropy of the next byte plus a
weight times the ratio losses of all stages (section 2.2; 0.03 in the paper).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.chunking.dynamic.rate import COLLECTION
from latent_jax.models.hierarchical import HierarchicalModel
from latent_jax.models.hierarchy_config import HierarchicalConfig
from latent_jax.nearest import check_word
from latent_jax.ranges import Weight, check
from latent_jax.tasks.flops_of_text import FlopsOfText
from latent_jax.tasks.heads import HEADS, cross_entropy
from latent_jax.tasks.language_modeling import shift_right
from latent_jax.tasks.losses import bits_per_byte, histogram
from latent_jax.tokenizers.trivial import trivial_models

STAGE_RATES = ("hnet", "equal")
"""Factors on the learning rate by stage: those of the paper, or none."""

ENTROPY_MODEL = "params/entropy_model/"
"""Begins the paths of the parameters of the entropy model."""

BYTES_PER_TOKEN = 4.6
"""Of GPT-2's tokenizer, for which learning rates are known (H-Net, section 2.3)."""


@dataclasses.dataclass(frozen=True)
class HierarchicalLanguageModeling(FlopsOfText):
    """The task of a hierarchical model.

    Attributes:
        model_config: of the model.
        row_length: T, ids per row.
        bytes_per_token: raw bytes per id, measured on the corpus: a little under 1, because
            separators stand for no byte. Only FLOPs per byte use it.
        ratio_weight: of the ratio losses.
        stage_rates: one of `STAGE_RATES`.
        z_loss: see `LanguageModeling`.
        head: one of `tasks.heads.HEADS` except "auto".
        entropy_source: run folder whose parameters the entropy model of the config begins with and
            keeps; "" = `init` draws them, or they come with all others of another run.

    Raises:
        ValueError: a word is unknown, or a weight is negative.
    """

    model_config: HierarchicalConfig
    row_length: int
    bytes_per_token: float
    ratio_weight: float = 0.03
    stage_rates: str = "equal"
    z_loss: float = 0.0
    head: str = "whole"
    entropy_source: str = ""
    name = "hierarchical_language_modeling"
    headline = "bits_per_byte"
    fields = ("ids",)

    def __post_init__(self):
        """Check the words and weights."""
        check_word("head", self.head, HEADS[1:])
        check_word("stage_rates", self.stage_rates, STAGE_RATES)
        check("ratio_weight", self.ratio_weight, Weight)
        check("z_loss", self.z_loss, Weight)

    @property
    def frozen(self):
        """The entropy model stays as it is, see `Task`."""
        return () if self.model_config.entropy is None else (f"{ENTROPY_MODEL}.*",)

    @property
    def borrowed(self):
        """Where the parameters of the entropy model are, see `Task`."""
        source = ("hierarchy.entropy_model", self.entropy_source)
        return {ENTROPY_MODEL: source} if self.entropy_source else {}

    @property
    def train_flops_per_byte(self):
        """Three forward passes' worth of what is trained, one of the entropy model; see `Task`.

        What the training of the entropy model took is in the record of its own run, as that of M1
        is in its file's.
        """
        return 3.0 * self.flops_per_byte - 2.0 * self.component_flops.get("entropy_model", 0.0)

    @property
    def rates(self):
        """Factors on the learning rate by stage, see `Task`.

        H-Net, section 2.3: sqrt(4.6 / N_0 ... N_{s-1} x D_S / D_s) at stage s, where
        N are positions per chunk, D widths, and S is the main network.
        """
        if self.stage_rates == "equal":
            return {}
        config, cut, rates = self.model_config, 1.0, {}
        depth = len(config.stages)
        for number, width in enumerate(config.widths):
            factor = math.sqrt(BYTES_PER_TOKEN / cut * config.widths[-1] / width)
            beyond = "" if number == depth else "(?!inner/)"
            path = f"params/stage/{'inner/' * number}{beyond}.*"
            if not number:
                path = rf"params/(token_embedding/.*|ngrams/.*|stage/{beyond}.*)"
            rates[path] = _constant(factor)
            cut *= config.stages[number].chunker.rate if number < depth else 1.0
        return rates

    @property
    def stacks(self):
        """The stacks of attention, see `Task`: encoders and decoders, and the main one."""
        config = self.model_config
        lengths = config.lengths(self.row_length)
        outer = [network for stage in config.stages for network in (stage.outer, stage.after)]
        outer = zip(outer, (length for length in lengths[:-1] for _ in range(2)), strict=True)
        parts = (*outer, (config.main, lengths[-1]))
        return tuple((part.stack, n) for part, n in parts if hasattr(part, "stack"))

    @property
    def amounts(self):
        """Raw bytes, and tokens, which are ids; see `Task`."""
        return {"bytes": self.bytes_per_token, "tokens": 1.0}

    @property
    def component_flops(self):
        """Forward FLOPs per raw byte at the capacity of all stages, see `Task`."""
        flops = self.model_config.forward_flops(self.row_length)
        return {part: value / self.bytes_per_token for part, value in flops.items()}

    def init(self, key, batch):
        """Draw parameters, and thresholds of 0; see `Task`."""
        variables = HierarchicalModel(self.model_config).init(key, batch["ids"])
        return {name: variables[name] for name in ("params", COLLECTION) if name in variables}

    def loss(self, variables, batch, key, step, train):
        """Return the mean nats per scored id plus the ratio losses; see `Task`."""
        del step
        state = [name for name in variables if name != "params"]
        (x_BTD, notes), state = self._features(
            variables, batch, train=train, rngs=_streams(key), mutable=state
        )
        objective, nats = self._nats(variables, batch, x_BTD)
        scores = self._scores(batch, nats, notes)
        loss = objective / jnp.maximum(scores["weight"], 1.0)
        return loss + self.ratio_weight * notes.aux_loss, (scores, state)

    def evaluate(self, variables, batch):
        """Return nats, bytes, chunks and the histogram of ids; see `Task`."""
        x_BTD, notes = self._features(variables, batch)
        _, nats = self._nats(variables, batch, x_BTD)
        counts = histogram(batch["ids"], batch["weights"], self.model_config.vocab_size)
        return {**self._scores(batch, nats, notes), "token_counts": counts}

    def boundaries(self, variables, batch):
        """Return where chunks of rows begin, and the nats of each id, for analyses.

        Returns:
            A tuple of `models.hierarchical.Boundaries`, outermost first, and float32[B, T]. The
            position t of boundaries reads the id before t, and the nats are of predicting the id
            at t.
        """
        x_BTD, notes = self._features(variables, batch)
        model = HierarchicalModel(self.model_config)
        scores_BTV = jax.nn.log_softmax(model.apply(variables, x_BTD, method="logits"))
        nats_BT = -jnp.take_along_axis(scores_BTV, batch["ids"][..., None], axis=-1)[..., 0]
        return notes.boundaries, nats_BT

    def summarize(self, sums):
        """Return bits per byte; of each stage, bytes per chunk and the share that overflowed."""
        n_bytes = float(sums["n_bytes"])
        metrics = {
            "bits_per_byte": bits_per_byte(sums["nats"], n_bytes),
            "nats_per_token": float(sums["nats"] / sums["n_tokens"]),
            "bytes_per_token": float(n_bytes / sums["n_tokens"]),
        }
        for number in range(1, len(self.model_config.stages) + 1):
            kept, lost = (float(sums[f"{key}_{number}"]) for key in ("n_chunks", "n_overflow"))
            metrics[f"bytes_per_chunk_{number}"] = n_bytes / max(kept, 1.0)
            metrics[f"overflow_share_{number}"] = lost / max(kept + lost, 1.0)
        if "token_counts" in sums:
            of_text_V = np.delete(np.asarray(sums["token_counts"]), self.model_config.separator_id)
            metrics |= trivial_models(of_text_V, n_bytes)
        return metrics

    def _features(self, variables, batch, **words):
        inputs_BT = shift_right(batch["ids"], self.model_config.separator_id)
        return HierarchicalModel(self.model_config).apply(
            variables,
            inputs_BT,
            batch["weights"] > 0,
            jnp.sum(batch["n_bytes"]).astype(jnp.float32),
            method="features",
            **words,
        )

    def _nats(self, variables, batch, x_BTD):
        """Return the sums of weighted nats with and without the z-loss, float32 scalars."""
        table_VD = variables["params"]["token_embedding"]["embedding"]
        return cross_entropy(
            self.head, x_BTD, table_VD, batch["ids"], batch["weights"], self.z_loss
        )

    def _scores(self, batch, nats, notes):
        weight = jnp.sum(batch["weights"])
        n_bytes = jnp.sum(batch["n_bytes"])
        return {
            **{"weight": weight, "nats": nats, "n_tokens": weight, "n_bytes": n_bytes},
            **notes.stats,
        }


def _streams(key):
    return {"dropout": key, "boundaries": jax.random.fold_in(key, 1)}


def _constant(factor: float):
    """Return a schedule that is the same at every step."""
    return lambda step: factor + 0.0 * step
