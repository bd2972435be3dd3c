//! The folders of a host that recipes start from, with the links that a task might have planted.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::Result;
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Sockets that order an engine about.
pub(super) type Sockets = Vec<PathBuf>;

pub(super) struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    pub(super) fn lay() -> Result<Ground> {
        let ground = Ground { folder: tempfile::tempdir_in("/var/tmp")? };
        for directory in ["srv/a", "srv/swap/inner", "efs/data", "outside/inner"] {
            fs_err::create_dir_all(ground.path(directory))?;
        }
        fs_err::write(ground.path("srv/file"), "a file\n")?;
        for tree in ["srv", "efs"] {
            // Of names that the machine's own root may have, none leads to much: a validator reads it all.
            for (name, to) in
                [("top", "/"), ("etc", "/etc"), ("run", "/run"), ("proc", "/proc/self/root")]
            {
                symlink(to, ground.path(tree).join(name))?;
            }
            symlink("..", ground.path(tree).join("up"))?;
            symlink("top", ground.path(tree).join("twice"))?;
        }
        symlink(ground.path("outside"), ground.path("srv/evil"))?;
        symlink("/", ground.path("efs/point"))?;
        Ok(ground)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn file_systems(&self) -> Vec<String> {
        let efs = format!("fs-1={}", self.path("efs").display());
        let points = ["1=/point:0:0", "2=/up/x:0:0", "3=/good:1:1"];
        let points = points.map(|point| format!("fs-1/fsap-{point}:any-user"));
        [efs].into_iter().chain(points).collect()
    }

    /// Exchanges a directory with a link that leads out, until it is dropped.
    pub(super) fn keep_swapping(&self) -> Swapping {
        let (one, other) = (self.path("srv/swap"), self.path("srv/evil"));
        let done = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let done = done.clone();
            move || {
                let mut times = 0u64;
                // An even number leaves both names as they were.
                while !done.load(Ordering::Acquire) || times % 2 == 1 {
                    let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                    times += 1;
                    std::thread::yield_now();
                }
            }
        });
        Swapping { done, thread: Some(thread) }
    }
}

pub(super) struct Swapping {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
