//! The images that tests and the sample run: one static busybox, imported locally, no registry.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;

use crate::{
    command::{run, sh},
    engine_api::{EngineApi, percent_encoded},
};

/// Its default command answers HTTP on port 80 with [`SAMPLE_PAGE`]; `sleep` and `sh` are in it.
pub const SAMPLE_IMAGE: &str = "longshore/sample:latest";
pub const SAMPLE_PAGE: &str = "A task of Longshore answers.\n";

/// How the image differs from its files, as `docker import --change` takes it.
pub const SAMPLE_CHANGES: [&str; 3] =
    [r#"CMD ["/bin/httpd","-f","-p","80","-h","/www"]"#, "ENV PATH=/bin", "EXPOSE 80/tcp"];

/// What busybox is called inside the image.
const PROGRAMS: [&str; 14] = [
    "sh", "sleep", "httpd", "true", "false", "echo", "cat", "ls", "id", "hostname", "env", "kill",
    "wget", "nc",
];

/// Makes the sample image known to this engine.
pub async fn import_sample(engine: &EngineApi, work_folder: &Path) -> Result<()> {
    let archive = sample_archive(work_folder)?;
    import(engine, &archive).await
}

/// A tar of the sample image's files.
pub fn sample_archive(work_folder: &Path) -> Result<Bytes> {
    let busybox = static_busybox(work_folder)?;
    let files = work_folder.join("sample-files");
    if files.exists() {
        fs_err::remove_dir_all(&files)?;
    }
    for folder in ["bin", "www", "tmp", "etc"] {
        fs_err::create_dir_all(files.join(folder))?;
    }
    fs_err::copy(&busybox, files.join("bin/busybox"))?;
    for program in PROGRAMS {
        fs_err::os::unix::fs::symlink("busybox", files.join("bin").join(program))?;
    }
    fs_err::write(files.join("www/index.html"), SAMPLE_PAGE)?;
    fs_err::write(files.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:\n")?;
    let archive = work_folder.join("sample.tar");
    run("tar", &["--owner=0", "--group=0", "-cf", &path(&archive), "-C", &path(&files), "."])?;
    Ok(fs_err::read(archive)?.into())
}

pub async fn import(engine: &EngineApi, archive: &Bytes) -> Result<()> {
    let (name, tag) = SAMPLE_IMAGE.split_once(':').context("an image without a tag")?;
    let change = |change: &&str| format!("&changes={}", percent_encoded(change));
    let changes: String = SAMPLE_CHANGES.iter().map(change).collect();
    let name = percent_encoded(name);
    let target = format!("/images/create?fromSrc=-&repo={name}&tag={tag}{changes}");
    engine.call(Method::POST, &target, "application/x-tar", archive.clone()).await?;
    ensure!(engine.has_image(SAMPLE_IMAGE).await?, "the engine took {SAMPLE_IMAGE} but has it not");
    Ok(())
}

/// The machine's own busybox when it is static, else Debian's, unpacked into the work folder:
/// nothing is installed for it.
fn static_busybox(work_folder: &Path) -> Result<PathBuf> {
    let unpacked = work_folder.join("busybox-static");
    let candidates = [
        PathBuf::from("/bin/busybox"),
        unpacked.join("bin/busybox"),
        unpacked.join("usr/bin/busybox"),
    ];
    if let Some(busybox) = candidates.iter().find(|busybox| is_static(busybox)) {
        return Ok(busybox.clone());
    }
    let packages = work_folder.join("packages");
    fs_err::create_dir_all(&packages)?;
    let download = "cd \"$1\" && apt-get -q download busybox-static";
    run("sh", &["-c", download, "sh", &path(&packages)]).context(
        "busybox-static could not be had from Debian's packages: run `apt-get update`, or \
         `apt-get install busybox-static` where there is a network",
    )?;
    let package = fs_err::read_dir(&packages)?
        .filter_map(|entry| entry.ok())
        .map(|entry| entry.path())
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    sh(&format!("dpkg-deb -x {} {}", path(&package), path(&unpacked)))?;
    let unpacked = ["bin/busybox", "usr/bin/busybox"].map(|file| unpacked.join(file));
    let busybox = unpacked.into_iter().find(|busybox| is_static(busybox));
    busybox.context("Debian's busybox-static holds no static busybox")
}

/// Whether this is an ELF program that needs no interpreter, and so no libraries.
fn is_static(program: &Path) -> bool {
    const PT_INTERP: u32 = 3;
    let Ok(bytes) = fs_err::read(program) else { return false };
    let word = |at: usize, length: usize| -> Option<u64> {
        let field = bytes.get(at..at + length)?;
        Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    // 64-bit little-endian: where the program headers are, how long each is, how many.
    let headers = || Some((word(32, 8)?, word(54, 2)?, word(56, 2)?));
    match headers() {
        Some((start, length, count)) if bytes.starts_with(b"\x7fELF\x02\x01") => {
            (0..count).all(|n| word((start + n * length) as usize, 4) != Some(PT_INTERP.into()))
        }
        _ => false,
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
