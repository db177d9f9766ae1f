from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.sent_tensor import SentTensor





T = TypeVar("T", bound="LedgerEntry")



@_attrs_define
class LedgerEntry:
    """ One call in the ledger: what the host was sent, never the contents.

        Attributes:
            id (str): Position in the job's ledger, from 1.
            object_ (str): Always `fine_tuning.job.ledger_entry`.
            created_at (int): When it came, seconds since 1970.
            kind (str): The call: forward, evaluate, backward, optim_step, put_adapter, metrics or checkpoint.
            seq (int | None): Step number, for numbered calls.
            bytes_ (int): Size of the body in bytes.
            sha256 (str): SHA-256 over kind, parameters and body, in hex.
            tensors (list[SentTensor]): The named things in it.
     """

    id: str
    object_: str
    created_at: int
    kind: str
    seq: int | None
    bytes_: int
    sha256: str
    tensors: list[SentTensor]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.sent_tensor import SentTensor # noqa: PLC0415
        id = self.id

        object_ = self.object_

        created_at = self.created_at

        kind = self.kind

        seq: int | None
        seq = self.seq

        bytes_ = self.bytes_

        sha256 = self.sha256

        tensors = []
        for tensors_item_data in self.tensors:
            tensors_item = tensors_item_data.to_dict()
            tensors.append(tensors_item)




        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "created_at": created_at,
            "kind": kind,
            "seq": seq,
            "bytes": bytes_,
            "sha256": sha256,
            "tensors": tensors,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.sent_tensor import SentTensor # noqa: PLC0415
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        created_at = d.pop("created_at")

        kind = d.pop("kind")

        def _parse_seq(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        seq = _parse_seq(d.pop("seq"))


        bytes_ = d.pop("bytes")

        sha256 = d.pop("sha256")

        tensors = []
        _tensors = d.pop("tensors")
        for tensors_item_data in (_tensors):
            tensors_item = SentTensor.from_dict(tensors_item_data)



            tensors.append(tensors_item)


        ledger_entry = cls(
            id=id,
            object_=object_,
            created_at=created_at,
            kind=kind,
            seq=seq,
            bytes_=bytes_,
            sha256=sha256,
            tensors=tensors,
        )


        ledger_entry.additional_properties = d
        return ledger_entry

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
