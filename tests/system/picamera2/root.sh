#!/bin/bash
# A Debian root with the real picamera2 on the real libcamera, whose pipeline "virtual" plays pictures: no hardware.
#   root.sh build ROOT LOCK      make it, with the packages of LOCK (needs root, mmdebstrap and pip; about a minute, 700 MB)
#   root.sh run ROOT COMMAND...  run a command in it, with a mount table of its own and without any network
# Debian and PyPI come from wherever this machine's apt and pip get them. Nothing is left mounted.
set -euo pipefail
action=$1 root=$2
shift 2
case $action in
build)
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$')
  # libcamera 0.4 of trixie itself never sets the frame status of its virtual camera: take 0.7 from the backports
  unshare --mount mmdebstrap -q --variant=extract --mode=root --aptopt='Apt::Install-Recommends "false"' \
    --include=python3,libstdc++6,bash,coreutils,python3-libcamera/trixie-backports,python3-prctl \
    trixie "$root" "deb $mirror trixie main" "deb $mirror trixie-backports main"
  machine=$(uname -m)
  wheels() {
    python3 -m pip install -q --root-user-action=ignore --disable-pip-version-check --no-deps --target "$root/site" \
      --python-version 3.13 --implementation cp --only-binary=:all: \
      --platform "manylinux2014_$machine" --platform "manylinux_2_27_$machine" --platform "manylinux_2_28_$machine" "$@"
  }
  wheels --require-hashes -r "$1"
  wheels picamera2==0.3.38 simplejpeg==1.9.0 videodev2==0.0.4 libarchive-c==5.3 piexif==1.1.3 pillow==12.0.0
  mkdir -p "$root"/{t,proc,frames,usr/share/libcamera/pipeline/virtual}
  ;;
run)
  exec unshare --mount --net -- sh -c '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    exec chroot "$0" /usr/bin/env -i PATH=/usr/bin:/bin PYTHONPATH=/site:/t PYTHONDONTWRITEBYTECODE=1 LIBCAMERA_LOG_LEVELS="*:FATAL" "$@"' "$root" "$@"
  ;;
esac
