#!/bin/sh
# Write .env beside this script, with a random value for each secret of .env.example.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
  echo "infra/compose/.env exists already; the servers keep its passwords, so remove both or neither" >&2
  exit 2
fi
umask 077
while read -r line; do
  case $line in
    *=) echo "$line$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
  esac
done <.env.example >.env.new
mv .env.new .env
