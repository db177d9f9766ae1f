from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

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
            input_ (list[int | list[int] | list[str] | str] | str): One text, or a list: of texts, of pairs of texts, of
                token ids (one input), or of lists of token ids.
            adapters (list[int] | None | str | Unset):
            base (bool | None | Unset): Whether the bare backbone's activations are wanted too; default false. A backbone
                gives them always.
            pooling (None | Pooling | Unset):
     """

    model: str
    input_: list[int | list[int] | list[str] | str] | str
    adapters: list[int] | None | str | Unset = UNSET
    base: bool | None | Unset = UNSET
    pooling: None | Pooling | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        model = self.model

        input_: list[int | list[int] | list[str] | str] | str
        if isinstance(self.input_, list):
            input_ = []
            for componentsschemas_input_json_type_1_item_data in self.input_:
                componentsschemas_input_json_type_1_item: int | list[int] | list[str] | str
                if isinstance(componentsschemas_input_json_type_1_item_data, list):
                    componentsschemas_input_json_type_1_item = componentsschemas_input_json_type_1_item_data


                elif isinstance(componentsschemas_input_json_type_1_item_data, list):
                    componentsschemas_input_json_type_1_item = componentsschemas_input_json_type_1_item_data


                else:
                    componentsschemas_input_json_type_1_item = componentsschemas_input_json_type_1_item_data
                input_.append(componentsschemas_input_json_type_1_item)


        else:
            input_ = self.input_

        adapters: list[int] | None | str | Unset
        if isinstance(self.adapters, Unset):
            adapters = UNSET
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

        def _parse_input_(data: object) -> list[int | list[int] | list[str] | str] | str:
            try:
                if not isinstance(data, list):
                    raise TypeError()
                componentsschemas_input_json_type_1 = []
                _componentsschemas_input_json_type_1 = data
                for componentsschemas_input_json_type_1_item_data in (_componentsschemas_input_json_type_1):
                    def _parse_componentsschemas_input_json_type_1_item(data: object) -> int | list[int] | list[str] | str:
                        try:
                            if not isinstance(data, list):
                                raise TypeError()
                            componentsschemas_input_item_type_2 = cast(list[int], data)

                            return componentsschemas_input_item_type_2
                        except (TypeError, ValueError, AttributeError, KeyError):
                            pass
                        try:
                            if not isinstance(data, list):
                                raise TypeError()
                            componentsschemas_input_item_type_3 = cast(list[str], data)

                            return componentsschemas_input_item_type_3
                        except (TypeError, ValueError, AttributeError, KeyError):
                            pass
                        return cast(int | list[int] | list[str] | str, data)

                    componentsschemas_input_json_type_1_item = _parse_componentsschemas_input_json_type_1_item(componentsschemas_input_json_type_1_item_data)

                    componentsschemas_input_json_type_1.append(componentsschemas_input_json_type_1_item)

                return componentsschemas_input_json_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[int | list[int] | list[str] | str] | str, data)

        input_ = _parse_input_(d.pop("input"))


        def _parse_adapters(data: object) -> list[int] | None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                componentsschemas_adapters_json_type_1 = cast(list[int], data)

                return componentsschemas_adapters_json_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[int] | None | str | Unset, data)

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

