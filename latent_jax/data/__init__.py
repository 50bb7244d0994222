"""Sources of documents, the corpus on disk, and the pipeline from the corpus to batches."""

from latent_jax.contracts import Batch, Document, Source
from latent_jax.data.corpus import Corpus, load_corpus, own_cache
from latent_jax.data.documents import CorpusError
from latent_jax.data.mixture import open_corpus
from latent_jax.data.pipeline import (
    TrainBatches,
    batch_spec,
    evaluation_batches,
    train_batches,
)
from latent_jax.data.sources import DataConfig, data_config, make_source

__all__ = [
    "Batch",
    "Corpus",
    "CorpusError",
    "DataConfig",
    "Document",
    "Source",
    "TrainBatches",
    "batch_spec",
    "data_config",
    "evaluation_batches",
    "load_corpus",
    "make_source",
    "open_corpus",
    "own_cache",
    "train_batches",
]
