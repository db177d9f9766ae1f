from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.metrics_body_metrics import MetricsBodyMetrics





T = TypeVar("T", bound="MetricsBody")



@_attrs_define
class MetricsBody:
    """ Metrics that the client chose to report. Scalars only.

        Attributes:
            step (int): The client's own step counter.
            metrics (MetricsBodyMetrics): Name and value.
     """

    step: int
    metrics: MetricsBodyMetrics





    def to_dict(self) -> dict[str, Any]:
        from ..models.metrics_body_metrics import MetricsBodyMetrics # noqa: PLC0415
        step = self.step

        metrics = self.metrics.to_dict()


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "step": step,
            "metrics": metrics,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.metrics_body_metrics import MetricsBodyMetrics # noqa: PLC0415
        d = dict(src_dict)
        step = d.pop("step")

        metrics = MetricsBodyMetrics.from_dict(d.pop("metrics"))




        metrics_body = cls(
            step=step,
            metrics=metrics,
        )

        return metrics_body

