"""Makes `src/blindtune/_generated` from the contract: `python tools/generate.py ../../openapi.yaml [folder]`.

The generator (openapi-python-client, Python 3.11 or newer) drops without an error what it does not understand, so the
contract is put into forms that it does understand first, and any warning it prints fails the run. Tensor bodies are
written by hand (`step_calls.py`), so the `steps` calls are left out, and so are health checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

LEFT_OUT = {"steps", "health"}
CONFIG = """project_name_override: blindtune-generated
package_name_override: _generated
post_hooks: []
literal_enums: true
content_type_overrides:
  application/zip: application/octet-stream
"""
HERE = Path(__file__).resolve().parent.parent


def main(contract: Path, target: Path) -> None:
    """Generate into `target`, replacing what is there."""
    read = YAML(typ="safe", pure=True).load(contract.read_text(encoding="utf-8"))
    document = adapt(json.loads(json.dumps(read, default=str)))  # an unquoted date in an example is read as a date
    with tempfile.TemporaryDirectory() as folder:
        spec, config = Path(folder, "openapi.json"), Path(folder, "config.yaml")
        spec.write_text(json.dumps(document), encoding="utf-8")
        config.write_text(CONFIG, encoding="utf-8")
        command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--overwrite"]
        command += ["--fail-on-warning", "--path", str(spec), "--config", str(config), "--output-path", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"the generator refused the contract:\n{done.stdout}{done.stderr}")
    client = target / "client.py"  # the generator's own release needs Python 3.11, the SDK only 3.10
    written = client.read_text(encoding="utf-8")
    fitted = written.replace("import Any, Self", "import Any\n\nfrom typing_extensions import Self")
    client.write_text(fitted, encoding="utf-8")


def adapt(document: dict[str, Any]) -> dict[str, Any]:
    """Make wildcard paths plain, drop defaults that are objects, and leave out what only hand-written calls use."""
    paths = {}
    for path, item in document["paths"].items():
        calls = {verb: call for verb, call in item.items() if not LEFT_OUT & set(call.get("tags", []))}
        if calls:
            paths[path.replace("{*", "{")] = calls
    plain: dict[str, Any] = _drop_object_defaults(document | {"paths": paths})
    schemas = plain["components"]["schemas"]
    reached: set[str] = set()
    waiting = _references(plain["paths"])
    while waiting:
        reached |= waiting
        waiting = set().union(*(_references(schemas[name]) for name in waiting)) - reached
    plain["components"]["schemas"] = {name: schemas[name] for name in schemas if name in reached}
    return plain


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(_references, value.values()))
    return found | {value["$ref"].rsplit("/", 1)[1]} if isinstance(value.get("$ref"), str) else found


def _drop_object_defaults(value: Any) -> Any:
    if isinstance(value, list):
        return [_drop_object_defaults(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {"oneOf", "anyOf", "allOf", "$ref", "type"} & value.keys()
    kept = {k: v for k, v in value.items() if not (k == "default" and schema and isinstance(v, dict))}
    return {key: _drop_object_defaults(item) for key, item in kept.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "src/blindtune/_generated")
