"""What a task says of itself while it is trained, at the steps that it names."""

import dataclasses

import jax

from tests.training.byte_task import ByteTask, run


@dataclasses.dataclass(frozen=True)
class Settling(ByteTask):
    """Says when a part of it is settled."""

    milestones = {3: "the table stays as it is", 99: "never reached"}


def test_a_milestone_is_said_once_at_its_step(tmp_path, capfd):
    words = dict(devices=jax.devices()[:1], task=Settling(), eval_every=0, save_every=0)
    run(tmp_path, total_steps=4, **words)
    said = capfd.readouterr().err
    assert said.count("step 3/4: the table stays as it is\n") == 1 and "never" not in said
    run(tmp_path, total_steps=6, **words)  # goes on behind it
    said = capfd.readouterr().err
    assert "resumed from step 4" in said and "the table" not in said
