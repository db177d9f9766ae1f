from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.delivery_state import check_delivery_state
from ..models.delivery_state import DeliveryState
from ..models.webhook_event import check_webhook_event
from ..models.webhook_event import WebhookEvent
from typing import cast






T = TypeVar("T", bound="DeliveryObject")



@_attrs_define
class DeliveryObject:
    """ A message to a webhook.

        Attributes:
            id (str): Id, `msg_...`: the header `webhook-id`, the same over all attempts.
            object_ (str): Always `webhook.delivery`. Example: webhook.delivery.
            created_at (int): When it was written, seconds since 1970.
            type_ (WebhookEvent): Something that a webhook can be told.
            state (DeliveryState): Where a message stands.
            attempts (int): Attempts so far.
            next_attempt_at (int | None): When the next one is due; null when none is.
            last_status (int | None): Status of the receiver's last answer.
            last_error (None | str): What went wrong with the last attempt.
            delivered_at (int | None): When the receiver answered 2xx.
     """

    id: str
    object_: str
    created_at: int
    type_: WebhookEvent
    state: DeliveryState
    attempts: int
    next_attempt_at: int | None
    last_status: int | None
    last_error: None | str
    delivered_at: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        id = self.id

        object_ = self.object_

        created_at = self.created_at

        type_: str = self.type_

        state: str = self.state

        attempts = self.attempts

        next_attempt_at: int | None
        next_attempt_at = self.next_attempt_at

        last_status: int | None
        last_status = self.last_status

        last_error: None | str
        last_error = self.last_error

        delivered_at: int | None
        delivered_at = self.delivered_at


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "created_at": created_at,
            "type": type_,
            "state": state,
            "attempts": attempts,
            "next_attempt_at": next_attempt_at,
            "last_status": last_status,
            "last_error": last_error,
            "delivered_at": delivered_at,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        created_at = d.pop("created_at")

        type_ = check_webhook_event(d.pop("type"))




        state = check_delivery_state(d.pop("state"))




        attempts = d.pop("attempts")

        def _parse_next_attempt_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        next_attempt_at = _parse_next_attempt_at(d.pop("next_attempt_at"))


        def _parse_last_status(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        last_status = _parse_last_status(d.pop("last_status"))


        def _parse_last_error(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        last_error = _parse_last_error(d.pop("last_error"))


        def _parse_delivered_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        delivered_at = _parse_delivered_at(d.pop("delivered_at"))


        delivery_object = cls(
            id=id,
            object_=object_,
            created_at=created_at,
            type_=type_,
            state=state,
            attempts=attempts,
            next_attempt_at=next_attempt_at,
            last_status=last_status,
            last_error=last_error,
            delivered_at=delivered_at,
        )


        delivery_object.additional_properties = d
        return delivery_object

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
