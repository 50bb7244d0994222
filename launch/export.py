"""Write a trained language model in Hugging Face's form, or make a run folder from such a model.

    python launch/export.py --workdir runs/quickstart/bpe --out runs/bpe_hf
    python launch/export.py --back runs/bpe_hf --workdir runs/bpe_again

The folder has config.json and model.safetensors, which transformers reads by itself, and the
tokenizer's files if transformers can read them (BPE, the compiled code). A model with learned
positions becomes a GPT2LMHeadModel. One with rotary positions, RMS norm and a gated feed-forward
part (--config.model.positions=rotary --config.model.norm=rms --config.model.gated=True, and as
Llama itself --config.model.activation=silu --config.model.use_bias=False) becomes a
LlamaForCausalLM with tied embeddings, or with a bias on queries, keys and values alone
(--config.model.qkv_bias=True) a Qwen2ForCausalLM. Other models, and latent language models, are
refused. --back also takes published models: a folder with tokenizer.json, or a .gguf of llama.cpp.
"""

from absl import flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.command_line import run_command

WORKDIR = flags.DEFINE_string("workdir", None, "Run folder; with --back a new one.")
OUT = flags.DEFINE_string("out", None, "New folder in Hugging Face's form.")
BACK = flags.DEFINE_string(
    "back", None, "Folder in Hugging Face's form, or a .gguf, that becomes a run."
)
CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest, or a step.")


def main():
    """Export or import."""
    from configs import common
    from latent_jax.commands.export import export_run, import_folder

    if not WORKDIR.value or bool(OUT.value) == bool(BACK.value):
        raise ValueError("say --workdir RUN and --out FOLDER, or --back FOLDER and --workdir NEW")
    if OUT.value:
        export_run(WORKDIR.value, OUT.value, CHECKPOINT.value)
    else:
        import_folder(BACK.value, WORKDIR.value, common.default())


if __name__ == "__main__":
    run_command(main)
