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
  from ..models.lora_settings import LoraSettings





T = TypeVar("T", bound="SplitSettings")



@_attrs_define
class SplitSettings:
    """ Settings of method `split`.

        Attributes:
            custody (Custody | Unset): Who holds adapter weights and optimizer state.
            adapter_sets (int | Unset): Number n of adapter sets. Default: 2.
            lora (LoraSettings | Unset): LoRA settings, as in PEFT's `LoraConfig`.
            pooling (None | Pooling | Unset):
            precision (Precision | Unset): Arithmetic of the frozen backbone. Adapters and shares are always float32.
            double_quant (bool | Unset): With precision `nf4`: whether the scales of the 4-bit blocks are quantized too.
                Default: False.
     """

    custody: Custody | Unset = UNSET
    adapter_sets: int | Unset = 2
    lora: LoraSettings | Unset = UNSET
    pooling: None | Pooling | Unset = UNSET
    precision: Precision | Unset = UNSET
    double_quant: bool | Unset = False





    def to_dict(self) -> dict[str, Any]:
        from ..models.lora_settings import LoraSettings # noqa: PLC0415
        custody: str | Unset = UNSET
        if not isinstance(self.custody, Unset):
            custody = self.custody


        adapter_sets = self.adapter_sets

        lora: dict[str, Any] | Unset = UNSET
        if not isinstance(self.lora, Unset):
            lora = self.lora.to_dict()

        pooling: None | str | Unset
        if isinstance(self.pooling, Unset):
            pooling = UNSET
        elif isinstance(self.pooling, str):
            pooling = self.pooling
        else:
            pooling = self.pooling

        precision: str | Unset = UNSET
        if not isinstance(self.precision, Unset):
            precision = self.precision


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
        from ..models.lora_settings import LoraSettings # noqa: PLC0415
        d = dict(src_dict)
        _custody = d.pop("custody", UNSET)
        custody: Custody | Unset
        if isinstance(_custody,  Unset):
            custody = UNSET
        else:
            custody = check_custody(_custody)




        adapter_sets = d.pop("adapter_sets", UNSET)

        _lora = d.pop("lora", UNSET)
        lora: LoraSettings | Unset
        if isinstance(_lora,  Unset):
            lora = UNSET
        else:
            lora = LoraSettings.from_dict(_lora)




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


        _precision = d.pop("precision", UNSET)
        precision: Precision | Unset
        if isinstance(_precision,  Unset):
            precision = UNSET
        else:
            precision = check_precision(_precision)




        double_quant = d.pop("double_quant", UNSET)

        split_settings = cls(
            custody=custody,
            adapter_sets=adapter_sets,
            lora=lora,
            pooling=pooling,
            precision=precision,
            double_quant=double_quant,
        )

        return split_settings

