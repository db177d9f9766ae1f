"""The step protocol, case by case, on a real host and on the toy host that most tests run against.

Both are asked by the same code: where they differ, the toy host is wrong (fake_host.py), or the contract has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from fake_host import FakeHost
from real_host import MODEL
from step_job import SETS, StepJob, noise, rows, shares_of

Make = Callable[..., StepJob]
KINDS = ("fake", "real")


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes jobs on one host."""
    if request.param == "fake":
        host, model, key = request.getfixturevalue("fake_host"), "toy", "key"
        assert isinstance(host, FakeHost)
    else:
        host = request.getfixturevalue("hosts")[0]
        model, key = MODEL, host.api_key
    made: list[StepJob] = []
    with httpx.Client(base_url=f"{host.url}/v1/", headers={"authorization": f"Bearer {key}"}, timeout=60) as http:

        def job(**given: object) -> StepJob:
            made.append(StepJob(http, model, **given))  # type: ignore[arg-type]
            return made[-1]

        yield job
        for one in made:
            one.verb("cancel")


@pytest.fixture
def job(make: Make) -> StepJob:
    return make()


# Order and repeats.


def test_step_calls_are_numbered_from_one(job: StepJob) -> None:
    first = job.forward(1).ok()
    product = job.backward(2, first, shares_of(first)).ok()
    second = job.forward(3).ok()
    assert [reply.scalars["seq"] for reply in (first, product, second)] == ["1", "2", "3"]
    assert first.scalars["forward_id"] != second.scalars["forward_id"] and job.next_seq == 4
    assert sorted(first.tensors) == ["h.0", "h.1"] and sorted(product.tensors) == ["G.0.0", "G.1.0"]
    assert {part.shape for part in product.tensors.values()} == {(job.parameters,)}


def test_a_repeated_call_has_the_same_answer_and_one_effect(job: StepJob) -> None:
    first = job.forward(1).ok()
    assert job.forward(1).body == first.body
    shares = shares_of(first)
    second = job.backward(2, first, shares).ok()
    assert job.backward(2, first, shares).body == second.body
    assert job.forward(1).body == first.body, "still, after its backward"
    assert job.next_seq == 3 and len(job.ledger()) == 2


def test_other_bytes_under_a_used_seq_are_a_conflict(job: StepJob) -> None:
    first = job.forward(1).ok()
    assert job.forward(1, rows(2)).refused(422, "step_conflict")["param"] == "seq"
    job.forward(1, base="true").refused(422, "step_conflict")
    job.backward(1, first, shares_of(first)).refused(422, "step_conflict")
    assert job.forward(1).body == first.body and job.next_seq == 2


def test_answers_are_kept_until_the_next_forward(job: StepJob) -> None:
    first = job.forward(1).ok()
    shares = shares_of(first)
    job.backward(2, first, shares).ok()
    job.forward(3).ok()
    assert job.forward(1).refused(409, "answer_expired")["param"] == "seq"
    job.backward(2, first, shares).refused(409, "answer_expired")
    assert job.next_seq == 4


def test_a_conflict_is_told_before_an_expired_answer(job: StepJob) -> None:
    first = job.forward(1).ok()
    job.forward(2).ok()
    job.forward(1, rows(2)).refused(422, "step_conflict")
    job.backward(1, first, shares_of(first)).refused(422, "step_conflict")


@pytest.mark.parametrize("seq", [0, 2, 9])
def test_a_seq_out_of_order_is_refused_with_the_one_expected(job: StepJob, seq: int) -> None:
    error = job.forward(seq).refused(409, "step_out_of_order")
    assert (error["expected_seq"], error["param"]) == (1, "seq")
    first = job.forward(1).ok()
    assert job.backward(7, first, shares_of(first)).refused(409, "step_out_of_order")["expected_seq"] == 2
    assert job.next_seq == 2 and len(job.ledger()) == 1


def test_a_refused_call_uses_up_no_seq(job: StepJob) -> None:
    job.forward(1, rows(0) | {"theta.0": noise((job.parameters + 1,))}).refused(422, "tensor_invalid")
    first = job.forward(1).ok()
    job.backward(2, first, {}).refused(400, "shares_missing")
    job.backward(2, first, shares_of(first)).ok()
    assert job.next_seq == 3 and [entry["seq"] for entry in job.ledger()] == [1, 2]


# Forwards.


def test_an_evaluation_is_no_step(job: StepJob) -> None:
    reply = job.forward(None, train="false", base="true").ok()
    assert not {"seq", "forward_id"} & reply.scalars.keys() and sorted(reply.tensors) == ["h.0", "h.1", "h.base"]
    assert np.array_equal(job.forward(None, train="false").tensors["h.1"], reply.tensors["h.1"])
    assert job.next_seq == 1
    assert job.forward(1, train="false").refused(400, "seq_unexpected")["param"] == "seq"
    assert job.forward(None).refused(400, "seq_missing")["param"] == "seq"


def test_only_the_sets_asked_for_are_run(job: StepJob) -> None:
    for seq, query, names in ((1, {"adapters": "1"}, ["h.1"]), (2, {"adapters": "none", "base": "true"}, ["h.base"])):
        assert sorted(job.forward(seq, **query).tensors) == names
    for seq, query in ((3, {"adapters": "1,0"}), (4, {"adapters": "all"})):
        assert sorted(job.forward(seq, **query).tensors) == ["h.0", "h.1"]


def test_unknown_sets_are_refused(job: StepJob) -> None:
    assert job.forward(1, adapters=str(SETS)).refused(400, "invalid_adapters")["param"] == "adapters"
    job.forward(1, adapters="some").refused(400, "invalid_adapters")
    error = job.forward(1, rows(0) | {f"theta.{SETS}": noise((job.parameters,))}).refused(422, "tensor_invalid")
    assert error["param"] == f"theta.{SETS}" and job.next_seq == 1


@pytest.mark.parametrize("more", [-1, 1])
def test_adapter_values_of_another_length_are_refused(job: StepJob, more: int) -> None:
    before, wrong = job.theta(0), noise((job.parameters + more,))
    error = job.forward(1, rows(0) | {"theta.0": wrong}).refused(422, "tensor_invalid")
    assert error["param"] == "theta.0"
    assert job.put_theta(0, wrong).refused(422, "tensor_invalid")["param"] == "theta.0"
    assert np.array_equal(job.theta(0), before)


def test_a_batch_comes_in_one_form(make: Make) -> None:
    job, bare = make(), make(file=False)
    job.forward(1, {}).refused(400, "inputs_missing")
    assert job.forward(1, rows(0, 6)).refused(422, "row_out_of_range")["param"] == "rows"
    assert job.forward(1, rows(0) | {"extra": noise((1,))}).refused(400, "unknown_tensor")["param"] == "extra"
    assert job.forward(1, rows(0) | {"label": noise((1,))}).refused(400, "label_present")["param"] == "label"
    assert bare.forward(1).refused(400, "no_training_file")["param"] == "rows"
    body = {"seq": 1, "texts": ["a good film", ["a film", "a plot"]]}
    assert bare.call("POST", "/forward", json=body).tensors["h.0"].shape[0] == 2


# Backwards.


def test_each_share_has_its_own_product_and_products_are_linear(job: StepJob) -> None:
    first = job.forward(1, rows(0, 1) | {"theta.0": noise((job.parameters,), 3)}).ok()
    a, b = (noise(first.tensors["h.0"].shape, seed) for seed in (1, 2))
    shares = {"s.0.0": a, "s.0.1": b, "s.0.2": a + 2.0 * b, "s.1.0": np.zeros_like(a)}
    found = job.backward(2, first, shares).tensors
    assert sorted(found) == ["G.0.0", "G.0.1", "G.0.2", "G.1.0"] and not found["G.1.0"].any()
    sum_ = found["G.0.0"] + 2.0 * found["G.0.1"]
    assert np.linalg.norm(sum_ - found["G.0.2"]) < 1e-4 * np.linalg.norm(sum_)


def test_a_forward_takes_several_backwards(job: StepJob) -> None:
    first = job.forward(1).ok()
    shares = shares_of(first)
    products = [job.backward(seq, first, shares) for seq in (2, 3)]
    assert [product.scalars["seq"] for product in products] == ["2", "3"]
    assert np.array_equal(products[0].tensors["G.0.0"], products[1].tensors["G.0.0"])


def test_a_backward_may_be_late(job: StepJob) -> None:
    """With the adapters of its own forward, not those that came after."""
    batch = rows(0, 1) | {"theta.0": noise((job.parameters,), 1)}
    first = job.forward(1, batch).ok()
    shares = shares_of(first)
    on_time = job.backward(2, first, shares).tensors
    job.forward(3, rows(2) | {"theta.0": noise((job.parameters,), 2)}).ok()
    assert np.array_equal(job.backward(4, first, shares).tensors["G.0.0"], on_time["G.0.0"])


def test_shares_are_named_by_set_and_number(job: StepJob) -> None:
    first = job.forward(1).ok()
    good = noise(first.tensors["h.0"].shape)
    for shares, status, code in (
        ({}, 400, "shares_missing"),
        ({"s.0": good}, 400, "unknown_tensor"),
        ({"g.0.0": good}, 400, "unknown_tensor"),
        ({"label": good}, 400, "label_present"),
        ({f"s.{SETS}.0": good}, 422, "tensor_invalid"),
        ({"s.0.0": good[1:]}, 422, "tensor_invalid"),
    ):
        error = job.backward(2, first, shares).refused(status, code)
        assert error["param"] == next(iter(shares), "s.0.0")
    assert job.next_seq == 2 and len(job.ledger()) == 1


def test_a_backward_needs_its_forward(make: Make) -> None:
    job, other = make(), make()
    theirs = other.forward(1).ok()
    for forward in (theirs, "fwd-" + "0" * 32, "x"):
        assert job.backward(1, forward, shares_of(theirs)).refused(404, "not_found")["param"] == "forward_id"
    assert job.next_seq == 1


def test_a_set_that_was_not_run_takes_no_share(job: StepJob) -> None:
    first = job.forward(1, adapters="1").ok()
    error = job.backward(2, first, {"s.0.0": noise(first.tensors["h.1"].shape)}).refused(422, "tensor_invalid")
    assert error["param"] == "s.0.0"
    job.backward(2, first, shares_of(first)).ok()


# Adapters.


def test_adapters_are_put_and_got(job: StepJob) -> None:
    mine, sent = noise((job.parameters,), 1), noise((job.parameters,), 2)
    start = job.forward(None, train="false").tensors
    job.put_theta(0, mine).ok()
    assert np.array_equal(job.theta(0), mine)
    assert not np.array_equal(job.forward(None, train="false").tensors["h.0"], start["h.0"])
    job.forward(1, rows(0) | {"theta.1": sent}).ok()
    assert np.array_equal(job.theta(1), sent), "what a forward brings stays"
    job.put_theta(SETS, mine).refused(404, "not_found")
    job.get(f"/adapters/{SETS}").refused(404, "not_found")


def test_the_seed_fixes_the_start(make: Make) -> None:
    first, same, other = make(seed=1), make(seed=1), make(seed=2)
    assert np.array_equal(first.theta(0), same.theta(0)) and not np.array_equal(first.theta(0), other.theta(0))
    assert not np.array_equal(first.theta(0), first.theta(1))
    activations = first.forward(None, train="false", base="true").tensors
    np.testing.assert_allclose(activations["h.0"], activations["h.base"], atol=1e-4)


# The life of a job.


@pytest.mark.parametrize(("verb", "state"), [("complete", "succeeded"), ("cancel", "cancelled")])
def test_a_job_that_is_over_takes_no_call(job: StepJob, verb: str, state: str) -> None:
    first, theta = job.forward(1).ok(), job.theta(0)
    done = job.verb(verb).json
    assert done["status"] == job.status == state
    assert (done["fine_tuned_model"] or "").startswith("ft:") == (verb == "complete")
    job.forward(2).refused(409, "job_not_running")
    job.backward(2, first, shares_of(first)).refused(409, "job_not_running")
    job.put_theta(0, theta).refused(409, "job_not_running")
    metrics = {"step": 1, "metrics": {"loss": 0.5}}
    job.call("POST", "/metrics", json=metrics).refused(409, "job_not_running")
    for again in ("pause", "resume", "cancel"):
        job.verb(again).refused(409, "invalid_job_state")
    assert job.status == state and job.next_seq == 2


def test_a_paused_job_resumes_where_it_stood(job: StepJob) -> None:
    theta = noise((job.parameters,), 4)
    job.forward(1, rows(0, 1) | {"theta.1": theta}).ok()
    assert job.verb("resume").status == 409
    assert job.verb("pause").json["status"] == job.status == "paused"
    assert job.verb("pause").status == 409
    assert job.verb("resume").json["status"] == job.status == "running"
    assert np.array_equal(job.theta(1), theta) and job.next_seq == 2
    job.verb("pause").ok()
    job.forward(2).ok()
    assert job.status == "running", "a step alone wakes it"


def test_a_forward_that_was_lost_is_sent_again(job: StepJob) -> None:
    """A pause takes the graph, as a restart does; the same bytes bring it back under the same name."""
    batch = rows(0, 1) | {f"theta.{i}": noise((job.parameters,), i) for i in range(SETS)}
    first = job.forward(1, batch).ok()
    shares = shares_of(first)
    expected = job.backward(2, first, shares).tensors
    job.verb("pause").ok()
    job.verb("resume").ok()
    assert job.backward(3, first, shares).refused(409, "forward_lost")["param"] == "forward_id"
    again = job.forward(1, batch).ok()
    assert again.scalars["forward_id"] == first.scalars["forward_id"] and job.next_seq == 3
    assert np.array_equal(job.backward(3, first, shares).tensors["G.0.0"], expected["G.0.0"])


def test_an_unknown_job_is_a_404(job: StepJob) -> None:
    first = job.forward(1).ok()
    job.id = "ftjob-" + "0" * 32
    for rest in ("", "/events", "/ledger", "/adapters/0"):
        job.get(rest).refused(404, "not_found")
    for verb in ("pause", "resume", "complete", "cancel"):
        job.verb(verb).refused(404, "not_found")
    job.forward(1).refused(404, "not_found")
    job.backward(2, first, shares_of(first)).refused(404, "not_found")
    job.call("POST", "/metrics", json={"step": 1, "metrics": {"loss": 0.5}}).refused(404, "not_found")


# Records.


def test_the_ledger_lists_what_was_sent(job: StepJob) -> None:
    theta = noise((job.parameters,), 1)
    first = job.forward(1, rows(0, 1) | {"theta.0": theta}).ok()
    shares = shares_of(first, each=2)
    job.backward(2, first, shares).ok()
    job.forward(None, train="false").ok()
    job.put_theta(1, theta).ok()
    job.forward(9).refused(409, "step_out_of_order")
    entries = job.ledger()
    assert [entry["kind"] for entry in entries] == ["forward", "backward", "evaluate", "put_adapter"]
    assert [entry["seq"] for entry in entries] == [1, 2, None, None]
    sent = [{tensor["name"]: tensor for tensor in entry["tensors"]} for entry in entries]
    assert [sorted(table) for table in sent] == [["rows", "theta.0"], sorted(shares), ["rows"], ["theta.1"]]
    told = sent[0]["theta.0"]
    assert (told["dtype"], told["shape"], told["bytes"]) == ("F32", [job.parameters], 4 * job.parameters)
    assert told["sha256"] == hashlib.sha256(theta.tobytes()).hexdigest()
    share = shares["s.1.1"]
    assert sent[1]["s.1.1"]["shape"] == list(share.shape)
    assert sent[1]["s.1.1"]["sha256"] == hashlib.sha256(share.tobytes()).hexdigest()


def test_metrics_are_events_and_labels_are_refused(job: StepJob) -> None:
    event = job.call("POST", "/metrics", json={"step": 3, "metrics": {"loss": 0.25}}).json
    assert event["type"] == "metrics" and event["data"] == {"loss": 0.25, "step": 3}
    assert job.get("/events").json["data"][0] == event, "newest first"
    body = {"step": 4, "metrics": {"loss": 0.5, "gold_label": 1.0}}
    assert job.call("POST", "/metrics", json=body).refused(400, "label_present")["param"] == "metrics.gold_label"
    assert job.get("/events").json["data"][0] == event


def test_events_tell_the_story_in_order(job: StepJob) -> None:
    for step in range(2):
        job.call("POST", "/metrics", json={"step": step, "metrics": {"loss": 0.5}}).ok()
    for verb in ("pause", "cancel"):
        job.verb(verb).ok()
    newest_first = job.get("/events").json["data"]
    assert job.get("/events", order="asc").json["data"] == newest_first[::-1]
    told = [event["data"].get("status", event["data"].get("step")) for event in newest_first]
    assert told[:5] == ["cancelled", "paused", 1, 0, "running"], json.dumps(newest_first)
    assert newest_first[0]["message"] == "Fine-tuning job is cancelled"
    assert len({event["id"] for event in newest_first}) == len(newest_first)
