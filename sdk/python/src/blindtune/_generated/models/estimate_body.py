from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
  from ..models.method import Method





T = TypeVar("T", bound="EstimateBody")



@_attrs_define
class EstimateBody:
    """ A job to be estimated. The inputs are a `training_file`, or `rows` with `tokens_per_row`.

        Attributes:
            model (str): A backbone, or a fine-tuned model of the project. Example: all-MiniLM-L6-v2.
            method (Method | None | Unset):
            training_file (None | str | Unset): Id of an uploaded file.
            rows (int | None | Unset): Rows, where there is no file yet. Example: 1000.
            tokens_per_row (int | None | Unset): Tokens of each row, where there is no file yet. Example: 32.
            batch_size (int | Unset): Rows of a step. Default: 32.
            n_epochs (float | Unset): Passes over the rows; need not be whole. Default: 3.0.
            shares (int | Unset): Tensors that each set's gradient is sent as. Default: 2.
            base (bool | None | Unset): Whether each step asks for the bare backbone's activations too; default true in
                client custody, false in host custody.
     """

    model: str
    method: Method | None | Unset = UNSET
    training_file: None | str | Unset = UNSET
    rows: int | None | Unset = UNSET
    tokens_per_row: int | None | Unset = UNSET
    batch_size: int | Unset = 32
    n_epochs: float | Unset = 3.0
    shares: int | Unset = 2
    base: bool | None | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        from ..models.method import Method # noqa: PLC0415
        model = self.model

        method: dict[str, Any] | None | Unset
        if isinstance(self.method, Unset):
            method = UNSET
        elif isinstance(self.method, Method):
            method = self.method.to_dict()
        else:
            method = self.method

        training_file: None | str | Unset
        if isinstance(self.training_file, Unset):
            training_file = UNSET
        else:
            training_file = self.training_file

        rows: int | None | Unset
        if isinstance(self.rows, Unset):
            rows = UNSET
        else:
            rows = self.rows

        tokens_per_row: int | None | Unset
        if isinstance(self.tokens_per_row, Unset):
            tokens_per_row = UNSET
        else:
            tokens_per_row = self.tokens_per_row

        batch_size = self.batch_size

        n_epochs = self.n_epochs

        shares = self.shares

        base: bool | None | Unset
        if isinstance(self.base, Unset):
            base = UNSET
        else:
            base = self.base


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "model": model,
        })
        if method is not UNSET:
            field_dict["method"] = method
        if training_file is not UNSET:
            field_dict["training_file"] = training_file
        if rows is not UNSET:
            field_dict["rows"] = rows
        if tokens_per_row is not UNSET:
            field_dict["tokens_per_row"] = tokens_per_row
        if batch_size is not UNSET:
            field_dict["batch_size"] = batch_size
        if n_epochs is not UNSET:
            field_dict["n_epochs"] = n_epochs
        if shares is not UNSET:
            field_dict["shares"] = shares
        if base is not UNSET:
            field_dict["base"] = base

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.method import Method # noqa: PLC0415
        d = dict(src_dict)
        model = d.pop("model")

        def _parse_method(data: object) -> Method | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                method_type_1 = Method.from_dict(data)



                return method_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Method | None | Unset, data)

        method = _parse_method(d.pop("method", UNSET))


        def _parse_training_file(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        training_file = _parse_training_file(d.pop("training_file", UNSET))


        def _parse_rows(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        rows = _parse_rows(d.pop("rows", UNSET))


        def _parse_tokens_per_row(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        tokens_per_row = _parse_tokens_per_row(d.pop("tokens_per_row", UNSET))


        batch_size = d.pop("batch_size", UNSET)

        n_epochs = d.pop("n_epochs", UNSET)

        shares = d.pop("shares", UNSET)

        def _parse_base(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        base = _parse_base(d.pop("base", UNSET))


        estimate_body = cls(
            model=model,
            method=method,
            training_file=training_file,
            rows=rows,
            tokens_per_row=tokens_per_row,
            batch_size=batch_size,
            n_epochs=n_epochs,
            shares=shares,
            base=base,
        )

        return estimate_body

