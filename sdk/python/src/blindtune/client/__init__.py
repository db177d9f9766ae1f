"""Everything that sends: both clients of one host, what they send, and how answers look.

Owns: the public names of the client. Must never: know a label, or anything of a run; private/ is not imported here, and
does not import this.

    aio/             `AsyncClient`, its groups of calls, its lists, a job's handle and events: written by hand
    sync/            `Client` and the rest again, without asyncio: made of aio/ by tools/unasync.py
    requests.py      an operation of the contract (`_generated/operations.py`) and its arguments, as a request
    objects.py       the answers: the contract's fields (`_generated/schemas.py`), read and shown
    connection.py    addresses, keys, and what becomes an exception
    connect.py       clients for the hosts that a user names
    transport.py     retries (waiting.py: what a wait is for, in words)
    paging.py        pages of lists
    event_stream.py  how far a stream of events has come
    job_handle.py    what the handle of a job knows
    step_calls.py    the two calls of a step, as bytes
    inference.py     activations and embeddings, as arrays
    display.py       how answers look in a notebook (progress.py: the bar)
    webhooks.py      the signature of a delivery
    peft_folders.py  adapters as PEFT has them, packed and unpacked
"""

from .aio.client import AsyncClient
from .aio.live_job import AsyncLiveJob
from .aio.pages import AsyncPages
from .connect import connect
from .connection import API_KEY_VARIABLE, BASE_URL_VARIABLE, Recorder, normalize_url
from .step_calls import BackwardRequest, Call, ForwardRequest, StepAnswer
from .sync.client import Client
from .sync.live_job import LiveJob
from .sync.pages import Pages
from .transport import RetryPolicy

__all__ = [
    "API_KEY_VARIABLE",
    "BASE_URL_VARIABLE",
    "AsyncClient",
    "AsyncLiveJob",
    "AsyncPages",
    "BackwardRequest",
    "Call",
    "Client",
    "ForwardRequest",
    "LiveJob",
    "Pages",
    "Recorder",
    "RetryPolicy",
    "StepAnswer",
    "connect",
    "normalize_url",
]
