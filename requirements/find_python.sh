#!/usr/bin/env bash
# Print the first Python that is new enough and can make a virtual environment.
set -euo pipefail

for candidate in python3.13 python3.12 python3.11 python3; do
    # A name on the PATH may be a shim that does not run, so each is tried, not only found.
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        echo "$candidate"
        exit 0
    fi
done

cat >&2 <<'MESSAGE'
No usable Python >= 3.11 was found (tried python3.13, python3.12, python3.11, python3).
Install one together with its venv module, on Debian or Ubuntu: apt-get install python3 python3-venv
MESSAGE
exit 1
