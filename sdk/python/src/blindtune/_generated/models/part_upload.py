from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field
import json
from .. import types

from ..types import UNSET, Unset

from ..types import File, FileTypes
from io import BytesIO






T = TypeVar("T", bound="PartUpload")



@_attrs_define
class PartUpload:
    """ A piece of a file.

        Attributes:
            data (File): The bytes, 1 to 64 MiB of them.
     """

    data: File





    def to_dict(self) -> dict[str, Any]:
        data = self.data.to_tuple()



        field_dict: dict[str, Any] = {}

        field_dict.update({
            "data": data,
        })

        return field_dict


    def to_multipart(self) -> types.RequestFiles:
        files: types.RequestFiles = []

        files.append(("data", self.data.to_tuple()))





        return files


    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        data = File(
             payload = BytesIO(d.pop("data"))
        )




        part_upload = cls(
            data=data,
        )

        return part_upload

