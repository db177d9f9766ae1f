"""The gateway's HTTP: OpenAI's paths, bodies and errors.

Owns: routes and forms. Must never: answer a caller without the gateway's key, where it has one, or write a text or a
label into a log.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..errors import BlindtuneError
from .answers import Models, answer, chunks
from .batches import OVER as BATCH_OVER
from .batches import Batches
from .errors import Refused, not_found, of_host
from .examples import read_examples
from .store import Kind, Store, file_fields
from .training import OVER, Hosts, Jobs

Handler = Callable[[Request], Awaitable[Response]]
MOST_BYTES = 512 << 20
NO_MODERATIONS = (
    "not here: `flagged` means harm, and no label of yours says which of them does. Pass the "
    "list of texts to completions as `prompt`, with `logprobs`: one call gives each text's labels and probabilities."
)
PURPOSES = ("fine-tune", "batch")
KNOWN = ("model", "training_file", "validation_file", "hyperparameters", "method", "suffix", "seed", "metadata")
SUFFIX = 64


class Gateway:
    """Routes over a store, its jobs and its models."""

    def __init__(self, folder: Path, hosts: Hosts, key: str | None = None) -> None:
        self.store, self.key, self.hosts = Store(folder), key, hosts
        self.jobs, self.models = Jobs(self.store, hosts), Models(self.store, hosts)
        self.batches = Batches(self.store, self.models)

    def app(self) -> Starlette:
        """The application; its jobs run while it does."""

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            self.jobs.start()
            self.batches.start()
            yield
            await run_in_threadpool(self.jobs.stop)
            await run_in_threadpool(self.batches.stop)
            self.models.close()
            self.store.close()

        routes = [Route(f"/v1/{path}", self._held(do), methods=[verb]) for verb, path, do in self._routes()]
        return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _no_route})

    def _routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("POST", "files", self.upload),
            ("GET", "files", self.list_files),
            ("GET", "files/{name}", self.get_file),
            ("GET", "files/{name}/content", self.content),
            ("DELETE", "files/{name}", self.delete_file),
            ("POST", "fine_tuning/jobs", self.create_job),
            ("GET", "fine_tuning/jobs", self.list_jobs),
            ("GET", "fine_tuning/jobs/{name}", self.get_job),
            ("POST", "fine_tuning/jobs/{name}/cancel", self.cancel_job),
            ("GET", "fine_tuning/jobs/{name}/events", self.events),
            ("GET", "fine_tuning/jobs/{name}/checkpoints", self.checkpoints),
            ("POST", "batches", self.create_batch),
            ("GET", "batches", self.list_batches),
            ("GET", "batches/{name}", self.get_batch),
            ("POST", "batches/{name}/cancel", self.cancel_batch),
            ("GET", "models", self.list_models),
            ("GET", "models/{name:path}", self.get_model),
            ("DELETE", "models/{name:path}", self.delete_model),
            ("POST", "chat/completions", self.chat),
            ("POST", "completions", self.complete),
            ("POST", "moderations", self.moderate),
        ]

    def _held(self, do: Handler) -> Handler:
        """Behind the key, with refusals in the envelope."""

        async def handler(request: Request) -> Response:
            try:
                self._check_key(request)
                return await do(request)
            except Refused as refused:
                return JSONResponse(refused.envelope(), refused.status)
            except BlindtuneError as error:
                wrong = of_host(error)
                return JSONResponse(wrong.envelope(), wrong.status)

        return handler

    def _check_key(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if self.key is not None and not hmac.compare_digest(given, self.key.encode()):
            raise Refused(401, "invalid_api_key", "Incorrect API key: pass the one that the gateway was started with.")

    # Files.

    async def upload(self, request: Request) -> Response:
        """`POST /v1/files`."""
        async with request.form(max_part_size=MOST_BYTES) as form:
            purpose, file = form.get("purpose"), form.get("file")
            if purpose not in PURPOSES:
                raise Refused(400, "invalid_purpose", f"purpose: this gateway takes {PURPOSES}.", "purpose")
            if file is None or isinstance(file, str):
                raise Refused(400, "missing_file", "file: the form has no file.", "file")
            content, filename = await file.read(), file.filename or "file.jsonl"
        if purpose == "fine-tune":
            await run_in_threadpool(read_examples, content)
        made = self.store.add("file", file_fields(filename, str(purpose), len(content)))
        await run_in_threadpool(self.store.write_file, made["id"], content)
        return JSONResponse(made)

    async def list_files(self, request: Request) -> Response:
        """`GET /v1/files`."""
        wanted = request.query_params.get("purpose")
        return _page(request, [one for one in self.store.all("file") if wanted in (None, one["purpose"])])

    async def get_file(self, request: Request) -> Response:
        """`GET /v1/files/{id}`."""
        return JSONResponse(self._file(request.path_params["name"]))

    async def content(self, request: Request) -> Response:
        """`GET /v1/files/{id}/content`."""
        file = self._file(request.path_params["name"])
        return Response(self.store.file(file["id"]).read_bytes(), media_type="application/octet-stream")

    async def delete_file(self, request: Request) -> Response:
        """`DELETE /v1/files/{id}`."""
        name = self._file(request.path_params["name"])["id"]
        needed = [job["id"] for job in self.store.all("job") if _needs(job, name)]
        if needed:
            raise Refused(409, "file_in_use", f"Job {needed[0]} is not over, and trains on this file.")
        open_ones = (one for one in self.store.all("batch") if one["status"] not in BATCH_OVER)
        if any(one["input_file_id"] == name for one in open_ones):
            raise Refused(409, "file_in_use", "A batch of this file is not over.")
        self.store.remove("file", name)
        return JSONResponse({"id": name, "object": "file", "deleted": True})

    def _file(self, name: Any) -> dict[str, Any]:
        return self._named("file", str(name))

    def _named(self, kind: Kind, name: str) -> dict[str, Any]:
        found = self.store.get(kind, name)
        if found is None:
            raise not_found(kind, name)
        return found

    # Jobs.

    async def create_job(self, request: Request) -> Response:
        """`POST /v1/fine_tuning/jobs`."""
        body = await _json(request)
        unknown = sorted(set(body) - {*KNOWN, "integrations"})
        if unknown or body.get("integrations"):
            name = unknown[0] if unknown else "integrations"
            raise Refused(400, "unsupported_field", f"{name}: this gateway has no such field; leave it out.", name)
        for name in ("training_file", "validation_file"):
            if name == "training_file" or body.get(name) is not None:
                self._trainable(body.get(name), name)
        made = self.store.add("job", _job_fields(body, self.jobs.draw_seed()))
        self.store.tell(made["id"], f"Created fine-tuning job: {made['id']}")
        if body["model"] != self.hosts.model:
            said = f"{body['model']} is not here: {self.hosts.model} of the host is fine-tuned under its name"
            self.store.tell(made["id"], said)
        self.store.tell(made["id"], "Files validated, moving job to queued state")
        self.jobs.submit(made["id"])
        return JSONResponse(made)

    def _trainable(self, name: Any, param: str) -> None:
        if not isinstance(name, str):
            raise Refused(400, "missing_file", f"{param}: the id of a file.", param)
        if self._file(name)["purpose"] != "fine-tune":
            raise Refused(400, "invalid_file", f"{param}: {name} is not a file to fine-tune on.", param)

    async def list_jobs(self, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs`."""
        return _page(request, self.store.all("job"))

    async def get_job(self, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{id}`."""
        return JSONResponse(self._job(request))

    async def cancel_job(self, request: Request) -> Response:
        """`POST /v1/fine_tuning/jobs/{id}/cancel`. A training that is under way ends by itself, and is not kept."""
        job = self._job(request)
        with self.store.at_once():
            if not self.store.change("job", job["id"], {"status": "cancelled"}, unless=OVER):
                raise Refused(409, "job_is_over", f"The job is {job['status']} already.")
            self.store.tell(job["id"], "The job was cancelled")
        return JSONResponse(self._job(request))

    async def events(self, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{id}/events`."""
        return _page(request, self.store.events(self._job(request)["id"]))

    async def checkpoints(self, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{id}/checkpoints`: none; the model is the best epoch."""
        self._job(request)
        return _page(request, [])

    def _job(self, request: Request) -> dict[str, Any]:
        return self._named("job", str(request.path_params["name"]))

    # Batches.

    async def create_batch(self, request: Request) -> Response:
        """`POST /v1/batches`."""
        return JSONResponse(self.batches.create(await _json(request)))

    async def list_batches(self, request: Request) -> Response:
        """`GET /v1/batches`."""
        return _page(request, self.store.all("batch"))

    async def get_batch(self, request: Request) -> Response:
        """`GET /v1/batches/{id}`."""
        return JSONResponse(self._batch(request))

    async def cancel_batch(self, request: Request) -> Response:
        """`POST /v1/batches/{id}/cancel`."""
        self.batches.cancel(self._batch(request)["id"])
        return JSONResponse(self._batch(request))

    def _batch(self, request: Request) -> dict[str, Any]:
        return self._named("batch", str(request.path_params["name"]))

    # Models.

    async def list_models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        return _page(request, self.models.all())

    async def get_model(self, request: Request) -> Response:
        """`GET /v1/models/{name}`."""
        return JSONResponse(self.models.get(str(request.path_params["name"])))

    async def delete_model(self, request: Request) -> Response:
        """`DELETE /v1/models/{name}`."""
        return JSONResponse(self.models.delete(str(request.path_params["name"])))

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        body = await _json(request)
        found = await run_in_threadpool(answer, self.models, request.url.path, body)
        if body.get("stream"):
            return StreamingResponse(chunks(found), media_type="text/event-stream")
        return JSONResponse(found)

    async def complete(self, request: Request) -> Response:
        """`POST /v1/completions`."""
        return JSONResponse(await run_in_threadpool(answer, self.models, request.url.path, await _json(request)))

    async def moderate(self, request: Request) -> Response:
        """`POST /v1/moderations`: refused, with what does it instead."""
        raise Refused(404, "unknown_url", f"{request.url.path}: {NO_MODERATIONS}")


def _needs(job: Mapping[str, Any], file: str) -> bool:
    return job["status"] not in OVER and file in (job["training_file"], job["validation_file"])


def _job_fields(body: Mapping[str, Any], drawn: int) -> dict[str, Any]:
    """A job object, as OpenAI's API has it."""
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Refused(400, "missing_model", "model: the name of a model.", "model")
    suffix = body.get("suffix")
    if suffix is not None and (not isinstance(suffix, str) or not 0 < len(suffix) <= SUFFIX or ":" in suffix):
        raise Refused(400, "invalid_suffix", f"suffix: 1 to {SUFFIX} characters, without colons.", "suffix")
    seed = drawn if body.get("seed") is None else body["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise Refused(400, "invalid_seed", "seed: a whole number.", "seed")
    fields = {name: body.get(name) for name in ("model", "training_file", "validation_file", "metadata")}
    more: dict[str, Any] = {"object": "fine_tuning.job", "status": "queued", "hyperparameters": _hyperparameters(body)}
    method = {"type": "supervised", "supervised": {"hyperparameters": more["hyperparameters"]}}
    more |= {"user_provided_suffix": suffix, "method": method, "organization_id": "gateway", "integrations": []}
    nothing = dict.fromkeys(("fine_tuned_model", "finished_at", "error", "trained_tokens", "estimated_finish"))
    return fields | {"seed": seed} | more | nothing | {"result_files": []}


def _hyperparameters(body: Mapping[str, Any]) -> dict[str, Any]:
    method = body.get("method") or {"type": "supervised"}
    if not isinstance(method, Mapping) or method.get("type") != "supervised":
        raise Refused(400, "unsupported_method", "method.type: this gateway has 'supervised' alone.", "method.type")
    given = (method.get("supervised") or {}).get("hyperparameters") or body.get("hyperparameters") or {}
    found = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), "auto") | dict(given)
    for name, value in found.items():
        if name not in ("n_epochs", "batch_size", "learning_rate_multiplier"):
            raise Refused(400, "unsupported_field", f"hyperparameters.{name}: there is none.", "hyperparameters")
        if value != "auto" and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise Refused(400, "invalid_hyperparameter", f"{name}: 'auto' or a number above 0.", "hyperparameters")
    return found


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Refused(400, "invalid_json", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Refused(400, "invalid_json", "The body is not a JSON object.")
    return body


def _page(request: Request, items: Sequence[Mapping[str, Any]]) -> Response:
    """A part of a list, behind `after`, as OpenAI's clients page."""
    after, found = request.query_params.get("after"), list(items)
    if after is not None:
        places = [k for k, one in enumerate(found) if one["id"] == after]
        found = found[places[0] + 1 :] if places else []
    try:
        limit = max(1, int(request.query_params.get("limit", "10000")))
    except ValueError:
        raise Refused(400, "invalid_query", "limit: a whole number.", "limit") from None
    part = found[:limit]
    ends = {"first_id": part[0]["id"] if part else None, "last_id": part[-1]["id"] if part else None}
    return JSONResponse({"object": "list", "data": part, "has_more": len(found) > len(part), **ends})


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = f"This gateway has no {request.method} {request.url.path}; it has files, fine_tuning.jobs, models, "
    refused = Refused(status, "unknown_url", message + "batches, chat.completions and completions.")
    return JSONResponse(refused.envelope(), status)
