from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset







T = TypeVar("T", bound="EstimateObject")



@_attrs_define
class EstimateObject:
    """ What a job would cost on this host.

        Attributes:
            object_ (str): Always `fine_tuning.estimate`. Example: fine_tuning.estimate.
            steps (int): Steps. A last batch that is not full is left out of each epoch, unless it is the only one. Example:
                93.
            rows (int): Rows of the inputs. Example: 1000.
            tokens (int): Tokens of all rows, each counted once. Example: 32000.
            trained_tokens (int): Tokens of all steps: tokens times epochs, less the rows that are left out. Example: 95232.
            sampled_share (float): Share of the rows that was tokenized: 1 up to 2,000 rows, an even sample beyond. Example:
                1.0.
            flops (float): Floating-point operations of the linear layers. With N weights in the backbone's and P in a set's
                adapters, n sets, m shares, and
                b = 1 where the bare backbone runs too, each token takes 2N(n + b) + 2Pn forward and mn(2N + 4P) backward.
                Example: 12000000000000.0.
            bytes_up (int): Bodies of the steps' requests (safetensors), in bytes.
            bytes_down (int): Bodies of the steps' answers (safetensors), in bytes.
            seconds (float): Seconds that this host works on the steps, with what else it does at the moment. Network and
                the client's own work come on top. Example: 12.5.
            seconds_per_step (float): Seconds of a step of average length. Example: 0.13.
            device (str): Where the engine computes. Example: cpu.
            measured_steps (int): Real steps that were run to measure it. Example: 5.
     """

    object_: str
    steps: int
    rows: int
    tokens: int
    trained_tokens: int
    sampled_share: float
    flops: float
    bytes_up: int
    bytes_down: int
    seconds: float
    seconds_per_step: float
    device: str
    measured_steps: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        object_ = self.object_

        steps = self.steps

        rows = self.rows

        tokens = self.tokens

        trained_tokens = self.trained_tokens

        sampled_share = self.sampled_share

        flops = self.flops

        bytes_up = self.bytes_up

        bytes_down = self.bytes_down

        seconds = self.seconds

        seconds_per_step = self.seconds_per_step

        device = self.device

        measured_steps = self.measured_steps


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "object": object_,
            "steps": steps,
            "rows": rows,
            "tokens": tokens,
            "trained_tokens": trained_tokens,
            "sampled_share": sampled_share,
            "flops": flops,
            "bytes_up": bytes_up,
            "bytes_down": bytes_down,
            "seconds": seconds,
            "seconds_per_step": seconds_per_step,
            "device": device,
            "measured_steps": measured_steps,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        object_ = d.pop("object")

        steps = d.pop("steps")

        rows = d.pop("rows")

        tokens = d.pop("tokens")

        trained_tokens = d.pop("trained_tokens")

        sampled_share = d.pop("sampled_share")

        flops = d.pop("flops")

        bytes_up = d.pop("bytes_up")

        bytes_down = d.pop("bytes_down")

        seconds = d.pop("seconds")

        seconds_per_step = d.pop("seconds_per_step")

        device = d.pop("device")

        measured_steps = d.pop("measured_steps")

        estimate_object = cls(
            object_=object_,
            steps=steps,
            rows=rows,
            tokens=tokens,
            trained_tokens=trained_tokens,
            sampled_share=sampled_share,
            flops=flops,
            bytes_up=bytes_up,
            bytes_down=bytes_down,
            seconds=seconds,
            seconds_per_step=seconds_per_step,
            device=device,
            measured_steps=measured_steps,
        )


        estimate_object.additional_properties = d
        return estimate_object

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
