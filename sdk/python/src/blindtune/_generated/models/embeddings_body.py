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
            input_ (list[int] | list[list[int]] | list[list[str]] | list[str] | str): One text, or a list: of texts, of
                pairs of texts, of token ids (one input), or of lists of token ids.
            encoding_format (None | str | Unset): `float` (the default), or `base64`: little-endian 32-bit floats. Example:
                float.
            dimensions (None | Unset):  Default: None.
            user (None | str | Unset): Taken for compatibility; not read.
     """

    model: str
    input_: list[int] | list[list[int]] | list[list[str]] | list[str] | str
    encoding_format: None | str | Unset = UNSET
    dimensions: None | Unset = None
    user: None | str | Unset = UNSET





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

        encoding_format: None | str | Unset
        if isinstance(self.encoding_format, Unset):
            encoding_format = UNSET
        else:
            encoding_format = self.encoding_format

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


        def _parse_encoding_format(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        encoding_format = _parse_encoding_format(d.pop("encoding_format", UNSET))


        dimensions = d.pop("dimensions", UNSET)

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

