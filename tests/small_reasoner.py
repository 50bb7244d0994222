"""A small reasoner over bytes, for chains of two breakpoints and three operations."""

from latent_jax.data.problem_rows import ProblemLayout
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.reasoner import ReasonerConfig
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_slots import Curriculum
from latent_jax.tokenizers import Bytes

TOKENIZER = Bytes()
LAYOUT = ProblemLayout(text=26, blocks_text=14, n_blocks=2, n_slots=3)
CONFIG = ReasonerConfig(
    model=GPTConfig(
        vocab_size=TOKENIZER.vocab_size,
        max_length=26,
        n_layers=1,
        d_model=16,
        n_heads=2,
        positions="rotary",
        norm="rms",
        use_bias=False,
    ),
    layout=LAYOUT,
)
THINKER = Thinker(CONFIG, TOKENIZER.separator_id, "latent", Curriculum(3))
