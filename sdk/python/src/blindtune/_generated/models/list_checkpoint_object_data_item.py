from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.list_checkpoint_object_data_item_metrics import ListCheckpointObjectDataItemMetrics





T = TypeVar("T", bound="ListCheckpointObjectDataItem")



@_attrs_define
class ListCheckpointObjectDataItem:
    """ A saved state of a job.

        Attributes:
            id (str): Id, `ftckpt_...`.
            object_ (str): Always `fine_tuning.job.checkpoint`. Example: fine_tuning.job.checkpoint.
            created_at (int): When, seconds since 1970.
            fine_tuned_model_checkpoint (str): Name under which it can be used.
            fine_tuning_job_id (str): The job.
            step_number (int): The newest seq in it.
            metrics (ListCheckpointObjectDataItemMetrics): Empty: metrics stay with the label holder.
            bytes_ (int): Size in bytes.
            sha256 (str): SHA-256 of the state, in hex.
            expires_at (int | None): From when on it may be deleted; null when it stays as long as its job.
     """

    id: str
    object_: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: ListCheckpointObjectDataItemMetrics
    bytes_: int
    sha256: str
    expires_at: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.list_checkpoint_object_data_item_metrics import ListCheckpointObjectDataItemMetrics # noqa: PLC0415
        id = self.id

        object_ = self.object_

        created_at = self.created_at

        fine_tuned_model_checkpoint = self.fine_tuned_model_checkpoint

        fine_tuning_job_id = self.fine_tuning_job_id

        step_number = self.step_number

        metrics = self.metrics.to_dict()

        bytes_ = self.bytes_

        sha256 = self.sha256

        expires_at: int | None
        expires_at = self.expires_at


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "created_at": created_at,
            "fine_tuned_model_checkpoint": fine_tuned_model_checkpoint,
            "fine_tuning_job_id": fine_tuning_job_id,
            "step_number": step_number,
            "metrics": metrics,
            "bytes": bytes_,
            "sha256": sha256,
            "expires_at": expires_at,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.list_checkpoint_object_data_item_metrics import ListCheckpointObjectDataItemMetrics # noqa: PLC0415
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        created_at = d.pop("created_at")

        fine_tuned_model_checkpoint = d.pop("fine_tuned_model_checkpoint")

        fine_tuning_job_id = d.pop("fine_tuning_job_id")

        step_number = d.pop("step_number")

        metrics = ListCheckpointObjectDataItemMetrics.from_dict(d.pop("metrics"))




        bytes_ = d.pop("bytes")

        sha256 = d.pop("sha256")

        def _parse_expires_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        expires_at = _parse_expires_at(d.pop("expires_at"))


        list_checkpoint_object_data_item = cls(
            id=id,
            object_=object_,
            created_at=created_at,
            fine_tuned_model_checkpoint=fine_tuned_model_checkpoint,
            fine_tuning_job_id=fine_tuning_job_id,
            step_number=step_number,
            metrics=metrics,
            bytes_=bytes_,
            sha256=sha256,
            expires_at=expires_at,
        )


        list_checkpoint_object_data_item.additional_properties = d
        return list_checkpoint_object_data_item

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
