from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast






T = TypeVar("T", bound="LoraNames")



@_attrs_define
class LoraNames:
    """ Names for `target_modules`.

        Attributes:
            target_modules_default (list[str]): What a job gets that names none. Example: ['query', 'value'].
            modules (list[str]): The last parts of the names of all linear layers. Example: ['attention.self.query',
                'attention.self.key'].
     """

    target_modules_default: list[str]
    modules: list[str]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        target_modules_default = self.target_modules_default



        modules = self.modules




        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "target_modules_default": target_modules_default,
            "modules": modules,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        target_modules_default = cast(list[str], d.pop("target_modules_default"))


        modules = cast(list[str], d.pop("modules"))


        lora_names = cls(
            target_modules_default=target_modules_default,
            modules=modules,
        )


        lora_names.additional_properties = d
        return lora_names

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
