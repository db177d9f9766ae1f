from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
  from ..models.split_settings import SplitSettings





T = TypeVar("T", bound="Method")



@_attrs_define
class Method:
    """ How a job is fine-tuned.

        Attributes:
            type_ (str): `split`: the label holder drives each step and keeps the labels. Example: split.
            split (SplitSettings | Unset): Settings of method `split`.
     """

    type_: str
    split: SplitSettings | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        from ..models.split_settings import SplitSettings # noqa: PLC0415
        type_ = self.type_

        split: dict[str, Any] | Unset = UNSET
        if not isinstance(self.split, Unset):
            split = self.split.to_dict()


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "type": type_,
        })
        if split is not UNSET:
            field_dict["split"] = split

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.split_settings import SplitSettings # noqa: PLC0415
        d = dict(src_dict)
        type_ = d.pop("type")

        _split = d.pop("split", UNSET)
        split: SplitSettings | Unset
        if isinstance(_split,  Unset):
            split = UNSET
        else:
            split = SplitSettings.from_dict(_split)




        method = cls(
            type_=type_,
            split=split,
        )

        return method

