"""Chats as ids, in the form ChatML: messages between marks, and the mark that opens the answer.

    <|im_start|>user
    What is the capital of France?<|im_end|>
    <|im_start|>assistant

A published model carries its form as a program in Jinja. It is not run: it must be one whose
meaning is known, word by word.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latent_jax.tokenizers.base import Tokenizer
from latent_jax.tokenizers.pretrained_bpe import CHAT_BEGIN, CHAT_END, PretrainedBPE

ROLES = ("system", "user", "assistant")

_DEFAULT = (
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nSYSTEM<|im_end|>\n' }}{% endif %}"
)
_KNOWN = (
    "{% for message in messages %}DEFAULT"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _pattern() -> re.Pattern[str]:
    """Return the templates of SmolLM2 and Qwen2, with any system message or none."""
    default = re.escape(_tight(_DEFAULT)).replace("SYSTEM", r"(?P<system>[^'\\{}]*)")
    return re.compile(re.escape(_tight(_KNOWN)).replace("DEFAULT", f"(?:{default})?"))


def _tight(template: str) -> str:
    """Return a template with line ends as such, without spaces inside of {{ }}."""
    return re.sub(r"\{\{ *| *\}\}", lambda found: found[0].strip(), template.replace("\\n", "\n"))


class Message(NamedTuple):
    """A message of a chat.

    Attributes:
        role: one of `ROLES`.
        content: raw bytes. Marks in it are plain text, so nobody can end a message in one.
    """

    role: str
    content: bytes


class Chat:
    """The chat of a published model.

    Args:
        tokenizer: of the model.

    Raises:
        ValueError: it has no chat, or one that is not known.
    """

    def __init__(self, tokenizer: Tokenizer):
        """Read the template."""
        if not isinstance(tokenizer, PretrainedBPE) or not tokenizer.vocabulary.chat_template:
            raise ValueError(
                f"{tokenizer.name} has no chat template: its model was not made to chat"
            )
        template = tokenizer.vocabulary.chat_template
        found = _pattern().fullmatch(_tight(template).strip())
        if not found:
            raise ValueError(
                f"{tokenizer.name} has a chat template that is not known, {template[:60]!r}...: "
                "only the ChatML of SmolLM2 and Qwen2 is"
            )
        if missing := {CHAT_BEGIN, CHAT_END} - tokenizer.mark_ids.keys():
            raise ValueError(f"{tokenizer.name} lacks the mark {min(missing)} of its chats")
        self._tokenizer = tokenizer
        self.begin_id, self.end_id = (tokenizer.mark_ids[m] for m in (CHAT_BEGIN, CHAT_END))
        self.system = (found["system"] or "").encode()
        """The system message of a chat that begins with none; b"" = there is none."""

    def ids(self, messages: Sequence[Message], opens_answer: bool = True) -> np.ndarray:
        """Return the ids of a chat, int32[n].

        Args:
            messages: at least one.
            opens_answer: whether the beginning of an answer follows, as where a model shall write.

        Raises:
            ValueError: there is no message, or a role is unknown.
        """
        messages = [*messages]
        if not messages:
            raise ValueError("a chat has at least one message")
        for message in messages:
            if message.role not in ROLES:
                raise ValueError(f"the role {message.role!r} is not known; {', '.join(ROLES)} are")
        if self.system and messages[0].role != "system":
            messages.insert(0, Message("system", self.system))
        line_end = self._tokenizer.encode(b"\n")
        parts: list[np.ndarray] = []
        for role, content in messages:
            text = self._tokenizer.encode(role.encode() + b"\n" + content)
            parts += [[self.begin_id], text, [self.end_id], line_end]
        if opens_answer:
            parts += [[self.begin_id], self._tokenizer.encode(b"assistant\n")]
        return np.concatenate(parts).astype(np.int32)
