from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
  from ..models.lora_choice_alpha_pattern_type_0 import LoraChoiceAlphaPatternType0
  from ..models.lora_choice_rank_pattern_type_0 import LoraChoiceRankPatternType0





T = TypeVar("T", bound="LoraChoice")



@_attrs_define
class LoraChoice:
    """ LoRA settings, as in PEFT's `LoraConfig`; absent ones are the defaults, or the origin's.

        Attributes:
            rank (int | None | Unset): Rank r of the update; 8.
            alpha (float | None | Unset): Numerator of the scale `alpha / rank`; 16.
            dropout (float | None | Unset): Dropout on the input of the update, while training; 0.
            target_modules (list[str] | None | Unset): Linear layers that get an update: full module names or their last
                parts, or `all-linear`; empty (the default) means the family's PEFT default.
            use_rslora (bool | None | Unset): Scale by `alpha / sqrt(rank)` instead (rank-stabilised LoRA, arXiv
                2312.03732).
            rank_pattern (LoraChoiceRankPatternType0 | None | Unset): Rank for modules whose name ends in the key.
            alpha_pattern (LoraChoiceAlphaPatternType0 | None | Unset): Alpha for modules whose name ends in the key.
     """

    rank: int | None | Unset = UNSET
    alpha: float | None | Unset = UNSET
    dropout: float | None | Unset = UNSET
    target_modules: list[str] | None | Unset = UNSET
    use_rslora: bool | None | Unset = UNSET
    rank_pattern: LoraChoiceRankPatternType0 | None | Unset = UNSET
    alpha_pattern: LoraChoiceAlphaPatternType0 | None | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        from ..models.lora_choice_alpha_pattern_type_0 import LoraChoiceAlphaPatternType0 # noqa: PLC0415
        from ..models.lora_choice_rank_pattern_type_0 import LoraChoiceRankPatternType0 # noqa: PLC0415
        rank: int | None | Unset
        if isinstance(self.rank, Unset):
            rank = UNSET
        else:
            rank = self.rank

        alpha: float | None | Unset
        if isinstance(self.alpha, Unset):
            alpha = UNSET
        else:
            alpha = self.alpha

        dropout: float | None | Unset
        if isinstance(self.dropout, Unset):
            dropout = UNSET
        else:
            dropout = self.dropout

        target_modules: list[str] | None | Unset
        if isinstance(self.target_modules, Unset):
            target_modules = UNSET
        elif isinstance(self.target_modules, list):
            target_modules = self.target_modules


        else:
            target_modules = self.target_modules

        use_rslora: bool | None | Unset
        if isinstance(self.use_rslora, Unset):
            use_rslora = UNSET
        else:
            use_rslora = self.use_rslora

        rank_pattern: dict[str, Any] | None | Unset
        if isinstance(self.rank_pattern, Unset):
            rank_pattern = UNSET
        elif isinstance(self.rank_pattern, LoraChoiceRankPatternType0):
            rank_pattern = self.rank_pattern.to_dict()
        else:
            rank_pattern = self.rank_pattern

        alpha_pattern: dict[str, Any] | None | Unset
        if isinstance(self.alpha_pattern, Unset):
            alpha_pattern = UNSET
        elif isinstance(self.alpha_pattern, LoraChoiceAlphaPatternType0):
            alpha_pattern = self.alpha_pattern.to_dict()
        else:
            alpha_pattern = self.alpha_pattern


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
        from ..models.lora_choice_alpha_pattern_type_0 import LoraChoiceAlphaPatternType0 # noqa: PLC0415
        from ..models.lora_choice_rank_pattern_type_0 import LoraChoiceRankPatternType0 # noqa: PLC0415
        d = dict(src_dict)
        def _parse_rank(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        rank = _parse_rank(d.pop("rank", UNSET))


        def _parse_alpha(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        alpha = _parse_alpha(d.pop("alpha", UNSET))


        def _parse_dropout(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        dropout = _parse_dropout(d.pop("dropout", UNSET))


        def _parse_target_modules(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                target_modules_type_0 = cast(list[str], data)

                return target_modules_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        target_modules = _parse_target_modules(d.pop("target_modules", UNSET))


        def _parse_use_rslora(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        use_rslora = _parse_use_rslora(d.pop("use_rslora", UNSET))


        def _parse_rank_pattern(data: object) -> LoraChoiceRankPatternType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                rank_pattern_type_0 = LoraChoiceRankPatternType0.from_dict(data)



                return rank_pattern_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(LoraChoiceRankPatternType0 | None | Unset, data)

        rank_pattern = _parse_rank_pattern(d.pop("rank_pattern", UNSET))


        def _parse_alpha_pattern(data: object) -> LoraChoiceAlphaPatternType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                alpha_pattern_type_0 = LoraChoiceAlphaPatternType0.from_dict(data)



                return alpha_pattern_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(LoraChoiceAlphaPatternType0 | None | Unset, data)

        alpha_pattern = _parse_alpha_pattern(d.pop("alpha_pattern", UNSET))


        lora_choice = cls(
            rank=rank,
            alpha=alpha,
            dropout=dropout,
            target_modules=target_modules,
            use_rslora=use_rslora,
            rank_pattern=rank_pattern,
            alpha_pattern=alpha_pattern,
        )

        return lora_choice

