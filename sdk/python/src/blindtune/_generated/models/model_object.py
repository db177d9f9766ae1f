from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset







T = TypeVar("T", bound="ModelObject")



@_attrs_define
class ModelObject:
    """ A backbone or a fine-tuned model.

        Attributes:
            id (str): Name, to be used as `model` when a job is made. Example: all-MiniLM-L6-v2.
            object_ (str): Always `model`. Example: model.
            created (int): When it was added, seconds since 1970.
            owned_by (str): Who owns it.
            family (str): Family of the backbone, `bert` for example.
            hidden_size (int): Width H of the activations.
            max_tokens (int): Most tokens in one input.
            parameters (int): Number of parameters of the backbone.
     """

    id: str
    object_: str
    created: int
    owned_by: str
    family: str
    hidden_size: int
    max_tokens: int
    parameters: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        id = self.id

        object_ = self.object_

        created = self.created

        owned_by = self.owned_by

        family = self.family

        hidden_size = self.hidden_size

        max_tokens = self.max_tokens

        parameters = self.parameters


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "created": created,
            "owned_by": owned_by,
            "family": family,
            "hidden_size": hidden_size,
            "max_tokens": max_tokens,
            "parameters": parameters,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        created = d.pop("created")

        owned_by = d.pop("owned_by")

        family = d.pop("family")

        hidden_size = d.pop("hidden_size")

        max_tokens = d.pop("max_tokens")

        parameters = d.pop("parameters")

        model_object = cls(
            id=id,
            object_=object_,
            created=created,
            owned_by=owned_by,
            family=family,
            hidden_size=hidden_size,
            max_tokens=max_tokens,
            parameters=parameters,
        )


        model_object.additional_properties = d
        return model_object

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
