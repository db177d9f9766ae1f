from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.pooling import check_pooling
from ..models.pooling import Pooling
from ..models.precision import check_precision
from ..models.precision import Precision
from typing import cast

if TYPE_CHECKING:
  from ..models.lora_names import LoraNames





T = TypeVar("T", bound="ModelCapabilities")



@_attrs_define
class ModelCapabilities:
    """ A backbone, and what a job may ask of it.

        Attributes:
            id (str): Its name. Example: all-MiniLM-L6-v2.
            family (str): Its family. Example: bert.
            hidden_size (int): Width H of the activations.
            max_tokens (int): Most tokens in one input.
            parameters (int): Number of parameters.
            poolings (list[Pooling]): Where it can be cut.
            default_pooling (Pooling): Where the backbone is cut: what of the last layer becomes the activations.
            precisions (list[Precision]): Its precisions.
            lora (LoraNames): Names for `target_modules`.
     """

    id: str
    family: str
    hidden_size: int
    max_tokens: int
    parameters: int
    poolings: list[Pooling]
    default_pooling: Pooling
    precisions: list[Precision]
    lora: LoraNames
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.lora_names import LoraNames # noqa: PLC0415
        id = self.id

        family = self.family

        hidden_size = self.hidden_size

        max_tokens = self.max_tokens

        parameters = self.parameters

        poolings = []
        for poolings_item_data in self.poolings:
            poolings_item: str = poolings_item_data
            poolings.append(poolings_item)



        default_pooling: str = self.default_pooling

        precisions = []
        for precisions_item_data in self.precisions:
            precisions_item: str = precisions_item_data
            precisions.append(precisions_item)



        lora = self.lora.to_dict()


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "family": family,
            "hidden_size": hidden_size,
            "max_tokens": max_tokens,
            "parameters": parameters,
            "poolings": poolings,
            "default_pooling": default_pooling,
            "precisions": precisions,
            "lora": lora,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.lora_names import LoraNames # noqa: PLC0415
        d = dict(src_dict)
        id = d.pop("id")

        family = d.pop("family")

        hidden_size = d.pop("hidden_size")

        max_tokens = d.pop("max_tokens")

        parameters = d.pop("parameters")

        poolings = []
        _poolings = d.pop("poolings")
        for poolings_item_data in (_poolings):
            poolings_item = check_pooling(poolings_item_data)



            poolings.append(poolings_item)


        default_pooling = check_pooling(d.pop("default_pooling"))




        precisions = []
        _precisions = d.pop("precisions")
        for precisions_item_data in (_precisions):
            precisions_item = check_precision(precisions_item_data)



            precisions.append(precisions_item)


        lora = LoraNames.from_dict(d.pop("lora"))




        model_capabilities = cls(
            id=id,
            family=family,
            hidden_size=hidden_size,
            max_tokens=max_tokens,
            parameters=parameters,
            poolings=poolings,
            default_pooling=default_pooling,
            precisions=precisions,
            lora=lora,
        )


        model_capabilities.additional_properties = d
        return model_capabilities

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
