# Makes a bootable Debian disk; src/cli/image.c runs it with /bin/sh as root of a user namespace of its
# own, so that neither root nor loop devices are needed. What it is given, in the environment:
#   GUISE, OUTPUT (a file; NAME.qcow2 gets that format), WORK (an empty directory), SUITE,
#   MIRROR or "", INCLUDE (package,package or ""), SIZE (bytes), HOSTNAME, PASSWORD or "",
#   KEY (file or "")
# What fails has said why on standard error. The output appears complete or not at all.
set -eu
umask 022
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive

MIB=1048576
ESP_START=1 # MiB
ESP_MIB=64
ROOT_START=$((ESP_START + ESP_MIB))
root=$WORK/root
disk=$OUTPUT.part
root_uuid=$(cat /proc/sys/kernel/random/uuid)
esp_id=$(cut -c1-8 /proc/sys/kernel/random/uuid | tr a-f A-F)

step()
{
    echo "guise: $*" >&2
}

fail()
{
    echo "guise: $*" >&2
    exit 2
}

# Packages that make a machine of a minimal system.
PACKAGES=systemd-sysv,udev,dbus,kmod,linux-image-riscv64,initramfs-tools,zstd,grub-efi-riscv64
PACKAGES=$PACKAGES,e2fsprogs,dosfstools,iproute2,iputils-ping,systemd-resolved,openssh-server
PACKAGES=$PACKAGES,ca-certificates,less

# ---- riscv64 programs ---------------------------------------------------------------------------

# A mount of this namespace's own, or the machine's handlers would be changed. Linux before 6.7 has
# none, and then the machine's handler, if there is one, has to do.
install_handler()
{
    if mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null; then
        "$GUISE" binfmt install
    elif ! arch-test riscv64 >/dev/null 2>&1; then
        fail "this kernel has no binfmt_misc in user namespaces (Linux 6.7 has): run" \
            "'guise binfmt install' as root first"
    fi
}

# ---- the root file system -----------------------------------------------------------------------

# The mirror that this machine's apt has for Debian (or its corrections), if it runs Debian.
host_mirror()
{
    apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' \
        "Label: $1" 2>/dev/null | grep -v ' ' | sort -u | head -n 1
}

# Lines for apt: the suite alone, or with what has been corrected since. None: mmdebstrap knows where
# Debian is.
sources()
{
    main=${MIRROR:-$(host_mirror Debian)}
    [ -n "$main" ] || return 0
    echo "deb $main $SUITE main"
    [ "$1" = all ] || return 0
    security=$(host_mirror Debian-Security)
    echo "deb $main $SUITE-updates main"
    [ -z "$security" ] || echo "deb $security $SUITE-security main"
}

# The modules that a machine's disk may need, so that the initial RAM disk stays small.
configure_initramfs='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/guise"
printf "%s\n" virtio_mmio virtio_pci virtio_blk virtio_scsi sd_mod nvme ext4 \
    >"$1/usr/share/initramfs-tools/modules.d/guise"'

# Translations are kept for the next program while packages are set up, and are no part of the disk.
CACHE=/.guise-cache

bootstrap()
{
    sources "$1" >"$WORK/sources.list"
    if [ -s "$WORK/sources.list" ]; then
        set -- "$WORK/sources.list"
    else
        set --
    fi
    GUISE_CACHE=$CACHE mmdebstrap --mode=root --format=directory --architectures=riscv64 \
        --variant=minbase --setup-hook="mkdir -m 700 \"\$1$CACHE\"" \
        --include="$PACKAGES${INCLUDE:+,$INCLUDE}" --skip=check/empty,cleanup/reproducible \
        --essential-hook="$configure_initramfs" \
        --customize-hook='chroot "$1" systemctl --quiet enable systemd-networkd systemd-resolved' \
        --customize-hook="rm -r \"\$1$CACHE\"" \
        "$SUITE" "$root" "$@"
}

unpack()
{
    case $MIRROR:$SUITE in
        :sid | :unstable | ?*:*) bootstrap suite ;;
        *)
            bootstrap all || {
                step "trying again without $SUITE-updates and $SUITE-security"
                rm -rf "$root"
                bootstrap suite
            }
            ;;
    esac
}

inside()
{
    chroot "$root" env -i LC_ALL=C HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

set_up_network()
{
    cat >"$root/etc/systemd/network/80-dhcp.network" <<END
[Match]
Name=en* eth*

[Network]
DHCP=yes
END
    ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
    echo "$HOSTNAME" >"$root/etc/hostname"
    printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost\n' "$HOSTNAME" \
        >"$root/etc/hosts"
}

set_up_login()
{
    if [ -n "$PASSWORD" ]; then
        echo "root:$PASSWORD" | inside chpasswd
    else
        inside passwd --quiet --delete root
    fi
    if [ -n "$KEY" ]; then
        mkdir -m 700 -p "$root/root/.ssh"
        cat "$KEY" >"$root/root/.ssh/authorized_keys"
    fi
    # Each machine made of this image has its own host keys and id, from its first start.
    rm -f "$root"/etc/ssh/ssh_host_*
    mkdir -p "$root/etc/systemd/system/ssh.service.d"
    cat >"$root/etc/systemd/system/ssh.service.d/host-keys.conf" <<END
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
END
    : >"$root/etc/machine-id"
}

set_up_boot()
{
    cat >"$root/etc/fstab" <<END
UUID=$root_uuid / ext4 errors=remount-ro 0 1
UUID=$(echo "$esp_id" | sed 's/^..../&-/') /boot/efi vfat umask=0077 0 2
END
    mkdir -p "$root/boot/efi" "$root/boot/grub"
    sed -i 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=0/' "$root/etc/default/grub"
    # The one that update-grub, which has to see the disk, replaces when a kernel is installed.
    cat >"$root/boot/grub/grub.cfg" <<END
search --no-floppy --fs-uuid --set=root $root_uuid
linux /vmlinuz root=UUID=$root_uuid ro quiet
initrd /initrd.img
boot
END
}

# ---- the disk -----------------------------------------------------------------------------------

make_partitions()
{
    truncate -s "$SIZE" "$disk"
    sfdisk --quiet "$disk" <<END
label: gpt
start=${ESP_START}MiB, size=${ESP_MIB}MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=esp
start=${ROOT_START}MiB, type=72EC70A6-CF74-40E6-BD49-4BDA08E8F224, name=root
END
}

# The loader that firmware finds by itself, and where it finds GRUB's menu.
make_esp()
{
    esp=$disk@@$((ESP_START * MIB))
    cat >"$WORK/grub.cfg" <<END
search.fs_uuid $root_uuid root
set prefix=(\$root)/boot/grub
configfile \$prefix/grub.cfg
END
    mformat -i "$esp" -F -T $((ESP_MIB * 2048)) -N "$esp_id" -v ESP ::
    mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/debian
    mcopy -i "$esp" "$root/usr/lib/grub/riscv64-efi/monolithic/grubriscv64.efi" \
        ::/EFI/BOOT/BOOTRISCV64.EFI
    mcopy -i "$esp" "$WORK/grub.cfg" ::/EFI/debian/grub.cfg
}

# A new file is all zeros, so that nothing of the inode tables has to be written, now or later.
make_root()
{
    mke2fs -q -t ext4 -U "$root_uuid" -L root -d "$root" \
        -E offset=$((ROOT_START * MIB)),assume_storage_prezeroed=1,nodiscard \
        "$disk" $((SIZE / 1024 - (ROOT_START + 1) * 1024))k
}

finish()
{
    case $OUTPUT in
        *.qcow2)
            rm -f "$OUTPUT"
            "$GUISE" disk convert --format raw "$disk" "$OUTPUT"
            ;;
        *) mv "$disk" "$OUTPUT" ;;
    esac
}

[ ! -e "$disk" ] || fail "$disk: another guise writes it, or it is left from one: remove it then"
(set -C && : >"$disk") 2>/dev/null || fail "$disk: cannot be written"
trap 'rm -rf "$WORK"/* "$disk"' EXIT
trap 'exit 130' INT TERM HUP
install_handler
step "installing Debian $SUITE for riscv64"
unpack
step "setting it up"
set_up_network
set_up_login
set_up_boot
step "writing the disk"
make_partitions
make_esp
make_root
finish
