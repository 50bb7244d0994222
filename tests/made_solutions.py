"""Solutions made by hand of the problems of `small_reasoner`; the last row is no problem."""

import numpy as np

from latent_jax.generation.solution_arrays import Rollout
from latent_jax.tasks.problem_batch import Problems
from tests.small_reasoner import LAYOUT, TOKENIZER, small_batch

N_QUESTION = 7


def answers():
    """Return the digit that each row's last line states."""
    ids, segment = (small_batch()[name][:, : LAYOUT.text] for name in ("ids", "segment"))
    texts = [bytes(i[(s > 0) & (i < 256)].tolist()) for i, s in zip(ids, segment, strict=True)]
    return [text.rpartition(b"#### ")[2] for text in texts]


def made_batch():
    """Return four rows, the last of which is no problem."""
    batch = {name: np.array(x) for name, x in small_batch().items()}
    batch["weights"][3] = batch["n_problems"][3] = 0
    return batch


def made_rollout(solutions, n_slots=(2, 0)):
    """Return solutions, where "|" is the end, with both blocks opened by each row.

    Args:
        solutions: the bytes behind each question.
        n_slots: slots in use of each block, of every row.
    """
    end, n_rows = TOKENIZER.separator_id, len(solutions)
    ids, segment = np.full((n_rows, LAYOUT.text), end), np.zeros((n_rows, LAYOUT.text), int)
    ids[:, :N_QUESTION] = small_batch()["ids"][:n_rows, :N_QUESTION]
    for row, text in enumerate(solutions):
        stop = N_QUESTION + len(text)
        ids[row, N_QUESTION:stop] = [end if byte == ord("|") else byte for byte in text]
        segment[row, N_QUESTION:stop] = 1
    opens = np.zeros_like(ids)
    opens[:, N_QUESTION : N_QUESTION + 2] = 1, 2
    return Rollout(
        ids_BT=ids,
        n_text_B=N_QUESTION + np.array([*map(len, solutions)]),
        segment_BT=segment,
        opens_BT=opens,
        n_BJ=np.tile(n_slots, (n_rows, 1)),
        written_BJK=np.full((n_rows, LAYOUT.n_blocks, LAYOUT.n_slots), end),
        nats_BT=np.zeros(ids.shape, np.float32),
        is_ended_B=np.array([text.endswith(b"|") for text in solutions]),
    )


def made_problems():
    """Return the problems of `made_batch`, as arrays of the host."""
    return Problems(*map(np.asarray, Problems.of(made_batch(), LAYOUT)))
