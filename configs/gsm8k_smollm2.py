"""Interleaved latent reasoning on GSM8K with SmolLM2-135M: the post-mortem's first phase.

Source      Fifty, "Interleaved latent reasoning" (2025); GSM8K (Cobbe et al. 2021); SmolLM2
            (HuggingFaceTB, Apache-2.0), which launch/fetch_smollm2.sh gets
Arguments   slots       what blocks hold: latent, written, pause, filler or none
            k           slots of a block
            trunks      1 or 2; of two, the first one is frozen
            model       the GGUF
            train       file or glob of GSM8K's training problems
            test        of its test problems, which score the run
            epochs      of 7,473 problems
            batch       problems of a step
            text        tokens of question and solution, at most; longer problems are left out
            steps_text  tokens of all steps behind breakpoints, at most
            blocks      breakpoints of a problem, at most
            evaluation  raw bytes of test problems that each evaluation reads; 0 = all
            seed        of the parameters that are new, and of the order of problems
Data        train.jsonl and test.jsonl of github.com/openai/grade-school-math (MIT), in
            grade_school_math/data; .gz and .xz are read too
Commands    bash launch/fetch_smollm2.sh runs/pretrained
            python launch/train.py --workdir runs/gsm8k_latent --config \\
                configs/gsm8k_smollm2.py:slots=latent,train=train.jsonl,test=test.jsonl
            on 2 CPU cores and 24 GiB, where each device would have its own copy of the weights:
            short=text=144,steps_text=80,blocks=3,batch=8,epochs=0.0257,evaluation=25000
            JAX_NUM_CPU_DEVICES=1 python launch/train.py --workdir runs/gsm8k_short --config \\
                configs/gsm8k_smollm2.py:$short,train=train.jsonl,test=test.jsonl
Hardware    one GPU: 10 epochs of an arm were estimated at 2 to 4 minutes on an H100, not measured;
            2 CPU cores: a few problems, see the page
Result      configs/results/latent_reasoning.md
"""

from ml_collections import ConfigDict

from configs import common
from configs.args import parse_args

N_PROBLEMS = 7473


def get_config(arguments: str = "") -> ConfigDict:
    """Return one run."""
    a = parse_args(
        arguments,
        slots="latent",
        k=4,
        trunks=1,
        model="runs/pretrained/SmolLM2-135M-Instruct.Q4_1.gguf",
        train="gsm8k_train.jsonl*",
        test="gsm8k_test.jsonl*",
        epochs=1.0,
        batch=32,
        text=320,
        steps_text=256,
        blocks=8,
        evaluation=0,
        seed=0,
    )
    options = [a.slots, f"k={a.k}"] if a.slots in ("latent", "pause", "filler") else [a.slots]
    options += [f"trunks={a.trunks}"] if a.trunks != 1 else []
    config = common.default()
    config.method = f"Thoughts[{','.join(options)},v=49152]"
    config.seed = a.seed
    config.data.source = "gsm8k"
    config.data.files, config.data.held_out = (a.train,), (a.test,)
    config.tokenizer.vocab_file = a.model
    config.training.init_from = a.model
    config.training.init_patterns = ("params/(token_embedding|stack)/.*",)
    thoughts = config.thoughts
    thoughts.text, thoughts.blocks_text = a.text, a.steps_text
    # A problem whose written thoughts have more tokens than slots is left out, whatever slots hold.
    thoughts.blocks, thoughts.slots = a.blocks, max(a.k, 24)
    thoughts.prompt, thoughts.prompt_end = "Question: ", "\nAnswer: "
    thoughts.written = "equation"
    thoughts.text_weight = 0.0
    # Written thoughts differ in length, and only this classifier ends them; it trains nothing else.
    thoughts.end_weight = 1.0 if a.slots == "written" else 0.0
    thoughts.segment = 0
    config.row_length = a.text + a.steps_text + thoughts.blocks * thoughts.slots
    config.model.update(
        d_model=576,
        n_layers=30,
        n_heads=9,
        n_kv_heads=3,
        d_ff=1536,
        gated=True,
        activation="silu",
        norm="rms",
        use_bias=False,
        positions="rotary",
        rope_theta=100_000.0,
    )
    config.batch_size = a.batch
    config.budget.other = f"problems:{a.epochs * N_PROBLEMS!r}"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup_steps = 0
    config.optimizer.weight_decay = 0.0
    config.training.eval_every = 0
    config.training.save_every = 0
    config.evaluation_bytes = a.evaluation
    return config
