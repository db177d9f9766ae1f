from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.activations_answer_tensors import ActivationsAnswerTensors
  from ..models.token_usage import TokenUsage





T = TypeVar("T", bound="ActivationsAnswer")



@_attrs_define
class ActivationsAnswer:
    """ Answer to a call for activations.

        Attributes:
            object_ (str): Always `activations`. Example: activations.
            model (str): The model. Example: all-MiniLM-L6-v2.
            tensors (ActivationsAnswerTensors): `h.{i}` by adapter set and `h.base`: F32 `[B, H]`; with pooling `none` `[N,
                H]` and `lengths` I64 `[B]`.
            usage (TokenUsage): Tokens of a call.
     """

    object_: str
    model: str
    tensors: ActivationsAnswerTensors
    usage: TokenUsage
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.activations_answer_tensors import ActivationsAnswerTensors # noqa: PLC0415
        from ..models.token_usage import TokenUsage # noqa: PLC0415
        object_ = self.object_

        model = self.model

        tensors = self.tensors.to_dict()

        usage = self.usage.to_dict()


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "object": object_,
            "model": model,
            "tensors": tensors,
            "usage": usage,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.activations_answer_tensors import ActivationsAnswerTensors # noqa: PLC0415
        from ..models.token_usage import TokenUsage # noqa: PLC0415
        d = dict(src_dict)
        object_ = d.pop("object")

        model = d.pop("model")

        tensors = ActivationsAnswerTensors.from_dict(d.pop("tensors"))




        usage = TokenUsage.from_dict(d.pop("usage"))




        activations_answer = cls(
            object_=object_,
            model=model,
            tensors=tensors,
            usage=usage,
        )


        activations_answer.additional_properties = d
        return activations_answer

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
