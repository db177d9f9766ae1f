from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
  from ..models.job_error import JobError
  from ..models.job_object_hyperparameters import JobObjectHyperparameters
  from ..models.job_object_integrations_type_0_item import JobObjectIntegrationsType0Item
  from ..models.job_object_metadata_type_0 import JobObjectMetadataType0
  from ..models.method import Method
  from ..models.split_state import SplitState





T = TypeVar("T", bound="JobObject")



@_attrs_define
class JobObject:
    """ A fine-tuning run.

        Attributes:
            id (str): Id, `ftjob-...`.
            object_ (str): Always `fine_tuning.job`. Example: fine_tuning.job.
            created_at (int): When it was made, seconds since 1970.
            error (JobError | None):
            fine_tuned_model (None | str): Name of the model it became.
            finished_at (int | None): When it ended, seconds since 1970.
            hyperparameters (JobObjectHyperparameters): As they were sent; the label holder's loop decides them.
            model (str): Name that the job was made with.
            origin (None | str): Name of the fine-tuned model or checkpoint that it goes on from.
            organization_id (str): The project, in OpenAI's words.
            result_files (list[str]): Id of `step_metrics.csv`, once the job is over, where metrics were reported.
            estimated_finish (int | None): Always null: the label holder's loop decides.
            integrations (list[JobObjectIntegrationsType0Item] | None): Always null.
            status (str): `validating_files`, `queued`, `running`, `paused`, `succeeded`, `failed` or `cancelled`. Example:
                running.
            trained_tokens (int | None): Tokens read in training forwards.
            training_file (None | str): The inputs; null when steps carry their own.
            validation_file (None | str): Always null: validation happens at the label holder.
            seed (int): Seed of the adapters' start and of dropout.
            user_provided_suffix (None | str): Part of the fine-tuned model's name.
            metadata (JobObjectMetadataType0 | None): The client's own notes.
            method (Method): How a job is fine-tuned.
            split (SplitState): Where a split job stands.
     """

    id: str
    object_: str
    created_at: int
    error: JobError | None
    fine_tuned_model: None | str
    finished_at: int | None
    hyperparameters: JobObjectHyperparameters
    model: str
    origin: None | str
    organization_id: str
    result_files: list[str]
    estimated_finish: int | None
    integrations: list[JobObjectIntegrationsType0Item] | None
    status: str
    trained_tokens: int | None
    training_file: None | str
    validation_file: None | str
    seed: int
    user_provided_suffix: None | str
    metadata: JobObjectMetadataType0 | None
    method: Method
    split: SplitState
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.job_error import JobError # noqa: PLC0415
        from ..models.job_object_hyperparameters import JobObjectHyperparameters # noqa: PLC0415
        from ..models.job_object_integrations_type_0_item import JobObjectIntegrationsType0Item # noqa: PLC0415
        from ..models.job_object_metadata_type_0 import JobObjectMetadataType0 # noqa: PLC0415
        from ..models.method import Method # noqa: PLC0415
        from ..models.split_state import SplitState # noqa: PLC0415
        id = self.id

        object_ = self.object_

        created_at = self.created_at

        error: dict[str, Any] | None
        if isinstance(self.error, JobError):
            error = self.error.to_dict()
        else:
            error = self.error

        fine_tuned_model: None | str
        fine_tuned_model = self.fine_tuned_model

        finished_at: int | None
        finished_at = self.finished_at

        hyperparameters = self.hyperparameters.to_dict()

        model = self.model

        origin: None | str
        origin = self.origin

        organization_id = self.organization_id

        result_files = self.result_files



        estimated_finish: int | None
        estimated_finish = self.estimated_finish

        integrations: list[dict[str, Any]] | None
        if isinstance(self.integrations, list):
            integrations = []
            for integrations_type_0_item_data in self.integrations:
                integrations_type_0_item = integrations_type_0_item_data.to_dict()
                integrations.append(integrations_type_0_item)


        else:
            integrations = self.integrations

        status = self.status

        trained_tokens: int | None
        trained_tokens = self.trained_tokens

        training_file: None | str
        training_file = self.training_file

        validation_file: None | str
        validation_file = self.validation_file

        seed = self.seed

        user_provided_suffix: None | str
        user_provided_suffix = self.user_provided_suffix

        metadata: dict[str, Any] | None
        if isinstance(self.metadata, JobObjectMetadataType0):
            metadata = self.metadata.to_dict()
        else:
            metadata = self.metadata

        method = self.method.to_dict()

        split = self.split.to_dict()


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "id": id,
            "object": object_,
            "created_at": created_at,
            "error": error,
            "fine_tuned_model": fine_tuned_model,
            "finished_at": finished_at,
            "hyperparameters": hyperparameters,
            "model": model,
            "origin": origin,
            "organization_id": organization_id,
            "result_files": result_files,
            "estimated_finish": estimated_finish,
            "integrations": integrations,
            "status": status,
            "trained_tokens": trained_tokens,
            "training_file": training_file,
            "validation_file": validation_file,
            "seed": seed,
            "user_provided_suffix": user_provided_suffix,
            "metadata": metadata,
            "method": method,
            "split": split,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.job_error import JobError # noqa: PLC0415
        from ..models.job_object_hyperparameters import JobObjectHyperparameters # noqa: PLC0415
        from ..models.job_object_integrations_type_0_item import JobObjectIntegrationsType0Item # noqa: PLC0415
        from ..models.job_object_metadata_type_0 import JobObjectMetadataType0 # noqa: PLC0415
        from ..models.method import Method # noqa: PLC0415
        from ..models.split_state import SplitState # noqa: PLC0415
        d = dict(src_dict)
        id = d.pop("id")

        object_ = d.pop("object")

        created_at = d.pop("created_at")

        def _parse_error(data: object) -> JobError | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                error_type_1 = JobError.from_dict(data)



                return error_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(JobError | None, data)

        error = _parse_error(d.pop("error"))


        def _parse_fine_tuned_model(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        fine_tuned_model = _parse_fine_tuned_model(d.pop("fine_tuned_model"))


        def _parse_finished_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        finished_at = _parse_finished_at(d.pop("finished_at"))


        hyperparameters = JobObjectHyperparameters.from_dict(d.pop("hyperparameters"))




        model = d.pop("model")

        def _parse_origin(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        origin = _parse_origin(d.pop("origin"))


        organization_id = d.pop("organization_id")

        result_files = cast(list[str], d.pop("result_files"))


        def _parse_estimated_finish(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        estimated_finish = _parse_estimated_finish(d.pop("estimated_finish"))


        def _parse_integrations(data: object) -> list[JobObjectIntegrationsType0Item] | None:
            if data is None:
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                integrations_type_0 = []
                _integrations_type_0 = data
                for integrations_type_0_item_data in (_integrations_type_0):
                    integrations_type_0_item = JobObjectIntegrationsType0Item.from_dict(integrations_type_0_item_data)



                    integrations_type_0.append(integrations_type_0_item)

                return integrations_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[JobObjectIntegrationsType0Item] | None, data)

        integrations = _parse_integrations(d.pop("integrations"))


        status = d.pop("status")

        def _parse_trained_tokens(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        trained_tokens = _parse_trained_tokens(d.pop("trained_tokens"))


        def _parse_training_file(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        training_file = _parse_training_file(d.pop("training_file"))


        def _parse_validation_file(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        validation_file = _parse_validation_file(d.pop("validation_file"))


        seed = d.pop("seed")

        def _parse_user_provided_suffix(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        user_provided_suffix = _parse_user_provided_suffix(d.pop("user_provided_suffix"))


        def _parse_metadata(data: object) -> JobObjectMetadataType0 | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                metadata_type_0 = JobObjectMetadataType0.from_dict(data)



                return metadata_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(JobObjectMetadataType0 | None, data)

        metadata = _parse_metadata(d.pop("metadata"))


        method = Method.from_dict(d.pop("method"))




        split = SplitState.from_dict(d.pop("split"))




        job_object = cls(
            id=id,
            object_=object_,
            created_at=created_at,
            error=error,
            fine_tuned_model=fine_tuned_model,
            finished_at=finished_at,
            hyperparameters=hyperparameters,
            model=model,
            origin=origin,
            organization_id=organization_id,
            result_files=result_files,
            estimated_finish=estimated_finish,
            integrations=integrations,
            status=status,
            trained_tokens=trained_tokens,
            training_file=training_file,
            validation_file=validation_file,
            seed=seed,
            user_provided_suffix=user_provided_suffix,
            metadata=metadata,
            method=method,
            split=split,
        )


        job_object.additional_properties = d
        return job_object

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
