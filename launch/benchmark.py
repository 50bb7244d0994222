"""Measure speed against peers, in turns, in one process.

    python launch/benchmark.py train
    python launch/benchmark.py train --vocab_size=4096 --json configs/results/train_speed.json

`train` trains the GPT of this project and the same model in PyTorch on the same random rows and
prints tokens per second. It needs PyTorch: python -m pip install -e '.[benchmark]'
"""

from absl import flags

from latent_jax.experiments.benchmark import TrainBenchmark, benchmark_and_print
from latent_jax.experiments.command_line import run_command

VOCAB_SIZE = flags.DEFINE_integer("vocab_size", TrainBenchmark.vocab_size, "Ids of the model.")
ROW_LENGTH = flags.DEFINE_integer("row_length", TrainBenchmark.row_length, "Ids per row.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", TrainBenchmark.batch_size, "Rows per step.")
N_LAYERS = flags.DEFINE_integer("n_layers", TrainBenchmark.n_layers, "Blocks.")
D_MODEL = flags.DEFINE_integer("d_model", TrainBenchmark.d_model, "Width.")
N_HEADS = flags.DEFINE_integer("n_heads", TrainBenchmark.n_heads, "Attention heads.")
N_STEPS = flags.DEFINE_integer("n_steps", TrainBenchmark.n_steps, "Steps that are timed.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")


def main(verbs):
    """Measure."""
    if verbs != ["train"]:
        raise ValueError(f"say what to measure: train; got {' '.join(verbs) or 'nothing'}")
    benchmark = TrainBenchmark(
        vocab_size=VOCAB_SIZE.value,
        row_length=ROW_LENGTH.value,
        batch_size=BATCH_SIZE.value,
        n_layers=N_LAYERS.value,
        d_model=D_MODEL.value,
        n_heads=N_HEADS.value,
        n_steps=N_STEPS.value,
    )
    benchmark_and_print(benchmark, JSON.value)


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
