from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast






T = TypeVar("T", bound="EmbeddingsBody")



@_attrs_define
class EmbeddingsBody:
    """ A call for embeddings, as OpenAI has it.

        Attributes:
            model (str): A backbone, or a fine-tuned model of the project. Example: all-MiniLM-L6-v2.
            input_ (list[int | list[int] | list[str] | str] | str): One text, or a list: of texts, of pairs of texts, of
                token ids (one input), or of lists of token ids.
            encoding_format (None | str | Unset): `float` (the default), or `base64`: little-endian 32-bit floats. Example:
                float.
            dimensions (int | None | Unset): Must be absent or null: an activation has the width that it has.
            user (None | str | Unset): Taken for compatibility; not read.
     """

    model: str
    input_: list[int | list[int] | list[str] | str] | str
    encoding_format: None | str | Unset = UNSET
    dimensions: int | None | Unset = UNSET
    user: None | str | Unset = UNSET





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

        encoding_format: None | str | Unset
        if isinstance(self.encoding_format, Unset):
            encoding_format = UNSET
        else:
            encoding_format = self.encoding_format

        dimensions: int | None | Unset
        if isinstance(self.dimensions, Unset):
            dimensions = UNSET
        else:
            dimensions = self.dimensions

        user: None | str | Unset
        if isinstance(self.user, Unset):
            user = UNSET
        else:
            user = self.user


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "model": model,
            "input": input_,
        })
        if encoding_format is not UNSET:
            field_dict["encoding_format"] = encoding_format
        if dimensions is not UNSET:
            field_dict["dimensions"] = dimensions
        if user is not UNSET:
            field_dict["user"] = user

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


        def _parse_encoding_format(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        encoding_format = _parse_encoding_format(d.pop("encoding_format", UNSET))


        def _parse_dimensions(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        dimensions = _parse_dimensions(d.pop("dimensions", UNSET))


        def _parse_user(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        user = _parse_user(d.pop("user", UNSET))


        embeddings_body = cls(
            model=model,
            input_=input_,
            encoding_format=encoding_format,
            dimensions=dimensions,
            user=user,
        )

        return embeddings_body

