from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast






T = TypeVar("T", bound="AuditEntry")



@_attrs_define
class AuditEntry:
    """ Something that a key changed.

        Attributes:
            id (str): Id, `audit-...`.
            object_ (str): Always `audit_entry`. Example: audit_entry.
            created_at (int): When, seconds since 1970.
            key_id (str): The key.
            action (str): Name of the operation, as in this contract. Example: create_job.
            resource (None | str): The thing that it was about.
            status (int): How it was answered. Example: 200.
            request_id (str): The answer's `x-request-id`.
     """

    id: str
    object_: str
    created_at: int
    key_id: str
    action: str
    resource: None | str
    status: int
    request_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        id = self.id

        object_ = self.object_

        created_at = self.created_at

        key_id = self.key_id

        action = self.action

        resource: None | str
        resource = self.resource

        status = self.status

        request_id = self.request_id


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "created_at": created_at,
            "key_id": key_id,
            "action": action,
            "resource": resource,
            "status": status,
            "request_id": request_id,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        created_at = d.pop("created_at")

        key_id = d.pop("key_id")

        action = d.pop("action")

        def _parse_resource(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        resource = _parse_resource(d.pop("resource"))


        status = d.pop("status")

        request_id = d.pop("request_id")

        audit_entry = cls(
            id=id,
            object_=object_,
            created_at=created_at,
            key_id=key_id,
            action=action,
            resource=resource,
            status=status,
            request_id=request_id,
        )


        audit_entry.additional_properties = d
        return audit_entry

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
