"""What the types of settings say about their values: words to choose from, bounds, and how one is read from text.

Owns: the reading of type hints, the checks that follow from them alone, and where a setting's description stands. Must
never: know a setting by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class SettingsError(ValueError):
    """A setting that makes no sense; the message names it."""


@dataclass(frozen=True)
class Above:
    """The value must be larger than this."""

    limit: float

    @property
    def words(self) -> str:
        """The range, for help."""
        return f"above {self.limit:g}"

    def refusal(self, value: float) -> str | None:
        """What is wrong with a value, if anything is."""
        return None if value > self.limit else f"must be above {self.limit:g}, not {value}"


@dataclass(frozen=True)
class AtLeast:
    """The value must not be smaller than this."""

    limit: float

    @property
    def words(self) -> str:
        """The range, for help."""
        return f"at least {self.limit:g}"

    def refusal(self, value: float) -> str | None:
        """What is wrong with a value, if anything is."""
        return None if value >= self.limit else f"must be at least {self.limit:g}, not {value}"


@dataclass(frozen=True)
class Below:
    """The value must be smaller than this."""

    limit: float

    @property
    def words(self) -> str:
        """The range, for help."""
        return f"below {self.limit:g}"

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
class Panel:
    """A group of settings, as `--help` shows them; called, it is a setting of the group with its description."""

    name: str

    def __call__(self, default: T, says: str) -> T:
        """A dataclass field, typed as its default."""
        return field(default=default, metadata={"says": says, "panel": self.name})


@dataclass(frozen=True)
class SettingType:
    """The type of one setting: `Annotated[int, Above(0)] | None` is an int above zero that may be left open."""

    kind: type
    """int, float, str or bool; of one item, where there are many."""
    many: bool
    optional: bool
    bounds: tuple[Above | AtLeast | Below | OneOf | WordOrNumbers, ...]
    default: Any
    says: str = field(default="", compare=False)
    """What it is, for people."""
    panel: str = field(default="", compare=False)
    """The group of settings that it is shown in."""

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
    def help(self) -> str:
        """The description with what the type and the default add to it."""
        ranges = [bound.words for bound in self.bounds if isinstance(bound, Above | AtLeast | Below)]
        usual = [] if self.default in (None, (), False) else [f"default {self.default}"]
        return "; ".join([self.says, *([" and ".join(ranges)] if ranges else []), *usual])

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
    return {one.name: _type_of(hints[one.name], one) for one in fields(settings)}


def _type_of(hint: Any, one: Field[Any]) -> SettingType:
    plain = SettingType.of(hint, None if one.default is MISSING else one.default)
    return replace(plain, says=one.metadata.get("says", ""), panel=one.metadata.get("panel", ""))
