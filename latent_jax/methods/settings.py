"""Every section of a configuration, and the one check of all its keys before anything is read.

The words that belong to no other dataclass stand here with their defaults; `configs.common` makes a
configuration of all of them.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Any

from ml_collections import ConfigDict

from latent_jax.chunking.fixed.registry import compressors
from latent_jax.data import DataConfig, data_config
from latent_jax.data.chains import ChainsConfig
from latent_jax.data.sources import PROBLEMS, SOURCES
from latent_jax.layers.config import TransformerConfig
from latent_jax.methods.budget import FLOPS, STEPS, UNITS
from latent_jax.methods.bytes import Bytes
from latent_jax.methods.equal_info_ac import WINDOW_RULES
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.names import parse, with_options
from latent_jax.methods.registry import family
from latent_jax.methods.solve import budget_of
from latent_jax.methods.thought_settings import ThoughtsConfig
from latent_jax.models.latent_lm import LM_GRADIENTS
from latent_jax.quantizers import QuantizerConfig
from latent_jax.ranges import (
    ByteCount,
    Natural,
    Seed,
    Size,
    Weight,
    at_least,
    check_values,
    one_of,
    within,
)
from latent_jax.tasks.beta_schedule import BETA_SCHEDULES
from latent_jax.tasks.heads import HEADS
from latent_jax.tasks.latent_language import FREEZABLE
from latent_jax.tasks.policy_config import PolicyConfig
from latent_jax.tasks.snippets import Snippets
from latent_jax.training import OptimizerConfig, TrainingConfig

FITS = ("heads", "d_ff")
"""What a width that is solved for FLOPs is made of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The config keys that are in no section."""

    name: str = ""  # name of the run in tables and pictures; "" = the method's name
    # seed of initial parameters, dropout, draws of the quantizer and order of documents
    seed: Seed = 0
    # A literature name, such as BPE[v=4096]; launch/prepare.py methods lists them.
    method: str = "Bytes"
    # rule of the windows of EqualInfoAC, stated in the method's name by this key; paper = that of
    # Lester et al. 2024; "" = as the name says, or the usual one of its b and v
    window_rule: Annotated[str, one_of(("", *WINDOW_RULES))] = ""
    row_length: Size = 256  # L, ids per row of a batch (bytes for Bytes and Latent)
    # mean raw bytes of a row, from which row_length is set; 0 = off
    context_bytes: Annotated[int, at_least(0, 2**30)] = 0
    # rows per optimizer step, all devices and micro-batches together
    batch_size: Size = 32
    # raw bytes of the validation split that each evaluation reads; 0 = all
    evaluation_bytes: ByteCount = 0
    # most FLOPs per raw byte of a forward pass, M1 included; the width of the language model is
    # chosen to fit; 0 = its width is model.d_model
    inference_flops_per_byte: Annotated[float, at_least(0, 1e18)] = 0.0
    # what is chosen: heads = how many, and so the width; d_ff = then model.d_ff too, which comes
    # nearer to the cost
    inference_fit: Annotated[str, one_of(FITS)] = "heads"
    # weight of (log Z)^2 in the loss; not for Latent; 0 = none
    z_loss: Weight = 0.0
    quantized: bool = False  # train the byte model of coders in integers; for Bytes only
    # auto | whole | blocks | fused: how cross-entropy is computed
    head: Annotated[str, one_of(HEADS)] = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """How long to train: exactly one of these is not 0, or "other" is not empty."""

    steps: Annotated[float, STEPS] = 0.0  # optimizer steps; 0 = another one is set
    tokens: Annotated[float, UNITS] = 0.0  # ids seen; 0 = another one is set
    bytes: Annotated[float, UNITS] = 0.0  # raw bytes seen; 0 = another one is set
    # FLOPs of training: 3 x forward, plus 1 x forward of M1; 0 = another one is set
    flops: Annotated[float, FLOPS] = 0.0
    # raw bytes per parameter outside of embeddings; 0 = another one is set
    bytes_per_parameter: Annotated[float, UNITS] = 0.0
    other: str = ""  # UNIT:AMOUNT in another unit that the method counts
    extend: str = ""  # training beyond the budget, UNIT:AMOUNT; --extend of train.py


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Of BPE, SentencePiece, and coders."""

    # raw bytes of the training split that a tokenizer is trained on; 0 = all
    train_bytes: ByteCount = 20_000_000
    # GPT-2's vocab.json, to read a BPE from files instead of training it; or by itself a .gguf or a
    # tokenizer.json of a published model
    vocab_file: str = ""
    merges_file: str = ""  # GPT-2's merges.txt, together with vocab_file
    m1: str = ""  # file of the byte model of AC and EqualInfoAC; "" = the shipped one
    # texts that m1 reads side by side; 0 = the platform's choice
    lanes: Annotated[int, at_least(0, 2**20)] = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """How autoencoder and language model of a latent method are trained together."""

    # weight of the language model's loss beside the reconstruction; 0 = its loss does not count
    beta: Weight = 1.0
    # constant | linear (from 0 over beta_warmup_steps)
    beta_schedule: Annotated[str, one_of(BETA_SCHEDULES)] = "constant"
    # optimizer steps until a linear beta reaches its value; 0 = beta is constant
    beta_warmup_steps: Natural = 0
    # none | input | input_and_target: how the language model's gradient reaches the encoder
    lm_gradient: Annotated[str, one_of(LM_GRADIENTS)] = "input"
    # share of the planned steps after which encoder and codebook stay as they are, so that the
    # language model learns codes that no longer change; 1 = never
    freeze_after: Annotated[float, within("(0, 1]")] = 1.0
    # parts that are not trained: encoder, decoder, language_model
    freeze: tuple[Annotated[str, one_of(FREEZABLE)], ...] = ()


SECTIONS: Mapping[str, type] = {
    "budget": BudgetConfig,
    "data": DataConfig,
    "chains": ChainsConfig,
    "thoughts": ThoughtsConfig,
    "policy": PolicyConfig,
    "tokenizer": TokenizerConfig,
    "snippets": Snippets,
    "model": TransformerConfig,
    "autoencoder": TransformerConfig,
    "quantizer": QuantizerConfig,
    "latent": LatentConfig,
    "hierarchy": HierarchyConfig,
    "optimizer": OptimizerConfig,
    "training": TrainingConfig,
}
"""Section of a configuration -> the dataclass that says what its keys may be. The section
"compressor" has the options of all kinds in `chunking.fixed`."""


def state_rule(config: ConfigDict) -> dict[str, Any]:
    """State the rule that `window_rule` asks for in the names of the method and of the run.

    Args:
        config: as `configs.common.default` makes it; it is changed in place. Without a rule, or if
            the name states it already, nothing changes.

    Returns:
        The changed keys and their values.

    Raises:
        ValueError: the method has no windows, or no windows of this kind, or its name states
            another rule.
    """
    if not config.window_rule:
        return {}
    check_values(RunConfig, config)
    method = parse(config.method)
    if "rule" not in method.options:
        raise ValueError(
            f"window_rule={config.window_rule} says how the windows of EqualInfoAC end, and "
            f"{method} has no windows: leave it empty"
        )
    if method["rule"] == config.window_rule:
        return {}
    if re.search(r"\brule\s*=", config.method):
        raise ValueError(
            f"{config.method} states another rule than window_rule={config.window_rule}: give one "
            "of them"
        )
    stated = str(parse(str(with_options(method, rule=config.window_rule))))
    changed = {"method": stated}
    if config.method in config.name:
        changed["name"] = config.name.replace(config.method, stated)
    config.update(changed)
    return changed


def check_settings(config: ConfigDict) -> None:
    """Refuse a configuration with a key that can have no such value; nothing is read or made.

    What depends on the text or on devices is checked where those are opened.

    Args:
        config: as `configs.common.default` makes it.

    Raises:
        ValueError: the message has the dotted name of the key, what it may be, and a value that
            it could have.
    """
    check_values(RunConfig, config)
    for section, dataclass in SECTIONS.items():
        check_values(dataclass, _settled(config[section]), f"{section}.")
    for dataclass in compressors().values():
        check_values(dataclass, config.compressor, "compressor.")
    for section in ("model", "autoencoder"):
        try:
            TransformerConfig(vocab_size=1, max_length=1, **_settled(config[section]))
        except ValueError as error:
            raise ValueError(f"{section}: {error}") from error
    method = parse(config.method)
    known = family(method.family)
    if config.window_rule and method.options.get("rule") != config.window_rule:
        raise ValueError(
            f"window_rule={config.window_rule} is not the rule of {method}: state it in the name"
        )
    if config.quantized:
        _check_quantized(config)
    budget_of(config)
    TrainingConfig(**config.training, seed=config.seed)
    OptimizerConfig(**config.optimizer)
    _check_documents(config)
    _check_policy(config)
    if config.data.source != "encoded":
        data_config(config)
        if not (config.data.validation_percent or config.data.held_out):
            raise ValueError(
                "data.validation_percent must be more than 0; got 0: a run is scored on its "
                f"validation split, if only at its end; its default is "
                f"{DataConfig.validation_percent!r}"
            )
    snippets, rows = config.snippets, config.batch_size // config.training.accumulation
    if known.reads_ids and snippets.every and rows % snippets.every:
        raise ValueError(
            f"snippets.every={snippets.every} does not divide the {rows} rows of a micro-batch "
            f"(batch_size={config.batch_size}, training.accumulation="
            f"{config.training.accumulation})"
        )


def _check_documents(config: ConfigDict) -> None:
    """Refuse text for families that read problems, and problems for those that read text."""
    method, source = parse(config.method), config.data.source
    if family(method.family).reads_problems:
        if source == "encoded":
            raise ValueError(
                f"data.source='encoded' holds rows of text, and {method} reads rows of problems, "
                f"which are encoded while it trains: set it to {' or '.join(PROBLEMS)}"
            )
        if source not in PROBLEMS:
            raise ValueError(
                f"data.source={source!r} holds text, and {method} reads problems: set it to "
                f"{' or '.join(PROBLEMS)}"
            )
        if config.context_bytes:
            raise ValueError(
                f"context_bytes={config.context_bytes} sets the length of rows of text, and a row "
                f"of {method} is one problem: leave it 0"
            )
    elif source == "encoded" and (more := _fields_beside_ids(config)):
        raise ValueError(
            f"data.source='encoded' holds rows of ids, and {method} reads {' and '.join(more)} "
            "beside them: name the text itself, which is encoded while it trains"
        )
    elif source in PROBLEMS:
        raise ValueError(
            f"data.source={source!r} holds problems, and {method} reads text: set it to "
            f"{', '.join(one for one in SOURCES if one not in PROBLEMS)}"
        )


def _fields_beside_ids(config: ConfigDict) -> list[str]:
    method = parse(config.method)
    return sorted({*family(method.family).row_layout(method, config).fields} - {"ids"})


def _check_policy(config: ConfigDict) -> None:
    """Refuse keys of the second phase where there is none."""
    reads_problems = family(parse(config.method).family).reads_problems
    if reads_problems and config.policy.group:
        PolicyConfig(**config.policy)
        return
    for field in dataclasses.fields(PolicyConfig):
        value = config.policy[field.name]
        if value != field.default:
            way = "set policy.group too" if reads_problems else "it is of Thoughts[...]"
            raise ValueError(
                f"policy.{field.name}={value} is of the second phase of latent reasoning, and "
                f"{config.method} has none here: leave it at {field.default!r}, or {way}"
            )


WITHOUT_EFFECT = {
    "head": ("auto", RunConfig.head),
    "model.dtype": ("auto", TransformerConfig.dtype),
    "model.remat": ("auto", TransformerConfig.remat),
    "model.attention_implementation": ("auto", TransformerConfig.attention_implementation),
    "model.scan_unroll": (0, TransformerConfig.scan_unroll),
}
"""Keys of how floats are computed -> the values that quantized=true, whose integers have one way,
leaves them at."""


def _check_quantized(config: ConfigDict) -> None:
    """Refuse methods and keys on which the integers of a byte model have no bearing."""
    if parse(config.method).family != Bytes.name:
        raise ValueError(
            f"quantized=true trains the byte model of coders, and method is {config.method}: "
            f"leave it at {Bytes.name}, or set quantized=false"
        )
    for key, values in WITHOUT_EFFECT.items():
        section, _, name = key.rpartition(".")
        value = (config[section] if section else config)[name]
        if value not in values:
            raise ValueError(
                f"{key}={value} has no effect under quantized=true: leave it at {values[0]}"
            )


def _settled(section: ConfigDict) -> dict[str, Any]:
    """Return a section without the word that the platform settles before a dataclass is made."""
    return {k: v for k, v in section.items() if (k, v) != ("dtype", "auto")}
