//! The pause container's program: 64-bit Linux ELF, static, a few dozen bytes of machine code.
//!
//! It tells the kernel to reap children that nobody waits for (the first process of a namespace
//! inherits every orphan), and then sleeps until it is killed. In C:
//!
//! ```c
//! struct kernel_sigaction ignore = { .handler = SIG_IGN };
//! rt_sigaction(SIGCHLD, &ignore, NULL, 8);
//! for (;;) pause();
//! ```
//!
//! It is written down here as bytes, so that building the agent needs no other compiler and the
//! image no download. Never: a system call that could fail, for there is nobody to tell.

/// As images name it.
pub(super) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

const HEADER_BYTES: u16 = 64;
const PROGRAM_HEADER_BYTES: u16 = 56;
/// Where the file is mapped, whole: as good as any other address.
const ADDRESS: u64 = 0x40_0000;
/// Pages of arm64 are up to as large.
const ALIGNMENT: u64 = 0x1_0000;
const READ_AND_EXECUTE: u32 = 5;
const LOADED: u32 = 1;
const EXECUTABLE: u16 = 2;
const MACHINE_X86_64: u16 = 62;
const MACHINE_AARCH64: u16 = 183;

/// Where `ignore` of the program above is: the kernel reads 32 bytes, of which the first is 1.
const IGNORE: [u8; 32] = {
    let mut action = [0; 32];
    action[0] = 1;
    action
};

/// The code is followed by [`IGNORE`], at 0x4000a0.
const X86_64: [u8; 40] = [
    0xb8, 0x0d, 0x00, 0x00, 0x00, //       mov  eax, 13       rt_sigaction
    0xbf, 0x11, 0x00, 0x00, 0x00, //       mov  edi, 17       SIGCHLD
    0xbe, 0xa0, 0x00, 0x40, 0x00, //       mov  esi, 0x4000a0 IGNORE
    0x31, 0xd2, //                         xor  edx, edx
    0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov  r10d, 8       bytes of a signal mask
    0x0f, 0x05, //                         syscall
    0xb8, 0x22, 0x00, 0x00, 0x00, // wait: mov  eax, 34       pause
    0x0f, 0x05, //                         syscall
    0xeb, 0xf7, //                         jmp  wait
    0x90, 0x90, 0x90, 0x90, 0x90, 0x90, // (up to a multiple of eight)
];

/// The code is followed by [`IGNORE`]. There is no `pause` here: `ppoll` of nothing is the same.
const AARCH64: [u32; 14] = [
    0xd280_10c8, //       mov  x8, #134   rt_sigaction
    0xd280_0220, //       mov  x0, #17    SIGCHLD
    0x1000_0181, //       adr  x1, #48    IGNORE
    0xd280_0002, //       mov  x2, #0
    0xd280_0103, //       mov  x3, #8     bytes of a signal mask
    0xd400_0001, //       svc  #0
    0xd280_0928, // wait: mov  x8, #73    ppoll
    0xd280_0000, //       mov  x0, #0     of nothing,
    0xd280_0001, //       mov  x1, #0
    0xd280_0002, //       mov  x2, #0     without a timeout
    0xd280_0003, //       mov  x3, #0     or a mask
    0xd280_0004, //       mov  x4, #0
    0xd400_0001, //       svc  #0
    0x17ff_fff9, //       b    wait
];

/// The whole file, for the processor that the agent was built for.
pub(super) fn elf() -> Vec<u8> {
    if cfg!(target_arch = "aarch64") { aarch64() } else { x86_64() }
}

fn x86_64() -> Vec<u8> {
    file(MACHINE_X86_64, &X86_64)
}

fn aarch64() -> Vec<u8> {
    file(MACHINE_AARCH64, &AARCH64.map(u32::to_le_bytes).concat())
}

/// Header, one program header, code and [`IGNORE`]: the members as elf(5) lists them.
fn file(machine: u16, code: &[u8]) -> Vec<u8> {
    let headers = u64::from(HEADER_BYTES + PROGRAM_HEADER_BYTES);
    let length = headers + (code.len() + IGNORE.len()) as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    put(&EXECUTABLE.to_le_bytes());
    put(&machine.to_le_bytes());
    put(&1_u32.to_le_bytes()); // version
    put(&(ADDRESS + headers).to_le_bytes()); // entry
    put(&u64::from(HEADER_BYTES).to_le_bytes()); // program headers
    put(&0_u64.to_le_bytes()); // no sections
    put(&0_u32.to_le_bytes()); // flags
    put(&HEADER_BYTES.to_le_bytes());
    put(&PROGRAM_HEADER_BYTES.to_le_bytes());
    put(&1_u16.to_le_bytes()); // of which there is one
    put(&[0; 6]); // no sections
    put(&LOADED.to_le_bytes());
    put(&READ_AND_EXECUTE.to_le_bytes());
    put(&0_u64.to_le_bytes()); // from the file's begin
    put(&ADDRESS.to_le_bytes());
    put(&ADDRESS.to_le_bytes());
    put(&length.to_le_bytes()); // in the file
    put(&length.to_le_bytes()); // in memory
    put(&ALIGNMENT.to_le_bytes());
    put(code);
    put(&IGNORE);
    file
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

    use super::*;

    /// Bit of SIGCHLD in the kernel's masks.
    const SIGCHLD: u64 = 1 << 16;

    fn word(file: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn both_files_are_whole_and_their_code_is_followed_by_what_it_points_to() {
        for (file, machine) in [(x86_64(), MACHINE_X86_64), (aarch64(), MACHINE_AARCH64)] {
            assert_eq!(file[18..20], machine.to_le_bytes());
            assert_eq!(word(&file, 24), ADDRESS + 120, "the entry is the code");
            assert_eq!(word(&file, 96), file.len() as u64);
            assert_eq!(file[file.len() - IGNORE.len()..], IGNORE);
            assert_eq!((file.len() - IGNORE.len()) % 8, 0, "the kernel reads it as words");
        }
        assert_eq!(ADDRESS + 120 + X86_64.len() as u64, 0x40_00a0);
        assert_eq!(X86_64[11..15], 0x40_00a0_u32.to_le_bytes());
        // adr is the third instruction; its offset is counted from itself.
        assert_eq!(AARCH64[2], 0x1000_0001 | (AARCH64.len() as u32 - 2) << 5);
    }

    /// `None` until it shows the line.
    fn status(process: u32, line: &str) -> Option<String> {
        let path = Path::new("/proc").join(process.to_string()).join("status");
        let text = fs_err::read_to_string(path).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(line));
        line.map(|value| value.trim().to_owned())
    }

    #[tokio::test]
    async fn it_ignores_the_ends_of_children_and_sleeps_until_it_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pause");
        fs_err::write(&path, elf()).unwrap();
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let mut child = Command::new(&path).spawn().unwrap();
        let ignores = || {
            let mask = status(child.id(), "SigIgn:").unwrap();
            let sleeps = status(child.id(), "State:").unwrap().starts_with('S');
            sleeps && u64::from_str_radix(&mask, 16).unwrap() & SIGCHLD != 0
        };
        let asleep = async {
            while !ignores() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asleep).await.expect("it does not sleep");
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "by a signal");
    }
}
