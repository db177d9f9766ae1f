from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...types import Response, UNSET
from ... import errors

from ...models.deleted import Deleted
from ...models.error_envelope import ErrorEnvelope
from typing import cast



def _get_kwargs(
    job_id: str,
    checkpoint_id: str,

) -> dict[str, Any]:
    

    

    

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}".format(job_id=quote(str(job_id), safe=""),checkpoint_id=quote(str(checkpoint_id), safe=""),),
    }


    return _kwargs



def _parse_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> Deleted | ErrorEnvelope | None:
    if response.status_code == 200:
        response_200 = Deleted.from_dict(response.json())



        return response_200

    if response.status_code == 401:
        response_401 = ErrorEnvelope.from_dict(response.json())



        return response_401

    if response.status_code == 403:
        response_403 = ErrorEnvelope.from_dict(response.json())



        return response_403

    if response.status_code == 404:
        response_404 = ErrorEnvelope.from_dict(response.json())



        return response_404

    if response.status_code == 409:
        response_409 = ErrorEnvelope.from_dict(response.json())



        return response_409

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


def _build_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> Response[Deleted | ErrorEnvelope]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    job_id: str,
    checkpoint_id: str,
    *,
    client: AuthenticatedClient,

) -> Response[Deleted | ErrorEnvelope]:
    """ Delete a checkpoint

     With its state. The newest one of a job that could still go on stays.

    Args:
        job_id (str):
        checkpoint_id (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Deleted | ErrorEnvelope]
     """


    kwargs = _get_kwargs(
        job_id=job_id,
checkpoint_id=checkpoint_id,

    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)

def sync(
    job_id: str,
    checkpoint_id: str,
    *,
    client: AuthenticatedClient,

) -> Deleted | ErrorEnvelope | None:
    """ Delete a checkpoint

     With its state. The newest one of a job that could still go on stays.

    Args:
        job_id (str):
        checkpoint_id (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Deleted | ErrorEnvelope
     """


    return sync_detailed(
        job_id=job_id,
checkpoint_id=checkpoint_id,
client=client,

    ).parsed

async def asyncio_detailed(
    job_id: str,
    checkpoint_id: str,
    *,
    client: AuthenticatedClient,

) -> Response[Deleted | ErrorEnvelope]:
    """ Delete a checkpoint

     With its state. The newest one of a job that could still go on stays.

    Args:
        job_id (str):
        checkpoint_id (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Deleted | ErrorEnvelope]
     """


    kwargs = _get_kwargs(
        job_id=job_id,
checkpoint_id=checkpoint_id,

    )

    response = await client.get_async_httpx_client().request(
        **kwargs
    )

    return _build_response(client=client, response=response)

async def asyncio(
    job_id: str,
    checkpoint_id: str,
    *,
    client: AuthenticatedClient,

) -> Deleted | ErrorEnvelope | None:
    """ Delete a checkpoint

     With its state. The newest one of a job that could still go on stays.

    Args:
        job_id (str):
        checkpoint_id (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Deleted | ErrorEnvelope
     """


    return (await asyncio_detailed(
        job_id=job_id,
checkpoint_id=checkpoint_id,
client=client,

    )).parsed
