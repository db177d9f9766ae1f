from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
  from ..models.split_choice import SplitChoice





T = TypeVar("T", bound="MethodChoice")



@_attrs_define
class MethodChoice:
    """ How a job is to be fine-tuned.

        Attributes:
            type_ (str): `split`: the label holder drives each step and keeps the labels. Example: split.
            split (None | SplitChoice | Unset):
     """

    type_: str
    split: None | SplitChoice | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        from ..models.split_choice import SplitChoice # noqa: PLC0415
        type_ = self.type_

        split: dict[str, Any] | None | Unset
        if isinstance(self.split, Unset):
            split = UNSET
        elif isinstance(self.split, SplitChoice):
            split = self.split.to_dict()
        else:
            split = self.split


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "type": type_,
        })
        if split is not UNSET:
            field_dict["split"] = split

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.split_choice import SplitChoice # noqa: PLC0415
        d = dict(src_dict)
        type_ = d.pop("type")

        def _parse_split(data: object) -> None | SplitChoice | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                split_type_1 = SplitChoice.from_dict(data)



                return split_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SplitChoice | Unset, data)

        split = _parse_split(d.pop("split", UNSET))


        method_choice = cls(
            type_=type_,
            split=split,
        )

        return method_choice

