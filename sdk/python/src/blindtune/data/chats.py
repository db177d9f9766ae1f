"""Chats as OpenAI's fine-tuning takes them, read as a text and a label: by files here, and by the gateway.

Owns: which messages are the text, and which is the label. Must never: leave a message out that could matter: a chat
that does not fit is refused with its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .source import DataError

SYSTEM = ("system", "developer")
"""Roles that give instructions: the same in every row, they tell rows apart by nothing, and are not read."""
NAMED = (*SYSTEM, "user", "assistant")


def chat_text(messages: object, place: str) -> str:
    """What is classified of a chat that has no answer yet: all that the user says, a line break between messages."""
    found = _messages(messages, place)
    said = [content_of(one, place) for one in found if one["role"] == "user"]
    if any(one["role"] == "assistant" for one in found):
        raise DataError(f"{place}: a message of the assistant is not read; put what matters into the user's")
    if not "".join(said).strip():
        raise DataError(f"{place}: no message of the user")
    return "\n".join(said)


class ChatReader:
    """Reads the chats of one file, whose instructions are the same in each."""

    def __init__(self) -> None:
        self._instructions: tuple[str, list[str]] | None = None

    def read(self, messages: object, place: str) -> tuple[str, str]:
        """The text and the label: what the user says, and the one answer of the assistant, which ends the chat."""
        found = _messages(messages, place)
        roles = [str(one["role"]) for one in found]
        if roles.count("assistant") != 1 or roles[-1] != "assistant":
            here = ", ".join(roles)
            raise DataError(f"{place}: a chat must have one answer of the assistant, as its last message; here: {here}")
        self._check_instructions([content_of(one, place) for one in found if one["role"] in SYSTEM], place)
        return chat_text(found[:-1], place), content_of(found[-1], place)

    def _check_instructions(self, said: list[str], place: str) -> None:
        first, known = self._instructions = self._instructions or (place, said)
        if said != known:
            told = f"its system message is another than that of {first}, and system messages are not read"
            raise DataError(f"{place}: {told}; put what tells rows apart into the user's message")


def content_of(message: Mapping[str, Any], place: str) -> str:
    """The text of a message, also where it comes in parts."""
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts):
        raise DataError(f"{place}: the content of a message must be text")
    return "\n".join(part["text"] for part in parts)


def _messages(messages: object, place: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(messages, list) or not messages or not all(isinstance(one, Mapping) for one in messages):
        raise DataError(f"{place}: messages must be a list of objects with role and content")
    for one in messages:
        if one.get("role") not in NAMED:
            raise DataError(f"{place}: a message's role must be {', '.join(NAMED)}; what others say is not classified")
    return messages
