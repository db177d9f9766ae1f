from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.webhook_event import check_webhook_event
from ..models.webhook_event import WebhookEvent
from typing import cast






T = TypeVar("T", bound="ListWebhookObjectDataItem")



@_attrs_define
class ListWebhookObjectDataItem:
    """ A URL that is told what happens to the project's jobs.

        Attributes:
            id (str): Id, `wh_...`.
            object_ (str): Always `webhook`. Example: webhook.
            url (str): Where messages are posted.
            events (list[WebhookEvent]): What it is told.
            enabled (bool): Whether messages are sent. An answer of 410 Gone turns it off.
            created_at (int): When it was made, seconds since 1970.
     """

    id: str
    object_: str
    url: str
    events: list[WebhookEvent]
    enabled: bool
    created_at: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        id = self.id

        object_ = self.object_

        url = self.url

        events = []
        for events_item_data in self.events:
            events_item: str = events_item_data
            events.append(events_item)



        enabled = self.enabled

        created_at = self.created_at


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "url": url,
            "events": events,
            "enabled": enabled,
            "created_at": created_at,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        url = d.pop("url")

        events = []
        _events = d.pop("events")
        for events_item_data in (_events):
            events_item = check_webhook_event(events_item_data)



            events.append(events_item)


        enabled = d.pop("enabled")

        created_at = d.pop("created_at")

        list_webhook_object_data_item = cls(
            id=id,
            object_=object_,
            url=url,
            events=events,
            enabled=enabled,
            created_at=created_at,
        )


        list_webhook_object_data_item.additional_properties = d
        return list_webhook_object_data_item

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
