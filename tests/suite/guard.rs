//! Whether a program changes anything, by every system call that it and its children make, as strace tells them.
//!
//! The list is of what is allowed: a call that nobody thought of counts as a change. What a daemon does because it was asked to
//! over D-Bus is no system call of ours, so the methods that are called are looked at as well; and what the kernel does by
//! itself (loading a module) is seen by comparing the host before and after, not here.

use std::{fs, path::Path, process::Command};

/// Calls that read, wait, and see to the program's own memory, threads and descriptors.
const HARMLESS: &str = " access arch_prctl brk clock_getres clock_gettime clock_nanosleep close close_range connect dup dup2 dup3 \
    epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 exit exit_group faccessat faccessat2 fadvise64 fcntl fgetxattr flock fstat \
    fstatfs futex getcwd getdents64 getegid geteuid getgid getpeername getpgrp getpid getppid getrandom getrlimit getsockname \
    getsockopt gettid getuid getxattr io_uring_enter lgetxattr listen listxattr lseek lstat madvise membarrier mmap mprotect \
    mremap munmap nanosleep newfstatat pipe pipe2 poll ppoll pread64 prctl preadv prlimit64 read readlink readlinkat readv \
    recvfrom recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield select \
    set_robust_list set_tid_address shutdown sigaltstack socket socketpair stat statfs statx sysinfo time uname wait4 bind \
    accept accept4 timerfd_create timerfd_settime write writev ";

/// Methods of D-Bus that only ask. LoadUnit reads a unit's file into systemd's memory.
const QUESTIONS: &str = " Hello Get GetAll GetUnit LoadUnit GetNameOwner NameHasOwner AddMatch RemoveMatch Ping ListUnits ";

/// Runs a program under strace; what it printed, and the calls that change something.
pub(crate) fn run(arguments: &[&str]) -> (String, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let output = Command::new("strace").args(OPTIONS).arg("--output").arg(&trace).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("strace (package strace) is needed: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (printed, changes(&read(&trace)))
}

/// Strings with bytes that are no text are printed in hexadecimal throughout, and none is cut that matters.
pub(crate) const OPTIONS: [&str; 5] = ["--follow-forks", "--quiet=all", "--signal=none", "-x", "--string-limit=8192"];

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

/// The calls in a trace that change something; the first line is that of the program's own start.
pub(crate) fn changes(trace: &str) -> Vec<String> {
    assert!(trace.lines().count() > 10, "not a trace: {trace}");
    trace.lines().skip(1).filter_map(|line| change(line).map(|why| format!("{why}: {line}"))).collect()
}

fn change(line: &str) -> Option<String> {
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let (name, arguments) = match call.strip_prefix("<... ") {
        Some(resumed) => resumed.split_once(" resumed>")?,
        None => call.split_once('(')?,
    };
    let resumed = call.starts_with('<');
    let harmless = match name {
        name if is_in(HARMLESS, name) => true,
        _ if resumed && !matches!(name, "adjtimex" | "clock_adjtime") => true,
        "open" | "openat" | "openat2" => opens_to_read(arguments),
        "clone" | "clone3" | "fork" | "vfork" => !arguments.contains("CLONE_NEW"),
        // The process ended, and this thread of it with it, before strace could look which call it was about to make.
        "???" => arguments.trim() == "<unfinished ...>",
        "adjtimex" | "clock_adjtime" => arguments.contains("modes=0,") || arguments.ends_with("<unfinished ...>"),
        "ioctl" => ["TCGETS", "TIOCGWINSZ", "FIONBIO", "FIONREAD", "TIOCGPGRP"].iter().any(|asks| arguments.contains(asks)),
        // The tables of packet filters are set over sockets' options.
        "setsockopt" => !arguments.contains("_SO_SET_") && !arguments.contains("EBT_"),
        "sendto" | "sendmsg" | "sendmmsg" => return sends(arguments),
        _ => false,
    };
    (!harmless).then(|| format!("{name} changes the host"))
}

fn is_in(list: &str, name: &str) -> bool {
    list.contains(&format!(" {name} "))
}

fn opens_to_read(arguments: &str) -> bool {
    let writes =
        ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"].iter().any(|flag| arguments.contains(flag));
    // Opening the tunnels' device to write makes nothing until it is told so by ioctl.
    !writes || arguments.contains("\"/dev/null\"") || arguments.contains("\"/dev/net/tun\"")
}

/// Questions over netlink, calls over D-Bus, anything else over sockets.
fn sends(arguments: &str) -> Option<String> {
    if arguments.contains("nlmsg_len=") {
        let asks = arguments.split("nlmsg_len=").skip(1).all(asks_kernel);
        return (!asks).then(|| "a message of netlink that is no question".to_owned());
    }
    members(&unhex(arguments)).into_iter().find(|member| !is_in(QUESTIONS, member)).map(|member| format!("{member} over D-Bus"))
}

/// Whether a message of netlink asks: by the name of its type, or, where strace could not find out which protocol it is, by the
/// number.
fn asks_kernel(message: &str) -> bool {
    let length = message.split(',').next().unwrap_or_default();
    let Some(kind) = message.split("nlmsg_type=").nth(1).and_then(|rest| rest.split([',', '}', ' ']).next()) else {
        return false;
    };
    match kind.strip_prefix("0x").map(|hex| u16::from_str_radix(hex, 16).unwrap()) {
        None => ["RTM_GET", "SOCK_DIAG_BY_FAMILY"].iter().any(|asks| kind.starts_with(asks)) || kind.contains("NFT_MSG_GET"),
        // SOCK_DIAG_BY_FAMILY with an inet_diag_req_v2; RTM_NEWADDR has the same number, and another length.
        Some(20) => length == "72",
        // The types of routing go by fours: new, delete, get, set.
        Some(kind @ 16..256) => (kind - 16) % 4 == 2,
        // NFT_MSG_GETTABLE, GETCHAIN, GETRULE
        Some(kind) => matches!(kind, 0xa01 | 0xa04 | 0xa07),
    }
}

/// The bytes of every `\xHH`.
fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|part| u8::from_str_radix(part.get(..2)?, 16).ok()).collect()
}

/// The members of the D-Bus messages in there: field 3 of a header, a string (D-Bus specification, "Header Fields").
fn members(bytes: &[u8]) -> Vec<String> {
    let mark = [3, 1, b's', 0];
    let at = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&mark));
    let member = |at: usize| {
        let length = u32::from_le_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        let name = bytes.get(at + 8..at + 8 + length)?;
        name.iter().all(u8::is_ascii_alphanumeric).then(|| String::from_utf8_lossy(name).into_owned())
    };
    at.filter_map(member).collect()
}

#[test]
fn a_call_is_judged_by_its_name_and_by_what_it_is_told() {
    for harmless in [
        "12 openat(AT_FDCWD, \"/etc/hosts\", O_RDONLY|O_CLOEXEC) = 3",
        "12 openat(AT_FDCWD, \"/dev/null\", O_RDWR|O_CLOEXEC) = 3",
        "12 <... openat resumed>) = 3",
        "12 ???( <unfinished ...>",
        "12 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x1} => {parent_tid=[0]}, 88) = 13",
        "12 adjtimex({modes=0, offset=0, status=STA_UNSYNC}) = 5 (TIME_ERROR)",
        "12 sendto(4, [{nlmsg_len=32, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST|NLM_F_DUMP}, {}], 32, 0, NULL, 0) = 32",
        "12 sendto(4, [{nlmsg_len=20, nlmsg_type=0xa07 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST|0x300}, {}], 20, 0, NULL, 0) = 20",
        "12 sendmsg(9, {msg_iov=[{iov_base=\"\\x6c\\x01\\x03\\x01\\x73\\x00\\x07\\x00\\x00\\x00\\x47\\x65\\x74\\x55\\x6e\\x69\\x74\\x00\"}]}, 0) = 9",
    ] {
        assert_eq!(change(harmless), None, "{harmless}");
    }
    for harmful in [
        "12 openat(AT_FDCWD, \"/proc/sys/net/ipv4/ip_forward\", O_WRONLY) = 3",
        "12 openat(AT_FDCWD, \"/etc/x\", O_RDONLY|O_CREAT, 0644 <unfinished ...>",
        "mkdir(\"/etc/x\", 0755) = 0",
        "12 mount(\"a\", \"/mnt\", NULL, MS_BIND, NULL) = 0",
        "12 finit_module(3, \"\", 0) = 0",
        "12 unshare(CLONE_NEWNS) = 0",
        "12 clone(child_stack=NULL, flags=CLONE_NEWNS|SIGCHLD) = 0",
        "12 <... adjtimex resumed>{modes=ADJ_OFFSET, offset=1}) = 0",
        "12 setsockopt(3, SOL_IP, IPT_SO_SET_REPLACE, \"\", 9) = 0",
        "12 sendto(4, [{nlmsg_len=32, nlmsg_type=RTM_NEWLINK, nlmsg_flags=NLM_F_REQUEST}, {}], 32, 0, NULL, 0) = 32",
        "12 sendto(4, [{nlmsg_len=40, nlmsg_type=0x14 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST|0x300}, {}], 40, 0, NULL, 0) = 40",
        "12 sendto(4, [{nlmsg_len=20, nlmsg_type=0xa00 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST}, {}], 20, 0, NULL, 0) = 20",
        "12 sendmsg(9, {msg_iov=[{iov_base=\"\\x6c\\x01\\x03\\x01\\x73\\x00\\x06\\x00\\x00\\x00\\x52\\x65\\x6c\\x6f\\x61\\x64\\x00\"}]}, 0) = 9",
        "12 a_call_of_next_year(1) = 0",
    ] {
        assert!(change(harmful).is_some(), "{harmful}");
    }
}
