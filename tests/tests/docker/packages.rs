//! Debian packages of both programs, in a copy of this machine's files that is thrown away: what they lay,
//! keep and remove, and what they refuse. How their units start, upgrade and stop is shown by the campaign
//! `guest`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use longshore_harness::{
    binaries::{self, binary},
    command::run,
    slot::Slot,
};

const PROGRAMS: [&str; 2] = [binaries::AGENT, binaries::COORDINATOR];
const FIRST: &str = "1.0.0";
const SECOND: &str = "1.1.0";
const UNITS: &str = "usr/lib/systemd/system";
/// What an operator has put into /etc/longshore.
const TOKEN: &str = "etc/longshore/join-token";

/// A root folder over this machine's: what is written there goes with it.
struct Root {
    /// What was written.
    written: PathBuf,
    root: PathBuf,
    packages: PathBuf,
    // Unmounts, and removes all.
    _slot: Slot,
}

impl Root {
    fn mounted() -> Root {
        let slot = Slot::take().unwrap();
        let folder = slot.folder().join("packages");
        fs_err::create_dir_all(&folder).unwrap();
        let text = |path: &Path| path.display().to_string();
        run("mount", &["-t", "tmpfs", "packages", &text(&folder)]).unwrap();
        let [written, work, root] = ["written", "work", "root"].map(|name| folder.join(name));
        for folder in [&written, &work, &root] {
            fs_err::create_dir_all(folder).unwrap();
        }
        let layers = format!("lowerdir=/,upperdir={},workdir={}", text(&written), text(&work));
        run("mount", &["-t", "overlay", "overlay", "-o", &layers, &text(&root)]).unwrap();
        // No service manager is told of what happens here.
        run("mount", &["-t", "tmpfs", "run", &text(&root.join("run"))]).unwrap();
        run("mount", &["--bind", "/dev", &text(&root.join("dev"))]).unwrap();
        let packages = root.join("packages");
        fs_err::create_dir_all(&packages).unwrap();
        Root { written, root, packages, _slot: slot }
    }

    /// Makes both packages of the programs that the tests run with, as this release.
    fn make(&self, release: &str) -> String {
        let programs = binary(binaries::AGENT).unwrap().parent().unwrap().to_owned();
        let made = Command::new("make")
            .args(["--no-print-directory", "-o", "shipped", "-o", "compiler", "package"])
            .arg(format!("SHIPPED={}", programs.display()))
            .arg(format!("PACKAGES={}", self.packages.display()))
            .arg(format!("VERSION={release}"))
            // Unoptimised programs are large.
            .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap()
    }

    fn dpkg(&self, arguments: &[&str]) -> Output {
        let mut chroot = Command::new("chroot");
        chroot.arg(&self.root).arg("dpkg").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        chroot.stdin(std::process::Stdio::null()).output().unwrap()
    }

    fn install(&self, release: &str) -> Output {
        let mut arguments = vec!["--install".to_owned()];
        for entry in fs_err::read_dir(&self.packages).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if name.contains(release) {
                arguments.push(format!("/packages/{name}"));
            }
        }
        assert_eq!(arguments.len(), 1 + PROGRAMS.len(), "{arguments:?}");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.dpkg(&arguments)
    }

    fn version(&self, program: &str) -> String {
        let state = self.dpkg(&["--status", program]);
        let said = told(&state);
        let field =
            |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("none");
        format!("{} {}", field("Status: "), field("Version: "))
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    fn text(&self, path: &str) -> String {
        fs_err::read_to_string(self.root.join(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// What was written and has our name: nothing else of the machine is ours.
    fn ours(&self) -> Vec<String> {
        let found = run(
            "find",
            &[&*self.written.display().to_string(), "-name", "*longshore*", "-not", "-type", "c"],
        );
        let (found, mut ours) = (found.unwrap(), Vec::new());
        for line in found.lines() {
            let path = Path::new(line).strip_prefix(&self.written).unwrap();
            ours.push(path.display().to_string());
        }
        ours.sort();
        ours
    }
}

fn told(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|told| String::from_utf8_lossy(told)).concat()
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", told(output));
}

#[test]
fn packages_install_upgrade_and_purge() {
    let root = Root::mounted();
    let made = root.make(FIRST);
    eprintln!("{made}");
    for figure in ["agent_package_size", "coordinator_installed_size", "depends on libc6 (>= "] {
        assert!(made.contains(figure), "{made}");
    }
    root.make(SECOND);

    succeeded(&root.install(FIRST));
    for program in PROGRAMS {
        assert_eq!(root.version(program), format!("install ok installed {FIRST}"));
        let enabled = format!("etc/systemd/system/multi-user.target.wants/{program}.service");
        assert!(root.has(&enabled), "{enabled}");
        let help = Command::new("chroot").arg(&root.root).args([program, "--help"]).output();
        succeeded(&help.unwrap());
    }
    let units: Vec<String> =
        root.ours().into_iter().filter(|path| path.starts_with(UNITS)).collect();
    assert_eq!(units.len(), 5, "{units:?}");
    for unit in &units {
        let text = root.text(unit);
        assert!(text.contains("/usr/bin/longshore-") && !text.contains("/usr/local/"), "{unit}");
    }

    let settings = "coordinator = \"10.0.0.1:8421\"\n";
    root.write("etc/longshore/agent.toml", settings);
    root.write(TOKEN, "an operator's own");
    // Disabled by an operator.
    let link = "etc/systemd/system/multi-user.target.wants/longshore-coordinator.service";
    fs_err::remove_file(root.root.join(link)).unwrap();
    succeeded(&root.install(SECOND));
    fs_err::remove_dir_all(&root.packages).unwrap();
    for program in PROGRAMS {
        assert_eq!(root.version(program), format!("install ok installed {SECOND}"));
    }
    assert_eq!(root.text("etc/longshore/agent.toml"), settings);
    assert!(!root.has(link), "what was disabled stays disabled");

    succeeded(&root.dpkg(&[&["--remove"], &PROGRAMS[..]].concat()));
    assert_eq!(root.text("etc/longshore/agent.toml"), settings);
    assert!(!root.has("usr/bin/longshore-agent"));
    let journal = "var/lib/longshore/coordinator/journal.db";
    root.write(journal, "what the cluster is");
    let purged = root.dpkg(&[&["--purge"], &PROGRAMS[..]].concat());
    succeeded(&purged);
    assert!(told(&purged).contains("/var/lib/longshore/coordinator is kept"), "{}", told(&purged));
    // What the operator and the program have made stays.
    assert_eq!(root.ours(), ["etc/longshore", "var/lib/longshore"]);
    assert!(root.has(TOKEN) && root.has(journal));
    assert!(!root.has("etc/longshore/agent.toml") && !root.has("etc/longshore/coordinator.toml"));
}

#[test]
fn packages_refuse_units_of_make_install() {
    let root = Root::mounted();
    root.make(FIRST);
    let left = ["longshore-agent", "longshore-agent-volumes", "longshore-launcher"];
    let unit = |name: &str| format!("etc/systemd/system/{name}.service");
    for name in left {
        root.write(&unit(name), "[Service]\nExecStart=/usr/local/bin/longshore\n");
    }
    root.write("usr/local/bin/longshore-agent", "what make install has left");
    // A mask is an operator's.
    let mask = root.root.join(unit("longshore-coordinator"));
    fs_err::os::unix::fs::symlink("/dev/null", mask).unwrap();
    let refused = root.install(FIRST);
    assert!(!refused.status.success(), "{}", told(&refused));
    for name in left {
        assert!(told(&refused).contains(&format!("/{}\n", unit(name))), "{}", told(&refused));
    }
    let removal = format!("rm /{} /{} /usr/local/bin/", unit(left[0]), unit(left[1]));
    assert!(told(&refused).contains(&removal), "{}", told(&refused));
    assert!(!told(&refused).contains(&unit("longshore-coordinator")), "{}", told(&refused));
    assert!(!root.has("usr/bin/longshore-agent"), "nothing of it is unpacked");

    for path in left.map(unit).into_iter().chain(["usr/local/bin/longshore-agent".to_owned()]) {
        fs_err::remove_file(root.root.join(path)).unwrap();
    }
    succeeded(&root.install(FIRST));
}
