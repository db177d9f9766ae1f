from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast






T = TypeVar("T", bound="TensorJson")



@_attrs_define
class TensorJson:
    """ A tensor in JSON.

        Attributes:
            dtype (str): Element type: `F32`, `I64` or `I32`. Example: F32.
            shape (list[int]): Dimensions, outermost first. Example: [1, 2].
            data (str): The elements, little endian, in base64. Example: AACAPwAAAEA=.
     """

    dtype: str
    shape: list[int]
    data: str





    def to_dict(self) -> dict[str, Any]:
        dtype = self.dtype

        shape = self.shape



        data = self.data


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "dtype": dtype,
            "shape": shape,
            "data": data,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        dtype = d.pop("dtype")

        shape = cast(list[int], d.pop("shape"))


        data = d.pop("data")

        tensor_json = cls(
            dtype=dtype,
            shape=shape,
            data=data,
        )

        return tensor_json

