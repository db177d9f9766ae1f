from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.checkpoint_life import CheckpointLife





T = TypeVar("T", bound="UpdateCheckpoint")



@_attrs_define
class UpdateCheckpoint:
    """ A change to a checkpoint.

        Attributes:
            expires_after (CheckpointLife | None):
     """

    expires_after: CheckpointLife | None





    def to_dict(self) -> dict[str, Any]:
        from ..models.checkpoint_life import CheckpointLife # noqa: PLC0415
        expires_after: dict[str, Any] | None
        if isinstance(self.expires_after, CheckpointLife):
            expires_after = self.expires_after.to_dict()
        else:
            expires_after = self.expires_after


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "expires_after": expires_after,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.checkpoint_life import CheckpointLife # noqa: PLC0415
        d = dict(src_dict)
        def _parse_expires_after(data: object) -> CheckpointLife | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                expires_after_type_1 = CheckpointLife.from_dict(data)



                return expires_after_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(CheckpointLife | None, data)

        expires_after = _parse_expires_after(d.pop("expires_after"))


        update_checkpoint = cls(
            expires_after=expires_after,
        )

        return update_checkpoint

