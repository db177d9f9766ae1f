from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...types import Response, UNSET
from ... import errors

from ...models.activations_answer import ActivationsAnswer
from ...models.activations_body import ActivationsBody
from ...models.error_envelope import ErrorEnvelope
from typing import cast



def _get_kwargs(
    *,
    body: ActivationsBody,

) -> dict[str, Any]:
    headers: dict[str, Any] = {}


    

    

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/activations",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs



def _parse_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> ActivationsAnswer | ErrorEnvelope | None:
    if response.status_code == 200:
        response_200 = ActivationsAnswer.from_dict(response.json())



        return response_200

    if response.status_code == 400:
        response_400 = ErrorEnvelope.from_dict(response.json())



        return response_400

    if response.status_code == 401:
        response_401 = ErrorEnvelope.from_dict(response.json())



        return response_401

    if response.status_code == 403:
        response_403 = ErrorEnvelope.from_dict(response.json())



        return response_403

    if response.status_code == 404:
        response_404 = ErrorEnvelope.from_dict(response.json())



        return response_404

    if response.status_code == 408:
        response_408 = ErrorEnvelope.from_dict(response.json())



        return response_408

    if response.status_code == 409:
        response_409 = ErrorEnvelope.from_dict(response.json())



        return response_409

    if response.status_code == 413:
        response_413 = ErrorEnvelope.from_dict(response.json())



        return response_413

    if response.status_code == 415:
        response_415 = ErrorEnvelope.from_dict(response.json())



        return response_415

    if response.status_code == 422:
        response_422 = ErrorEnvelope.from_dict(response.json())



        return response_422

    if response.status_code == 429:
        response_429 = ErrorEnvelope.from_dict(response.json())



        return response_429

    if response.status_code == 500:
        response_500 = ErrorEnvelope.from_dict(response.json())



        return response_500

    if response.status_code == 503:
        response_503 = ErrorEnvelope.from_dict(response.json())



        return response_503

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> Response[ActivationsAnswer | ErrorEnvelope]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    body: ActivationsBody,

) -> Response[ActivationsAnswer | ErrorEnvelope]:
    """ Activations

     Runs a backbone, or a fine-tuned model of the project, over some inputs: what a private head at home
    reads. A backbone gives
    `h.base`, a fine-tuned model `h.{i}` of its adapter sets (and `h.base` when asked). Nothing is kept.
    With
    `Accept: application/octet-stream` the answer is safetensors, with the scalars as metadata. Small
    calls of several callers share a
    pass; each answer is its own to rounding.

    Args:
        body (ActivationsBody): A call for activations.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ActivationsAnswer | ErrorEnvelope]
     """


    kwargs = _get_kwargs(
        body=body,

    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)

def sync(
    *,
    client: AuthenticatedClient,
    body: ActivationsBody,

) -> ActivationsAnswer | ErrorEnvelope | None:
    """ Activations

     Runs a backbone, or a fine-tuned model of the project, over some inputs: what a private head at home
    reads. A backbone gives
    `h.base`, a fine-tuned model `h.{i}` of its adapter sets (and `h.base` when asked). Nothing is kept.
    With
    `Accept: application/octet-stream` the answer is safetensors, with the scalars as metadata. Small
    calls of several callers share a
    pass; each answer is its own to rounding.

    Args:
        body (ActivationsBody): A call for activations.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ActivationsAnswer | ErrorEnvelope
     """


    return sync_detailed(
        client=client,
body=body,

    ).parsed

async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: ActivationsBody,

) -> Response[ActivationsAnswer | ErrorEnvelope]:
    """ Activations

     Runs a backbone, or a fine-tuned model of the project, over some inputs: what a private head at home
    reads. A backbone gives
    `h.base`, a fine-tuned model `h.{i}` of its adapter sets (and `h.base` when asked). Nothing is kept.
    With
    `Accept: application/octet-stream` the answer is safetensors, with the scalars as metadata. Small
    calls of several callers share a
    pass; each answer is its own to rounding.

    Args:
        body (ActivationsBody): A call for activations.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ActivationsAnswer | ErrorEnvelope]
     """


    kwargs = _get_kwargs(
        body=body,

    )

    response = await client.get_async_httpx_client().request(
        **kwargs
    )

    return _build_response(client=client, response=response)

async def asyncio(
    *,
    client: AuthenticatedClient,
    body: ActivationsBody,

) -> ActivationsAnswer | ErrorEnvelope | None:
    """ Activations

     Runs a backbone, or a fine-tuned model of the project, over some inputs: what a private head at home
    reads. A backbone gives
    `h.base`, a fine-tuned model `h.{i}` of its adapter sets (and `h.base` when asked). Nothing is kept.
    With
    `Accept: application/octet-stream` the answer is safetensors, with the scalars as metadata. Small
    calls of several callers share a
    pass; each answer is its own to rounding.

    Args:
        body (ActivationsBody): A call for activations.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ActivationsAnswer | ErrorEnvelope
     """


    return (await asyncio_detailed(
        client=client,
body=body,

    )).parsed
