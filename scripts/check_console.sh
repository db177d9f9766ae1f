#!/usr/bin/env bash
# Whether the types of console and board are right, by openapi.yaml as it is, and both bundles are what their sources build to.
source "$(dirname "$0")/setup/common.sh"
export PATH="$deps/console-node/bin:$PATH"
page="$root/sdk/python/src/blindtune/board/page"
built=$(mktemp -d); trap 'rm -rf "$built"' EXIT
cd "$root/console"
npm run --silent types >/dev/null 2>&1 || die "openapi.yaml does not become types: npm run types, in console/"
npx --no-install svelte-check --tsconfig ./tsconfig.json --fail-on-warnings --output human >"$built/check" 2>&1 || { cat "$built/check" >&2; exit 1; }
npx --no-install vite build --outDir "$built/dist" --emptyOutDir --logLevel error
diff --recursive "$built/dist" dist >/dev/null || die "console/dist is not what console/ builds to: make console"
npx --no-install vite build --config vite.board.config.ts --outDir "$built/page" --emptyOutDir --logLevel error
diff --recursive "$built/page" "$page" >/dev/null || die "the board's page in sdk/python is not what console/ builds to: make console"
