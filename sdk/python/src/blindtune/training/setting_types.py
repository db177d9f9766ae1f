"""What the types of settings say about their values: words to choose from, bounds, and how one is read from text.

Owns: the reading of type hints, and the checks that follow from them alone. Must never: know a setting by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


class SettingsError(ValueError):
    """A setting that makes no sense; the message names it."""


@dataclass(frozen=True)
class Above:
    """The value must be larger than this."""

    limit: float

    def refusal(self, value: float) -> str | None:
        """What is wrong with a value, if anything is."""
        return None if value > self.limit else f"must be above {self.limit:g}, not {value}"


@dataclass(frozen=True)
class AtLeast:
    """The value must not be smaller than this."""

    limit: float

    def refusal(self, value: float) -> str | None:
        """What is wrong with a value, if anything is."""
        return None if value >= self.limit else f"must be at least {self.limit:g}, not {value}"


@dataclass(frozen=True)
class Below:
    """The value must be smaller than this."""

    limit: float

    def refusal(self, value: float) -> str | None:
        """What is wrong with a value, if anything is."""
        return None if value < self.limit else f"must be below {self.limit:g}, not {value}"


@dataclass(frozen=True)
class WordOrNumbers:
    """The value must be one of these words, or numbers above 0."""

    words: tuple[str, ...]

    def refusal(self, value: Any) -> str | None:
        """What is wrong with a value, if anything is."""
        if isinstance(value, str):
            right = value in self.words
        else:
            right = isinstance(value, tuple | list) and all(isinstance(x, float | int) and x > 0 for x in value)
        return None if right else f"must be {', '.join(self.words)}, or numbers above 0, not {value!r}"


@dataclass(frozen=True)
class OneOf:
    """The value must be one of these words."""

    words: tuple[str, ...]

    def refusal(self, value: str) -> str | None:
        """What is wrong with a value, if anything is."""
        return None if value in self.words else f"must be one of {', '.join(self.words)}, not {value!r}"


@dataclass(frozen=True)
class SettingType:
    """The type of one setting: `Annotated[int, Above(0)] | None` is an int above zero that may be left open."""

    kind: type
    """int, float, str or bool; of one item, where there are many."""
    many: bool
    optional: bool
    bounds: tuple[Above | AtLeast | Below | OneOf | WordOrNumbers, ...]
    default: Any

    @classmethod
    def of(cls, hint: Any, default: Any) -> SettingType:
        """From a hint, as `get_type_hints(..., include_extras=True)` gives it."""
        if get_origin(hint) in (Union, UnionType):
            (inner,) = (part for part in get_args(hint) if part is not NoneType)
            of_inner = cls.of(inner, default)
            return cls(of_inner.kind, of_inner.many, True, of_inner.bounds, default)
        if get_origin(hint) is Annotated:
            inner, *bounds = get_args(hint)
            if any(isinstance(bound, WordOrNumbers) for bound in bounds):
                return cls(float, True, False, tuple(bounds), default)
            return cls(inner, False, False, tuple(bounds), default)
        if get_origin(hint) is Literal:
            return cls(str, False, False, (OneOf(get_args(hint)),), default)
        if get_origin(hint) is tuple:
            return cls(get_args(hint)[0], True, False, (), default)
        return cls(hint, False, False, (), default)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words to choose from; none where any will do."""
        return next((bound.words for bound in self.bounds if isinstance(bound, OneOf)), ())

    @property
    def name(self) -> str:
        """`int`, `float | None`, ..."""
        return self.kind.__name__ + (" | None" if self.optional else "")

    def check(self, name: str, value: Any) -> None:
        """Refuse a value by the setting's name."""
        if value is None:
            return
        for bound in self.bounds:
            wrong = bound.refusal(value)
            if wrong is not None:
                raise SettingsError(f"{name} {wrong}")

    def read(self, text: str) -> Any:
        """A value written as text: many with commas between them, `none` where it may be left open."""
        if self.optional and text.lower() == "none":
            return None
        if self.many:
            words = [word for bound in self.bounds if isinstance(bound, WordOrNumbers) for word in bound.words]
            return text if text in words else tuple(self.kind(part) for part in text.split(","))
        if self.kind is bool:
            if text.lower() not in ("true", "false"):
                raise ValueError(text)
            return text.lower() == "true"
        return self.kind(text)


def types_of(settings: type) -> Mapping[str, SettingType]:
    """The type of every field of a dataclass, in their order."""
    hints = get_type_hints(settings, include_extras=True)
    defaults = {f.name: None if f.default is MISSING else f.default for f in fields(settings)}
    return {name: SettingType.of(hints[name], default) for name, default in defaults.items()}
