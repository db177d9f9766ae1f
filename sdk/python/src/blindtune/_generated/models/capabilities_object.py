from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.custody import check_custody
from ..models.custody import Custody
from ..models.precision import check_precision
from ..models.precision import Precision
from typing import cast

if TYPE_CHECKING:
  from ..models.capabilities_object_features import CapabilitiesObjectFeatures
  from ..models.capabilities_object_limits import CapabilitiesObjectLimits
  from ..models.model_capabilities import ModelCapabilities





T = TypeVar("T", bound="CapabilitiesObject")



@_attrs_define
class CapabilitiesObject:
    """ What this host can do.

        Attributes:
            object_ (str): Always `fine_tuning.capabilities`. Example: fine_tuning.capabilities.
            version (str): Version of the host. Example: 0.2.0.
            device (str): Where the engine computes. Example: cpu.
            methods (list[str]): Values of `method.type`. Example: ['split'].
            custody (list[Custody]): Values of `method.split.custody`.
            precisions (list[Precision]): Values of `method.split.precision`; each model has its own among them.
            limits (CapabilitiesObjectLimits): Every limit, by the name that it has in the configuration.
            inference (list[str]): Calls that run a model outside of a job. Example: ['activations', 'embeddings'].
            models (list[ModelCapabilities]): The backbones. One whose files cannot be read is left out.
            tensor_media_types (list[str]): Media types of tensors.
            features (CapabilitiesObjectFeatures): What else there is. Example: {'estimate': True}.
     """

    object_: str
    version: str
    device: str
    methods: list[str]
    custody: list[Custody]
    precisions: list[Precision]
    limits: CapabilitiesObjectLimits
    inference: list[str]
    models: list[ModelCapabilities]
    tensor_media_types: list[str]
    features: CapabilitiesObjectFeatures
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)





    def to_dict(self) -> dict[str, Any]:
        from ..models.capabilities_object_features import CapabilitiesObjectFeatures # noqa: PLC0415
        from ..models.capabilities_object_limits import CapabilitiesObjectLimits # noqa: PLC0415
        from ..models.model_capabilities import ModelCapabilities # noqa: PLC0415
        object_ = self.object_

        version = self.version

        device = self.device

        methods = self.methods



        custody = []
        for custody_item_data in self.custody:
            custody_item: str = custody_item_data
            custody.append(custody_item)



        precisions = []
        for precisions_item_data in self.precisions:
            precisions_item: str = precisions_item_data
            precisions.append(precisions_item)



        limits = self.limits.to_dict()

        inference = self.inference



        models = []
        for models_item_data in self.models:
            models_item = models_item_data.to_dict()
            models.append(models_item)



        tensor_media_types = self.tensor_media_types



        features = self.features.to_dict()


        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({
            "object": object_,
            "version": version,
            "device": device,
            "methods": methods,
            "custody": custody,
            "precisions": precisions,
            "limits": limits,
            "inference": inference,
            "models": models,
            "tensor_media_types": tensor_media_types,
            "features": features,
        })

        return field_dict



    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.capabilities_object_features import CapabilitiesObjectFeatures # noqa: PLC0415
        from ..models.capabilities_object_limits import CapabilitiesObjectLimits # noqa: PLC0415
        from ..models.model_capabilities import ModelCapabilities # noqa: PLC0415
        d = dict(src_dict)
        object_ = d.pop("object")

        version = d.pop("version")

        device = d.pop("device")

        methods = cast(list[str], d.pop("methods"))


        custody = []
        _custody = d.pop("custody")
        for custody_item_data in (_custody):
            custody_item = check_custody(custody_item_data)



            custody.append(custody_item)


        precisions = []
        _precisions = d.pop("precisions")
        for precisions_item_data in (_precisions):
            precisions_item = check_precision(precisions_item_data)



            precisions.append(precisions_item)


        limits = CapabilitiesObjectLimits.from_dict(d.pop("limits"))




        inference = cast(list[str], d.pop("inference"))


        models = []
        _models = d.pop("models")
        for models_item_data in (_models):
            models_item = ModelCapabilities.from_dict(models_item_data)



            models.append(models_item)


        tensor_media_types = cast(list[str], d.pop("tensor_media_types"))


        features = CapabilitiesObjectFeatures.from_dict(d.pop("features"))




        capabilities_object = cls(
            object_=object_,
            version=version,
            device=device,
            methods=methods,
            custody=custody,
            precisions=precisions,
            limits=limits,
            inference=inference,
            models=models,
            tensor_media_types=tensor_media_types,
            features=features,
        )


        capabilities_object.additional_properties = d
        return capabilities_object

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
