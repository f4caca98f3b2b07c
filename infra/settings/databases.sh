#!/bin/sh
# Create the roles and databases of the MLflow and Prefect servers on a new PostgreSQL server.
#
# The PostgreSQL image runs this at its first start. Elsewhere: set PGHOST, PGPORT and PGPASSWORD and
# run it once. psql reads the passwords from its environment, so that no process list shows them.
set -eu
: "${MLFLOW_DB_PASSWORD:?is the password for the role mlflow}"
: "${PREFECT_DB_PASSWORD:?is the password for the role prefect}"
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv mlflow_password MLFLOW_DB_PASSWORD
\getenv prefect_password PREFECT_DB_PASSWORD
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_auth OWNER mlflow;
CREATE DATABASE prefect OWNER prefect;
REVOKE CONNECT ON DATABASE mlflow, mlflow_auth, prefect FROM PUBLIC;
SQL
