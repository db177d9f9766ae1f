from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.tensor_json import TensorJson





T = TypeVar("T", bound="ActivationsAnswerTensors")



@_attrs_define
class ActivationsAnswerTensors:
    """ `h.{i}` by adapter set and `h.base`: F32 `[B, H]`; with pooling `none` `[N, H]` and `lengths` I64 `[B]`.

     """

    additional_properties: dict[str, TensorJson] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.tensor_json import TensorJson # noqa: PLC0415
        
        field_dict: dict[str, Any] = {}
        for prop_name, prop in self.additional_properties.items():
            field_dict[prop_name] = prop.to_dict()


        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.tensor_json import TensorJson # noqa: PLC0415
        d = dict(src_dict)
        activations_answer_tensors = cls(
        )


        additional_properties = {}
        for prop_name, prop_dict in d.items():
            additional_property = TensorJson.from_dict(prop_dict)



            additional_properties[prop_name] = additional_property

        activations_answer_tensors.additional_properties = additional_properties
        return activations_answer_tensors

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> TensorJson:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: TensorJson) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
