from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...types import Response, UNSET
from ... import errors

from ...models.error_envelope import ErrorEnvelope
from ...types import File, FileTypes
from ...types import UNSET, Unset
from io import BytesIO
from typing import cast



def _get_kwargs(
    job_id: str,
    checkpoint_id: str,
    *,
    set_: int | Unset = UNSET,

) -> dict[str, Any]:
    

    

    params: dict[str, Any] = {}

    params["set"] = set_


    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}


    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}/content".format(job_id=quote(str(job_id), safe=""),checkpoint_id=quote(str(checkpoint_id), safe=""),),
        "params": params,
    }


    return _kwargs



def _parse_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> ErrorEnvelope | File | None:
    if response.status_code == 200:
        response_200 = File(
             payload = BytesIO(response.content)
        )



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


def _build_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> Response[ErrorEnvelope | File]:
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
    set_: int | Unset = UNSET,

) -> Response[ErrorEnvelope | File]:
    """ Download a checkpoint's adapters

     A zip of PEFT folders, `set_0/adapter_config.json` and `set_0/adapter_model.safetensors` and so on;
    with `set`, the two files
    of that set. `peft.PeftModel.from_pretrained` loads each folder.

    Args:
        job_id (str):
        checkpoint_id (str):
        set_ (int | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ErrorEnvelope | File]
     """


    kwargs = _get_kwargs(
        job_id=job_id,
checkpoint_id=checkpoint_id,
set_=set_,

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
    set_: int | Unset = UNSET,

) -> ErrorEnvelope | File | None:
    """ Download a checkpoint's adapters

     A zip of PEFT folders, `set_0/adapter_config.json` and `set_0/adapter_model.safetensors` and so on;
    with `set`, the two files
    of that set. `peft.PeftModel.from_pretrained` loads each folder.

    Args:
        job_id (str):
        checkpoint_id (str):
        set_ (int | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ErrorEnvelope | File
     """


    return sync_detailed(
        job_id=job_id,
checkpoint_id=checkpoint_id,
client=client,
set_=set_,

    ).parsed

async def asyncio_detailed(
    job_id: str,
    checkpoint_id: str,
    *,
    client: AuthenticatedClient,
    set_: int | Unset = UNSET,

) -> Response[ErrorEnvelope | File]:
    """ Download a checkpoint's adapters

     A zip of PEFT folders, `set_0/adapter_config.json` and `set_0/adapter_model.safetensors` and so on;
    with `set`, the two files
    of that set. `peft.PeftModel.from_pretrained` loads each folder.

    Args:
        job_id (str):
        checkpoint_id (str):
        set_ (int | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ErrorEnvelope | File]
     """


    kwargs = _get_kwargs(
        job_id=job_id,
checkpoint_id=checkpoint_id,
set_=set_,

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
    set_: int | Unset = UNSET,

) -> ErrorEnvelope | File | None:
    """ Download a checkpoint's adapters

     A zip of PEFT folders, `set_0/adapter_config.json` and `set_0/adapter_model.safetensors` and so on;
    with `set`, the two files
    of that set. `peft.PeftModel.from_pretrained` loads each folder.

    Args:
        job_id (str):
        checkpoint_id (str):
        set_ (int | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ErrorEnvelope | File
     """


    return (await asyncio_detailed(
        job_id=job_id,
checkpoint_id=checkpoint_id,
client=client,
set_=set_,

    )).parsed
