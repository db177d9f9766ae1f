"""`client.operator`: the host and all its projects, for a key of the scope `operator`.

Owns: the calls under `/host`, `/nodes` and `/projects`. Must never: keep a key.
"""

# Made from ../aio/operator.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import Unpack

from ..._generated import operations as op
from ..._generated.schemas import KeyLimits
from ..objects import ApiKey, HostState, Model, Node, Project
from ..requests import given, nothing, reads
from .pages import Pages
from .resource import Resource


class Operator(Resource):
    """`client.operator`: what the operator of a host sees and sets."""

    def host(self) -> HostState:
        """The host's device and the queue before it, memory, connections and streams, as they are now."""
        return self._client.call(op.GET_HOST, reads(HostState))

    def offer_model(self, name: str, folder: str) -> Model:
        """Offer the backbone in a folder of the host's `state.models_dir` to all projects, under this name."""
        return self._client.call(op.OFFER_MODEL, reads(Model), {"folder": folder}, model=name)

    def withdraw_model(self, name: str) -> None:
        """Offer a backbone no longer. Refused while open jobs, or fine-tuned models, need it."""
        self._client.call(op.WITHDRAW_MODEL, nothing, model=name)

    def nodes(self) -> Pages[Node]:
        """The hosts of a fleet, the oldest first, with their sessions and whether they live."""
        return Pages(self._client, op.LIST_NODES, Node.read)

    def drain(self, node_id: str, draining: bool = True) -> Node:
        """Let a node hand its sessions over and open none any more; `draining=False` takes it back."""
        return self._client.call(op.UPDATE_NODE, reads(Node), {"draining": draining}, node_id=node_id)

    def projects(self, limit: int | None = None) -> Pages[Project]:
        """All projects, newest first, with their limits, open jobs, use of this month and stored bytes."""
        return Pages(self._client, op.LIST_PROJECTS, Project.read, limit=limit)

    def project(self, project_id: str) -> Project:
        """One project."""
        return self._client.call(op.GET_PROJECT, reads(Project), project_id=project_id)

    def create_project(self, name: str) -> Project:
        """Make a project, without limits of its own and without keys."""
        return self._client.call(op.CREATE_PROJECT, reads(Project), {"name": name})

    def limit_project(self, project_id: str, **limits: Unpack[KeyLimits]) -> Project:
        """Set a project's limits, all of them: one that is left out is taken away."""
        return self._client.call(op.LIMIT_PROJECT, reads(Project), given({**limits}), project_id=project_id)

    def create_key(
        self,
        project_id: str,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        days: int | None = None,
        **limits: Unpack[KeyLimits],
    ) -> ApiKey:
        """Make a key for a project. The answer's `key` is shown this once: the host keeps only its hash."""
        named = {"name": name, "scopes": None if scopes is None else [*scopes], "days": days}
        body = given({**named, **limits})
        return self._client.call(op.CREATE_PROJECT_KEY, reads(ApiKey), body, project_id=project_id)
