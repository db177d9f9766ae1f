from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast






T = TypeVar("T", bound="FileObject")



@_attrs_define
class FileObject:
    """ An uploaded file.

        Attributes:
            id (str): Id, `file-...`.
            object_ (str): Always `file`. Example: file.
            bytes_ (int): Size in bytes.
            created_at (int): When it was uploaded, seconds since 1970.
            expires_at (int | None): When it goes away by itself; null when it stays.
            filename (str): Name it was uploaded under.
            purpose (str): What it is for. Example: fine-tune.
            status (str): `processed`: a file that cannot be used is refused at upload. Example: processed.
            rows (int): Number of rows.
     """

    id: str
    object_: str
    bytes_: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: str
    rows: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        id = self.id

        object_ = self.object_

        bytes_ = self.bytes_

        created_at = self.created_at

        expires_at: int | None
        expires_at = self.expires_at

        filename = self.filename

        purpose = self.purpose

        status = self.status

        rows = self.rows


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "bytes": bytes_,
            "created_at": created_at,
            "expires_at": expires_at,
            "filename": filename,
            "purpose": purpose,
            "status": status,
            "rows": rows,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        bytes_ = d.pop("bytes")

        created_at = d.pop("created_at")

        def _parse_expires_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        expires_at = _parse_expires_at(d.pop("expires_at"))


        filename = d.pop("filename")

        purpose = d.pop("purpose")

        status = d.pop("status")

        rows = d.pop("rows")

        file_object = cls(
            id=id,
            object_=object_,
            bytes_=bytes_,
            created_at=created_at,
            expires_at=expires_at,
            filename=filename,
            purpose=purpose,
            status=status,
            rows=rows,
        )


        file_object.additional_properties = d
        return file_object

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
