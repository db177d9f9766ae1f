from typing import Literal

CreateApiKeyScopesType0Item = Literal['admin', 'files:*', 'files:read', 'files:write', 'jobs:*', 'jobs:read', 'jobs:write', 'models:*', 'models:read', 'models:write', 'steps:*', 'steps:write']

CREATE_API_KEY_SCOPES_TYPE_0_ITEM_VALUES: set[CreateApiKeyScopesType0Item] = { 'admin', 'files:*', 'files:read', 'files:write', 'jobs:*', 'jobs:read', 'jobs:write', 'models:*', 'models:read', 'models:write', 'steps:*', 'steps:write',  }

def check_create_api_key_scopes_type_0_item(value: str) -> CreateApiKeyScopesType0Item:
    if value in CREATE_API_KEY_SCOPES_TYPE_0_ITEM_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {CREATE_API_KEY_SCOPES_TYPE_0_ITEM_VALUES!r}")
