from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
  from ..models.expires_after_json import ExpiresAfterJson





T = TypeVar("T", bound="CreateUpload")



@_attrs_define
class CreateUpload:
    """ A file that will come in parts.

        Attributes:
            bytes_ (int): Size of the whole. Example: 1024.
            filename (str): Name of the file; its ending tells the format. Example: notes.jsonl.
            mime_type (str): Media type, kept and not believed. Example: application/jsonl.
            purpose (str): `fine-tune`. Example: fine-tune.
            expires_after (ExpiresAfterJson | None | Unset):
     """

    bytes_: int
    filename: str
    mime_type: str
    purpose: str
    expires_after: ExpiresAfterJson | None | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        from ..models.expires_after_json import ExpiresAfterJson # noqa: PLC0415
        bytes_ = self.bytes_

        filename = self.filename

        mime_type = self.mime_type

        purpose = self.purpose

        expires_after: dict[str, Any] | None | Unset
        if isinstance(self.expires_after, Unset):
            expires_after = UNSET
        elif isinstance(self.expires_after, ExpiresAfterJson):
            expires_after = self.expires_after.to_dict()
        else:
            expires_after = self.expires_after


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "bytes": bytes_,
            "filename": filename,
            "mime_type": mime_type,
            "purpose": purpose,
        })
        if expires_after is not UNSET:
            field_dict["expires_after"] = expires_after

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.expires_after_json import ExpiresAfterJson # noqa: PLC0415
        d = dict(src_dict)
        bytes_ = d.pop("bytes")

        filename = d.pop("filename")

        mime_type = d.pop("mime_type")

        purpose = d.pop("purpose")

        def _parse_expires_after(data: object) -> ExpiresAfterJson | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                expires_after_type_1 = ExpiresAfterJson.from_dict(data)



                return expires_after_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ExpiresAfterJson | None | Unset, data)

        expires_after = _parse_expires_after(d.pop("expires_after", UNSET))


        create_upload = cls(
            bytes_=bytes_,
            filename=filename,
            mime_type=mime_type,
            purpose=purpose,
            expires_after=expires_after,
        )

        return create_upload

