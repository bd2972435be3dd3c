//! The disk of the guest: Debian's packages, the programs and units as `make install` lays them,
//! and nothing that was made by hand.
//!
//! Owns the root folder that debootstrap fills once, and the image that is made of it for each run.
//! Never writes outside of its work folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use longshore_harness::{binaries, command::run, image::sample_archive};
use sha2::{Digest, Sha256};

use crate::figures::progress;

const SUITE: &str = "bookworm";
/// What the guest is made of besides Debian's smallest base.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "ca-certificates",
    "containerd",
    "curl",
    "dbus",
    "docker.io",
    "iproute2",
    "iptables",
    "kmod",
    "linux-image-cloud-amd64",
    "nfs-common",
    "nfs-kernel-server",
    "nftables",
    "openssh-server",
    "procps",
    "systemd",
    "systemd-sysv",
    "udev",
];
/// Programs that this needs, with Debian's package of each.
const NEEDS: &[(&str, &str)] = &[
    ("debootstrap", "debootstrap"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("ssh", "openssh-client"),
    ("strip", "binutils"),
];
/// Size of the guest's file system; the image is sparse.
const DISK_SIZE: &str = "6G";
/// Where the guest has the packages of both programs, of two releases.
pub(super) const OUR_PACKAGES: &str = "/var/lib/packages";
pub(super) const RELEASES: [&str; 2] = ["1.0.0", "1.1.0"];
/// Where the guest finds the sample image's files.
pub(super) const SAMPLE_ARCHIVE: &str = "/var/lib/sample.tar";

/// A bootable disk with its kernel, and the key that opens its root's shell.
pub(super) struct Image {
    pub(super) disk: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
    pub(super) key: PathBuf,
}

impl Image {
    /// Makes the image below `work`; the downloaded base is kept there for the next run.
    pub(super) fn make(work: &Path) -> Result<Image> {
        install_needs()?;
        fs_err::create_dir_all(work)?;
        let key = work.join("key");
        if !key.exists() {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &text(&key)])?;
        }
        let root = base(work)?;
        install_longshore(&root)?;
        make_packages(&root)?;
        configure(&root, work, &key)?;
        let disk = work.join("base.img");
        let _ = fs_err::remove_file(&disk);
        run("truncate", &["-s", DISK_SIZE, &text(&disk)])?;
        run("mke2fs", &["-q", "-t", "ext4", "-d", &text(&root), &text(&disk)])?;
        Ok(Image {
            disk,
            kernel: boot_file(&root, "vmlinuz-")?,
            initrd: boot_file(&root, "initrd.img-")?,
            key,
        })
    }
}

fn install_needs() -> Result<()> {
    let have = |program: &str| {
        let folders =
            std::env::split_paths("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        folders.into_iter().any(|folder| folder.join(program).exists())
    };
    let missing = NEEDS.iter().filter(|(program, _)| !have(program));
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    progress(&format!("guest: installing {}", missing.join(" ")));
    let install = [&["install", "-y", "--no-install-recommends"], &missing[..]].concat();
    if run("apt-get", &install).is_err() {
        run("apt-get", &["update"])?;
        run("apt-get", &install)?;
    }
    Ok(())
}

/// Debian with the packages that the guest needs; made once for a list of packages.
fn base(work: &Path) -> Result<PathBuf> {
    let packages = PACKAGES.join(",");
    let root = work.join(format!("root-{}", &hex::encode(Sha256::digest(&packages))[..12]));
    let whole = root.join("etc/longshore-guest");
    if !whole.exists() {
        progress("guest: unpacking Debian (once, some minutes)");
        if root.exists() {
            fs_err::remove_dir_all(&root)?;
        }
        let include = format!("--include={packages}");
        run("debootstrap", &["--variant=minbase", &include, SUITE, &text(&root)])?;
        fs_err::write(&whole, packages)?;
    }
    Ok(root)
}

/// Both programs, their units and their settings, by `make install`.
fn install_longshore(root: &Path) -> Result<()> {
    for old in ["etc/longshore", "var/lib/longshore"] {
        let old = root.join(old);
        if old.exists() {
            fs_err::remove_dir_all(old)?;
        }
    }
    make(&["install", &format!("DESTDIR={}", root.display())])?;
    for program in [binaries::AGENT, binaries::COORDINATOR] {
        run("strip", &[text(&root.join("usr/local/bin").join(program))])?;
    }
    Ok(())
}

fn make_packages(root: &Path) -> Result<()> {
    let folder = root.join(OUR_PACKAGES.trim_start_matches('/'));
    for release in RELEASES {
        let [version, folder] =
            [format!("VERSION={release}"), format!("PACKAGES={}", folder.display())];
        make(&["package", &version, &folder])?;
    }
    Ok(())
}

/// Runs `make` with the programs of whoever started this: as they are, not built once more.
fn make(arguments: &[&str]) -> Result<()> {
    let agent = binaries::binary(binaries::AGENT)?;
    let shipped = agent.parent().context("the agent's program is in no folder")?;
    let made = Command::new("make")
        .args(["--no-print-directory", "-C"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["-o", "shipped", "-o", "compiler"])
        .args(arguments)
        .arg(format!("SHIPPED={}", shipped.display()))
        // Unpacking takes long in a machine that is emulated.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        .output()?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "`make {}` ended with {}: {said}", arguments[0], made.status);
    Ok(())
}

/// A network by DHCP, a shell for root by key, and the sample image.
fn configure(root: &Path, work: &Path, key: &Path) -> Result<()> {
    let write = |file: &str, content: &str| -> Result<()> {
        let file = root.join(file);
        fs_err::create_dir_all(file.parent().context("a file in no folder")?)?;
        Ok(fs_err::write(file, content)?)
    };
    write("etc/hostname", "guest\n")?;
    write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 guest\n")?;
    write("etc/fstab", "/dev/vda / ext4 defaults 0 1\n")?;
    let network = "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n";
    write("etc/systemd/network/10-dhcp.network", network)?;
    write("root/.ssh/authorized_keys", &fs_err::read_to_string(key.with_extension("pub"))?)?;
    write("etc/exports", "/srv/export 127.0.0.1(rw,no_root_squash,no_subtree_check)\n")?;
    fs_err::create_dir_all(root.join("srv/export"))?;
    for (unit, wanted_by) in [
        ("systemd-networkd.service", "multi-user.target"),
        ("systemd-networkd-wait-online.service", "network-online.target"),
    ] {
        let wants = root.join(format!("etc/systemd/system/{wanted_by}.wants"));
        fs_err::create_dir_all(&wants)?;
        let link = wants.join(unit);
        let _ = fs_err::remove_file(&link);
        fs_err::os::unix::fs::symlink(format!("/lib/systemd/system/{unit}"), link)?;
    }
    let archive = sample_archive(work)?;
    fs_err::write(root.join(SAMPLE_ARCHIVE.trim_start_matches('/')), archive)?;
    Ok(())
}

fn boot_file(root: &Path, prefix: &str) -> Result<PathBuf> {
    let found = fs_err::read_dir(root.join("boot"))?
        .filter_map(|entry| entry.ok())
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    Ok(found.with_context(|| format!("Debian's kernel left no {prefix}"))?.path())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
