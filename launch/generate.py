"""Let trained language models continue prompts.

    python launch/generate.py --workdir runs/quickstart/bpe --prompt 'A lambda expression'
    python launch/generate.py --compare runs/quickstart/latent runs/quickstart/bpe \\
        --prompts prompts.txt --n_samples 3 --n_bytes 300 --seed 1
    python launch/generate.py --compare runs/fifty/bpe runs/fifty/latent --prompts validation:2 \\
        --mark_unknown
    python launch/generate.py --pretrained SmolLM2-135M-Instruct.Q4_1.gguf --chat --temperature 0 \\
        --prompt 'What is the capital of France?'

A language model over a tokenizer's ids writes ids, which are decoded to text. A latent language
model encodes the prompt, writes codes only, and decodes all codes at once at the end. So its prompt
is shown as its codes restore it, with wrong bytes in [brackets]. A compressed stream cannot yet
hold the last bytes of a prompt, so the model writes them itself. With --compare several runs
continue the same prompts. --prompts validation:2 begins with the first sentences of the first two
validation documents of the first run, as Fifty 2025 does; --mark_unknown also marks words that its
training text does not have, most of them spelling mistakes, and counts them. The defaults are those
of Fifty 2025; --temperature 0 is greedy. The output says why each text stops. In its table time is
all that the texts of a run took; bytes/s leaves out the part in which programs were compiled.

--pretrained is a published model, a .gguf (launch/fetch_smollm2.sh gets one) or a folder of Hugging
Face. With --chat a prompt is a question, put into the chat template of the model, and the text ends
with the answer.

A reasoner (configs/latent_reasoning.py) answers a question. [Brackets] show where it thought, and
how many thoughts, or what it wrote there. --k limits them, and --no_latents forbids them.
"""

from absl import flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.command_line import run_command
from latent_jax.commands.generate import Request, generate_and_print
from latent_jax.commands.prompts import read_prompts
from latent_jax.generation import Sampling

WORKDIR = flags.DEFINE_string("workdir", None, "Run folder.")
COMPARE = flags.DEFINE_multi_string("compare", [], "Run folders to compare.")
PRETRAINED = flags.DEFINE_multi_string(
    "pretrained", [], "Published model: a .gguf or a folder of Hugging Face. May be repeated."
)
CHAT = flags.DEFINE_bool("chat", False, "Answer prompts, in the chat template of the model.")
K = flags.DEFINE_integer(
    "k",
    None,
    "Reasoners: slots in use at a breakpoint, at most; left out = as in training.",
    lower_bound=0,
)
NO_LATENTS = flags.DEFINE_bool("no_latents", False, "Reasoners: do not think.")
PROMPT = flags.DEFINE_multi_string("prompt", [], "Text to continue. May be repeated.")
PROMPTS = flags.DEFINE_string(
    "prompts", "", "File with a prompt on each line, or validation:N; see above."
)
MARK_UNKNOWN = flags.DEFINE_bool(
    "mark_unknown", False, "Put words that the training text does not have in [brackets]."
)
N_SAMPLES = flags.DEFINE_integer("n_samples", Request.n_samples, "Samples of each prompt.")
N_BYTES = flags.DEFINE_integer("n_bytes", Request.n_bytes, "New bytes in a sample, at most.")
TEMPERATURE = flags.DEFINE_float(
    "temperature", Sampling.temperature, "Logits are divided by it; 0 takes the likeliest id."
)
TOP_K = flags.DEFINE_integer("top_k", Sampling.top_k, "Draw from the top_k likeliest ids; 0 = all.")
TOP_P = flags.DEFINE_float("top_p", Sampling.top_p, "Draw from the nucleus of this probability.")
REPETITION_PENALTY = flags.DEFINE_float(
    "repetition_penalty",
    Sampling.repetition_penalty,
    "Makes ids that a text already has less likely; 1.0 = off.",
)
SEED = flags.DEFINE_integer("seed", Request.seed, "Seed of the draws.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest, or a step.")
JSON = flags.DEFINE_string("json", None, "Also write the costs of each run to this file.")


def main(words):
    """Generate."""
    from configs import common

    if words and not COMPARE.value:
        raise ValueError(f"unexpected {' '.join(words)!r}: options are written --name=value")
    workdirs = [*filter(None, [WORKDIR.value]), *COMPARE.value, *words]
    if not workdirs and not PRETRAINED.value:
        raise ValueError(
            "say which model: --workdir of a run, --compare and several, or --pretrained FILE"
        )
    request = Request(
        read_prompts(PROMPT.value, PROMPTS.value, workdirs[0] if workdirs else ""),
        N_SAMPLES.value,
        N_BYTES.value,
        Sampling(TEMPERATURE.value, TOP_K.value, TOP_P.value, REPETITION_PENALTY.value),
        SEED.value,
        CHAT.value,
        -1 if K.value is None else K.value,
        not NO_LATENTS.value,
    )
    words = dict(checkpoint=CHECKPOINT.value, json_path=JSON.value)
    words |= dict(pretrained=PRETRAINED.value, config=common.default())
    generate_and_print(workdirs, request, **words, mark_unknown=MARK_UNKNOWN.value)


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
