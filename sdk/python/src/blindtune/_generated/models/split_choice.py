from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.custody import check_custody
from ..models.custody import Custody
from ..models.pooling import check_pooling
from ..models.pooling import Pooling
from ..models.precision import check_precision
from ..models.precision import Precision
from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
  from ..models.lora_choice import LoraChoice





T = TypeVar("T", bound="SplitChoice")



@_attrs_define
class SplitChoice:
    """ Settings of method `split`; absent ones are the defaults, or those of the model that the job goes on from.

        Attributes:
            custody (Custody | None | Unset):
            adapter_sets (int | None | Unset): Number n of adapter sets; 2.
            lora (LoraChoice | None | Unset):
            pooling (None | Pooling | Unset):
            precision (None | Precision | Unset):
            double_quant (bool | None | Unset): With precision `nf4`: whether the scales of the 4-bit blocks are quantized
                too.
     """

    custody: Custody | None | Unset = UNSET
    adapter_sets: int | None | Unset = UNSET
    lora: LoraChoice | None | Unset = UNSET
    pooling: None | Pooling | Unset = UNSET
    precision: None | Precision | Unset = UNSET
    double_quant: bool | None | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        from ..models.lora_choice import LoraChoice # noqa: PLC0415
        custody: None | str | Unset
        if isinstance(self.custody, Unset):
            custody = UNSET
        elif isinstance(self.custody, str):
            custody = self.custody
        else:
            custody = self.custody

        adapter_sets: int | None | Unset
        if isinstance(self.adapter_sets, Unset):
            adapter_sets = UNSET
        else:
            adapter_sets = self.adapter_sets

        lora: dict[str, Any] | None | Unset
        if isinstance(self.lora, Unset):
            lora = UNSET
        elif isinstance(self.lora, LoraChoice):
            lora = self.lora.to_dict()
        else:
            lora = self.lora

        pooling: None | str | Unset
        if isinstance(self.pooling, Unset):
            pooling = UNSET
        elif isinstance(self.pooling, str):
            pooling = self.pooling
        else:
            pooling = self.pooling

        precision: None | str | Unset
        if isinstance(self.precision, Unset):
            precision = UNSET
        elif isinstance(self.precision, str):
            precision = self.precision
        else:
            precision = self.precision

        double_quant: bool | None | Unset
        if isinstance(self.double_quant, Unset):
            double_quant = UNSET
        else:
            double_quant = self.double_quant


        field_dict: dict[str, Any] = {}

        field_dict.update({
        })
        if custody is not UNSET:
            field_dict["custody"] = custody
        if adapter_sets is not UNSET:
            field_dict["adapter_sets"] = adapter_sets
        if lora is not UNSET:
            field_dict["lora"] = lora
        if pooling is not UNSET:
            field_dict["pooling"] = pooling
        if precision is not UNSET:
            field_dict["precision"] = precision
        if double_quant is not UNSET:
            field_dict["double_quant"] = double_quant

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.lora_choice import LoraChoice # noqa: PLC0415
        d = dict(src_dict)
        def _parse_custody(data: object) -> Custody | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                custody_type_1 = check_custody(data)



                return custody_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Custody | None | Unset, data)

        custody = _parse_custody(d.pop("custody", UNSET))


        def _parse_adapter_sets(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        adapter_sets = _parse_adapter_sets(d.pop("adapter_sets", UNSET))


        def _parse_lora(data: object) -> LoraChoice | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                lora_type_1 = LoraChoice.from_dict(data)



                return lora_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(LoraChoice | None | Unset, data)

        lora = _parse_lora(d.pop("lora", UNSET))


        def _parse_pooling(data: object) -> None | Pooling | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                pooling_type_1 = check_pooling(data)



                return pooling_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Pooling | Unset, data)

        pooling = _parse_pooling(d.pop("pooling", UNSET))


        def _parse_precision(data: object) -> None | Precision | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                precision_type_1 = check_precision(data)



                return precision_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Precision | Unset, data)

        precision = _parse_precision(d.pop("precision", UNSET))


        def _parse_double_quant(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        double_quant = _parse_double_quant(d.pop("double_quant", UNSET))


        split_choice = cls(
            custody=custody,
            adapter_sets=adapter_sets,
            lora=lora,
            pooling=pooling,
            precision=precision,
            double_quant=double_quant,
        )

        return split_choice

