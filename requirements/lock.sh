#!/usr/bin/env bash
# Write dev.lock and runtime.lock from dev.in and runtime.in. Argument: the uv to use.
#
# Each lock serves every Python from 3.11 on (--universal). It names versions and hashes only: where packages are
# fetched from is the business of the machine that installs them.
set -euo pipefail

uv=$1
cd "$(dirname "$0")/.."

compile() {
    "$uv" pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-config \
        --custom-compile-command "make lock" "$@"
}

compile requirements/dev.in --output-file requirements/dev.lock
# The runtime set is a part of the development set, at the very same versions.
compile requirements/runtime.in --constraints requirements/dev.lock --output-file requirements/runtime.lock
