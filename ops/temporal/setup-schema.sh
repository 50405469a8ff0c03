#!/bin/sh
# Creates or upgrades Temporal's two databases on PostgreSQL; a repeat changes nothing.
set -eu
export SQL_PASSWORD="$POSTGRES_PWD"
for name in temporal visibility; do
  database=temporal
  [ "$name" = visibility ] && database=temporal_visibility
  tool="temporal-sql-tool --plugin postgres12 --ep $POSTGRES_SEEDS --port $DB_PORT --user $POSTGRES_USER --db $database"
  versions="/etc/temporal/schema/postgresql/v12/$name/versioned"
  if ! $tool update-schema --schema-dir "$versions"; then
    $tool create-database
    $tool setup-schema --version 0.0
    $tool update-schema --schema-dir "$versions"
  fi
done
