"""Language modeling over ids that the model cuts into chunks by itself, in bits per raw byte.

The loss is the cross-entropy of the next id plus a weight times the losses of the routers of all
stages: those that they compute themselves, such as the ratio loss of H-Net (Hwang et al. 2025,
arXiv 2507.07955, section 2.2), and those of routers that are taught boundaries, whose targets are
known behind the head or are part of the batch (`tasks.boundary_losses`). A main network with
experts adds their load-balancing loss. Ids are bytes, or tokens of another code; the rate of the
outermost stage is then counted in tokens, and all that is reported in raw bytes.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.chunking.dynamic import routers
from latent_jax.chunking.dynamic.rate import COLLECTION
from latent_jax.layers.experts import EXPERTS, sum_of_notes
from latent_jax.layers.middle import MiddleConfig
from latent_jax.models.entropy_model import entropy
from latent_jax.models.hierarchical import HierarchicalModel
from latent_jax.models.hierarchy_config import HierarchicalConfig
from latent_jax.nearest import check_word
from latent_jax.ranges import Weight, check
from latent_jax.tasks import boundary_losses
from latent_jax.tasks.flops_of_text import FlopsOfText
from latent_jax.tasks.heads import HEADS, cross_entropy
from latent_jax.tasks.language_modeling import shift_right
from latent_jax.tasks.losses import bits_per_byte, histogram
from latent_jax.tasks.stage_rates import STAGE_RATES, stage_rates
from latent_jax.tokenizers.marked_bytes import BOUNDARIES
from latent_jax.tokenizers.trivial import trivial_models

UNITS = ("bytes", "tokens")
"""Raw bytes, or positions of rows; for a code of bytes these differ by the separators."""

ENTROPY_MODEL = "params/entropy_model/"
"""Begins the paths of the parameters of the entropy model."""


@dataclasses.dataclass(frozen=True)
class HierarchicalLanguageModeling(FlopsOfText):
    """The task of a hierarchical model.

    Attributes:
        model_config: of the model.
        row_length: T, ids per row.
        bytes_per_token: raw bytes per id, measured on the corpus: of bytes a little under 1,
            because separators stand for no byte. FLOPs per byte use it, and `rates` of tokens.
        boundary_weight: of the losses of routers; -1 = that of the router's paper.
        stage_rates: one of `STAGE_RATES`.
        z_loss: see `LanguageModeling`.
        head: one of `tasks.heads.HEADS` except "auto".
        unit: one of `UNITS`, what the rate of the outermost stage is counted in.
        balance_weight: of the loss of experts.
        entropy_source: run folder whose parameters the entropy model of the config begins with and
            keeps; "" = `init` draws them, or they come with all others of another run.

    Raises:
        ValueError: a word is unknown, a weight is negative, or a router of an inner stage is taught
            boundaries, which are those of bytes.
    """

    model_config: HierarchicalConfig
    row_length: int
    bytes_per_token: float
    boundary_weight: float = -1.0
    stage_rates: str = "equal"
    z_loss: float = 0.0
    head: str = "whole"
    unit: str = "bytes"
    balance_weight: float = 0.01
    entropy_source: str = ""
    name = "hierarchical_language_modeling"
    headline = "bits_per_byte"

    def __post_init__(self):
        """Check the words and weights."""
        check_word("head", self.head, HEADS[1:])
        check_word("stage_rates", self.stage_rates, STAGE_RATES)
        if self.boundary_weight != -1:
            check("boundary_weight", self.boundary_weight, Weight)
        check_word("unit", self.unit, UNITS)
        check("balance_weight", self.balance_weight, Weight)
        check("z_loss", self.z_loss, Weight)
        for stage in self.model_config.stages[1:]:
            if routers()[stage.chunker.kind].taught_by:
                raise ValueError(
                    f"the router {stage.chunker.kind} is taught boundaries of bytes, which only "
                    "the first stage has: give an inner stage another one"
                )

    @property
    def router(self):
        """The class of the router of the outermost stage."""
        return routers()[self.model_config.stage.chunker.kind]

    @property
    def fields(self):
        """The ids, and the boundaries that a router is taught; see `Task`."""
        return boundary_losses.fields_of(self.router)

    @property
    def weight(self):
        """Of the losses of routers."""
        return self.router.weight if self.boundary_weight == -1 else self.boundary_weight

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
    def rates(self):
        """Factors on the learning rate by stage, see `Task`.

        H-Net, section 2.3: sqrt(4.6 / N_0 ... N_{s-1} x D_S / D_s) at stage s, where
        N are positions per chunk, D widths, and S is the main network. Tokens are chunks already.
        """
        if self.stage_rates == "equal":
            return {}
        cut = 1.0 if self.unit == "bytes" else self.bytes_per_token
        return stage_rates(self.model_config, cut)

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

    @property
    def flops_at_rate(self):
        """Forward FLOPs per raw byte at the rates that are aimed at, as generation pays them."""
        flops = self.model_config.forward_flops(self.row_length, at_rate=True)
        return sum(flops.values()) / self.bytes_per_token

    @property
    def train_flops_per_byte(self):
        """Three forward passes' worth of what is trained, and what is computed beside; see `Task`.

        The entropy model takes one pass; what its training took is in the record of its own run, as
        that of M1 is in its file's. Entropies that teach take the head once more.
        """
        flops = self.component_flops
        teaches = self.router.taught_by == "entropy"
        beside = teaches * flops["head"] - 2.0 * flops.get("entropy_model", 0.0)
        return super().train_flops_per_byte + beside

    def init(self, key, batch):
        """Draw parameters, and thresholds of 0; see `Task`."""
        variables = HierarchicalModel(self.model_config).init(key, batch["ids"])
        return {name: variables[name] for name in ("params", COLLECTION) if name in variables}

    def loss(self, variables, batch, key, step, train):
        """Return the mean nats per scored id plus the losses of routers and experts; see `Task`."""
        del step
        state = [name for name in variables if name != "params"]
        x_BTD, notes, experts, state = self._noted(
            variables, batch, state, train=train, rngs=streams(key)
        )
        objective, nats = self._nats(variables, batch, x_BTD)
        scores = self._scores(batch, nats, notes, experts)
        loss = objective / jnp.maximum(scores["weight"], 1.0)
        of_routers = notes.aux_loss
        if self.router.taught_by:
            taught = self._taught(variables, batch, x_BTD, notes)
            of_routers += boundary_losses.taught_loss(taught)
            scores |= taught
        loss = loss + self.weight * of_routers
        if experts:
            loss = loss + self.balance_weight * experts.balance
        return loss, (scores, state)

    def evaluate(self, variables, batch):
        """Return nats, bytes, chunks and the histogram of ids; see `Task`."""
        x_BTD, notes, experts, _ = self._noted(variables, batch, [])
        _, nats = self._nats(variables, batch, x_BTD)
        counts = histogram(batch["ids"], batch["weights"], self.model_config.vocab_size)
        scores = {**self._scores(batch, nats, notes, experts), "token_counts": counts}
        if self.router.taught_by:
            scores |= self._taught(variables, batch, x_BTD, notes)
        return scores

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
        """Return bits per byte; of each stage, bytes per chunk and the share that overflowed.

        Of a router that is taught also how well it finds its boundaries.
        """
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
        if "boundary_nats" in sums:
            metrics |= boundary_losses.taught_metrics(sums)
        if self.unit == "tokens":
            metrics["tokens_per_chunk_1"] = float(sums["n_tokens"] / max(sums["n_chunks_1"], 1.0))
        if self._has_experts:
            lost, all_of_them = (float(sums[f"n_expert_{key}"]) for key in ("drops", "choices"))
            metrics["expert_drop_share"] = lost / max(all_of_them, 1.0)
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
            jnp.sum(batch["n_bytes"]).astype(jnp.float32) if self.unit == "bytes" else None,
            method="features",
            **words,
        )

    @property
    def _has_experts(self):
        main = self.model_config.main.stack
        return isinstance(main, MiddleConfig) and main.n_experts > 0

    def _noted(self, variables, batch, state, **words):
        """Return the features, the notes of stages and of experts (None without), and the state."""
        mutable = [*state, EXPERTS] if self._has_experts else state
        (x_BTD, notes), state = self._features(variables, batch, mutable=mutable, **words)
        if not self._has_experts:
            return x_BTD, notes, None, state
        kept = {name: value for name, value in state.items() if name != EXPERTS}
        return x_BTD, notes, sum_of_notes(state), kept

    def _nats(self, variables, batch, x_BTD):
        """Return the sums of weighted nats with and without the z-loss, float32 scalars."""
        table_VD = variables["params"]["token_embedding"]["embedding"]
        return cross_entropy(
            self.head, x_BTD, table_VD, batch["ids"], batch["weights"], self.z_loss
        )

    def _taught(self, variables, batch, x_BTD, notes):
        """Return the sums of `boundary_losses.taught_sums` for the outermost stage."""
        found = notes.boundaries[0]
        if self.router.taught_by == "entropy":
            model = HierarchicalModel(self.model_config)
            logits_BTV = model.apply(variables, x_BTD, method="logits")
            entropy_BT = entropy(jax.lax.stop_gradient(logits_BTV))
            targets_BT = boundary_losses.spikes(entropy_BT, found.row.starts_BT)
        else:
            targets_BT = boundary_losses.ends_read(batch[BOUNDARIES])
        return boundary_losses.taught_sums(targets_BT, found)

    def _scores(self, batch, nats, notes, experts):
        weight = jnp.sum(batch["weights"])
        n_bytes = jnp.sum(batch["n_bytes"])
        sums = {"weight": weight, "nats": nats, "n_tokens": weight, "n_bytes": n_bytes}
        if experts:
            sums |= {"n_expert_choices": experts.n_choices, "n_expert_drops": experts.n_drops}
        return {**sums, **notes.stats}


def streams(key):
    """Return the keys of the rng streams of a training step."""
    return {"dropout": key, "boundaries": jax.random.fold_in(key, 1)}
