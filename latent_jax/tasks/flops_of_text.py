"""What tasks over text say of their FLOPs, all from the FLOPs of their components."""


class FlopsOfText:
    """The FLOPs of a task that trains everything it computes; see `contracts.Task`.

    A subclass has `component_flops`, and `tokenizer_flops_per_byte` where a model drives its code.
    """

    tokenizer_flops_per_byte = 0.0

    @property
    def flops_per_byte(self):
        """The sum of `component_flops`, see `Task`."""
        return sum(self.component_flops.values())

    @property
    def train_flops_per_byte(self):
        """FLOPs per raw byte, forward and backward, and of the tokenizer's model; see `Task`."""
        return 3.0 * self.flops_per_byte + self.tokenizer_flops_per_byte

    def train_flops(self, seen):
        """Return the FLOPs of training on `seen["bytes"]`; see `Task`."""
        return self.train_flops_per_byte * seen["bytes"]
