#!/usr/bin/env bash
# Installs the servers that the tests start: Debian packages where it may (root and apt-get), Kafka's jars from Maven.
# What cannot be had is named, with the tests that are then skipped. Services are never started: the tests start
# their own, on free ports.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec </dev/null

# command that must be there : Debian package : tests that need it
needs=(
  "java:openjdk-17-jre-headless:kafka"
  "mvn:maven:kafka"
  "prometheus:prometheus:prometheus"
  "prometheus-alertmanager:prometheus-alertmanager:alertmanager"
  "psql:postgresql:postgresql"
  "chromium:chromium:chromium"
)

missing_packages() {
  local need command package
  for need in "${needs[@]}"; do
    IFS=: read -r command package _ <<<"$need"
    command -v "$command" >/dev/null || echo "$package"
  done
}

# Debian's own way to say "start nothing while installing"; a policy that is already there is left alone.
without_starting_services() {
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f '"$policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  "$@"
}

# Runs a command; shows what it says only if it fails.
quietly() {
  local said status=0
  said=$("$@" 2>&1) || status=$?
  if ((status)); then echo "$said" >&2; fi
  return "$status"
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  echo "Installing for the tests: $*"
  quietly apt-get update -qq &&
    (without_starting_services quietly apt-get install -qq --no-install-recommends "$@")
}

name_what_is_missing() {
  local need command package tests
  for need in "${needs[@]}"; do
    IFS=: read -r command package tests <<<"$need"
    command -v "$command" >/dev/null ||
      echo "missing: $command (Debian package $package); the tests marked '$tests' will be skipped"
  done
}

fetch_kafka() {
  local pom=tests/servers/pom.xml jars=.cache/kafka
  [[ $jars/complete.stamp -nt $pom ]] && return
  command -v mvn >/dev/null || return 0
  echo "Fetching Kafka's jars into $jars"
  rm -rf "$jars"
  if quietly mvn --quiet --batch-mode --file "$pom" dependency:copy-dependencies "-DoutputDirectory=$PWD/$jars"; then
    touch "$jars/complete.stamp"
  else
    echo "missing: Kafka's jars (see above); the tests marked 'kafka' will be skipped"
  fi
}

mapfile -t packages < <(missing_packages)
if ((${#packages[@]})) && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  install_packages "${packages[@]}" || echo "apt-get could not install them"
fi
name_what_is_missing
fetch_kafka
