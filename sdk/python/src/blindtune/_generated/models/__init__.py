""" Contains all the data models used in inputs/outputs """

from .checkpoint_object import CheckpointObject
from .checkpoint_object_metrics import CheckpointObjectMetrics
from .create_job import CreateJob
from .create_job_metadata_type_0 import CreateJobMetadataType0
from .custody import Custody
from .deleted import Deleted
from .error_body import ErrorBody
from .error_envelope import ErrorEnvelope
from .event_object import EventObject
from .event_object_data import EventObjectData
from .file_object import FileObject
from .file_upload import FileUpload
from .job_error import JobError
from .job_object import JobObject
from .job_object_hyperparameters import JobObjectHyperparameters
from .job_object_metadata_type_0 import JobObjectMetadataType0
from .list_checkpoint_object import ListCheckpointObject
from .list_checkpoint_object_data_item import ListCheckpointObjectDataItem
from .list_checkpoint_object_data_item_metrics import ListCheckpointObjectDataItemMetrics
from .list_event_object import ListEventObject
from .list_event_object_data_item import ListEventObjectDataItem
from .list_event_object_data_item_data import ListEventObjectDataItemData
from .list_file_object import ListFileObject
from .list_file_object_data_item import ListFileObjectDataItem
from .list_files_order import ListFilesOrder
from .list_job_object import ListJobObject
from .list_job_object_data_item import ListJobObjectDataItem
from .list_job_object_data_item_hyperparameters import ListJobObjectDataItemHyperparameters
from .list_job_object_data_item_metadata_type_0 import ListJobObjectDataItemMetadataType0
from .list_jobs_metadata import ListJobsMetadata
from .list_ledger_entry import ListLedgerEntry
from .list_ledger_entry_data_item import ListLedgerEntryDataItem
from .lora_settings import LoraSettings
from .lora_settings_alpha_pattern import LoraSettingsAlphaPattern
from .lora_settings_rank_pattern import LoraSettingsRankPattern
from .method import Method
from .metrics_body import MetricsBody
from .metrics_body_metrics import MetricsBodyMetrics
from .model_list import ModelList
from .model_object import ModelObject
from .pooling import Pooling
from .precision import Precision
from .sent_tensor import SentTensor
from .split_settings import SplitSettings
from .split_state import SplitState

__all__ = (
    "CheckpointObject",
    "CheckpointObjectMetrics",
    "CreateJob",
    "CreateJobMetadataType0",
    "Custody",
    "Deleted",
    "ErrorBody",
    "ErrorEnvelope",
    "EventObject",
    "EventObjectData",
    "FileObject",
    "FileUpload",
    "JobError",
    "JobObject",
    "JobObjectHyperparameters",
    "JobObjectMetadataType0",
    "ListCheckpointObject",
    "ListCheckpointObjectDataItem",
    "ListCheckpointObjectDataItemMetrics",
    "ListEventObject",
    "ListEventObjectDataItem",
    "ListEventObjectDataItemData",
    "ListFileObject",
    "ListFileObjectDataItem",
    "ListFilesOrder",
    "ListJobObject",
    "ListJobObjectDataItem",
    "ListJobObjectDataItemHyperparameters",
    "ListJobObjectDataItemMetadataType0",
    "ListJobsMetadata",
    "ListLedgerEntry",
    "ListLedgerEntryDataItem",
    "LoraSettings",
    "LoraSettingsAlphaPattern",
    "LoraSettingsRankPattern",
    "Method",
    "MetricsBody",
    "MetricsBodyMetrics",
    "ModelList",
    "ModelObject",
    "Pooling",
    "Precision",
    "SentTensor",
    "SplitSettings",
    "SplitState",
)
