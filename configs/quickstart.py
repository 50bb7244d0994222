"""A latent language model and the BPE language model it is compared with, in minutes on a laptop.

Source     Fifty, "Language, Entropy, and Language Modeling" (2025), at a thousandth of its size.
Command    python launch/train.py --config configs/quickstart.py
Hardware   2 CPU cores, no accelerator; about 5 minutes
Text       the English in every Python installation: topics of its manual, docstrings of its library
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Return two runs, `latent` and `bpe`, trained on the same text."""
    config = ConfigDict()
    config.runs = ConfigDict({"latent": latent(), "bpe": bpe()})
    return config


def latent() -> ConfigDict:
    """Return the latent language model: two bytes per code, 1,024 codes."""
    config = small_text()
    config.name = "latent language model"
    config.method = "Latent[conv1d,c=2,k=1024]"
    # At beta = 1 the language model pushes the encoder to codes that are easy to predict before the
    # codes hold the text: after 1.2 MB, 93.4 % of the bytes are restored, and 95.6 % at beta = 0.1.
    config.latent.beta = 0.1
    common.set_size(config, "nano")
    return config


def bpe() -> ConfigDict:
    """Return a GPT over subwords, about as large as the GPT of the latent language model."""
    config = small_text()
    config.name = "BPE language model"
    config.method = "BPE[v=1024]"
    config.row_length = 128
    return config


def small_text() -> ConfigDict:
    """Return the config that both runs share."""
    config = common.default()
    config.budget.bytes = 2e6
    config.evaluation_bytes = 200_000
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_steps = 50
    config.training.eval_every = 100
    config.training.save_every = 200
    return config
