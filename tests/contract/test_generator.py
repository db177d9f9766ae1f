"""A client that openapi-generator wrote from openapi.yaml drives a job: a second reader of the contract."""

from __future__ import annotations

from collections.abc import Iterator

import blindtune_second as second
import pytest
from bare_client import ROWS, tensor
from tiny_host import MODEL, WIDTH, TinyHost, running_host

TEXTS = [second.TextJson("w5 w6"), second.TextJson("w7")]


@pytest.fixture(scope="module")
def host() -> Iterator[TinyHost]:
    with running_host() as started:
        yield started


@pytest.fixture
def calls(host: TinyHost) -> Iterator[second.ApiClient]:
    settings = second.Configuration(host=host.url, access_token=host.key("second"))
    with second.ApiClient(settings) as client:
        yield client


def make_job(calls: second.ApiClient, custody: str, **fields: str) -> str:
    split = {"custody": custody, "adapter_sets": 1, "lora": {"rank": 2}}
    wanted = {"model": MODEL, "method": {"type": "split", "split": split}, "seed": 7}
    job = second.FineTuningApi(calls).create_job(second.CreateJob.from_dict(wanted | fields))
    assert job.status == "running"
    return str(job.id)


def test_it_trains_a_model(calls: second.ApiClient) -> None:
    job = make_job(calls, "host", suffix="second")
    steps = second.StepsApi(calls)
    forward = steps.forward(job, second.ForwardBody(seq=1, texts=TEXTS, theta={}))
    assert forward.activations["h.0"].shape == [2, WIDTH]
    shares = {"s.0.0": second.TensorJson.from_dict(tensor([2, WIDTH], [0.5] * (2 * WIDTH)))}
    norms = steps.backward(job, second.BackwardBody(seq=2, forward_id=forward.forward_id, shares=shares))
    assert norms.gradient_norms["0"] > 0
    steps.optim_step(job, second.OptimStepBody(seq=3, lr=0.01))
    done = second.FineTuningApi(calls).complete_job(job)
    assert done.fine_tuned_model in [model.id for model in second.ModelsApi(calls).list_models().data]
    assert done.fine_tuned_model.startswith(f"ft:{MODEL}:") and ":second:" in done.fine_tuned_model


def test_it_gets_the_gradients_that_are_its_own(calls: second.ApiClient) -> None:
    job = make_job(calls, "client")
    steps = second.StepsApi(calls)
    forward = steps.forward(job, second.ForwardBody(seq=1, texts=TEXTS, theta={}))
    share = tensor([2, WIDTH], [0.5] * (2 * WIDTH))
    shares = {f"s.0.{part}": second.TensorJson.from_dict(share) for part in range(2)}
    answer = steps.backward(job, second.BackwardBody(seq=2, forward_id=forward.forward_id, shares=shares))
    assert answer.gradients["G.0.0"].data == answer.gradients["G.0.1"].data


def test_it_uploads_and_reads_a_file(calls: second.ApiClient) -> None:
    files = second.FilesApi(calls)
    made = files.create_file(file=("rows.jsonl", ROWS), purpose="fine-tune")
    assert (made.rows, files.get_file_content(made.id)) == (3, bytearray(ROWS))


def test_a_refusal_is_an_exception_with_the_envelope(calls: second.ApiClient) -> None:
    with pytest.raises(second.exceptions.NotFoundException) as refused:
        second.FineTuningApi(calls).get_job("ftjob-" + "0" * 32)
    assert '"code":"not_found"' in refused.value.body
