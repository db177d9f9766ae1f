from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset







T = TypeVar("T", bound="CheckpointLife")



@_attrs_define
class CheckpointLife:
    """ How long a checkpoint lives.

        Attributes:
            anchor (str): What the time counts from: `created_at` or `now`. Example: now.
            seconds (int): Seconds from then on, an hour to ten years. Example: 604800.
     """

    anchor: str
    seconds: int





    def to_dict(self) -> dict[str, Any]:
        anchor = self.anchor

        seconds = self.seconds


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "anchor": anchor,
            "seconds": seconds,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        anchor = d.pop("anchor")

        seconds = d.pop("seconds")

        checkpoint_life = cls(
            anchor=anchor,
            seconds=seconds,
        )

        return checkpoint_life

