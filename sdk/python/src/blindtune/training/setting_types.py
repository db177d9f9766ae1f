"""What the types of settings say about their values: words to choose from, bounds, and how one is read from text.

Owns: the reading of type hints for help and the shell, what pydantic's refusals are called, and where a setting's
description stands. Must never: know a setting by its name; or load pydantic before a value is checked, for `--help`
would wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Lt

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
"""Types in words, for a refusal."""
OF_VALUE = frozenset({"greater_than", "greater_than_equal", "less_than", "literal_error", "finite_number"})
"""pydantic's kinds of errors about a value whose type is right."""


class SettingsError(ValueError):
    """A setting that makes no sense; the message names it."""


@dataclass(frozen=True)
class Panel:
    """A group of settings, as `--help` shows them; called, it is a setting of the group with its description."""

    name: str

    def __call__(self, default: T, says: str) -> T:
        """A dataclass field, typed as its default."""
        return field(default=default, metadata={"description": says, "panel": self.name})


@dataclass(frozen=True)
class SettingType:
    """The type of one setting: `Annotated[int, Gt(0)] | None` is an int above zero that may be left open."""

    kind: type
    """int, float, str or bool; of one item, where there are many."""
    many: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    """The words to choose from; none where any will do. Of many, a word that stands for all items."""
    range: str = ""
    """What a number must be, as `at least 0 and below 1`."""
    default: Any = None
    says: str = field(default="", compare=False)
    """What it is, for people."""
    panel: str = field(default="", compare=False)
    """The group of settings that it is shown in."""

    @classmethod
    def of(cls, hint: Any) -> SettingType:
        """From a hint, as `get_type_hints(..., include_extras=True)` gives it."""
        kind, parts = get_origin(hint), get_args(hint)
        if kind in (Union, UnionType):
            inner = [cls.of(part) for part in parts if part is not NoneType]
            words = tuple(word for one in inner for word in one.choices)
            return replace(inner[-1], optional=NoneType in parts, choices=words)
        if kind is Annotated:
            return replace(cls.of(parts[0]), range=" and ".join(_words(bound) for bound in parts[1:]))
        if kind is Literal:
            return cls(str, choices=parts)
        if kind is tuple:
            return replace(cls.of(parts[0]), many=True)
        return cls(hint)

    @property
    def help(self) -> str:
        """The description with what the type and the default add to it."""
        usual = [] if self.default in (None, (), False) else [f"default {self.default}"]
        return "; ".join([self.says, *([self.range] if self.range else []), *usual])

    @property
    def name(self) -> str:
        """`int`, `float | None`, ..."""
        return self.kind.__name__ + (" | None" if self.optional else "")

    def takes(self, of_type: bool = False) -> str:
        """What a value must be, in words; with `of_type` its type too, where that was wrong."""
        if self.many:
            items = f"numbers {self.range}".rstrip() if self.kind is float else "a list of names"
            return ", ".join([*self.choices, f"or {items}" if self.choices else items])
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return " ".join(filter(None, [PLAIN[self.kind] if of_type or not self.range else "", self.range]))

    def read(self, text: str) -> Any:
        """A value written as text: many with commas between them, `none` where it may be left open."""
        if self.optional and text.lower() == "none":
            return None
        if self.many:
            return text if text in self.choices else tuple(self.kind(part) for part in text.split(","))
        if self.kind is bool:
            if text.lower() not in ("true", "false"):
                raise ValueError(text)
            return text.lower() == "true"
        return self.kind(text)


def _words(bound: Gt | Ge | Lt) -> str:
    if isinstance(bound, Gt):
        return f"above {bound.gt}"
    return f"at least {bound.ge}" if isinstance(bound, Ge) else f"below {bound.lt}"


def types_of(settings: type) -> Mapping[str, SettingType]:
    """The type of every field of a dataclass, in their order."""
    hints = get_type_hints(settings, include_extras=True)
    return {one.name: _type_of(hints[one.name], one) for one in fields(settings)}


def _type_of(hint: Any, one: Field[Any]) -> SettingType:
    default = None if one.default is MISSING else one.default
    says, panel = one.metadata.get("description", ""), one.metadata.get("panel", "")
    return replace(SettingType.of(hint), default=default, says=says, panel=panel)


@cache
def _adapter(settings: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(settings)


def validated(settings: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass of these values, each in its type and within its bounds; others are refused by the setting's name."""
    from pydantic import ValidationError

    try:
        checked: T = _adapter(cast(Any, settings)).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        kind = types_of(settings)[name]
        wanted = kind.takes(of_type=first["type"] not in OF_VALUE)
        raise SettingsError(f"{name} must be {wanted}, not {values[name]!r}") from None
    return checked
