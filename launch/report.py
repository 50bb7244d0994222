"""Make tables and pictures of run folders, and one page that shows them.

    python launch/report.py runs/quickstart
    python launch/report.py runs/quickstart --out page
    python launch/report.py runs/compressors --results configs/results/compressors.json
    python launch/report.py --readme README.md
    python launch/report.py --paper lester_2024

The first command prints the last validation record of every run below the folder, and draws
comparison.png into it (into the first of several folders); for the folder of a sweep it makes
tables, pictures and verdicts. With --out pictures of runs go into that folder, beside index.html:
one file that needs no network, with sortable tables, interactive figures, samples, and text cut
live by the study's codes. --results also keeps the records, unrounded.
--readme writes every marked table of a page anew from configs/results/. --paper prints what follows
from the numbers of a paper: the tokens and bytes of its methods, and its perplexities in base e.

    python launch/report.py runs/fifty --per_character configs/results/fifty_curves.json

also draws the main figure of Fifty 2025, per_character.png: the loss of the language model alone
per character over training, beside the full code length. A code that says nothing would win the
first.
"""

from absl import flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.command_line import run_command
from latent_jax.command_verbs import name_cases, run_case
from latent_jax.commands.paper_tables import PAPERS, report_paper
from latent_jax.commands.report_page import SENTENCE, report_runs, report_with_page

RESULTS = flags.DEFINE_string("results", None, "Also keep the records in this JSON file.")
README = flags.DEFINE_string("readme", None, "Write the marked tables of this page anew.")
PER_CHARACTER = flags.DEFINE_string(
    "per_character", None, "Also draw the loss per character; its records go to this JSON file."
)
OUT = flags.DEFINE_string("out", None, "Folder that also gets the study as one page, index.html.")
ANALYSES = flags.DEFINE_list(
    "analyses", [], "Files of launch/analyze.py --json that the page draws, between commas."
)
TOKENIZER = flags.DEFINE_multi_string(
    "tokenizer", [], "Folder of one more tokenizer that cuts the page's sentence. May be repeated."
)
SENTENCE_FLAG = flags.DEFINE_string("sentence", SENTENCE, "Text that the page's tokenizers cut.")
PAPER = flags.DEFINE_enum("paper", None, PAPERS, "Print the tables that follow from a paper.")

KEPT = dict(results=RESULTS, readme=README, per_character=PER_CHARACTER)

CASES = {
    "report": (report_runs, KEPT),
    "report --out": (
        report_with_page,
        dict(**KEPT, out=OUT, analyses=ANALYSES, extra=TOKENIZER, sentence=SENTENCE_FLAG),
    ),
    "report --paper": (report_paper, dict(**KEPT, paper=PAPER)),
}


def main(folders):
    """Report."""
    run_case("report", CASES, folders)


if __name__ == "__main__":
    name_cases(CASES)
    run_command(main, takes_arguments=True)
