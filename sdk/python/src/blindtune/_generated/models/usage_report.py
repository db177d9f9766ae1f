from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.usage_object import UsageObject





T = TypeVar("T", bound="UsageReport")



@_attrs_define
class UsageReport:
    """ A report of use.

        Attributes:
            object_ (str): Always `usage`. Example: usage.
            start_date (str): First day (UTC). Example: 2026-11-01.
            end_date (str): Last day (UTC). Example: 2026-11-30.
            data (list[UsageObject]): Put together as asked for.
            total (UsageObject): What was used.
     """

    object_: str
    start_date: str
    end_date: str
    data: list[UsageObject]
    total: UsageObject
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.usage_object import UsageObject # noqa: PLC0415
        object_ = self.object_

        start_date = self.start_date

        end_date = self.end_date

        data = []
        for data_item_data in self.data:
            data_item = data_item_data.to_dict()
            data.append(data_item)



        total = self.total.to_dict()


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "object": object_,
            "start_date": start_date,
            "end_date": end_date,
            "data": data,
            "total": total,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.usage_object import UsageObject # noqa: PLC0415
        d = dict(src_dict)
        object_ = d.pop("object")

        start_date = d.pop("start_date")

        end_date = d.pop("end_date")

        data = []
        _data = d.pop("data")
        for data_item_data in (_data):
            data_item = UsageObject.from_dict(data_item_data)



            data.append(data_item)


        total = UsageObject.from_dict(d.pop("total"))




        usage_report = cls(
            object_=object_,
            start_date=start_date,
            end_date=end_date,
            data=data,
            total=total,
        )


        usage_report.additional_properties = d
        return usage_report

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
