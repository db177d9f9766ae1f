from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast






T = TypeVar("T", bound="SplitState")



@_attrs_define
class SplitState:
    """ Where a split job stands.

        Attributes:
            next_seq (int): The seq that the next step call must carry.
            durable_seq (int): The newest seq that survives a crash of the host (host custody).
            optimizer_steps (int): Optimizer steps taken (host custody).
            hidden_size (int | None): Width H of the activations.
            adapter_parameters (int | None): Length P of a set's flat adapter vector; known after the first step call.
            max_tokens (int | None): Most tokens in one input.
     """

    next_seq: int
    durable_seq: int
    optimizer_steps: int
    hidden_size: int | None
    adapter_parameters: int | None
    max_tokens: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        next_seq = self.next_seq

        durable_seq = self.durable_seq

        optimizer_steps = self.optimizer_steps

        hidden_size: int | None
        hidden_size = self.hidden_size

        adapter_parameters: int | None
        adapter_parameters = self.adapter_parameters

        max_tokens: int | None
        max_tokens = self.max_tokens


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "next_seq": next_seq,
            "durable_seq": durable_seq,
            "optimizer_steps": optimizer_steps,
            "hidden_size": hidden_size,
            "adapter_parameters": adapter_parameters,
            "max_tokens": max_tokens,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        next_seq = d.pop("next_seq")

        durable_seq = d.pop("durable_seq")

        optimizer_steps = d.pop("optimizer_steps")

        def _parse_hidden_size(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        hidden_size = _parse_hidden_size(d.pop("hidden_size"))


        def _parse_adapter_parameters(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        adapter_parameters = _parse_adapter_parameters(d.pop("adapter_parameters"))


        def _parse_max_tokens(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        max_tokens = _parse_max_tokens(d.pop("max_tokens"))


        split_state = cls(
            next_seq=next_seq,
            durable_seq=durable_seq,
            optimizer_steps=optimizer_steps,
            hidden_size=hidden_size,
            adapter_parameters=adapter_parameters,
            max_tokens=max_tokens,
        )


        split_state.additional_properties = d
        return split_state

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
