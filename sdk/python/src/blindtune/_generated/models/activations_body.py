from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.adapters_json_type_0 import AdaptersJsonType0
from ..models.adapters_json_type_0 import check_adapters_json_type_0
from ..models.pooling import check_pooling
from ..models.pooling import Pooling
from ..types import UNSET, Unset
from typing import cast






T = TypeVar("T", bound="ActivationsBody")



@_attrs_define
class ActivationsBody:
    """ A call for activations.

        Attributes:
            model (str): A backbone, or a fine-tuned model of the project. Example: all-MiniLM-L6-v2.
            input_ (list[int] | list[list[int]] | list[list[str]] | list[str] | str): One text, or a list: of texts, of
                pairs of texts, of token ids (one input), or of lists of token ids.
            adapters (AdaptersJsonType0 | list[int] | None | Unset):
            base (bool | None | Unset): Whether the bare backbone's activations are wanted too; default false. A backbone
                gives them always.
            pooling (None | Pooling | Unset):
     """

    model: str
    input_: list[int] | list[list[int]] | list[list[str]] | list[str] | str
    adapters: AdaptersJsonType0 | list[int] | None | Unset = UNSET
    base: bool | None | Unset = UNSET
    pooling: None | Pooling | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        model = self.model

        input_: list[int] | list[list[int]] | list[list[str]] | list[str] | str
        if isinstance(self.input_, list):
            input_ = self.input_


        elif isinstance(self.input_, list):
            input_ = []
            for componentsschemas_input_json_type_2_item_data in self.input_:
                componentsschemas_input_json_type_2_item = componentsschemas_input_json_type_2_item_data


                input_.append(componentsschemas_input_json_type_2_item)


        elif isinstance(self.input_, list):
            input_ = self.input_


        elif isinstance(self.input_, list):
            input_ = []
            for componentsschemas_input_json_type_4_item_data in self.input_:
                componentsschemas_input_json_type_4_item = componentsschemas_input_json_type_4_item_data


                input_.append(componentsschemas_input_json_type_4_item)


        else:
            input_ = self.input_

        adapters: list[int] | None | str | Unset
        if isinstance(self.adapters, Unset):
            adapters = UNSET
        elif isinstance(self.adapters, str):
            adapters = self.adapters
        elif isinstance(self.adapters, list):
            adapters = self.adapters


        else:
            adapters = self.adapters

        base: bool | None | Unset
        if isinstance(self.base, Unset):
            base = UNSET
        else:
            base = self.base

        pooling: None | str | Unset
        if isinstance(self.pooling, Unset):
            pooling = UNSET
        elif isinstance(self.pooling, str):
            pooling = self.pooling
        else:
            pooling = self.pooling


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "model": model,
            "input": input_,
        })
        if adapters is not UNSET:
            field_dict["adapters"] = adapters
        if base is not UNSET:
            field_dict["base"] = base
        if pooling is not UNSET:
            field_dict["pooling"] = pooling

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        model = d.pop("model")

        def _parse_input_(data: object) -> list[int] | list[list[int]] | list[list[str]] | list[str] | str:
            try:
                if not isinstance(data, list):
                    raise TypeError()
                componentsschemas_input_json_type_1 = cast(list[str], data)

                return componentsschemas_input_json_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, list):
                    raise TypeError()
                componentsschemas_input_json_type_2 = []
                _componentsschemas_input_json_type_2 = data
                for componentsschemas_input_json_type_2_item_data in (_componentsschemas_input_json_type_2):
                    componentsschemas_input_json_type_2_item = cast(list[str], componentsschemas_input_json_type_2_item_data)

                    componentsschemas_input_json_type_2.append(componentsschemas_input_json_type_2_item)

                return componentsschemas_input_json_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, list):
                    raise TypeError()
                componentsschemas_input_json_type_3 = cast(list[int], data)

                return componentsschemas_input_json_type_3
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, list):
                    raise TypeError()
                componentsschemas_input_json_type_4 = []
                _componentsschemas_input_json_type_4 = data
                for componentsschemas_input_json_type_4_item_data in (_componentsschemas_input_json_type_4):
                    componentsschemas_input_json_type_4_item = cast(list[int], componentsschemas_input_json_type_4_item_data)

                    componentsschemas_input_json_type_4.append(componentsschemas_input_json_type_4_item)

                return componentsschemas_input_json_type_4
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[int] | list[list[int]] | list[list[str]] | list[str] | str, data)

        input_ = _parse_input_(d.pop("input"))


        def _parse_adapters(data: object) -> AdaptersJsonType0 | list[int] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                componentsschemas_adapters_json_type_0 = check_adapters_json_type_0(data)



                return componentsschemas_adapters_json_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, list):
                    raise TypeError()
                componentsschemas_adapters_json_type_1 = cast(list[int], data)

                return componentsschemas_adapters_json_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(AdaptersJsonType0 | list[int] | None | Unset, data)

        adapters = _parse_adapters(d.pop("adapters", UNSET))


        def _parse_base(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        base = _parse_base(d.pop("base", UNSET))


        def _parse_pooling(data: object) -> None | Pooling | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                pooling_type_1 = check_pooling(data)



                return pooling_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Pooling | Unset, data)

        pooling = _parse_pooling(d.pop("pooling", UNSET))


        activations_body = cls(
            model=model,
            input_=input_,
            adapters=adapters,
            base=base,
            pooling=pooling,
        )

        return activations_body

