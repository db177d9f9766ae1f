""" Contains all the data models used in inputs/outputs """

from .activations_answer import ActivationsAnswer
from .activations_answer_tensors import ActivationsAnswerTensors
from .activations_body import ActivationsBody
from .adapter_upload import AdapterUpload
from .adapters_json_type_0 import AdaptersJsonType0
from .api_key_object import ApiKeyObject
from .audit_entry import AuditEntry
from .auto_or_number_type_1 import AutoOrNumberType1
from .capabilities_object import CapabilitiesObject
from .capabilities_object_features import CapabilitiesObjectFeatures
from .capabilities_object_limits import CapabilitiesObjectLimits
from .checkpoint_life import CheckpointLife
from .checkpoint_object import CheckpointObject
from .checkpoint_object_metrics import CheckpointObjectMetrics
from .complete_upload import CompleteUpload
from .create_api_key import CreateApiKey
from .create_api_key_scopes_type_0_item import CreateApiKeyScopesType0Item
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
from .event_message import EventMessage
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
from .ledger_entry import LedgerEntry
from .list_api_key_object import ListApiKeyObject
from .list_audit_entry import ListAuditEntry
from .list_checkpoint_object import ListCheckpointObject
from .list_delivery_object import ListDeliveryObject
from .list_event_object import ListEventObject
from .list_events_order import ListEventsOrder
from .list_file_object import ListFileObject
from .list_files_order import ListFilesOrder
from .list_job_object import ListJobObject
from .list_jobs_metadata import ListJobsMetadata
from .list_ledger_entry import ListLedgerEntry
from .list_webhook_object import ListWebhookObject
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
    "AdaptersJsonType0",
    "AdapterUpload",
    "ApiKeyObject",
    "AuditEntry",
    "AutoOrNumberType1",
    "CapabilitiesObject",
    "CapabilitiesObjectFeatures",
    "CapabilitiesObjectLimits",
    "CheckpointLife",
    "CheckpointObject",
    "CheckpointObjectMetrics",
    "CompleteUpload",
    "CreateApiKey",
    "CreateApiKeyScopesType0Item",
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
    "EventMessage",
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
    "LedgerEntry",
    "ListApiKeyObject",
    "ListAuditEntry",
    "ListCheckpointObject",
    "ListDeliveryObject",
    "ListEventObject",
    "ListEventsOrder",
    "ListFileObject",
    "ListFilesOrder",
    "ListJobObject",
    "ListJobsMetadata",
    "ListLedgerEntry",
    "ListWebhookObject",
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
