#!/bin/bash
# A whole 64-bit Arm machine, emulated: Debian's own arm64 kernel, systemd as process 1, and vivid, a V4L2 camera made by the kernel.
#   machine.sh build DIR         make its root and what it boots from (needs root, mmdebstrap, qemu-user; some minutes, 500 MB)
#   machine.sh image DIR EXTRA   put the folder EXTRA into the root as /t, start trial.service at boot, write the disk's image
#   machine.sh boot DIR SECONDS  switch it on; ends when it switches itself off, at the latest after so many seconds
#   machine.sh read DIR FILE     print a file of its disk
# Debian comes from wherever this machine's apt gets it. Mounts are made in a mount table of its own: nothing is left mounted.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
action=$1 dir=$2
shift 2
root=$dir/root
inner=/var/cache/kernel

# Let this kernel start arm64 programs, if nobody has yet (Debian's qemu-user-static does so where systemd runs).
emulated() {
  mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] && return
  printf '%s' ':qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:OCF' \
    >/proc/sys/fs/binfmt_misc/register
}

# The kernel and a static busybox are unpacked, not installed: to install a kernel means to make an initrd, slowly, under emulation.
fetch_kernel='set -e; mkdir -p "$1'$inner'"; cd "$1'$inner'"; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
  apt-get download -q "$(apt-cache depends linux-image-arm64 | sed -n "s/.*Depends: \(linux-image-\)/\1/p" | head -1)" busybox-static'

# Copy modules, with those that they need, from one tree into another: modules FROM TO NAME...
modules() {
  local from=$1 to=$2 name file
  shift 2
  for name in "$@"; do
    modprobe -d "$from" -S "$version" --show-depends "$name" | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r file; do
      install -D -m 644 "$file" "$to/${file#"$from"/}"
    done
  done
}

make_initrd() {
  local unpacked=$1 initrd=$dir/initrd name
  mkdir -p "$initrd"/{bin,proc,sys,dev,root}
  cp "$unpacked/bin/busybox" "$initrd/bin/"
  modules "$unpacked" "$initrd" virtio_mmio virtio_blk crc32c_generic ext4
  {
    echo '#!/bin/busybox sh'
    echo '/bin/busybox mount -t devtmpfs dev /dev'
    for name in virtio_mmio virtio_blk crc32c_generic ext4; do
      modprobe -d "$unpacked" -S "$version" --show-depends "$name" | sed -n "s|^insmod $unpacked\([^ ]*\).*|/bin/busybox insmod \1 2>/dev/null|p"
    done
    echo 'while ! /bin/busybox mount -t ext4 /dev/vda /root; do /bin/busybox sleep 1; done'
    echo '/bin/busybox mount --move /dev /root/dev'
    echo 'exec /bin/busybox switch_root /root /lib/systemd/systemd'
  } >"$initrd/init"
  chmod 755 "$initrd/init"
  (cd "$initrd" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$dir/initrd.gz"
  rm -rf "$initrd"
}

case $action in
build)
  emulated
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$')
  mkdir -p "$dir"
  [ -d "$root" ] || unshare --mount mmdebstrap -q --arch=arm64 --variant=minbase --mode=root --aptopt='Apt::Install-Recommends "false"' \
    --include=systemd-sysv,udev,kmod,procps,python3,python3-numpy,mosquitto,mosquitto-clients \
    --customize-hook="$fetch_kernel" bookworm "$root" "deb $mirror bookworm main"
  unpacked=$dir/unpacked
  for package in "$root$inner"/*.deb; do dpkg-deb -x "$package" "$unpacked"; done
  version=$(ls "$unpacked/lib/modules")
  depmod -b "$unpacked" "$version"
  cp "$unpacked/boot/vmlinuz-$version" "$dir/kernel"
  make_initrd "$unpacked"
  modules "$unpacked" "$root" vivid virtio_rng
  cp "$unpacked/lib/modules/$version"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$version/"
  depmod -b "$root" "$version"
  rm -rf "$unpacked" "${root:?}$inner"
  ;;
image)
  rm -rf "$root/t" "$dir/disk"
  cp -r "$1" "$root/t"
  cp "$1/trial.service" "$root/etc/systemd/system/"
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  ln -sf ../trial.service "$root/etc/systemd/system/multi-user.target.wants/trial.service"
  echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
  truncate -s 4G "$dir/disk"
  mkfs.ext4 -q -F -d "$root" "$dir/disk"
  ;;
boot)
  exec timeout "$1" qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 2048 -accel tcg,thread=multi -nographic -no-reboot -net none \
    -kernel "$dir/kernel" -initrd "$dir/initrd.gz" -append 'console=ttyAMA0 loglevel=4 systemd.firstboot=off' \
    -drive "if=none,id=disk,file=$dir/disk,format=raw,cache=unsafe" -device virtio-blk-device,drive=disk \
    -device virtio-rng-device </dev/null
  ;;
read)
  debugfs -R "cat $1" "$dir/disk" 2>/dev/null
  ;;
esac
