"""The section `hierarchy` of a configuration: the networks around the one over chunks."""

import dataclasses
from typing import Annotated

from latent_jax.ranges import Count, Natural, Size, Weight, at_least, check_fields, one_of
from latent_jax.tasks.hierarchical_language_modeling import STAGE_RATES

OUTER = ("mamba", "attention")
"""What encoders and decoders are made of: Mamba-2 blocks, or transformer blocks over a window."""

DOCUMENTS = ("together", "apart")
"""Whether a position reads earlier documents of its row, as in the GPT of other methods."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HierarchyConfig:
    """Of families that cut bytes into chunks; the network over chunks is the section `model`.

    Raises:
        ValueError: a value is out of range.
    """

    # widths of the outer stages, outermost first, none above model.d_model; () = all model.d_model
    widths: tuple[Size, ...] = ()
    outer: Annotated[str, one_of(OUTER)] = "mamba"  # blocks of encoders and decoders: one of OUTER
    layers: Annotated[int, at_least(1, 10_000)] = 2  # blocks of each encoder and of each decoder
    state: Size = 16  # of outer=mamba: numbers of state per channel
    # of outer=attention: positions that one reads, itself included; 0 = all before it
    window: Natural = 512
    heads: Natural = 0  # of outer=attention: 0 = heads as wide as those of model
    # chunks that a row has room for, as a multiple of those that n asks for; all are computed
    slack: Annotated[float, at_least(1, 1e6)] = 1.25
    # training steps over which a threshold averages, at most; fewer early in a run
    control_steps: Count = 100
    ratio_weight: Weight = 0.03  # of the ratio loss (H-Net, section 2.2); 0 = none
    # factors on the learning rate by stage (H-Net, section 2.3): one of STAGE_RATES
    stage_rates: Annotated[str, one_of(STAGE_RATES)] = "equal"
    # whether documents of a row see each other: one of DOCUMENTS
    documents: Annotated[str, one_of(DOCUMENTS)] = "together"
    # of BLT: run folder of a byte model (method Bytes), or run:NAME of the same config file, whose
    # entropies cut the text; "" = the boundaries need none
    entropy_model: str = ""
    # of BLT: vectors of a patch that cross-attention makes of its bytes, and that its bytes read;
    # 0 = one, the mean, which is added to its bytes
    cross: Annotated[int, at_least(0, 2**10)] = 0
    # of BLT: blocks of the decoder; 0 = as many as of the encoder, which are hierarchy.layers
    decoder_layers: Annotated[int, at_least(0, 10_000)] = 0
    # of BLT: rows of each table of hashed n-grams of bytes, n = 3 to 8; 0 = no n-grams
    ngrams: Annotated[int, at_least(0, 2**24)] = 0
    entropy_network: str = ""  # its network as JSON; "" = as its run has it

    def __post_init__(self):
        """Check the fields."""
        check_fields(self, "hierarchy.")
