"""Training: one loop for every task, over any mesh, that can be stopped and resumed to the bit."""

from latent_jax.training.checkpoints import Checkpoints
from latent_jax.training.config import RESUMABLE, OptimizerConfig, TrainingConfig
from latent_jax.training.evaluate import Evaluator
from latent_jax.training.feed import DataError
from latent_jax.training.host import keep_memory, share_heap, spread_over_cores
from latent_jax.training.identity import CheckpointError
from latent_jax.training.loop import train
from latent_jax.training.mesh import check_batch, initialize_distributed, make_mesh
from latent_jax.training.recorder import NonFiniteError
from latent_jax.training.run_files import RunFolder, RunFolderError
from latent_jax.training.run_folder import open_run_folder
from latent_jax.training.signals import LostProcessError, TrainingInterrupted
from latent_jax.training.startup import StartUp, keep_programs
from latent_jax.training.state import TrainState, abstract_state, create_state, initial_state

__all__ = [
    "RESUMABLE",
    "CheckpointError",
    "Checkpoints",
    "DataError",
    "Evaluator",
    "LostProcessError",
    "NonFiniteError",
    "OptimizerConfig",
    "RunFolder",
    "RunFolderError",
    "StartUp",
    "TrainState",
    "TrainingConfig",
    "TrainingInterrupted",
    "abstract_state",
    "check_batch",
    "create_state",
    "initial_state",
    "initialize_distributed",
    "keep_memory",
    "keep_programs",
    "make_mesh",
    "open_run_folder",
    "share_heap",
    "spread_over_cores",
    "train",
]
