from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
  from ..models.create_job_integrations_type_0_item import CreateJobIntegrationsType0Item
  from ..models.create_job_metadata_type_0 import CreateJobMetadataType0
  from ..models.hyperparameters import Hyperparameters
  from ..models.method_choice import MethodChoice





T = TypeVar("T", bound="CreateJob")



@_attrs_define
class CreateJob:
    """ A job to be made.

        Attributes:
            model (str): Name of a backbone, or of a fine-tuned model or checkpoint (`fine_tuned_model_checkpoint`) of the
                project to go on from. Example: all-MiniLM-L6-v2.
            training_file (None | str | Unset): Id of an uploaded file, for steps that name rows of it.
            method (MethodChoice | None | Unset):
            hyperparameters (Hyperparameters | None | Unset):
            validation_file (None | Unset):  Default: None.
            integrations (list[CreateJobIntegrationsType0Item] | None | Unset): Only null or empty.
            suffix (None | str | Unset): Part of the fine-tuned model's name. Example: night-shift.
            seed (int | None | Unset): Seed of the adapters' start and of dropout.
            metadata (CreateJobMetadataType0 | None | Unset): Up to 16 notes of your own.
     """

    model: str
    training_file: None | str | Unset = UNSET
    method: MethodChoice | None | Unset = UNSET
    hyperparameters: Hyperparameters | None | Unset = UNSET
    validation_file: None | Unset = None
    integrations: list[CreateJobIntegrationsType0Item] | None | Unset = UNSET
    suffix: None | str | Unset = UNSET
    seed: int | None | Unset = UNSET
    metadata: CreateJobMetadataType0 | None | Unset = UNSET





    def to_dict(self) -> dict[str, Any]:
        from ..models.create_job_integrations_type_0_item import CreateJobIntegrationsType0Item # noqa: PLC0415
        from ..models.create_job_metadata_type_0 import CreateJobMetadataType0 # noqa: PLC0415
        from ..models.hyperparameters import Hyperparameters # noqa: PLC0415
        from ..models.method_choice import MethodChoice # noqa: PLC0415
        model = self.model

        training_file: None | str | Unset
        if isinstance(self.training_file, Unset):
            training_file = UNSET
        else:
            training_file = self.training_file

        method: dict[str, Any] | None | Unset
        if isinstance(self.method, Unset):
            method = UNSET
        elif isinstance(self.method, MethodChoice):
            method = self.method.to_dict()
        else:
            method = self.method

        hyperparameters: dict[str, Any] | None | Unset
        if isinstance(self.hyperparameters, Unset):
            hyperparameters = UNSET
        elif isinstance(self.hyperparameters, Hyperparameters):
            hyperparameters = self.hyperparameters.to_dict()
        else:
            hyperparameters = self.hyperparameters

        validation_file = self.validation_file

        integrations: list[dict[str, Any]] | None | Unset
        if isinstance(self.integrations, Unset):
            integrations = UNSET
        elif isinstance(self.integrations, list):
            integrations = []
            for integrations_type_0_item_data in self.integrations:
                integrations_type_0_item = integrations_type_0_item_data.to_dict()
                integrations.append(integrations_type_0_item)


        else:
            integrations = self.integrations

        suffix: None | str | Unset
        if isinstance(self.suffix, Unset):
            suffix = UNSET
        else:
            suffix = self.suffix

        seed: int | None | Unset
        if isinstance(self.seed, Unset):
            seed = UNSET
        else:
            seed = self.seed

        metadata: dict[str, Any] | None | Unset
        if isinstance(self.metadata, Unset):
            metadata = UNSET
        elif isinstance(self.metadata, CreateJobMetadataType0):
            metadata = self.metadata.to_dict()
        else:
            metadata = self.metadata


        field_dict: dict[str, Any] = {}

        field_dict.update({
            "model": model,
        })
        if training_file is not UNSET:
            field_dict["training_file"] = training_file
        if method is not UNSET:
            field_dict["method"] = method
        if hyperparameters is not UNSET:
            field_dict["hyperparameters"] = hyperparameters
        if validation_file is not UNSET:
            field_dict["validation_file"] = validation_file
        if integrations is not UNSET:
            field_dict["integrations"] = integrations
        if suffix is not UNSET:
            field_dict["suffix"] = suffix
        if seed is not UNSET:
            field_dict["seed"] = seed
        if metadata is not UNSET:
            field_dict["metadata"] = metadata

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.create_job_integrations_type_0_item import CreateJobIntegrationsType0Item # noqa: PLC0415
        from ..models.create_job_metadata_type_0 import CreateJobMetadataType0 # noqa: PLC0415
        from ..models.hyperparameters import Hyperparameters # noqa: PLC0415
        from ..models.method_choice import MethodChoice # noqa: PLC0415
        d = dict(src_dict)
        model = d.pop("model")

        def _parse_training_file(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        training_file = _parse_training_file(d.pop("training_file", UNSET))


        def _parse_method(data: object) -> MethodChoice | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                method_type_1 = MethodChoice.from_dict(data)



                return method_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MethodChoice | None | Unset, data)

        method = _parse_method(d.pop("method", UNSET))


        def _parse_hyperparameters(data: object) -> Hyperparameters | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                hyperparameters_type_1 = Hyperparameters.from_dict(data)



                return hyperparameters_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Hyperparameters | None | Unset, data)

        hyperparameters = _parse_hyperparameters(d.pop("hyperparameters", UNSET))


        validation_file = d.pop("validation_file", UNSET)

        def _parse_integrations(data: object) -> list[CreateJobIntegrationsType0Item] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                integrations_type_0 = []
                _integrations_type_0 = data
                for integrations_type_0_item_data in (_integrations_type_0):
                    integrations_type_0_item = CreateJobIntegrationsType0Item.from_dict(integrations_type_0_item_data)



                    integrations_type_0.append(integrations_type_0_item)

                return integrations_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[CreateJobIntegrationsType0Item] | None | Unset, data)

        integrations = _parse_integrations(d.pop("integrations", UNSET))


        def _parse_suffix(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        suffix = _parse_suffix(d.pop("suffix", UNSET))


        def _parse_seed(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        seed = _parse_seed(d.pop("seed", UNSET))


        def _parse_metadata(data: object) -> CreateJobMetadataType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                metadata_type_0 = CreateJobMetadataType0.from_dict(data)



                return metadata_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(CreateJobMetadataType0 | None | Unset, data)

        metadata = _parse_metadata(d.pop("metadata", UNSET))


        create_job = cls(
            model=model,
            training_file=training_file,
            method=method,
            hyperparameters=hyperparameters,
            validation_file=validation_file,
            integrations=integrations,
            suffix=suffix,
            seed=seed,
            metadata=metadata,
        )

        return create_job

