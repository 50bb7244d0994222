"""The work of `launch/generate.py`: print what each run writes after prompts, side by side."""

import dataclasses
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from ml_collections import ConfigDict

from latent_jax.commands.compile_time import compile_time
from latent_jax.commands.prompts import text_of
from latent_jax.commands.unknown_words import (
    WORD_COLUMNS,
    held_out_record,
    known_words,
    marked_words,
    word_shares,
)
from latent_jax.contracts import Writer, Written
from latent_jax.experiments.evaluate import Run, load_run
from latent_jax.experiments.pretrained import MOST_ROW_LENGTH, load_pretrained
from latent_jax.generation import Sampling
from latent_jax.generation.chat_writer import ChatWriter
from latent_jax.generation.thinking_writer import ThinkingWriter
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.ranges import Seed, at_least, check_fields
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import text_table, write_table

LANES = 32
"""Texts that are drawn at the same time."""

COLUMNS = (
    "name",
    "method",
    "n_new_bytes",
    "bytes_per_id",
    "bits_per_new_byte",
    "generation_flops_per_byte",
    "seconds",
    "compile_seconds",
    Column("new_bytes_per_s", "bytes/s,\ncompiled", ",.0f"),
    "prompt_bytes_right_share",
)


@dataclasses.dataclass(frozen=True)
class Request:
    """The texts that every run is asked for.

    Attributes:
        prompts: raw bytes.
        n_samples: samples of each prompt.
        n_bytes: new bytes in each sample, at most.
        sampling: how ids are drawn.
        seed: of the draws.
        is_chat: whether a prompt is a message that is answered, in the chat of a published model.
        thoughts: slots in use of a block of a reasoner, at most; -1 = as in its training.
        thinks: whether a reasoner may think.

    Raises:
        ValueError: there is no prompt, or a number is out of its range.
    """

    prompts: tuple[bytes, ...]
    n_samples: Annotated[int, at_least(1, 10**6)] = 1
    n_bytes: Annotated[int, at_least(1, 10**9)] = 200
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    seed: Seed = 0
    is_chat: bool = False
    thoughts: Annotated[int, at_least(-1)] = -1
    thinks: bool = True

    def __post_init__(self):
        """Check numbers."""
        if not self.prompts:
            raise ValueError("say what to begin with: --prompt TEXT or --prompts FILE")
        check_fields(self)


def make_writer(run: Run, is_chat: bool = False) -> Writer:
    """Return the writer of a run, which continues prompts, or answers them where it is a chat.

    Raises:
        ValueError: the run has no language model, or shall chat and has no chat.
    """
    if is_chat:
        config = getattr(run.task, "model_config", None)
        return ChatWriter(config, run.variables, run.tokenizer, run.config.row_length)
    known = family(parse(run.config.method).family)
    return known.make_writer(run.task, run.variables, run.tokenizer, run.config.row_length)


def generate(
    run: Run, request: Request, show: Callable[[bytes], None] | None = None
) -> tuple[list[list[Written]], dict[str, Any]]:
    """Return the samples of each prompt, and a flat record of what they cost.

    "seconds" is all that it took; "new_bytes_per_s" leaves out "compile_seconds", in which programs
    were traced and compiled.

    The key of a sample is made from the numbers of its prompt and of the sample, so other prompts,
    samples and batches do not change it.

    Args:
        run: trained.
        request: prompts, and how many samples of which length.
        show: called with the text so far, if a single sample is asked for.

    Raises:
        ValueError: there is no language model, or a prompt leaves no room for new text.
    """
    writer = make_writer(run, request.is_chat)
    if request.thoughts >= 0 or not request.thinks:
        if not isinstance(writer, ThinkingWriter):
            raise ValueError(f"--k and --no_latents are for reasoners; {run.config.method} is none")
        writer = writer.with_thoughts(request.thoughts, request.thinks)
    root = jax.random.key(request.seed)
    lanes = [(p, s) for p in range(len(request.prompts)) for s in range(request.n_samples)]
    showing = None if show is None or len(lanes) > 1 else lambda texts: show(texts[0])
    written: list[Written] = []
    start = time.perf_counter()
    with compile_time() as compiling:
        for first in range(0, len(lanes), LANES):
            part = lanes[first : first + LANES]
            keys = [jax.random.fold_in(jax.random.fold_in(root, p), s) for p, s in part]
            prompts = [request.prompts[p] for p, _ in part]
            written += writer.write(
                prompts, jax.numpy.stack(keys), request.sampling, request.n_bytes, showing
            )
    seconds = time.perf_counter() - start
    times = {
        "seconds": seconds,
        "compile_seconds": compiling.seconds,
        "new_bytes_per_s": sum(len(one.text) for one in written) / (seconds - compiling.seconds),
    }
    groups = [written[i : i + request.n_samples] for i in range(0, len(lanes), request.n_samples)]
    return groups, _record(run, writer, request, written, times)


def _record(
    run: Run, writer: Writer, request: Request, written: Sequence[Written], times: dict[str, float]
) -> dict[str, Any]:
    n_bytes = sum(len(one.text) for one in written)
    n_ids = sum(one.n_ids for one in written)
    per_byte = max(n_bytes, 1)
    flops = 0.0
    for one in written:
        # `Written` does not count the prompt's ids: estimate them by the new text's ids per byte.
        n_prompt = round(len(one.kept) * n_ids / per_byte)
        flops += writer.flops(n_prompt, one.n_ids)
        flops += run.tokenizer.flops_per_byte * (len(one.kept) + len(one.text))
    right = [_right(one) for one in written]
    return {
        "name": run.config.name or run.config.method,
        "method": run.config.method,
        "step": run.metadata["step"],
        "temperature": request.sampling.temperature,
        "top_k": request.sampling.top_k,
        "top_p": request.sampling.top_p,
        "repetition_penalty": request.sampling.repetition_penalty,
        "seed": request.seed,
        "n_new_bytes": n_bytes,
        "n_new_ids": n_ids,
        "bytes_per_id": n_bytes / max(n_ids, 1),
        "bits_per_new_byte": sum(one.nats for one in written) / np.log(2) / per_byte,
        "generation_flops_per_byte": flops / per_byte,
        **times,
        "prompt_bytes_right_share": sum(right) / max(1, sum(len(one.kept) for one in written)),
    }


def _right(one: Written) -> int:
    pairs = zip(one.prompt, one.kept, strict=False)
    return sum(a == b for a, b in pairs)


def generate_and_print(
    workdirs: Sequence[str | Path],
    request: Request,
    *,
    checkpoint: str = "best",
    json_path: str | None = None,
    mark_unknown: bool = False,
    pretrained: Sequence[str | Path] = (),
    config: ConfigDict | None = None,
) -> None:
    """Print what each run writes after each prompt, then a table of the costs.

    On a terminal, a single sample of a single run is shown while it is drawn.

    Args:
        workdirs: run folders.
        request: what they are asked for.
        checkpoint: "best", "latest", or a step.
        json_path: file for the records of the table, or None.
        mark_unknown: whether words that the training text of the first run does not have are put in
            [brackets] and counted, beside those of its held-out text.
        pretrained: published models, after the runs; see `models.pretrained`.
        config: for `pretrained`, the defaults of all config keys, see `configs.common.default`.

    Raises:
        ValueError: a folder holds no run, or a prompt leaves no room.
    """
    if mark_unknown and not workdirs:
        raise ValueError(
            "--mark_unknown compares with the text of a run, and there is no --workdir"
        )
    runs = [load_run(workdir, checkpoint) for workdir in workdirs]
    runs += [load_pretrained(path, config, MOST_ROW_LENGTH) for path in pretrained]
    is_single = len(runs) == len(request.prompts) == request.n_samples == 1
    is_live = is_single and sys.stdout.isatty() and not mark_unknown
    corpus = text_of(workdirs[0]) if mark_unknown else None
    known = known_words(corpus) if corpus else None
    samples, records = [], []
    for run in runs:
        groups, record = generate(run, request, _Live() if is_live else None)
        samples.append(groups)
        words = [marked_words(one, known) for group in groups for one in group] if corpus else []
        records.append(record | word_shares(words))
    if corpus:
        records.append(held_out_record(corpus, known))
    if is_live:
        print()
    for number, prompt in enumerate(request.prompts):
        if not is_live:
            print(f"\n=== {readable(prompt)}")
        for run, groups in zip(runs, samples, strict=True):
            for one in groups[number]:
                head = f"--- {run.config.name or run.config.method}, {len(one.text)} bytes"
                print(f"\n{head}, {one.stop}")
                if one.kept != one.prompt:
                    print(textwrap.indent(f"prompt: {marked(one.prompt, one.kept)}", "    "))
                if not is_live:
                    text = marked_words(one, known).text if corpus else with_thoughts(one)
                    print(textwrap.indent(text, "    "))
    print()
    print(text_table(records, COLUMNS + WORD_COLUMNS if corpus else COLUMNS))
    if json_path:
        write_table(records, json_path)


def readable(text: bytes) -> str:
    """Return bytes as text for people; invalid UTF-8 becomes U+FFFD."""
    return text.decode("utf-8", "replace")


def with_thoughts(one: Written) -> str:
    """Return a text with the places where a reasoner thought: [3 thoughts], or what it wrote."""
    pieces, start = [], 0
    for thought in one.thoughts:
        said = readable(thought.said) or f"{thought.n_slots} thoughts"
        pieces += [readable(one.text[start : thought.at]), f"[{said}]"]
        start = thought.at
    return "".join([*pieces, readable(one.text[start:])])


def marked(prompt: bytes, kept: bytes) -> str:
    """Return the kept part of a prompt, with every run of wrong bytes in brackets.

    "[...]" stands for bytes that are missing at the end, because a stream cannot hold them yet.
    """
    pieces, at = [], 0
    while at < len(kept):
        is_wrong = kept[at : at + 1] != prompt[at : at + 1]
        stop = at
        while stop < len(kept) and (kept[stop : stop + 1] != prompt[stop : stop + 1]) == is_wrong:
            stop += 1
        piece = readable(kept[at:stop])
        pieces.append(f"[{piece}]" if is_wrong else piece)
        at = stop
    return "".join(pieces) + ("[...]" if len(kept) < len(prompt) else "")


class _Live:
    """Prints a text while it grows; an incomplete character waits for its missing bytes."""

    def __init__(self):
        self._shown = 0

    def __call__(self, text: bytes) -> None:
        ready = len(text)
        for back in range(1, min(3, len(text)) + 1):
            byte = text[-back]
            if byte >= 0xC0:  # the first of 2, 3 or 4 bytes
                size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                ready = len(text) - back if size > back else len(text)
            if byte < 0x80 or byte >= 0xC0:
                break
        print(readable(text[self._shown : ready]), end="", flush=True)
        self._shown = max(self._shown, ready)
