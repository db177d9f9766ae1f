"""Every call of the contract: where it goes, and what it takes."""

# Made from openapi.yaml by tools/generate.py: `make sdk`.

from __future__ import annotations

from typing import Literal, NamedTuple


class Operation(NamedTuple):
    """One call. `path` is relative to the base URL; `query` are the names that it may have there."""

    name: str
    method: str
    path: str
    query: tuple[str, ...] = ()
    body: Literal["json", "multipart", "tensors"] | None = None
    """What it is sent; `tensors` may come as JSON too."""
    creates: bool = False
    """Whether an Idempotency-Key makes a repeat of it the same request."""
    accept: str | None = None
    """What to ask for, where it answers in more than one form."""


CREATE_ACTIVATIONS = Operation(
    name="create_activations", method="POST", path="activations", body="json", accept="application/octet-stream"
)
CREATE_MODEL_ADAPTERS = Operation(
    name="create_model_adapters", method="POST", path="adapters", body="multipart", creates=True
)
GET_MODEL_ADAPTERS = Operation(name="get_model_adapters", method="GET", path="adapters/{model}", query=("set",))
LIST_API_KEYS = Operation(name="list_api_keys", method="GET", path="api_keys", query=("after", "limit"))
CREATE_API_KEY = Operation(name="create_api_key", method="POST", path="api_keys", body="json", creates=True)
GET_API_KEY = Operation(name="get_api_key", method="GET", path="api_keys/{key_id}")
REVOKE_API_KEY = Operation(name="revoke_api_key", method="DELETE", path="api_keys/{key_id}")
UPDATE_API_KEY = Operation(name="update_api_key", method="PATCH", path="api_keys/{key_id}", body="json")
ROTATE_API_KEY = Operation(
    name="rotate_api_key", method="POST", path="api_keys/{key_id}/rotate", body="json", creates=True
)
LIST_AUDIT_LOG = Operation(name="list_audit_log", method="GET", path="audit_log", query=("after", "limit"))
LIST_BATCHES = Operation(name="list_batches", method="GET", path="batches", query=("after", "limit"))
CREATE_BATCH = Operation(name="create_batch", method="POST", path="batches", body="json", creates=True)
GET_BATCH = Operation(name="get_batch", method="GET", path="batches/{batch_id}")
CANCEL_BATCH = Operation(name="cancel_batch", method="POST", path="batches/{batch_id}/cancel", creates=True)
CREATE_EMBEDDINGS = Operation(name="create_embeddings", method="POST", path="embeddings", body="json")
LIST_ALL_EVENTS = Operation(
    name="list_all_events", method="GET", path="events", query=("after", "limit", "order", "stream", "steps")
)
LIST_FILES = Operation(name="list_files", method="GET", path="files", query=("after", "limit", "order", "purpose"))
CREATE_FILE = Operation(name="create_file", method="POST", path="files", body="multipart", creates=True)
GET_FILE = Operation(name="get_file", method="GET", path="files/{file_id}")
DELETE_FILE = Operation(name="delete_file", method="DELETE", path="files/{file_id}")
GET_FILE_CONTENT = Operation(name="get_file_content", method="GET", path="files/{file_id}/content")
CAPABILITIES = Operation(name="capabilities", method="GET", path="fine_tuning/capabilities")
ESTIMATE = Operation(name="estimate", method="POST", path="fine_tuning/estimate", body="json")
LIST_JOBS = Operation(
    name="list_jobs",
    method="GET",
    path="fine_tuning/jobs",
    query=("after", "limit", "status", "model", "created_from", "created_before", "order", "metadata"),
)
CREATE_JOB = Operation(name="create_job", method="POST", path="fine_tuning/jobs", body="json", creates=True)
COUNT_JOBS = Operation(name="count_jobs", method="GET", path="fine_tuning/jobs/counts")
GET_JOB = Operation(name="get_job", method="GET", path="fine_tuning/jobs/{job_id}")
DELETE_JOB = Operation(name="delete_job", method="DELETE", path="fine_tuning/jobs/{job_id}")
GET_ADAPTERS = Operation(name="get_adapters", method="GET", path="fine_tuning/jobs/{job_id}/adapters")
GET_ADAPTER = Operation(
    name="get_adapter",
    method="GET",
    path="fine_tuning/jobs/{job_id}/adapters/{set}",
    query=("format",),
    accept="application/octet-stream",
)
PUT_ADAPTER = Operation(
    name="put_adapter", method="PUT", path="fine_tuning/jobs/{job_id}/adapters/{set}", body="tensors"
)
BACKWARD = Operation(
    name="backward",
    method="POST",
    path="fine_tuning/jobs/{job_id}/backward",
    query=("seq", "forward_id"),
    body="tensors",
    accept="application/octet-stream",
)
CANCEL_JOB = Operation(name="cancel_job", method="POST", path="fine_tuning/jobs/{job_id}/cancel", creates=True)
LIST_CHECKPOINTS = Operation(
    name="list_checkpoints", method="GET", path="fine_tuning/jobs/{job_id}/checkpoints", query=("after", "limit")
)
CREATE_CHECKPOINT = Operation(
    name="create_checkpoint", method="POST", path="fine_tuning/jobs/{job_id}/checkpoints", body="json", creates=True
)
GET_CHECKPOINT = Operation(
    name="get_checkpoint", method="GET", path="fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}"
)
DELETE_CHECKPOINT = Operation(
    name="delete_checkpoint", method="DELETE", path="fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}"
)
UPDATE_CHECKPOINT = Operation(
    name="update_checkpoint", method="PATCH", path="fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}", body="json"
)
GET_CHECKPOINT_CONTENT = Operation(
    name="get_checkpoint_content",
    method="GET",
    path="fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}/content",
    query=("set",),
)
COMPLETE_JOB = Operation(name="complete_job", method="POST", path="fine_tuning/jobs/{job_id}/complete", creates=True)
LIST_EVENTS = Operation(
    name="list_events",
    method="GET",
    path="fine_tuning/jobs/{job_id}/events",
    query=("after", "limit", "order", "stream", "steps"),
)
FORWARD = Operation(
    name="forward",
    method="POST",
    path="fine_tuning/jobs/{job_id}/forward",
    query=("seq", "train", "adapters", "base"),
    body="tensors",
    accept="application/octet-stream",
)
LIST_LEDGER = Operation(
    name="list_ledger", method="GET", path="fine_tuning/jobs/{job_id}/ledger", query=("after", "limit", "order")
)
GET_LEDGER_SUMMARY = Operation(name="get_ledger_summary", method="GET", path="fine_tuning/jobs/{job_id}/ledger/summary")
LIST_METRICS = Operation(
    name="list_metrics", method="GET", path="fine_tuning/jobs/{job_id}/metrics", query=("after", "limit", "order")
)
REPORT_METRICS = Operation(
    name="report_metrics", method="POST", path="fine_tuning/jobs/{job_id}/metrics", body="json", creates=True
)
OPTIM_STEP = Operation(name="optim_step", method="POST", path="fine_tuning/jobs/{job_id}/optim_step", body="json")
PAUSE_JOB = Operation(name="pause_job", method="POST", path="fine_tuning/jobs/{job_id}/pause", creates=True)
RESUME_JOB = Operation(name="resume_job", method="POST", path="fine_tuning/jobs/{job_id}/resume", creates=True)
GET_HOST = Operation(name="get_host", method="GET", path="host", query=("stream",))
OFFER_MODEL = Operation(name="offer_model", method="PUT", path="host/models/{model}", body="json")
WITHDRAW_MODEL = Operation(name="withdraw_model", method="DELETE", path="host/models/{model}")
GET_ME = Operation(name="get_me", method="GET", path="me")
LIST_MODELS = Operation(name="list_models", method="GET", path="models")
GET_MODEL = Operation(name="get_model", method="GET", path="models/{model}")
DELETE_MODEL = Operation(name="delete_model", method="DELETE", path="models/{model}")
LIST_NODES = Operation(name="list_nodes", method="GET", path="nodes")
UPDATE_NODE = Operation(name="update_node", method="PATCH", path="nodes/{node_id}", body="json")
LIST_PROJECTS = Operation(name="list_projects", method="GET", path="projects", query=("after", "limit"))
CREATE_PROJECT = Operation(name="create_project", method="POST", path="projects", body="json", creates=True)
GET_PROJECT = Operation(name="get_project", method="GET", path="projects/{project_id}")
CREATE_PROJECT_KEY = Operation(
    name="create_project_key", method="POST", path="projects/{project_id}/api_keys", body="json", creates=True
)
LIMIT_PROJECT = Operation(name="limit_project", method="PUT", path="projects/{project_id}/limits", body="json")
CREATE_UPLOAD = Operation(name="create_upload", method="POST", path="uploads", body="json", creates=True)
CANCEL_UPLOAD = Operation(name="cancel_upload", method="POST", path="uploads/{upload_id}/cancel", creates=True)
COMPLETE_UPLOAD = Operation(
    name="complete_upload", method="POST", path="uploads/{upload_id}/complete", body="json", creates=True
)
CREATE_UPLOAD_PART = Operation(
    name="create_upload_part", method="POST", path="uploads/{upload_id}/parts", body="multipart", creates=True
)
GET_USAGE = Operation(name="get_usage", method="GET", path="usage", query=("start_date", "end_date", "group_by"))
LIST_WEBHOOKS = Operation(name="list_webhooks", method="GET", path="webhooks", query=("after", "limit"))
CREATE_WEBHOOK = Operation(name="create_webhook", method="POST", path="webhooks", body="json", creates=True)
GET_WEBHOOK = Operation(name="get_webhook", method="GET", path="webhooks/{webhook_id}")
DELETE_WEBHOOK = Operation(name="delete_webhook", method="DELETE", path="webhooks/{webhook_id}")
UPDATE_WEBHOOK = Operation(name="update_webhook", method="PATCH", path="webhooks/{webhook_id}", body="json")
LIST_DELIVERIES = Operation(
    name="list_deliveries", method="GET", path="webhooks/{webhook_id}/deliveries", query=("after", "limit")
)
REPLAY_DELIVERY = Operation(
    name="replay_delivery", method="POST", path="webhooks/{webhook_id}/deliveries/{delivery_id}/replay", creates=True
)
ROTATE_WEBHOOK_SECRET = Operation(
    name="rotate_webhook_secret", method="POST", path="webhooks/{webhook_id}/rotate_secret", creates=True
)
TEST_WEBHOOK = Operation(name="test_webhook", method="POST", path="webhooks/{webhook_id}/test", creates=True)
