"""Which changes of the contract break a client, by the rules of docs/releasing.md.

`schemas` compares values, `operations` calls, `notes` reads the changelog; scripts/contract_changes.py is the command.

Written here because nothing at npm, PyPI or crates.io reads OpenAPI 3.1 by direction, which decides: to leave a field
out breaks who sends it, to send one more breaks nobody who reads it. Tried: openapi-diff 0.24 (refuses 3.1), drift 0.2
of crates.io (built on openapiv3, which is 3.0), api-smart-diff 1.0 (its README names 3.0), optic 1.0 (the package
brings two telemetry clients), oasdiff and openapi-changes (Go; their npm names are empty or a downloader).
"""
