from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.list_event_object_data_item_data import ListEventObjectDataItemData





T = TypeVar("T", bound="ListEventObjectDataItem")



@_attrs_define
class ListEventObjectDataItem:
    """ Something that happened to a job.

        Attributes:
            id (str): Id, `ftevent-...`.
            object_ (str): Always `fine_tuning.job.event`. Example: fine_tuning.job.event.
            created_at (int): When, seconds since 1970.
            level (str): `info`, `warn` or `error`.
            message (str): Sentence for people.
            type_ (str): `message` or `metrics`.
            data (ListEventObjectDataItemData): For `metrics`: the scalars that the client chose to report. For a change of
                state `{"status": ...}`, for a checkpoint
                `{"checkpoint": id}`, else empty.
     """

    id: str
    object_: str
    created_at: int
    level: str
    message: str
    type_: str
    data: ListEventObjectDataItemData
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.list_event_object_data_item_data import ListEventObjectDataItemData # noqa: PLC0415
        id = self.id

        object_ = self.object_

        created_at = self.created_at

        level = self.level

        message = self.message

        type_ = self.type_

        data = self.data.to_dict()


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "created_at": created_at,
            "level": level,
            "message": message,
            "type": type_,
            "data": data,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.list_event_object_data_item_data import ListEventObjectDataItemData # noqa: PLC0415
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        created_at = d.pop("created_at")

        level = d.pop("level")

        message = d.pop("message")

        type_ = d.pop("type")

        data = ListEventObjectDataItemData.from_dict(d.pop("data"))




        list_event_object_data_item = cls(
            id=id,
            object_=object_,
            created_at=created_at,
            level=level,
            message=message,
            type_=type_,
            data=data,
        )


        list_event_object_data_item.additional_properties = d
        return list_event_object_data_item

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
