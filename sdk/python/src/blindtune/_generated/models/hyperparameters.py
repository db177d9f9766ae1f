from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.auto_or_number_type_1 import AutoOrNumberType1
from ..models.auto_or_number_type_1 import check_auto_or_number_type_1
from ..types import UNSET, Unset
from typing import cast






T = TypeVar("T", bound="Hyperparameters")



@_attrs_define
class Hyperparameters:
    """ OpenAI's hyperparameters, for the client's own records: the label holder's loop decides them.

        Attributes:
            n_epochs (AutoOrNumberType1 | float | None | Unset):
            batch_size (AutoOrNumberType1 | float | None | Unset):
            learning_rate_multiplier (AutoOrNumberType1 | float | None | Unset):
     """

    n_epochs: AutoOrNumberType1 | float | None | Unset = UNSET
    batch_size: AutoOrNumberType1 | float | None | Unset = UNSET
    learning_rate_multiplier: AutoOrNumberType1 | float | None | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        n_epochs: float | None | str | Unset
        if isinstance(self.n_epochs, Unset):
            n_epochs = UNSET
        elif isinstance(self.n_epochs, str):
            n_epochs = self.n_epochs
        else:
            n_epochs = self.n_epochs

        batch_size: float | None | str | Unset
        if isinstance(self.batch_size, Unset):
            batch_size = UNSET
        elif isinstance(self.batch_size, str):
            batch_size = self.batch_size
        else:
            batch_size = self.batch_size

        learning_rate_multiplier: float | None | str | Unset
        if isinstance(self.learning_rate_multiplier, Unset):
            learning_rate_multiplier = UNSET
        elif isinstance(self.learning_rate_multiplier, str):
            learning_rate_multiplier = self.learning_rate_multiplier
        else:
            learning_rate_multiplier = self.learning_rate_multiplier


        field_dict: dict[str, Any] = {}

        field_dict.update({
        })
        if n_epochs is not UNSET:
            field_dict["n_epochs"] = n_epochs
        if batch_size is not UNSET:
            field_dict["batch_size"] = batch_size
        if learning_rate_multiplier is not UNSET:
            field_dict["learning_rate_multiplier"] = learning_rate_multiplier

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        def _parse_n_epochs(data: object) -> AutoOrNumberType1 | float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                componentsschemas_auto_or_number_type_1 = check_auto_or_number_type_1(data)



                return componentsschemas_auto_or_number_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(AutoOrNumberType1 | float | None | Unset, data)

        n_epochs = _parse_n_epochs(d.pop("n_epochs", UNSET))


        def _parse_batch_size(data: object) -> AutoOrNumberType1 | float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                componentsschemas_auto_or_number_type_1 = check_auto_or_number_type_1(data)



                return componentsschemas_auto_or_number_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(AutoOrNumberType1 | float | None | Unset, data)

        batch_size = _parse_batch_size(d.pop("batch_size", UNSET))


        def _parse_learning_rate_multiplier(data: object) -> AutoOrNumberType1 | float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                componentsschemas_auto_or_number_type_1 = check_auto_or_number_type_1(data)



                return componentsschemas_auto_or_number_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(AutoOrNumberType1 | float | None | Unset, data)

        learning_rate_multiplier = _parse_learning_rate_multiplier(d.pop("learning_rate_multiplier", UNSET))


        hyperparameters = cls(
            n_epochs=n_epochs,
            batch_size=batch_size,
            learning_rate_multiplier=learning_rate_multiplier,
        )

        return hyperparameters

