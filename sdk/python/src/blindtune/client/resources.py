"""The management plane, in OpenAI's words: what `client.files`, `client.jobs` and the like can do, in both clients.

Owns: which calls are where, and under which name. Must never: say what a call is; `operations` says it once for both.
"""

from __future__ import annotations

from . import webhooks as _webhooks
from .operations import account, checkpoints, files, inference, models, uploads, webhooks
from .sync_async import AsyncResource, Resource, async_pages, later, later_work, now, pages, work


class Files(Resource):
    """`client.files`: label-free inputs, and the results of jobs."""

    create = now(files.create)
    list = pages(files.list)
    retrieve = now(files.retrieve)
    content = now(files.content)
    delete = now(files.delete)
    wait_for_processing = work(files.wait_for_processing)


class AsyncFiles(AsyncResource):
    """`client.files` of an `AsyncClient`."""

    create = later(files.create)
    list = async_pages(files.list)
    retrieve = later(files.retrieve)
    content = later(files.content)
    delete = later(files.delete)
    wait_for_processing = later_work(files.wait_for_processing)


class Uploads(Resource):
    """`client.uploads`: a large file in parts."""

    create = now(uploads.create)
    add_part = now(uploads.add_part)
    complete = now(uploads.complete)
    cancel = now(uploads.cancel)
    upload_file_chunked = work(uploads.upload_file_chunked)


class AsyncUploads(AsyncResource):
    """`client.uploads` of an `AsyncClient`."""

    create = later(uploads.create)
    add_part = later(uploads.add_part)
    complete = later(uploads.complete)
    cancel = later(uploads.cancel)
    upload_file_chunked = later_work(uploads.upload_file_chunked)


class Models(Resource):
    """`client.models`: backbones and fine-tuned models."""

    list = pages(models.list)
    retrieve = now(models.retrieve)
    delete = now(models.delete)
    download_adapter = now(models.download_adapter)
    upload_adapter = now(models.upload_adapter)


class AsyncModels(AsyncResource):
    """`client.models` of an `AsyncClient`."""

    list = async_pages(models.list)
    retrieve = later(models.retrieve)
    delete = later(models.delete)
    download_adapter = later(models.download_adapter)
    upload_adapter = later(models.upload_adapter)


class Checkpoints(Resource):
    """`client.jobs.checkpoints`: saved states of jobs."""

    create = now(checkpoints.create)
    list = pages(checkpoints.list)
    retrieve = now(checkpoints.retrieve)
    update = now(checkpoints.update)
    delete = now(checkpoints.delete)
    download = now(checkpoints.download)


class AsyncCheckpoints(AsyncResource):
    """`client.jobs.checkpoints` of an `AsyncClient`."""

    create = later(checkpoints.create)
    list = async_pages(checkpoints.list)
    retrieve = later(checkpoints.retrieve)
    update = later(checkpoints.update)
    delete = later(checkpoints.delete)
    download = later(checkpoints.download)


class UsageReports(Resource):
    """`client.usage`: what was used."""

    retrieve = now(account.usage)


class AsyncUsageReports(AsyncResource):
    """`client.usage` of an `AsyncClient`."""

    retrieve = later(account.usage)


class ApiKeys(Resource):
    """`client.api_keys`: the project's keys."""

    create = now(account.create_key)
    list = pages(account.list_keys)
    retrieve = now(account.retrieve_key)
    delete = now(account.delete_key)


class AsyncApiKeys(AsyncResource):
    """`client.api_keys` of an `AsyncClient`."""

    create = later(account.create_key)
    list = async_pages(account.list_keys)
    retrieve = later(account.retrieve_key)
    delete = later(account.delete_key)


class AuditLog(Resource):
    """`client.audit_log`: what was done with which key."""

    list = pages(account.audit_log)


class AsyncAuditLog(AsyncResource):
    """`client.audit_log` of an `AsyncClient`."""

    list = async_pages(account.audit_log)


class Webhooks(Resource):
    """`client.webhooks`: where the host says what happened, and the check that it was the host."""

    create = now(webhooks.create)
    list = pages(webhooks.list)
    retrieve = now(webhooks.retrieve)
    update = now(webhooks.update)
    delete = now(webhooks.delete)
    test = now(webhooks.test)
    deliveries = pages(webhooks.deliveries)
    replay = now(webhooks.replay)
    verify = staticmethod(_webhooks.verify)


class AsyncWebhooks(AsyncResource):
    """`client.webhooks` of an `AsyncClient`; `verify` is the same, and not awaited."""

    create = later(webhooks.create)
    list = async_pages(webhooks.list)
    retrieve = later(webhooks.retrieve)
    update = later(webhooks.update)
    delete = later(webhooks.delete)
    test = later(webhooks.test)
    deliveries = async_pages(webhooks.deliveries)
    replay = later(webhooks.replay)
    verify = staticmethod(_webhooks.verify)


class ActivationCalls(Resource):
    """`client.activations`: what a private head is put on."""

    create = now(inference.activations)


class AsyncActivationCalls(AsyncResource):
    """`client.activations` of an `AsyncClient`."""

    create = later(inference.activations)


class EmbeddingCalls(Resource):
    """`client.embeddings`: vectors of texts."""

    create = now(inference.embeddings)


class AsyncEmbeddingCalls(AsyncResource):
    """`client.embeddings` of an `AsyncClient`."""

    create = later(inference.embeddings)
