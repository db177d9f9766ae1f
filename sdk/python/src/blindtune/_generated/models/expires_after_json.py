from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset







T = TypeVar("T", bound="ExpiresAfterJson")



@_attrs_define
class ExpiresAfterJson:
    """ How long a file lives.

        Attributes:
            anchor (str): What the time counts from: `created_at`. Example: created_at.
            seconds (int): Seconds from then on, an hour to 30 days. Example: 86400.
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

        expires_after_json = cls(
            anchor=anchor,
            seconds=seconds,
        )

        return expires_after_json

