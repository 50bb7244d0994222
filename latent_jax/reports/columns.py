"""The columns of tables: header, unit and number format of each key of a record."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

MISSING = "-"
"""Text of a cell without a value: a BPE has no codebook."""


@dataclasses.dataclass(frozen=True)
class Column:
    """The presentation of one key of the records.

    Attributes:
        key: the key.
        header: the header, with the unit; a newline breaks it in a terminal.
        format: a format specification for numbers, such as ".3f" or ",d".
        scale: factor on the value: 100 turns a share into percent.
    """

    key: str
    header: str
    format: str = ".4g"
    scale: float = 1.0

    def cell(self, record: Mapping[str, Any]) -> str:
        """Return the text of this column in one row."""
        value = record.get(self.key)
        if value is None:
            return MISSING
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "no"
        if isinstance(value, int | float | np.number):
            value = value * self.scale
            # A count is shown as an integer, even if scaling or averaging made it a float.
            return format(round(value) if self.format.endswith("d") else value, self.format)
        return str(value)


def with_interval(key: str, header: str, **look: Any) -> tuple[Column, Column, Column]:
    """Return the columns of a number and of the ends of its 95 % interval, KEY_low and KEY_high.

    Args:
        key: of the number.
        header: of the number.
        **look: format and scale of all three.
    """
    ends = Column(f"{key}_low", "95 %\nfrom", **look), Column(f"{key}_high", "\nto", **look)
    return Column(key, header, **look), *ends


COLUMNS = {
    column.key: column
    for column in (
        Column("name", "run"),
        Column("method", "method"),
        Column("statement", "statement"),
        Column("theirs", "there"),
        Column("ours", "here"),
        Column("because", "because"),
        Column("found_in", "where"),
        Column("train", "train", ",.6g"),
        Column("test", "test", ",.6g"),
        Column("step", "steps", ",d"),
        Column("bytes_seen", "text seen\nMB", ".2f", 1e-6),
        Column("bytes_per_chunk", "bytes per\nchunk", ".2f"),
        Column("bytes_per_chunk_1", "bytes per\nchunk", ".2f"),
        Column("main_steps_share", "main network\nruns, % of steps", ".1f", 100.0),
        Column("bytes_per_chunk_2", "in the second\nstage", ".2f"),
        Column("overflow_share_1", "found no\nroom %", ".2f", 100.0),
        Column("problems_seen", "problems\nseen", ",d"),
        Column("tokens_seen", "tokens seen\nM", ".2f", 1e-6),
        Column("result_nats_per_token_without", "results in the\ntext nats/token", ".3f"),
        Column("result_nats_per_token_with", "behind thoughts\nnats/token", ".3f"),
        Column("result_nats_per_token", "result\nnats/token", ".3f"),
        Column("saved_nats", "saved against\nno thoughts", "+.3f"),
        Column("saved_nats_half_width", "its interval\n±", ".3f"),
        Column("use_nats_per_token", "thoughts of\nanother +nats", ".3f"),
        Column("use_nats_half_width", "its interval\n±", ".3f"),
        Column("lost_right_share", "lost behind\nanother's, %", ".1f", 100.0),
        Column("lost_right_share_half_width", "its interval\n±", ".1f", 100.0),
        Column("gain_nats_per_megaflop", "nats a million\nFLOPs more save", "+.4f"),
        Column("gain_half_width", "its interval\n±", ".4f"),
        Column("right_share_own_1", "own, block 1\nright %", ".1f", 100.0),
        Column("right_share_own_2", "own, block 2\nright %", ".1f", 100.0),
        Column("right_share_swapped_1", "another's, block 1\nright %", ".1f", 100.0),
        Column("right_share_swapped_2", "another's, block 2\nright %", ".1f", 100.0),
        Column("blocks_per_solution", "blocks per\nsolution", ".2f"),
        Column("slots_per_solution", "slots per\nsolution", ".2f"),
        Column("cut_share", "cut before\ntheir end %", ".1f", 100.0),
        Column("right_share", "solved\n%", ".1f", 100.0),
        Column("planned_steps", "planned\nsteps", ",d"),
        Column("planned_bytes_seen", "planned\ntext MB", ".2f", 1e-6),
        Column("planned_tokens_seen", "planned\ntokens M", ".2f", 1e-6),
        Column("planned_problems_seen", "planned\nproblems", ",d"),
        Column("planned_train_flops", "planned\nFLOPs", ".2e"),
        Column("seconds", "time\ns", ",.0f"),
        Column("wall_seconds", "with all\nelse, s", ",.0f"),
        Column("expected_seconds", "expected\ns", ",.0f"),
        Column("memory_bytes", "memory\nGB", ".2f", 1e-9),
        Column("paper_bits_per_byte", "bits/byte by\nthe paper's way", ".3f"),
        Column("paper_bytes_per_token", "the paper's\nbytes per token", ".2f"),
        Column("paper_tokens", "the paper's\ntokens", ",d"),
        Column("paper_bytes", "the paper's\nbytes", ",d"),
        Column("paper_short_share", "tokens short\nof 26.2 billion %", ".2f", 100.0),
        Column("expected_short_share", "expected\n%", ".2f", 100.0),
        Column("paper_uniform_bits_per_byte", "uniform in\nthe paper", ".3f"),
        Column("paper_unigram_bits_per_byte", "unigram in\nthe paper", ".3f"),
        Column("paper_unigram_gain_bits_per_byte", "gain in\nthe paper", ".3f"),
        Column("tokens_per_id", "tokens\nper id", ",.0f"),
        Column("perplexity_per_token", "perplexity\nper token", ".2f"),
        Column("uniform_perplexity_per_token", "uniform,\nperplexity", ",.1f"),
        Column("unigram_perplexity_per_token", "unigram,\nperplexity", ",.1f"),
        Column("nats_per_token", "nats per\ntoken", ".3f"),
        Column("bits_per_byte_at_its_length", "at 4.28 bytes a\ntoken, bits/byte", ".3f"),
        Column("two_to_the_nats", "2 to the\nnats", ".2f"),
        Column("times_first", "times the\nfirst", ".2f"),
        *(
            Column(f"{part}_flops_per_byte", part.replace("_", "\n") + "\nFLOPs/byte", ".3g")
            for part in (
                "attention",
                "feed_forward",
                "head",
                "tokenizer",
                "inference",
                "train",
                "paper",
                "encoder",
                "router",
                "main",
                "entropy_model",
                "compressor",
                "quantizer",
                "decoder",
                "language_model",
            )
        ),
        Column("train_flops", "training\nFLOPs", ".2e"),
        Column("n_parameters", "parameters\nM", ".2f", 1e-6),
        Column("loss", "loss\nnats", ".3f"),
        Column("bits_per_byte", "bits/byte", ".3f"),
        Column("bits_above_best", "above the\nbest", ".3f"),
        Column("unigram_gain_bits_per_byte", "gain", ".4f"),
        Column("lm_gradient", "LM's\ngradient"),
        Column("quantization_error", "quantization\nerror", ".3f"),
        Column("standard_deviation", "standard\ndeviation", ".4f"),
        Column("bits_above_best_half_width", "±, 95 %", ".3f"),
        Column("smallest_effect", "smallest\neffect", ".3f"),
        Column("axis", "over"),
        Column("length", "symbols of\na message", "d"),
        Column("n_messages", "messages", ",d"),
        Column("fraction", "shortest\nfraction"),
        Column("coder_codeword", "the coder's\nown"),
        Column("information_bits", "information\nbits", ".3f"),
        Column("codeword_bits", "codeword\nbits", "d"),
        Column("coder_bits", "the coder's\nbits", "d"),
        Column("entropy_bits_per_symbol", "entropy,\nbits per symbol", ".3f"),
        Column("codeword_bits_per_symbol", "codeword", ".3f"),
        Column("coder_bits_per_symbol", "the coder's", ".3f"),
        Column("best", "best", ".3g"),
        Column("low", "from", ".3g"),
        Column("high", "to", ".3g"),
        Column("where", "best lies"),
        Column("measured_from", "measured\nfrom", ".3g"),
        Column("measured_to", "measured\nto", ".3g"),
        Column("n_cells", "cells", ",d"),
        Column("n_seeds", "seeds", ",d"),
        Column("n_tried", "places\ntried", ",d"),
        Column("n_supporting", "support", ",d"),
        Column("n_refuting", "refute", ",d"),
        Column("row_length", "tokens\nin a row", ",d"),
        Column("reconstruction_bits_per_byte", "reconstruction\nbits/byte", ".3f"),
        Column("language_model_bits_per_byte", "LM over codes\nbits/byte", ".3f"),
        Column("unigram_bits_per_byte", "unigram\nbits/byte", ".3f"),
        Column("uniform_bits_per_byte", "uniform\nbits/byte", ".3f"),
        Column("reconstruction_nats_per_byte", "reconstruction\nnats/byte", ".4f"),
        Column("language_model_nats_per_byte", "LM over codes\nnats/byte", ".3f"),
        Column("language_model_choice_nats_per_byte", "LM's choice\nnats/byte", ".3f"),
        Column("blog_nats_per_character", "LM term,\nnats/character", ".3f"),
        Column("nats_per_byte", "in full,\nnats/byte", ".3f"),
        Column("characters", "divided\nby", "d"),
        Column("reconstruction_accuracy", "bytes right\n%", ".2f", 100.0),
        Column("scored_bytes", "bytes\nscored", ",d"),
        Column("choice_nats_per_byte", "nats/byte", ".4f"),
        Column("needed_accuracy", "needed for\n0.07 %", ".2f", 100.0),
        Column("added_nats_per_code", "nats a code\nadds to its row", ".2f"),
        Column("what", "decoded; scored"),
        Column("language_model_accuracy", "codes right\n%", ".2f", 100.0),
        Column("bytes_per_latent", "bytes per\nlatent", ".2f"),
        Column("bytes_per_token", "bytes per\ntoken", ".2f"),
        Column("bit_compression_ratio", "bits in per\nbit out", ".2f"),
        Column("snippet_bits_per_byte", "of snippets\nbits/byte", ".3f"),
        Column("b16_bytes_per_token", "[b=16,v=65k]\nbytes per token", ".2f"),
        Column("b16_times_ac", "its bits, times\nthose of AC", ".2f"),
        Column("b32_times_ac", "b = 32, times\nthose of AC", ".2f"),
        Column("times_ac", "bits, times\nthose of AC", ".2f"),
        Column("paper_times_ac", "the same\nin the paper", ".2f"),
        Column("text", "text"),
        Column("model", "model"),
        *(
            Column(f"{estimator}_bits_per_{unit}", f"{header}\nbits/{unit}", ".3f")
            for estimator, header in (
                ("plug_in", "plug-in"),
                ("miller_madow", "Miller-\nMadow"),
                ("held_out", "held out"),
            )
            for unit in ("token", "byte", "character")
        ),
        Column("paper_bits_per_character", "Fifty 2025\nbits/character", ".1f"),
        Column("train_bytes", "counted\nMB", ".2f", 1e-6),
        Column("n_samples", "n-grams\ncounted", ",d"),
        Column("n_contexts", "distinct\ncontexts", ",d"),
        Column("best_n", "best\nn", "d"),
        Column("best_bits_per_byte", "its\nbits/byte", ".3f"),
        Column("kl_bits", "from uniform\nbits", ".5f"),
        Column("corrected_kl_bits", "Miller-\nMadow", ".5f"),
        Column("random_kl_bits", "random\nbits", ".5f"),
        Column("random_standard_deviation_bits", "standard\ndeviation", ".1e"),
        Column("times_random", "times\nrandom", ".3g"),
        Column("used_ids_share", "ids used\n%", ".1f", 100.0),
        Column("longest_token_bytes", "longest\nbytes", ",d"),
        Column("lossless_share", "lossless\n%", ".2f", 100.0),
        Column("n_bytes", "text\nMB", ".2f", 1e-6),
        Column("encode_mb_per_s", "encode\nMB/s", ".3g"),
        Column("decode_mb_per_s", "decode\nMB/s", ".3g"),
        Column("encode_kb_per_s", "encode\nkB/s", ".1f"),
        Column("matmul_flops_per_s", "matmul\nGFLOP/s", ".1f", 1e-9),
        Column("share_of_matmul", "share of\nmatmul rate %", ".1f", 100.0),
        Column("prefix_kb_per_s", "a pass per\nprefix kB/s", ".2f"),
        Column("speed_ratio", "times the\npeer's speed", ".2f"),
        Column("codebook_perplexity", "codebook\nperplexity", ",.1f"),
        Column("codebook_perplexity_share", "perplexity\n% of codes", ".1f", 100.0),
        Column("codebook_usage", "codes used\n%", ".1f", 100.0),
        Column("dead_codes", "dead\ncodes", ",d"),
        Column("bytes_per_s", "speed\nkB/s", ",.1f", 1e-3),
        Column("tokens_per_s", "tokens/s", ",.0f"),
        Column("position", "place", ",d"),
        Column("text_before", "text before"),
        Column("stands_for", "stands\nfor"),
        Column("by_cosine", "thought,\nby cosine"),
        Column("by_logits", "state before,\nby logits"),
        Column("step_there", "next step"),
        Column("step_said", "as said"),
        Column("step_said_swapped", "said behind another\nproblem's thoughts"),
        Column("part", "by"),
        Column("implementation", "by"),
        Column("dtype", "in"),
        Column("error", "error", ".1e"),
        Column("gradient_error", "of its\ngradients", ".1e"),
        Column("vocab_size", "ids of the\nvocabulary", ",d"),
        Column("step_ms", "step\nms", ",.1f"),
        Column("n_tokens", "tokens", ",d"),
        Column("n_ids", "ids", ",d"),
        Column("accuracy", "right\n%", ".2f", 100.0),
        Column("bits_per_token", "bits per\ntoken", ".3f"),
        Column("uniform_bits_per_token", "uniform, bits\nper token", ".3f"),
        Column("entropy_bits_per_token", "entropy, bits\nper token", ".3f"),
        Column("codes_returned_share", "codes that\nreturn %", ".1f", 100.0),
        Column("top_share", "first\n%", ".2f", 100.0),
        Column("zipf_exponent", "Zipf's\nexponent", ".2f"),
        Column("lanes", "lanes", ",d"),
        Column("greedy_agreement", "greedy ids\nalike %", ".1f", 100.0),
        Column("n_new_bytes", "new\nbytes", ",d"),
        Column("bytes_per_id", "bytes\nper id", ".2f"),
        Column("bits_per_new_byte", "bits per\nnew byte", ".3f"),
        Column("generation_flops_per_byte", "FLOPs per\nnew byte", ".2e"),
        Column("new_bytes_per_s", "bytes/s", ",.0f"),
        Column("compile_seconds", "compiling\ns", ",.1f"),
        Column("latency_ms", "latency\nms", ",.1f"),
        Column("ms_per_100_bytes", "100 bytes\nms", ",.1f"),
        Column("prompt_bytes_right_share", "of the prompt\nkept %", ".1f", 100.0),
        Column("n_words", "words", ",d"),
        Column("unknown_words_share", "words not in the\ntraining text %", ".2f", 100.0),
        Column("flops_per_byte", "FLOPs\nper byte", ".2e"),
        Column("n_used_ids", "ids\nused", ",d"),
        Column("piece_bytes", "bytes", ",d"),
        Column("repeated_ids_share", "ids used more\nthan once %", ".1f", 100.0),
        Column("texts_per_id", "texts\nper id", ".2f"),
        Column("one_text_ids_share", "ids with one\ntext %", ".1f", 100.0),
        Column("same_text_probability", "one id,\nsame text %", ".1f", 100.0),
        Column("same_id_probability", "one text,\nsame id %", ".1f", 100.0),
        Column("token_id", "token", "d"),
        Column("window_position", "window\nposition", "d"),
        Column("n_windows", "windows\nwith it", ",d"),
        Column("n_window_texts", "their\ntexts", ",d"),
        Column("same_window_probability", "two windows,\nsame text %", ".1f", 100.0),
        Column("shared_window_bytes", "two begin\nalike, bytes", ".2f"),
        Column("window_texts", "window texts"),
        Column("same_ids_probability", "one word,\nsame ids %", ".1f", 100.0),
        Column("text_bits", "text\nbits", ".2f"),
        Column("text_given_id_bits", "text given\nid, bits", ".2f"),
        Column("text_given_shuffled_id_bits", "given a\nshuffled id", ".2f"),
        Column("id_given_text_bits", "id given\ntext, bits", ".2f"),
        Column("decoding_error_share", "alone,\nwrong %", ".1f", 100.0),
        Column("exact_share", "alone,\nexact %", ".1f", 100.0),
        Column("undecodable_share", "alone,\nno text %", ".1f", 100.0),
        Column("prefix_distance_tokens", "other prefix,\ntokens", ".2f"),
        Column("prefix_distance_share", "other prefix\n%", ".1f", 100.0),
        Column("sentence_distance_tokens", "its sentence,\ntokens", ".2f"),
        Column("sentence_distance_share", "its sentence\n%", ".1f", 100.0),
        Column("changed_tokens", "changed\ntokens", ".1f"),
        Column("changed_tokens_share", "changed\ntokens %", ".1f", 100.0),
        Column("stays_share", "only its own\ntoken %", ".1f", 100.0),
        Column("travel_bytes_median", "travels on\nbytes", ",.0f"),
        Column("back_bytes_median", "travels back\nbytes", ",.0f"),
        Column("reaches_end_share", "to the end\n%", ".1f", 100.0),
        *(
            Column(f"{chance}{place}_{side}_share", f"{words}{head}", ".1f", 100.0)
            for chance, words in (("", ""), ("random_", "by chance, "))
            for place, side, head in (
                ("space", "recall", "spaces\nmet %"),
                ("space", "precision", "cuts at\nspaces %"),
                ("piece", "recall", "pieces\nmet %"),
                ("piece", "precision", "cuts at\npieces %"),
            )
        ),
        Column("peak_memory_bytes", "peak memory\nGB", ".2f", 1e-9),
        Column("topology", "slice"),
        Column("batch_size", "rows", ",d"),
        Column("argument_bytes", "arguments\nGB", ".2f", 1e-9),
        Column("temporary_bytes", "temporaries\nGB", ".2f", 1e-9),
        Column("peak_bytes", "peak\nGB", ".2f", 1e-9),
        Column("xla_over_ledger", "XLA's FLOPs\nover ours", ".3f"),
        Column("collective_count", "collectives", ",d"),
        Column("traffic_bytes", "main memory\nGB", ".1f", 1e-9),
        Column("link_bytes", "links\nGB", ".2f", 1e-9),
        Column("flops_bound_ms", "FLOPs\nms", ".1f"),
        Column("memory_bound_ms", "main memory\nms", ".1f"),
        Column("link_bound_ms", "links\nms", ".1f"),
    )
}
"""Key -> column. A key that is not here is shown under its own name."""


def column_of(key: str) -> Column:
    """Return the column of a key; "bits_per_byte@25m" stands for bits per byte at size 25m."""
    plain, at, size = key.partition("@")
    column = COLUMNS.get(plain, Column(plain, plain))
    return dataclasses.replace(column, key=key, header=f"{size}\n{column.header}") if at else column
