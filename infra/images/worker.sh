#!/bin/sh
# Clone the repository into /srv/mambatalk if it is not there, then start a worker, or the command
# given as arguments. GIT_USERNAME and GIT_PASSWORD, if set, are for git's remote over HTTPS.
set -eu
if [ -n "${GIT_PASSWORD:-}" ]; then
  # The helper reads the variables when git asks, so that no file holds the password.
  git config --global credential.helper '!f() { echo "username=$GIT_USERNAME"; echo "password=$GIT_PASSWORD"; }; f'
fi
git config --global user.name "${GIT_AUTHOR_NAME:-mambatalk worker}"
git config --global user.email "${GIT_AUTHOR_EMAIL:-worker@localhost}"
# Workers that start at once share the volumes: one clones, and the others wait for its end.
flock "$MAMBATALK_HOME/clone.lock" sh -c \
  '[ -e .git ] || git clone "${GIT_REPOSITORY:?is the address of the git repository}" .'
[ "$#" -eq 0 ] || exec "$@"
exec prefect worker start --type process --pool "${WORK_POOL:?is the name of the work pool}" --limit 1
