#!/bin/bash
# What tests need beside Python: installed as root on Debian, else a hint. Nothing is started here, and nothing left running.
#   tests/servers.sh check     for make check: systemd-analyze; without it the units are not checked, which is no failure
#   tests/servers.sh           for make test: mosquitto, strace, PostgreSQL, and what fakes a name server and a clock
#   tests/servers.sh system    for make test-system, too: a Debian root, OpenCV with GStreamer
set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"
packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
if [ "${1:-}" = check ]; then
  need systemd-analyze systemd
else
  need mosquitto mosquitto
  need mosquitto_sub mosquitto-clients
  need strace strace
  compgen -G '/usr/lib/*/libnss_wrapper.so' >/dev/null || packages+=(libnss-wrapper)
  compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages+=(faketime)
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || packages+=(postgresql)
fi
if [ "${1:-}" = system ]; then
  need mmdebstrap mmdebstrap
  need lintian lintian
  need ip iproute2
  need qemu-system-aarch64 qemu-system-arm
  need qemu-aarch64-static qemu-user-static
  need modprobe kmod
  need cpio cpio
  need systemd-nspawn systemd-container
  [ "$(uname -m)" != x86_64 ] || need linux.uml user-mode-linux
  need gst-inspect-1.0 gstreamer1.0-tools
  /usr/bin/python3 -c 'import cv2' 2>/dev/null || packages+=(python3-opencv gstreamer1.0-plugins-base gstreamer1.0-plugins-good)
fi
[ ${#packages[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # RUNLEVEL=1: do not start a packaged service
  install() { apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1; }
  install || { apt-get update -qq >/dev/null; install; } || [ "${1:-}" = check ]  # the tests say that they were skipped
elif [ "${1:-}" = check ]; then
  echo "The systemd units are not checked, because systemd-analyze is missing: sudo apt install systemd" >&2
else
  echo "These tests need ${packages[*]}: sudo apt install ${packages[*]}" >&2
  exit 1
fi
