#!/bin/bash
# The servers that tests start on free loopback ports: installed as root on Debian, else a hint. Nothing is left running.
set -euo pipefail
missing=()
for program in mosquitto mosquitto_sub; do
  PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing mosquitto"
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # RUNLEVEL=1: do not start the packaged service
  apt-get install -y -qq mosquitto mosquitto-clients >/dev/null 2>&1 ||
    { apt-get update -qq >/dev/null && apt-get install -y -qq mosquitto mosquitto-clients >/dev/null; }
else
  echo "The tests of sending need ${missing[*]}: sudo apt install mosquitto mosquitto-clients" >&2
  exit 1
fi
