""" Contains all the data models used in inputs/outputs """

from .activations_answer import ActivationsAnswer
from .activations_answer_tensors import ActivationsAnswerTensors
from .activations_body import ActivationsBody
from .adapter_upload import AdapterUpload
from .api_key_object import ApiKeyObject
from .auto import Auto
from .capabilities_object import CapabilitiesObject
from .capabilities_object_features import CapabilitiesObjectFeatures
from .capabilities_object_limits import CapabilitiesObjectLimits
from .checkpoint_object import CheckpointObject
from .checkpoint_object_metrics import CheckpointObjectMetrics
from .complete_upload import CompleteUpload
from .create_api_key import CreateApiKey
from .create_checkpoint import CreateCheckpoint
from .create_job import CreateJob
from .create_job_integrations_type_0_item import CreateJobIntegrationsType0Item
from .create_job_metadata_type_0 import CreateJobMetadataType0
from .create_upload import CreateUpload
from .create_webhook import CreateWebhook
from .created_webhook import CreatedWebhook
from .custody import Custody
from .deleted import Deleted
from .delivery_object import DeliveryObject
from .delivery_state import DeliveryState
from .embedding_object import EmbeddingObject
from .embeddings_answer import EmbeddingsAnswer
from .embeddings_body import EmbeddingsBody
from .error_body import ErrorBody
from .error_envelope import ErrorEnvelope
from .estimate_body import EstimateBody
from .estimate_object import EstimateObject
from .event_object import EventObject
from .event_object_data import EventObjectData
from .expires_after_json import ExpiresAfterJson
from .file_object import FileObject
from .file_upload import FileUpload
from .hyperparameters import Hyperparameters
from .job_error import JobError
from .job_object import JobObject
from .job_object_hyperparameters import JobObjectHyperparameters
from .job_object_integrations_type_0_item import JobObjectIntegrationsType0Item
from .job_object_metadata_type_0 import JobObjectMetadataType0
from .list_api_key_object import ListApiKeyObject
from .list_api_key_object_data_item import ListApiKeyObjectDataItem
from .list_audit_entry import ListAuditEntry
from .list_audit_entry_data_item import ListAuditEntryDataItem
from .list_checkpoint_object import ListCheckpointObject
from .list_checkpoint_object_data_item import ListCheckpointObjectDataItem
from .list_checkpoint_object_data_item_metrics import ListCheckpointObjectDataItemMetrics
from .list_delivery_object import ListDeliveryObject
from .list_delivery_object_data_item import ListDeliveryObjectDataItem
from .list_event_object import ListEventObject
from .list_event_object_data_item import ListEventObjectDataItem
from .list_event_object_data_item_data import ListEventObjectDataItemData
from .list_events_order import ListEventsOrder
from .list_file_object import ListFileObject
from .list_file_object_data_item import ListFileObjectDataItem
from .list_files_order import ListFilesOrder
from .list_job_object import ListJobObject
from .list_job_object_data_item import ListJobObjectDataItem
from .list_job_object_data_item_hyperparameters import ListJobObjectDataItemHyperparameters
from .list_job_object_data_item_integrations_type_0_item import ListJobObjectDataItemIntegrationsType0Item
from .list_job_object_data_item_metadata_type_0 import ListJobObjectDataItemMetadataType0
from .list_jobs_metadata import ListJobsMetadata
from .list_ledger_entry import ListLedgerEntry
from .list_ledger_entry_data_item import ListLedgerEntryDataItem
from .list_webhook_object import ListWebhookObject
from .list_webhook_object_data_item import ListWebhookObjectDataItem
from .lora_choice import LoraChoice
from .lora_choice_alpha_pattern_type_0 import LoraChoiceAlphaPatternType0
from .lora_choice_rank_pattern_type_0 import LoraChoiceRankPatternType0
from .lora_names import LoraNames
from .lora_settings import LoraSettings
from .lora_settings_alpha_pattern import LoraSettingsAlphaPattern
from .lora_settings_rank_pattern import LoraSettingsRankPattern
from .method import Method
from .method_choice import MethodChoice
from .metrics_body import MetricsBody
from .metrics_body_metrics import MetricsBodyMetrics
from .model_capabilities import ModelCapabilities
from .model_list import ModelList
from .model_object import ModelObject
from .new_api_key import NewApiKey
from .part_object import PartObject
from .part_upload import PartUpload
from .pooling import Pooling
from .precision import Precision
from .sent_tensor import SentTensor
from .split_choice import SplitChoice
from .split_settings import SplitSettings
from .split_state import SplitState
from .tensor_json import TensorJson
from .token_usage import TokenUsage
from .update_checkpoint import UpdateCheckpoint
from .update_webhook import UpdateWebhook
from .upload_object import UploadObject
from .usage_object import UsageObject
from .usage_report import UsageReport
from .webhook_event import WebhookEvent
from .webhook_object import WebhookObject

__all__ = (
    "ActivationsAnswer",
    "ActivationsAnswerTensors",
    "ActivationsBody",
    "AdapterUpload",
    "ApiKeyObject",
    "Auto",
    "CapabilitiesObject",
    "CapabilitiesObjectFeatures",
    "CapabilitiesObjectLimits",
    "CheckpointObject",
    "CheckpointObjectMetrics",
    "CompleteUpload",
    "CreateApiKey",
    "CreateCheckpoint",
    "CreatedWebhook",
    "CreateJob",
    "CreateJobIntegrationsType0Item",
    "CreateJobMetadataType0",
    "CreateUpload",
    "CreateWebhook",
    "Custody",
    "Deleted",
    "DeliveryObject",
    "DeliveryState",
    "EmbeddingObject",
    "EmbeddingsAnswer",
    "EmbeddingsBody",
    "ErrorBody",
    "ErrorEnvelope",
    "EstimateBody",
    "EstimateObject",
    "EventObject",
    "EventObjectData",
    "ExpiresAfterJson",
    "FileObject",
    "FileUpload",
    "Hyperparameters",
    "JobError",
    "JobObject",
    "JobObjectHyperparameters",
    "JobObjectIntegrationsType0Item",
    "JobObjectMetadataType0",
    "ListApiKeyObject",
    "ListApiKeyObjectDataItem",
    "ListAuditEntry",
    "ListAuditEntryDataItem",
    "ListCheckpointObject",
    "ListCheckpointObjectDataItem",
    "ListCheckpointObjectDataItemMetrics",
    "ListDeliveryObject",
    "ListDeliveryObjectDataItem",
    "ListEventObject",
    "ListEventObjectDataItem",
    "ListEventObjectDataItemData",
    "ListEventsOrder",
    "ListFileObject",
    "ListFileObjectDataItem",
    "ListFilesOrder",
    "ListJobObject",
    "ListJobObjectDataItem",
    "ListJobObjectDataItemHyperparameters",
    "ListJobObjectDataItemIntegrationsType0Item",
    "ListJobObjectDataItemMetadataType0",
    "ListJobsMetadata",
    "ListLedgerEntry",
    "ListLedgerEntryDataItem",
    "ListWebhookObject",
    "ListWebhookObjectDataItem",
    "LoraChoice",
    "LoraChoiceAlphaPatternType0",
    "LoraChoiceRankPatternType0",
    "LoraNames",
    "LoraSettings",
    "LoraSettingsAlphaPattern",
    "LoraSettingsRankPattern",
    "Method",
    "MethodChoice",
    "MetricsBody",
    "MetricsBodyMetrics",
    "ModelCapabilities",
    "ModelList",
    "ModelObject",
    "NewApiKey",
    "PartObject",
    "PartUpload",
    "Pooling",
    "Precision",
    "SentTensor",
    "SplitChoice",
    "SplitSettings",
    "SplitState",
    "TensorJson",
    "TokenUsage",
    "UpdateCheckpoint",
    "UpdateWebhook",
    "UploadObject",
    "UsageObject",
    "UsageReport",
    "WebhookEvent",
    "WebhookObject",
)
