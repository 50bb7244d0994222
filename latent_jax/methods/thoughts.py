"""`Thoughts[latent,k=3]`: worked problems, with thoughts at their breakpoints."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.contracts import Code, FieldSpec, Stream, Task, Variables, Vocabulary, Writer
from latent_jax.data import TrainBatches
from latent_jax.data.packing import RowLayout
from latent_jax.data.problem_rows import AMOUNTS, ProblemCode, problem_fields
from latent_jax.data.problems import END_MARK
from latent_jax.generation.rollout import Decoding, rollout_flops
from latent_jax.generation.rollout_stream import RolloutStream
from latent_jax.generation.thinking_writer import ThinkingWriter
from latent_jax.methods.bpe import BPE
from latent_jax.methods.family import (
    Family,
    MethodName,
    Option,
    Sources,
    head_of,
    transformer_keys,
)
from latent_jax.methods.names import parse
from latent_jax.methods.registry import register
from latent_jax.methods.solve import solve_steps
from latent_jax.methods.thought_settings import ThoughtsConfig
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.reasoner import ReasonerConfig
from latent_jax.platform import Platform
from latent_jax.ranges import at_least
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.policy_config import PolicyConfig
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_noise import ThoughtNoise
from latent_jax.tasks.thought_slots import KINDS, Curriculum

BYTES = tokenizers.Bytes.vocab_size

MARKS = ("<<", ">>", "<<")
"""The texts as whose first ids the marks start, end and pause begin (Hao et al. 2024)."""


@register
class Thoughts(Family):
    """A language model that thinks at the breakpoints of worked problems."""

    name = "Thoughts"
    rank, colour = 8, 3
    summary = "worked problems, with thoughts at their breakpoints (Fifty 2025)"
    options = {
        "slots": Option("what a block holds", KINDS, is_positional=True),
        "k": Option("slots in use; left out with none and written", numbers=at_least(0, 256)),
        "trunks": Option("2 = another copy thinks, the first one is frozen", default=1),
        "v": Option("ids; other than those of bytes: of tokenizer.vocab_file", default=BYTES),
    }
    example = "Thoughts[latent,k=3]"
    reads_ids = False
    reads_problems = True
    rotary = True
    reads_gpt2_files = True
    amounts = AMOUNTS

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults; without slots that are counted, k is 0."""
        usual = super().defaults(options)
        return {**usual, "k": 0} if options.get("slots") in ("none", "written") else usual

    def check(self, method: MethodName) -> None:
        """Refuse a number of slots that does not go with what they hold, and a third trunk."""
        is_counted = method["slots"] not in ("none", "written")
        if is_counted != (method["k"] > 0):
            said = "needs k of at least 1" if is_counted else "leaves k out"
            raise ValueError(f"'{method}': {method['slots']} {said}")
        if method["trunks"] > 2:
            raise ValueError(f"'{method}': there are 1 or 2 trunks")

    def vocab_size(self, method: MethodName) -> int:
        """Return v, the separator included."""
        return method["v"]

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the tokenizer of bytes, or that of published files; see `Family`.

        Raises:
            ValueError: files are missing, have other ids than v, or are given for bytes.
        """
        if method["v"] == BYTES:
            if sources.vocab_file:
                raise ValueError(
                    f"tokenizer.vocab_file={sources.vocab_file!r} is the tokenizer of a method "
                    f"that states its ids, and '{method}' reads bytes: write v=IDS into its name"
                )
            return tokenizers.Bytes()
        if not sources.vocab_file:
            raise ValueError(
                f"'{method}' has the ids of a published tokenizer: name its file by "
                "tokenizer.vocab_file, or leave v out for bytes"
            )
        return BPE().make_code(parse(f"{BPE.name}[v={method['v']}]"), sources)

    def row_code(
        self, method: MethodName, config: ConfigDict, tokenizer: tokenizers.Tokenizer
    ) -> Code:
        """Return the code that makes a row of each problem; see `Family`.

        Raises:
            ValueError: row_length is not that of the layout.
        """
        thoughts = _settings(config)
        prompt = (thoughts.prompt, thoughts.prompt_end)
        return ProblemCode(
            tokenizer,
            thoughts.row,
            prompt,
            thoughts.written,
            _extra(config),
            longest_step=thoughts.longest_step,
        )

    def row_layout(self, method: MethodName, config: ConfigDict) -> RowLayout:
        """Return the arrays of a row; roll-outs have more; see `Family`."""
        return RowLayout(config.row_length, problem_fields(extra=_extra(config)), AMOUNTS)

    def make_task(
        self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary, platform: Platform
    ) -> Task:
        """Return the first phase of latent reasoning; see `Family`.

        Raises:
            ValueError: z_loss, snippets or quantized are set, which need a language model over
                text; or see `LatentReasoning`.
        """
        if config.z_loss or config.snippets.every or config.quantized:
            raise ValueError(
                f"z_loss={config.z_loss}, snippets.every={config.snippets.every} and "
                f"quantized={config.quantized} are keys of a language model over text: leave them "
                f"as they are for {method}"
            )
        thoughts = _settings(config)
        model = GPTConfig(
            **transformer_keys(config.model, platform),
            vocab_size=vocabulary.size,
            max_length=thoughts.text,
        ).resolved(platform)
        reasoner = ReasonerConfig(
            model=model,
            layout=thoughts.row,
            mark_ids=tuple(_ids(vocabulary, mark)[0] for mark in MARKS),
            projection=thoughts.projection,
            trunks=method["trunks"],
            change=thoughts.change,
            rank=thoughts.rank,
            message=thoughts.message,
            cache=thoughts.cache,
            gate=_gate(config),
        )
        head = head_of(config, vocabulary.size, platform)
        task = LatentReasoning(
            Thinker(
                reasoner,
                vocabulary.separator_id,
                method["slots"],
                Curriculum(method["k"]),
                _ids(vocabulary, thoughts.filler)[0],
                thoughts.iterations,
                thoughts.end_weight > 0,
                _noise(config),
                thoughts.inline,
            ),
            vocabulary.bytes_per_token,
            text_weight=thoughts.text_weight,
            written_weight=thoughts.written_weight,
            named_weight=thoughts.named_weight,
            decoder_weight=thoughts.decoder_weight,
            align_weight=thoughts.align_weight,
            start_weight=thoughts.start_weight,
            end_weight=thoughts.end_weight,
            head="whole" if head == "whole" else "blocks",
            decoding=Decoding(_within(config, thoughts.segment)) if thoughts.segment else None,
            mark=_ids(vocabulary, END_MARK),
            prompt=(thoughts.prompt, thoughts.prompt_end),
            fills_slots=_fills_slots(method, config),
        )
        if config.policy.group:
            self.rows_read(config)
            if thoughts.curriculum:
                raise ValueError(
                    f"thoughts.curriculum={thoughts.curriculum} is of the first phase, and "
                    f"policy.group={config.policy.group} asks for the second: set one to 0"
                )
            policy = _policy(config)
            return Policy(task, policy, rollout_flops(task.thinker, policy.segment))
        if not thoughts.curriculum:
            return task
        if method["slots"] != "latent":
            raise ValueError(
                f"thoughts.curriculum={thoughts.curriculum} replaces written tokens by thoughts, "
                f"and slots of {method} hold none: set it to 0"
            )
        steps, _ = solve_steps(config, task)
        n_steps = max(round(thoughts.curriculum * steps), 1)
        curriculum = Curriculum(method["k"], n_steps, thoughts.first_stage)
        return dataclasses.replace(
            task, thinker=dataclasses.replace(task.thinker, curriculum=curriculum)
        )

    def rows_read(self, config: ConfigDict) -> int:
        """Return the problems of a step: a group of solutions shares one; see `Family`.

        Raises:
            ValueError: groups do not divide the batch.
        """
        group = config.policy.group or 1
        if config.batch_size % group:
            raise ValueError(
                f"batch_size={config.batch_size} solutions are no whole groups of policy.group="
                f"{group}: make it a multiple"
            )
        return config.batch_size // group

    def make_stream(
        self,
        config: ConfigDict,
        task: Task,
        tokenizer: tokenizers.Tokenizer,
        batches: TrainBatches,
    ) -> TrainBatches | Stream:
        """Return the batches, or in the second phase solutions of their problems; see `Family`."""
        policy = _policy(config)
        if not policy.group:
            return batches
        return RolloutStream(task.thinker, batches, tokenizer, policy)

    def make_writer(
        self,
        task: Task,
        variables: Variables,
        tokenizer: tokenizers.Tokenizer,
        row_length: int,
    ) -> Writer:
        """Return a writer of solutions; see `Family` and `LatentReasoning.check_writes`."""
        task.check_writes()
        return ThinkingWriter(task.thinker, variables, tokenizer, task.prompt)


def _ids(vocabulary: Vocabulary, text: str) -> tuple[int, ...]:
    """Return the ids of a text; without a tokenizer one that stands for them."""
    if vocabulary.encode is None:
        return (0,)
    return tuple(map(int, vocabulary.encode(text.encode("utf-8", "surrogatepass"))))


def _fills_slots(method: MethodName, config: ConfigDict) -> bool:
    """Return whether all written thoughts of the problems are known to have a token for each slot.

    On chains of permutations they have a byte for each operation; elsewhere problems decide.
    """
    if method["v"] != BYTES or config.data.source != "chains":
        return False
    n_result = len("=1") if config.thoughts.written == "equation" else 0
    n_bytes = config.chains.n_operations + n_result
    return config.chains.kind == "permutations" and config.thoughts.slots == n_bytes


def _extra(config: ConfigDict) -> dict[str, FieldSpec]:
    """Return the fields that roll-outs fill; the first phase has none."""
    if not config.policy.group:
        return {}
    layout = ThoughtsConfig(**config.thoughts).row
    return PolicyConfig(**config.policy).fields(layout, config.model.d_model)


def _policy(config: ConfigDict) -> PolicyConfig:
    """Return the section of a configuration, with segments no longer than a text; see `_within`."""
    policy = PolicyConfig(**config.policy)
    return dataclasses.replace(policy, segment=_within(config, policy.segment))


def _within(config: ConfigDict, segment: int) -> int:
    """Return the tokens of a segment, at most; room beyond the text that holds it costs memory."""
    return min(segment, config.thoughts.text)


def _noise(config: ConfigDict) -> ThoughtNoise:
    """Return the noise of thoughts in the second phase; the first one has none."""
    policy = config.policy
    return ThoughtNoise(policy.gradient, policy.noise) if policy.group else ThoughtNoise()


def _gate(config: ConfigDict) -> float:
    """Return what the gate between tokens and thoughts begins at; 0 = there is none."""
    policy = config.policy
    return policy.gate if policy.group and policy.gradient == "hrpo" else 0.0


def _settings(config: ConfigDict) -> ThoughtsConfig:
    """Return the section of a configuration.

    Raises:
        ValueError: row_length is not that of the layout.
    """
    thoughts = ThoughtsConfig(**config.thoughts)
    if config.row_length != thoughts.row.length:
        raise ValueError(
            f"row_length={config.row_length}, and thoughts.text + thoughts.blocks_text + "
            f"thoughts.blocks * thoughts.slots are {thoughts.row.length}: a row is one problem, "
            f"set row_length={thoughts.row.length}"
        )
    return thoughts
