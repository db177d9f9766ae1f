from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast






T = TypeVar("T", bound="SentTensor")



@_attrs_define
class SentTensor:
    """ What is kept of a tensor.

        Attributes:
            name (str): Its name, `s.0.1` for example.
            dtype (str): Its element type, `F32` for example.
            shape (list[int]): Its dimensions, outermost first.
            bytes_ (int): Its size.
            sha256 (str): Hash of its elements, in hexadecimal.
     """

    name: str
    dtype: str
    shape: list[int]
    bytes_: int
    sha256: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        name = self.name

        dtype = self.dtype

        shape = self.shape



        bytes_ = self.bytes_

        sha256 = self.sha256


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "name": name,
            "dtype": dtype,
            "shape": shape,
            "bytes": bytes_,
            "sha256": sha256,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name")

        dtype = d.pop("dtype")

        shape = cast(list[int], d.pop("shape"))


        bytes_ = d.pop("bytes")

        sha256 = d.pop("sha256")

        sent_tensor = cls(
            name=name,
            dtype=dtype,
            shape=shape,
            bytes_=bytes_,
            sha256=sha256,
        )


        sent_tensor.additional_properties = d
        return sent_tensor

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
