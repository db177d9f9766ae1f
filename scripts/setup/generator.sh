#!/usr/bin/env bash
# Makes .deps/generator: openapi-generator with a Java of its own (140 MB), and in it the client that it writes from openapi.yaml.
source "$(dirname "$0")/common.sh"
python_env generator "$root/tests/contract/requirements-generator.lock"
home="$deps/generator"
want=$(sha256sum < "$root/openapi.yaml" | cut -d' ' -f1)
[ -f "$home/.client" ] && [ "$(cat "$home/.client")" = "$want" ] && exit 0
say "writing a client with openapi-generator"
rm -rf "$home/client"
PATH="$home/bin:$PATH" "$home/bin/openapi-generator-cli" generate --input-spec "$root/openapi.yaml" --generator-name python \
    --output "$home/client" --additional-properties packageName=blindtune_second > "$home/client.log" 2>&1 ||
    die "openapi-generator refused openapi.yaml: see .deps/generator/client.log"
"$home/bin/python" -m pip install --quiet --no-deps --no-build-isolation --force-reinstall "$home/client"
echo "$want" > "$home/.client"
