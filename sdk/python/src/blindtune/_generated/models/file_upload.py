from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field
import json
from .. import types

from ..types import UNSET, Unset

from ..types import File, FileTypes
from ..types import UNSET, Unset
from io import BytesIO






T = TypeVar("T", bound="FileUpload")



@_attrs_define
class FileUpload:
    """ An upload.

        Attributes:
            file (File): JSONL, CSV or TSV with the columns `text`, `text_pair` or `input_ids`. A column that looks like a
                label is refused.
            purpose (str): `fine-tune`. Example: fine-tune.
            expires_afteranchor (str | Unset): `created_at`, with `expires_after[seconds]`. Example: created_at.
            expires_afterseconds (int | Unset): How long the file lives, 3600 to 2592000 seconds; for ever when absent.
     """

    file: File
    purpose: str
    expires_afteranchor: str | Unset = UNSET
    expires_afterseconds: int | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        file = self.file.to_tuple()


        purpose = self.purpose

        expires_afteranchor = self.expires_afteranchor

        expires_afterseconds = self.expires_afterseconds


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "file": file,
            "purpose": purpose,
        })
        if expires_afteranchor is not UNSET:
            field_dict["expires_after[anchor]"] = expires_afteranchor
        if expires_afterseconds is not UNSET:
            field_dict["expires_after[seconds]"] = expires_afterseconds

        return field_dict


    def to_multipart(self) -> types.RequestFiles:
        files: types.RequestFiles = []

        files.append(("file", self.file.to_tuple()))



        files.append(("purpose", (None, str(self.purpose).encode(), "text/plain")))



        if not isinstance(self.expires_afteranchor, Unset):
            files.append(("expires_after[anchor]", (None, str(self.expires_afteranchor).encode(), "text/plain")))



        if not isinstance(self.expires_afterseconds, Unset):
            files.append(("expires_after[seconds]", (None, str(self.expires_afterseconds).encode(), "text/plain")))





        return files


    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        file = File(
             payload = BytesIO(d.pop("file"))
        )




        purpose = d.pop("purpose")

        expires_afteranchor = d.pop("expires_after[anchor]", UNSET)

        expires_afterseconds = d.pop("expires_after[seconds]", UNSET)

        file_upload = cls(
            file=file,
            purpose=purpose,
            expires_afteranchor=expires_afteranchor,
            expires_afterseconds=expires_afterseconds,
        )

        return file_upload

