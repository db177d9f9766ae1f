from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast






T = TypeVar("T", bound="UsageObject")



@_attrs_define
class UsageObject:
    """ What was used.

        Attributes:
            object_ (str): Always `usage.row`. Example: usage.row.
            key_id (None | str): The key; null where rows are not grouped by key.
            model (None | str): The model; null where rows are not grouped by model, empty for requests that need none.
            day (None | str): The day (UTC); null where rows are not grouped by day.
            requests (int): Requests answered to a valid key, refused ones included.
            steps (int): Step calls that were applied.
            training_tokens (int): Tokens of training forwards.
            inference_tokens (int): Tokens of evaluations, activations and embeddings.
            bytes_in (int): Bytes of bodies that came in with work for the device.
            bytes_out (int): Bytes of tensors that went out.
            device_seconds (float): Time of the device, its queue included, in seconds.
     """

    object_: str
    key_id: None | str
    model: None | str
    day: None | str
    requests: int
    steps: int
    training_tokens: int
    inference_tokens: int
    bytes_in: int
    bytes_out: int
    device_seconds: float
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        object_ = self.object_

        key_id: None | str
        key_id = self.key_id

        model: None | str
        model = self.model

        day: None | str
        day = self.day

        requests = self.requests

        steps = self.steps

        training_tokens = self.training_tokens

        inference_tokens = self.inference_tokens

        bytes_in = self.bytes_in

        bytes_out = self.bytes_out

        device_seconds = self.device_seconds


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "object": object_,
            "key_id": key_id,
            "model": model,
            "day": day,
            "requests": requests,
            "steps": steps,
            "training_tokens": training_tokens,
            "inference_tokens": inference_tokens,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "device_seconds": device_seconds,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        object_ = d.pop("object")

        def _parse_key_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        key_id = _parse_key_id(d.pop("key_id"))


        def _parse_model(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        model = _parse_model(d.pop("model"))


        def _parse_day(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        day = _parse_day(d.pop("day"))


        requests = d.pop("requests")

        steps = d.pop("steps")

        training_tokens = d.pop("training_tokens")

        inference_tokens = d.pop("inference_tokens")

        bytes_in = d.pop("bytes_in")

        bytes_out = d.pop("bytes_out")

        device_seconds = d.pop("device_seconds")

        usage_object = cls(
            object_=object_,
            key_id=key_id,
            model=model,
            day=day,
            requests=requests,
            steps=steps,
            training_tokens=training_tokens,
            inference_tokens=inference_tokens,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            device_seconds=device_seconds,
        )


        usage_object.additional_properties = d
        return usage_object

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
