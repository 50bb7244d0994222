"""The section `hierarchy` of a configuration: the networks around the one over chunks."""

import dataclasses
from typing import Annotated

from latent_jax.chunking.dynamic.rate import MOST_STEPS
from latent_jax.chunking.dynamic.schedule import check_schedule
from latent_jax.ranges import Count, Natural, Size, Weight, at_least, check_fields, one_of
from latent_jax.tasks.boundary_policy import ADVANTAGES
from latent_jax.tasks.stage_rates import STAGE_RATES

OUTER = ("auto", "mamba", "attention")
"""What encoders and decoders are made of: Mamba-2 blocks, or transformer blocks over a window;
"auto" = those of the method's paper."""

DOCUMENTS = ("together", "apart")
"""Whether a position reads earlier documents of its row, as in the GPT of other methods."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HierarchyConfig:
    """Of families that cut ids into chunks; the network over chunks is the section `model`.

    Raises:
        ValueError: a value is out of range.
    """

    # widths of the outer stages, outermost first, none above model.d_model; () = all model.d_model
    widths: tuple[Size, ...] = ()
    # blocks of encoders and decoders: mamba | attention; auto = those of the method's paper
    outer: Annotated[str, one_of(OUTER)] = "auto"
    layers: Annotated[int, at_least(1, 10_000)] = 2  # blocks of each encoder and of each decoder
    state: Size = 16  # of outer=mamba: numbers of state per channel
    # of outer=attention: positions that one reads, itself included; 0 = all before it
    window: Natural = 512
    heads: Natural = 0  # of outer=attention: 0 = heads as wide as those of model
    # chunks that a row has room for, as a multiple of those that n asks for; all are computed
    slack: Annotated[float, at_least(1, 1e6)] = 1.25
    # observations that a threshold averages over at most, one of each training step, or of each
    # micro-batch of training.accumulation; fewer early in a run
    control_steps: Annotated[int, at_least(1, MOST_STEPS)] = 100
    # positions per chunk that a run begins with; n is reached behind rate_steps; 0 = n throughout
    rate_from: Annotated[float, at_least(0, 2**20)] = 0.0
    # training steps from rate_from to n, whatever training.accumulation is; 0 = none
    rate_steps: Natural = 0
    # of n=auto: forward FLOPs per raw byte of the whole model at the rate n; 0 = n is stated
    flops_per_byte: Annotated[float, at_least(0, 1e30)] = 0.0
    group: Annotated[int, at_least(2, 4096)] = 4  # of router=policy: passes of each row
    # of router=policy, what a reward is compared with: one of ADVANTAGES
    advantage: Annotated[str, one_of(ADVANTAGES)] = "centred"
    policy_weight: Weight = 1.0  # of router=policy: of its loss; 0 = none
    # of the losses of routers, such as the ratio loss; -1 = that of the router's paper, 0 = none
    boundary_weight: Annotated[float, at_least(-1, 1e9)] = -1.0
    # of methods with experts: how many of them a chunk reads; each is model.d_ff over this wide
    expert_choices: Count = 2
    # places of an expert in a row, as a multiple of an even share; all are computed
    expert_slack: Annotated[float, at_least(1, 1e6)] = 1.25
    balance_weight: Weight = 0.01  # of the loss that balances experts; 0 = none
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
        check_schedule(self.rate_from, self.rate_steps, "hierarchy.")
        if -1 < self.boundary_weight < 0:
            raise ValueError(
                f"hierarchy.boundary_weight must be at least 0, or -1 for that of the router's "
                f"paper; got {self.boundary_weight}"
            )
