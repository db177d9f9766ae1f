from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field
import json
from .. import types

from ..types import UNSET, Unset

from ..models.pooling import check_pooling
from ..models.pooling import Pooling
from ..types import UNSET, Unset
from typing import cast






T = TypeVar("T", bound="AdapterUpload")



@_attrs_define
class AdapterUpload:
    """ PEFT folders to be taken over as a model. `config` and `weights` come once for each adapter set, in order.

        Attributes:
            base_model (str): Name of the backbone. Example: all-MiniLM-L6-v2.
            config (list[str]): `adapter_config.json`: plain LoRA.
            weights (list[str]): `adapter_model.safetensors`, in float32.
            suffix (str | Unset): Part of the model's name. Example: night-shift.
            pooling (Pooling | Unset): Where the backbone is cut: what of the last layer becomes the activations.
     """

    base_model: str
    config: list[str]
    weights: list[str]
    suffix: str | Unset = UNSET
    pooling: Pooling | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        base_model = self.base_model

        config = self.config



        weights = self.weights



        suffix = self.suffix

        pooling: str | Unset = UNSET
        if not isinstance(self.pooling, Unset):
            pooling = self.pooling



        field_dict: dict[str, Any] = {}

        field_dict.update({
            "base_model": base_model,
            "config": config,
            "weights": weights,
        })
        if suffix is not UNSET:
            field_dict["suffix"] = suffix
        if pooling is not UNSET:
            field_dict["pooling"] = pooling

        return field_dict


    def to_multipart(self) -> types.RequestFiles:
        files: types.RequestFiles = []

        files.append(("base_model", (None, str(self.base_model).encode(), "text/plain")))



        for config_item_element in self.config:
            files.append(("config", (None, str(config_item_element).encode(), "text/plain")))




        for weights_item_element in self.weights:
            files.append(("weights", (None, str(weights_item_element).encode(), "text/plain")))




        if not isinstance(self.suffix, Unset):
            files.append(("suffix", (None, str(self.suffix).encode(), "text/plain")))



        if not isinstance(self.pooling, Unset):
            files.append(("pooling", (None, str(self.pooling).encode(), "text/plain")))





        return files


    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        base_model = d.pop("base_model")

        config = cast(list[str], d.pop("config"))


        weights = cast(list[str], d.pop("weights"))


        suffix = d.pop("suffix", UNSET)

        _pooling = d.pop("pooling", UNSET)
        pooling: Pooling | Unset
        if isinstance(_pooling,  Unset):
            pooling = UNSET
        else:
            pooling = check_pooling(_pooling)




        adapter_upload = cls(
            base_model=base_model,
            config=config,
            weights=weights,
            suffix=suffix,
            pooling=pooling,
        )

        return adapter_upload

