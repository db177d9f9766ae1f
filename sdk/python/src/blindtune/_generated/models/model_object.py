from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.pooling import check_pooling
from ..models.pooling import Pooling
from typing import cast






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
            base_model (None | str): Of a fine-tuned model: the backbone that its adapters go on.
            adapter_sets (int | None): Of a fine-tuned model: its number of adapter sets.
            pooling (None | Pooling):
     """

    id: str
    object_: str
    created: int
    owned_by: str
    family: str
    hidden_size: int
    max_tokens: int
    parameters: int
    base_model: None | str
    adapter_sets: int | None
    pooling: None | Pooling
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

        base_model: None | str
        base_model = self.base_model

        adapter_sets: int | None
        adapter_sets = self.adapter_sets

        pooling: None | str
        if isinstance(self.pooling, str):
            pooling = self.pooling
        else:
            pooling = self.pooling


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
            "base_model": base_model,
            "adapter_sets": adapter_sets,
            "pooling": pooling,
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

        def _parse_base_model(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        base_model = _parse_base_model(d.pop("base_model"))


        def _parse_adapter_sets(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        adapter_sets = _parse_adapter_sets(d.pop("adapter_sets"))


        def _parse_pooling(data: object) -> None | Pooling:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                pooling_type_1 = check_pooling(data)



                return pooling_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Pooling, data)

        pooling = _parse_pooling(d.pop("pooling"))


        model_object = cls(
            id=id,
            object_=object_,
            created=created,
            owned_by=owned_by,
            family=family,
            hidden_size=hidden_size,
            max_tokens=max_tokens,
            parameters=parameters,
            base_model=base_model,
            adapter_sets=adapter_sets,
            pooling=pooling,
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
