from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.create_api_key_scopes_type_0_item import check_create_api_key_scopes_type_0_item
from ..models.create_api_key_scopes_type_0_item import CreateApiKeyScopesType0Item
from ..types import UNSET, Unset
from typing import cast






T = TypeVar("T", bound="CreateApiKey")



@_attrs_define
class CreateApiKey:
    """ A key to be made.

        Attributes:
            name (str): What the key is called in lists. Example: nightly training.
            scopes (list[CreateApiKeyScopesType0Item] | None | Unset): What it may do; everything but `admin` when absent.
                `files:*` stands for all of a kind.
            days (int | None | Unset): Life in days; 90 when absent. Example: 30.
            requests_per_minute (int | None | Unset): Requests a minute. Example: 600.
            tokens_per_minute (int | None | Unset): Tokens that the device reads a minute.
            monthly_tokens (int | None | Unset): Budget of tokens for a calendar month (UTC). Example: 10000000.
            monthly_device_seconds (int | None | Unset): Budget of device time for a calendar month (UTC), in seconds.
     """

    name: str
    scopes: list[CreateApiKeyScopesType0Item] | None | Unset = UNSET
    days: int | None | Unset = UNSET
    requests_per_minute: int | None | Unset = UNSET
    tokens_per_minute: int | None | Unset = UNSET
    monthly_tokens: int | None | Unset = UNSET
    monthly_device_seconds: int | None | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        name = self.name

        scopes: list[str] | None | Unset
        if isinstance(self.scopes, Unset):
            scopes = UNSET
        elif isinstance(self.scopes, list):
            scopes = []
            for scopes_type_0_item_data in self.scopes:
                scopes_type_0_item: str = scopes_type_0_item_data
                scopes.append(scopes_type_0_item)


        else:
            scopes = self.scopes

        days: int | None | Unset
        if isinstance(self.days, Unset):
            days = UNSET
        else:
            days = self.days

        requests_per_minute: int | None | Unset
        if isinstance(self.requests_per_minute, Unset):
            requests_per_minute = UNSET
        else:
            requests_per_minute = self.requests_per_minute

        tokens_per_minute: int | None | Unset
        if isinstance(self.tokens_per_minute, Unset):
            tokens_per_minute = UNSET
        else:
            tokens_per_minute = self.tokens_per_minute

        monthly_tokens: int | None | Unset
        if isinstance(self.monthly_tokens, Unset):
            monthly_tokens = UNSET
        else:
            monthly_tokens = self.monthly_tokens

        monthly_device_seconds: int | None | Unset
        if isinstance(self.monthly_device_seconds, Unset):
            monthly_device_seconds = UNSET
        else:
            monthly_device_seconds = self.monthly_device_seconds


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "name": name,
        })
        if scopes is not UNSET:
            field_dict["scopes"] = scopes
        if days is not UNSET:
            field_dict["days"] = days
        if requests_per_minute is not UNSET:
            field_dict["requests_per_minute"] = requests_per_minute
        if tokens_per_minute is not UNSET:
            field_dict["tokens_per_minute"] = tokens_per_minute
        if monthly_tokens is not UNSET:
            field_dict["monthly_tokens"] = monthly_tokens
        if monthly_device_seconds is not UNSET:
            field_dict["monthly_device_seconds"] = monthly_device_seconds

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name")

        def _parse_scopes(data: object) -> list[CreateApiKeyScopesType0Item] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                scopes_type_0 = []
                _scopes_type_0 = data
                for scopes_type_0_item_data in (_scopes_type_0):
                    scopes_type_0_item = check_create_api_key_scopes_type_0_item(scopes_type_0_item_data)



                    scopes_type_0.append(scopes_type_0_item)

                return scopes_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[CreateApiKeyScopesType0Item] | None | Unset, data)

        scopes = _parse_scopes(d.pop("scopes", UNSET))


        def _parse_days(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        days = _parse_days(d.pop("days", UNSET))


        def _parse_requests_per_minute(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        requests_per_minute = _parse_requests_per_minute(d.pop("requests_per_minute", UNSET))


        def _parse_tokens_per_minute(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        tokens_per_minute = _parse_tokens_per_minute(d.pop("tokens_per_minute", UNSET))


        def _parse_monthly_tokens(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        monthly_tokens = _parse_monthly_tokens(d.pop("monthly_tokens", UNSET))


        def _parse_monthly_device_seconds(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        monthly_device_seconds = _parse_monthly_device_seconds(d.pop("monthly_device_seconds", UNSET))


        create_api_key = cls(
            name=name,
            scopes=scopes,
            days=days,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            monthly_tokens=monthly_tokens,
            monthly_device_seconds=monthly_device_seconds,
        )

        return create_api_key

