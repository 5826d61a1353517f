#!/bin/sh
# Installs the gateways that `make bench` measures beside ours, under .cache/peers: LiteLLM (a virtual environment of about
# 700 MB) and Portkey (if there is a Node with npm). Needs the network. Usage: install.sh [PYTHON]
set -eu
cd "$(dirname "$0")/../.."
python="${1:-python3}"
peers=.cache/peers
mkdir -p "$peers"

"$python" -m venv "$peers/litellm"
"$peers/litellm/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers/litellm.txt
echo "LiteLLM: $("$peers/litellm/bin/python" -c 'from importlib.metadata import version; print(version("litellm"))')"

if command -v npm >/dev/null; then
    mkdir -p "$peers/portkey"
    cp benchmarks/peers/package.json benchmarks/peers/package-lock.json benchmarks/peers/.npmrc "$peers/portkey/"
    # The package's own install step patches sources that its build does not contain.
    npm --prefix "$peers/portkey" ci --ignore-scripts --omit=dev --no-progress --loglevel=error
    echo "Portkey: $(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$peers/portkey/node_modules/@portkey-ai/gateway/package.json")"
else
    echo "Portkey: not installed, there is no npm."
fi
