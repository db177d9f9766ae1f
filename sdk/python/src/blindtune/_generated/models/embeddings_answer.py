from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.embedding_object import EmbeddingObject
  from ..models.token_usage import TokenUsage





T = TypeVar("T", bound="EmbeddingsAnswer")



@_attrs_define
class EmbeddingsAnswer:
    """ Answer to a call for embeddings.

        Attributes:
            object_ (str): Always `list`. Example: list.
            data (list[EmbeddingObject]): One vector an input, in their order.
            model (str): The model. Example: all-MiniLM-L6-v2.
            usage (TokenUsage): Tokens of a call.
     """

    object_: str
    data: list[EmbeddingObject]
    model: str
    usage: TokenUsage
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.embedding_object import EmbeddingObject # noqa: PLC0415
        from ..models.token_usage import TokenUsage # noqa: PLC0415
        object_ = self.object_

        data = []
        for data_item_data in self.data:
            data_item = data_item_data.to_dict()
            data.append(data_item)



        model = self.model

        usage = self.usage.to_dict()


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "object": object_,
            "data": data,
            "model": model,
            "usage": usage,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.embedding_object import EmbeddingObject # noqa: PLC0415
        from ..models.token_usage import TokenUsage # noqa: PLC0415
        d = dict(src_dict)
        object_ = d.pop("object")

        data = []
        _data = d.pop("data")
        for data_item_data in (_data):
            data_item = EmbeddingObject.from_dict(data_item_data)



            data.append(data_item)


        model = d.pop("model")

        usage = TokenUsage.from_dict(d.pop("usage"))




        embeddings_answer = cls(
            object_=object_,
            data=data,
            model=model,
            usage=usage,
        )


        embeddings_answer.additional_properties = d
        return embeddings_answer

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
