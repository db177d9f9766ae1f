"""Everything that sends: both clients of one host, what they send, and how answers look.

Owns: the public names of the client. Must never: know a label, or anything of a run; private/ is not imported here, and
does not import this.

    client.py        `Client` and `AsyncClient`: addresses, keys, sending
    connect.py       clients for the hosts that a user names
    transport.py     retries
    operations/      every call of the host: what is sent, how the answer is read
    step_calls.py    the two calls of a step, as bytes
    resources.py     `client.files`, `client.models` and the rest
    jobs.py          `client.jobs`
    live_job.py      a job's handle and its `with` block
    event_stream.py  a job's events as they happen
    sync_async.py    one call, two methods: one that blocks, one to await
    objects.py       the answers
    display.py       how answers look in a notebook (progress.py: the bar)
    webhooks.py      the signature of a delivery
    peft_folders.py  adapters as PEFT has them, packed and unpacked
"""

from .client import (
    API_KEY_VARIABLE,
    BASE_URL_VARIABLE,
    AsyncClient,
    Client,
    Recorder,
    normalize_url,
)
from .connect import connect
from .step_calls import BackwardRequest, Call, ForwardRequest, StepAnswer
from .transport import RetryPolicy

__all__ = [
    "API_KEY_VARIABLE",
    "BASE_URL_VARIABLE",
    "AsyncClient",
    "BackwardRequest",
    "Call",
    "Client",
    "ForwardRequest",
    "Recorder",
    "RetryPolicy",
    "StepAnswer",
    "connect",
    "normalize_url",
]
