//! One QEMU machine: started, asked by SSH, rebooted, and ended with this program.
//!
//! Never: a decision about what is right inside of it; that is the rows'.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    time::{Instant, sleep, timeout},
};

use super::image::Image;
use longshore_harness::{
    command::run,
    process::{Launch, Process},
};

const MEMORY_MIB: u32 = 3072;
const CORES: u32 = 2;
/// Software emulation on a loaded machine takes its time.
const BOOT_PATIENCE: Duration = Duration::from_secs(600);
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The longest that one script may take.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(600);
/// Where the guest's coordinator listens.
const API_PORT: u16 = 8420;

pub(super) struct Machine {
    _qemu: Process,
    key: PathBuf,
    control: PathBuf,
    ssh_port: u16,
    /// Host and port of the guest's coordinator, as this machine reaches it.
    pub(super) api: String,
    boot_id: String,
}

impl Machine {
    /// Starts the machine on a fresh copy of the image's disk, and waits until its shell answers.
    pub(super) async fn boot(image: &Image, folder: &Path) -> Result<Machine> {
        let disk = folder.join("disk.qcow2");
        let base = image.disk.display().to_string();
        let (disk_text, format) = (disk.display().to_string(), ["-f", "qcow2", "-F", "raw"]);
        run("qemu-img", &[&["create", "-q"], &format[..], &["-b", &base, &disk_text]].concat())?;
        let [ssh_port, api_port] = free_ports()?;
        let forward = |port: u16, to: u16| format!("hostfwd=tcp:127.0.0.1:{port}-:{to}");
        let arguments = [
            // No KVM: the machine that tests run on may not have it.
            vec!["-accel".to_owned(), "tcg,thread=multi".to_owned()],
            vec!["-cpu".to_owned(), "max".to_owned()],
            vec!["-smp".to_owned(), CORES.to_string()],
            vec!["-m".to_owned(), MEMORY_MIB.to_string()],
            vec!["-nographic".to_owned()],
            vec!["-kernel".to_owned(), image.kernel.display().to_string()],
            vec!["-initrd".to_owned(), image.initrd.display().to_string()],
            vec!["-append".to_owned(), "root=/dev/vda rw console=ttyS0 apparmor=0".to_owned()],
            vec!["-drive".to_owned(), format!("file={disk_text},if=virtio,cache=unsafe")],
            vec![
                "-netdev".to_owned(),
                format!("user,id=net,{},{}", forward(ssh_port, 22), forward(api_port, API_PORT)),
            ],
            vec!["-device".to_owned(), "virtio-net,netdev=net".to_owned()],
            vec!["-device".to_owned(), "virtio-rng-pci".to_owned()],
        ]
        .concat();
        let qemu = Process::spawn(Launch {
            name: "guest".to_owned(),
            program: "qemu-system-x86_64".into(),
            arguments,
            environment: Vec::new(),
            host: None,
            folder,
            notifies: false,
            echo: None,
        })
        .await?;
        let mut machine = Machine {
            _qemu: qemu,
            key: image.key.clone(),
            control: folder.join("ssh"),
            ssh_port,
            api: format!("127.0.0.1:{api_port}"),
            boot_id: String::new(),
        };
        machine.await_new_boot().await?;
        Ok(machine)
    }

    /// Runs a script as root and returns what it printed; an exit code other than 0 is an error.
    pub(super) async fn sh(&self, script: &str) -> Result<String> {
        let mut child = Command::new("ssh")
            .args(["-q", "-i"])
            .arg(&self.key)
            .args(["-p", &self.ssh_port.to_string()])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "ConnectTimeout=60"])
            .args(["-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=10"])
            .args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60"])
            .arg("-o")
            .arg(format!("ControlPath={}", self.control.display()))
            .args(["root@127.0.0.1", "sh", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut input = child.stdin.take().context("ssh has no standard input")?;
        input.write_all(format!("set -eu\n{script}\n").as_bytes()).await?;
        drop(input);
        let output = timeout(SCRIPT_PATIENCE, child.wait_with_output())
            .await
            .with_context(|| format!("`{script}` took longer than {SCRIPT_PATIENCE:?}"))??;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "`{}` in the guest ended with {}: {out}{}",
            script.trim(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(out)
    }

    /// Reboots the guest as an operator would, and waits until its shell answers again.
    pub(super) async fn reboot(&mut self) -> Result<()> {
        // The connection may be cut before the command has answered.
        let _ = self.sh("systemctl reboot").await;
        let _ = fs_err::remove_file(&self.control);
        self.await_new_boot().await
    }

    async fn await_new_boot(&mut self) -> Result<()> {
        let end = Instant::now() + BOOT_PATIENCE;
        loop {
            match self.sh("cat /proc/sys/kernel/random/boot_id").await {
                Ok(boot_id) if boot_id != self.boot_id => {
                    self.boot_id = boot_id;
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if Instant::now() > end => {
                    return Err(error.context(format!("the guest is not up in {BOOT_PATIENCE:?}")));
                }
                Err(_) => {
                    let _ = fs_err::remove_file(&self.control);
                }
            }
            if Instant::now() > end {
                bail!("the guest did not boot again in {BOOT_PATIENCE:?}");
            }
            sleep(ASK_EVERY).await;
        }
    }
}

/// Ports of this machine that nobody listens on.
fn free_ports() -> Result<[u16; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // Both at once, so that they differ.
    let (first, second) = (listen()?, listen()?);
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}
