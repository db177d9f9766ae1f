from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast






T = TypeVar("T", bound="ApiKeyObject")



@_attrs_define
class ApiKeyObject:
    """ A key, without its text.

        Attributes:
            id (str): Id, `key-...`. Example: key-019ab2c3d4e57f60a1b2c3d4e5f60718.
            object_ (str): Always `api_key`. Example: api_key.
            name (str): What it is called.
            created_at (int): When it was made, seconds since 1970.
            expires_at (int | None): When it ends.
            last_used_at (int | None): When it was last shown, to the minute.
            revoked_at (int | None): When it was revoked.
            scopes (list[str]): What it may do.
            requests_per_minute (int | None): Requests a minute; null: the project's limit alone.
            tokens_per_minute (int | None): Tokens a minute.
            monthly_tokens (int | None): Budget of tokens for a calendar month (UTC).
            monthly_device_seconds (int | None): Budget of device time for a calendar month (UTC), in seconds.
     """

    id: str
    object_: str
    name: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None
    scopes: list[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    monthly_tokens: int | None
    monthly_device_seconds: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        id = self.id

        object_ = self.object_

        name = self.name

        created_at = self.created_at

        expires_at: int | None
        expires_at = self.expires_at

        last_used_at: int | None
        last_used_at = self.last_used_at

        revoked_at: int | None
        revoked_at = self.revoked_at

        scopes = self.scopes



        requests_per_minute: int | None
        requests_per_minute = self.requests_per_minute

        tokens_per_minute: int | None
        tokens_per_minute = self.tokens_per_minute

        monthly_tokens: int | None
        monthly_tokens = self.monthly_tokens

        monthly_device_seconds: int | None
        monthly_device_seconds = self.monthly_device_seconds


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "name": name,
            "created_at": created_at,
            "expires_at": expires_at,
            "last_used_at": last_used_at,
            "revoked_at": revoked_at,
            "scopes": scopes,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "monthly_tokens": monthly_tokens,
            "monthly_device_seconds": monthly_device_seconds,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        name = d.pop("name")

        created_at = d.pop("created_at")

        def _parse_expires_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        expires_at = _parse_expires_at(d.pop("expires_at"))


        def _parse_last_used_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        last_used_at = _parse_last_used_at(d.pop("last_used_at"))


        def _parse_revoked_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        revoked_at = _parse_revoked_at(d.pop("revoked_at"))


        scopes = cast(list[str], d.pop("scopes"))


        def _parse_requests_per_minute(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        requests_per_minute = _parse_requests_per_minute(d.pop("requests_per_minute"))


        def _parse_tokens_per_minute(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        tokens_per_minute = _parse_tokens_per_minute(d.pop("tokens_per_minute"))


        def _parse_monthly_tokens(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        monthly_tokens = _parse_monthly_tokens(d.pop("monthly_tokens"))


        def _parse_monthly_device_seconds(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        monthly_device_seconds = _parse_monthly_device_seconds(d.pop("monthly_device_seconds"))


        api_key_object = cls(
            id=id,
            object_=object_,
            name=name,
            created_at=created_at,
            expires_at=expires_at,
            last_used_at=last_used_at,
            revoked_at=revoked_at,
            scopes=scopes,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            monthly_tokens=monthly_tokens,
            monthly_device_seconds=monthly_device_seconds,
        )


        api_key_object.additional_properties = d
        return api_key_object

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
