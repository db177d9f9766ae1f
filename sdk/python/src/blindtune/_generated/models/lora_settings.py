from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
  from ..models.lora_settings_alpha_pattern import LoraSettingsAlphaPattern
  from ..models.lora_settings_rank_pattern import LoraSettingsRankPattern





T = TypeVar("T", bound="LoraSettings")



@_attrs_define
class LoraSettings:
    """ LoRA settings, as in PEFT's `LoraConfig`.

        Attributes:
            rank (int | Unset): Rank r of the update. Default: 8.
            alpha (float | Unset): Numerator of the scale `alpha / rank`. Default: 16.0.
            dropout (float | Unset): Dropout on the input of the update, while training. Default: 0.0.
            target_modules (list[str] | Unset): Linear layers that get an update: full module names or their last parts, or
                `all-linear`; empty (the default) means the family's PEFT default.
            use_rslora (bool | Unset): Scale by `alpha / sqrt(rank)` instead (rank-stabilised LoRA, arXiv 2312.03732).
                Default: False.
            rank_pattern (LoraSettingsRankPattern | Unset): Rank for modules whose name ends in the key.
            alpha_pattern (LoraSettingsAlphaPattern | Unset): Alpha for modules whose name ends in the key.
     """

    rank: int | Unset = 8
    alpha: float | Unset = 16.0
    dropout: float | Unset = 0.0
    target_modules: list[str] | Unset = UNSET
    use_rslora: bool | Unset = False
    rank_pattern: LoraSettingsRankPattern | Unset = UNSET
    alpha_pattern: LoraSettingsAlphaPattern | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        from ..models.lora_settings_alpha_pattern import LoraSettingsAlphaPattern # noqa: PLC0415
        from ..models.lora_settings_rank_pattern import LoraSettingsRankPattern # noqa: PLC0415
        rank = self.rank

        alpha = self.alpha

        dropout = self.dropout

        target_modules: list[str] | Unset = UNSET
        if not isinstance(self.target_modules, Unset):
            target_modules = self.target_modules



        use_rslora = self.use_rslora

        rank_pattern: dict[str, Any] | Unset = UNSET
        if not isinstance(self.rank_pattern, Unset):
            rank_pattern = self.rank_pattern.to_dict()

        alpha_pattern: dict[str, Any] | Unset = UNSET
        if not isinstance(self.alpha_pattern, Unset):
            alpha_pattern = self.alpha_pattern.to_dict()


        field_dict: dict[str, Any] = {}

        field_dict.update({
        })
        if rank is not UNSET:
            field_dict["rank"] = rank
        if alpha is not UNSET:
            field_dict["alpha"] = alpha
        if dropout is not UNSET:
            field_dict["dropout"] = dropout
        if target_modules is not UNSET:
            field_dict["target_modules"] = target_modules
        if use_rslora is not UNSET:
            field_dict["use_rslora"] = use_rslora
        if rank_pattern is not UNSET:
            field_dict["rank_pattern"] = rank_pattern
        if alpha_pattern is not UNSET:
            field_dict["alpha_pattern"] = alpha_pattern

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.lora_settings_alpha_pattern import LoraSettingsAlphaPattern # noqa: PLC0415
        from ..models.lora_settings_rank_pattern import LoraSettingsRankPattern # noqa: PLC0415
        d = dict(src_dict)
        rank = d.pop("rank", UNSET)

        alpha = d.pop("alpha", UNSET)

        dropout = d.pop("dropout", UNSET)

        target_modules = cast(list[str], d.pop("target_modules", UNSET))


        use_rslora = d.pop("use_rslora", UNSET)

        _rank_pattern = d.pop("rank_pattern", UNSET)
        rank_pattern: LoraSettingsRankPattern | Unset
        if isinstance(_rank_pattern,  Unset):
            rank_pattern = UNSET
        else:
            rank_pattern = LoraSettingsRankPattern.from_dict(_rank_pattern)




        _alpha_pattern = d.pop("alpha_pattern", UNSET)
        alpha_pattern: LoraSettingsAlphaPattern | Unset
        if isinstance(_alpha_pattern,  Unset):
            alpha_pattern = UNSET
        else:
            alpha_pattern = LoraSettingsAlphaPattern.from_dict(_alpha_pattern)




        lora_settings = cls(
            rank=rank,
            alpha=alpha,
            dropout=dropout,
            target_modules=target_modules,
            use_rslora=use_rslora,
            rank_pattern=rank_pattern,
            alpha_pattern=alpha_pattern,
        )

        return lora_settings

