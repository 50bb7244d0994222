"""Analyze codes: one verb for each analysis, for any number of tokenizers and trained runs.

    python launch/analyze.py entropy --tokenizer Bytes --tokenizer 'EqualInfoAC[b=16,v=65k]' \\
        --text English=novels_en.jsonl.xz --text French=novels_fr.jsonl.xz --out figures
    python launch/analyze.py uniformity --tokenizer 'AC[v=256]' --tokenizer 'GZip[v=256]' \\
        --data 'text/*.jsonl.xz' --max_bytes 300000 --cut_bytes 2560

entropy estimates the entropy of ids by n-grams: plug-in and Miller-Madow on the training split,
smoothed (Kneser-Ney) on held-out text; for a --workdir it also scores its own language model.
uniformity measures how far n-grams and tokens of a code's bits are from uniform (KL divergence),
and compares them with random bits.

    python launch/analyze.py tokens --tokenizer 'EqualInfoAC[b=16,v=256]' \\
        --workdir runs/latent_lm --data 'text/*.jsonl.xz' --max_bytes 200000 --cut_bytes 2560
    python launch/analyze.py stability --tokenizer 'BPE[v=4096]' --tokenizer 'AC[v=256]' \\
        --data 'text/*.jsonl.xz' --max_bytes 200000 --cut_bytes 2560 --pieces 'BPE[v=4096]'

tokens shows what ids stand for: the bytes that each covers in held-out text and how much they vary,
the windows that hold the ids of --ids, the text that ids decode to alone and in runs, and the
vocabulary of codes whose ids stand for one text each. stability puts one sentence after many words,
changes single bytes, and compares token boundaries with spaces and with the boundaries of another
tokenizer. Tokenizers learn from 90 percent of the documents; everything is measured on the others.

    python launch/analyze.py windows --workdir runs/m2 --data 'text/*.jsonl.xz'
    python launch/analyze.py latents --workdir runs/quickstart/latent --data 'text/*.jsonl.xz'
    python launch/analyze.py choices --workdir runs/fifty/latent --data 'text/*.jsonl.xz'
    python launch/analyze.py zipf --tokenizer 'BPE[v=4096]' --workdir runs/quickstart/latent ...

windows scores each token of an equal-information window. latents scores each byte of a group, and
codes that the language model drew. choices scores text given the codes that the language model
finds likeliest, in every way to read that, on held-out text and on the other 90 percent of --data,
called training where the run has read it and other text where not. zipf counts the ids of codes,
and words, by rank.

    python launch/analyze.py problems --text train=gsm8k_train.jsonl.xz \\
        --text test=gsm8k_test.jsonl.xz --tokenizer Bytes

problems counts marks, results and right arithmetic in word problems, files with the fields question
and answer in the syntax of GSM8K, and how many tokens each part of a problem has.

    python launch/analyze.py thoughts --workdir runs/thoughts/phase1 --workdir runs/pauses

thoughts exchanges the thoughts of a reasoner on held-out problems of its own (another problem's,
zero, mean, noise, reversed, fewer) and scores the results behind them, and measures their geometry,
the tokens near them, attention to them and linear probes; a run that holds pauses stands beside it.

    python launch/analyze.py solutions --workdir runs/thoughts/none \\
        --workdir runs/thoughts/phase2 --k 1 --k 2 --max_problems 300 --out page

solutions lets a reasoner write greedily behind held-out problems of its own, and says how many are
right: the number behind the one ####, or leniently the last number of the text. It also says how
many of the equations in the text hold, how many solutions were cut before their end, and how many
blocks, slots and tokens each has. The same weights write as they were trained, without blocks (no
thoughts), and for each --k with so many slots in use at most; 0 leaves the marks of a block. A run
that has no blocks writes in one way. Intervals are of 95 %, over problems. Segments may be as long
as a row, where launch/evaluate.py cuts them at thoughts.segment.

    python launch/analyze.py boundaries --workdir runs/hnet/hnet --workdir runs/hnet1/hnet \\
        --workdir runs/hnet/bytes --text French=french.txt --json boundaries.json --out page

boundaries shows what models cut that cut their text by themselves (HNet, BLT, TokenPooling,
Hourglass, ConceptMoE, Synergy), on their own held-out text and on each --text, which is read whole:
of every stage how long chunks are, whether they end where words, the pieces of a --tokenizer
(BPE[v=1024] if none is named, trained on the runs' text) and the --morphemes of a list do, what the
byte behind a boundary costs against others, and nats by the place in the chunk. A chunk that ends
with the last byte of a word knows that the word has ended; the model finds out only by reading the
byte behind it, so both are counted. With several such runs, of other seeds say, their boundaries
are compared with each other; beside each F1 stands what as many boundaries at random places of the
same rows would give. Every run, plain ones of Bytes or BPE as well, reads the text with 10 percent
of its letters in the other case, and with 5 percent mistyped, in bits per byte of the noised text.
--shown places of each text are printed with their chunks, coloured on a terminal; those in --json
stand on the page of launch/report.py --analyses, where the pointer finds what each character costs.
A run that is training has the chunks of its last evaluation in samples/ and on that page.

    python launch/analyze.py robustness --max_bytes 100000 --json robustness.json --out page \\
        $(printf -- '--workdir %s ' runs/sweeps/chunking_laptop/cells/*)

robustness says what typos and letters of the other case cost any run that has bits per byte, those
of Bytes and BPE as well as those that cut by themselves: all read the same noised bytes of their
held-out text, or of each --text instead, and bits are per raw byte of the noised text. Intervals
are of 95 %, over documents, of which at most 32 groups are made; each group begins a row of its
own.

Tokenizers are given by their literature names. A --workdir is a run folder; its latents are
analyzed if it learned some, else its tokenizer. Every verb prints a table; --json writes the
unrounded numbers, and --out is a folder for pictures.
"""

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.command_verbs import option_cases, run_verbs
from latent_jax.commands.analyze import OPTIONS, analyze

CASES = option_cases(analyze, OPTIONS)

if __name__ == "__main__":
    run_verbs(CASES)
