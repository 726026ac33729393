//! The mounts that a process sees: `/proc/<pid>/mountinfo`, proc(5).

use std::{
    ffi::OsString,
    fmt, fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use procfs::process::{MountInfo, MountOptFields};

/// Whose view of the mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The calling thread's: a thread may have a mount namespace of its own.
    Own,
    /// That of another process.
    Pid(u32),
    /// That of another thread of this process.
    Thread(u32),
}

impl Process {
    /// Its directory in /proc.
    #[must_use]
    pub fn directory(self) -> PathBuf {
        match self {
            Self::Own => PathBuf::from("/proc/thread-self"),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}")),
            Self::Thread(tid) => PathBuf::from(format!("/proc/self/task/{tid}")),
        }
    }
}

/// The table could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MountTableError {
    /// The process has ended.
    #[error("{} is gone: the process has ended", .0.display())]
    Gone(PathBuf),
    /// The kernel refused to say.
    #[error("reading {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A line that is not as proc(5) describes it.
    #[error("reading {}: not a line of mountinfo: {line:?}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// The line.
        line: String,
    },
}

/// How mounts made below a mount travel. Source: mount_namespaces(7), "Shared subtrees".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Propagation {
    /// The peer group: mounts go to, and come from, every mount with the same number.
    pub shared: Option<u32>,
    /// The peer group that mounts are only received from.
    pub master: Option<u32>,
    /// The nearest dominating peer group that the process can see, where that is not `master`.
    pub propagate_from: Option<u32>,
    /// It cannot be bound.
    pub unbindable: bool,
}

impl Propagation {
    /// Whether mounts made below it reach others.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        self.shared.is_some()
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.shared.map(|group| format!("shared:{group}")));
        words.extend(self.master.map(|group| format!("master:{group}")));
        words.extend(self.propagate_from.map(|group| format!("propagate_from:{group}")));
        words.extend(self.unbindable.then(|| "unbindable".to_owned()));
        if words.is_empty() { f.write_str("private") } else { f.write_str(&words.join(" ")) }
    }
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, which is used again after it is gone.
    pub id: i32,
    /// The number of the mount it is mounted on.
    pub parent: i32,
    /// `major:minor` of the file system.
    pub device: String,
    /// Which directory of the file system is mounted: other than `/` for binds.
    pub root: PathBuf,
    /// Where, as the process sees it.
    pub mount_point: PathBuf,
    /// `ext4`, `tmpfs` ...
    pub fs_type: String,
    /// What was mounted: a device, or any word for file systems without one.
    pub source: OsString,
    /// Neither the mount nor the file system is read-only.
    pub writable: bool,
    /// Programs on it may be executed.
    pub executable: bool,
    /// How mounts below it travel.
    pub propagation: Propagation,
}

/// All mounts that a process sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Reads the table of a process.
    pub fn of(process: Process) -> Result<Self, MountTableError> {
        let path = process.directory().join("mountinfo");
        let content = fs::read(&path).map_err(|source| match source.raw_os_error() {
            // A zombie has no namespaces any more: EINVAL. A process that ends between open and read: ESRCH.
            Some(nix::libc::ENOENT | nix::libc::ESRCH | nix::libc::EINVAL) => MountTableError::Gone(path.clone()),
            _ => MountTableError::Unreadable { path: path.clone(), source },
        })?;
        Self::parse(&content).map_err(|line| MountTableError::Malformed { path, line })
    }

    /// Parses the content of a mountinfo file; the error is the line that is none.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(Self { mounts: lines.map(parse_line).collect::<Result<_, _>>()? })
    }

    /// The mounts as the kernel lists them.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    /// The mount that a path lies on: the top of the stack, hidden mounts left out. The path need not exist; it is taken
    /// as it is, so links in it must be resolved before (see [`resolve`](crate::host::propagation::resolve)).
    #[must_use]
    pub fn covering(&self, path: &Path) -> Option<&Mount> {
        let mut current = on_the_way(path, self.roots())?;
        // A walk can only descend: the limit is against tables that were torn while they were read.
        for _ in 0..self.mounts.len() {
            match on_the_way(path, self.children(current)) {
                Some(next) => current = next,
                None => break,
            }
        }
        Some(current)
    }

    /// The mounts at and below a path, each after the one it is mounted on, and one that hides others after those: in
    /// reverse they can be unmounted by path.
    #[must_use]
    pub fn below(&self, path: &Path) -> Vec<&Mount> {
        let mut ordered = Vec::with_capacity(self.mounts.len());
        let mut pending = self.roots().rev().collect::<Vec<_>>();
        while let Some(mount) = pending.pop() {
            if ordered.len() > self.mounts.len() {
                break;
            }
            ordered.push(mount);
            let mut children = self.children(mount).collect::<Vec<_>>();
            // The last one is taken first: deep mount points before shallow ones, which may hide them.
            children.sort_by_key(|child| child.mount_point.components().count());
            pending.extend(children);
        }
        ordered.retain(|mount| mount.mount_point.starts_with(path));
        ordered
    }

    /// The mount that another one is mounted on, where the process sees it.
    #[must_use]
    pub fn parent(&self, mount: &Mount) -> Option<&Mount> {
        self.mounts.iter().find(|other| other.id == mount.parent && other.id != mount.id)
    }

    fn roots(&self) -> impl DoubleEndedIterator<Item = &Mount> {
        self.mounts.iter().filter(|mount| self.parent(mount).is_none())
    }

    fn children<'a>(&'a self, of: &'a Mount) -> impl Iterator<Item = &'a Mount> {
        self.mounts.iter().filter(|mount| mount.parent == of.id && mount.id != of.id)
    }
}

/// The first of some mounts, side by side, that a walk to the path enters.
fn on_the_way<'a>(path: &Path, mounts: impl Iterator<Item = &'a Mount>) -> Option<&'a Mount> {
    mounts.filter(|mount| path.starts_with(&mount.mount_point)).min_by_key(|mount| mount.mount_point.components().count())
}

fn parse_line(line: &[u8]) -> Result<Mount, String> {
    // procfs takes text, and leaves the escapes in it: bytes that are no UTF-8 go through as escapes as well.
    let text = str::from_utf8(line).map_or_else(
        |_| {
            line.iter()
                .map(|byte| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("\\{byte:03o}") })
                .collect()
        },
        str::to_owned,
    );
    let parsed = MountInfo::from_line(&text).map_err(|_| text)?;
    let mut propagation = Propagation::default();
    for field in parsed.opt_fields {
        match field {
            MountOptFields::Shared(group) => propagation.shared = Some(group),
            MountOptFields::Master(group) => propagation.master = Some(group),
            MountOptFields::PropagateFrom(group) => propagation.propagate_from = Some(group),
            MountOptFields::Unbindable => propagation.unbindable = true,
        }
    }
    Ok(Mount {
        id: parsed.mnt_id,
        parent: parsed.pid,
        device: parsed.majmin,
        root: unescape(&parsed.root).into(),
        mount_point: unescape(&parsed.mount_point.to_string_lossy()).into(),
        fs_type: parsed.fs_type,
        source: unescape(&parsed.mount_source.unwrap_or_else(|| "none".to_owned())),
        writable: !parsed.mount_options.contains_key("ro") && !parsed.super_options.contains_key("ro"),
        executable: !parsed.mount_options.contains_key("noexec"),
        propagation,
    })
}

/// Undoes the kernel's `\040`: a backslash and three octal digits, for blanks, backslashes and `#`.
fn unescape(text: &str) -> OsString {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if let Some(escaped) = bytes.get(at + 1..at + 4).filter(|_| byte == b'\\').and_then(octal) {
            plain.push(escaped);
            at += 4;
        } else {
            plain.push(byte);
            at += 1;
        }
    }
    OsString::from_vec(plain)
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> MountTable {
        MountTable::parse(text.as_bytes()).unwrap()
    }

    const STACKED: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 8:2 / /var rw shared:2 - ext4 /dev/sda2 rw
31 30 8:2 /lib/kubelet /var/lib/kubelet rw - ext4 /dev/sda2 rw
32 31 0:40 / /var/lib/kubelet/pods/a rw shared:9 - tmpfs tmpfs rw
33 31 8:2 /lib/kubelet /var/lib/kubelet rw,noexec shared:7 master:2 - ext4 /dev/sda2 rw
34 30 0:41 / /var/library rw - tmpfs none ro
";

    #[test]
    fn the_top_of_a_stack_covers_a_path() {
        let table = table(STACKED);
        let covering = |path: &str| table.covering(Path::new(path)).unwrap().id;
        assert_eq!(covering("/var/lib/kubelet"), 33);
        assert_eq!(covering("/var/lib/kubelet/pods/a"), 33, "what lies below a covered mount is hidden");
        assert_eq!(covering("/var/lib"), 30);
        assert_eq!(covering("/var/library/x"), 34);
        assert_eq!(covering("/var/librarian"), 30, "names are compared whole");
        assert_eq!(covering("/etc"), 21);
    }

    #[test]
    fn mounts_below_a_path_are_listed_so_that_the_reverse_unmounts_them() {
        let table = table(STACKED);
        let below = |path: &str| table.below(Path::new(path)).iter().map(|mount| mount.id).collect::<Vec<_>>();
        assert_eq!(below("/var/lib/kubelet"), [31, 32, 33], "the hiding mount 33 goes before 32");
        assert_eq!(below("/var/lib"), [31, 32, 33]);
        assert_eq!(below("/nowhere"), [] as [i32; 0]);
    }

    #[test]
    fn order_does_not_depend_on_the_kernels_listing() {
        let backwards = STACKED.lines().rev().collect::<Vec<_>>().join("\n");
        let table = table(&backwards);
        assert_eq!(table.covering(Path::new("/var/lib/kubelet")).unwrap().id, 33);
        assert_eq!(table.below(Path::new("/var/lib")).iter().map(|mount| mount.id).collect::<Vec<_>>(), [31, 32, 33]);
    }

    #[test]
    fn optional_fields_and_options_are_read() {
        let table = table(STACKED);
        let top = table.covering(Path::new("/var/lib/kubelet")).unwrap();
        assert_eq!(top.propagation.to_string(), "shared:7 master:2");
        assert!(!top.executable && top.writable);
        assert!(!table.covering(Path::new("/var/library")).unwrap().writable, "a read-only file system");
        assert_eq!(table.iter().nth(2).unwrap().propagation.to_string(), "private");
    }

    #[test]
    fn escapes_and_foreign_bytes_are_kept_as_they_are() {
        let mut line = b"21 1 8:1 /a\\040b /mnt/with\\040blank\\011tab\\134back\\012line rw - ext4 /dev/sd\\043a rw\n".to_vec();
        line.extend(b"22 21 8:1 / /mnt/\xff\xe4\\040x rw shared:4 - ext4 /dev/sda rw\n");
        let table = MountTable::parse(&line).unwrap();
        let mounts = table.iter().collect::<Vec<_>>();
        assert_eq!(mounts[0].mount_point, Path::new("/mnt/with blank\ttab\\back\nline"));
        assert_eq!(mounts[0].root, Path::new("/a b"));
        assert_eq!(mounts[0].source, "/dev/sd#a");
        assert_eq!(mounts[1].mount_point.as_os_str().as_encoded_bytes(), b"/mnt/\xff\xe4 x");
    }

    #[test]
    fn a_line_that_is_no_mount_is_named() {
        assert_eq!(MountTable::parse(b"21 1 8:1 / / rw - ext4 a rw\nnonsense\n").unwrap_err(), "nonsense");
    }

    #[test]
    fn a_process_that_ended_is_told_apart() {
        assert!(matches!(MountTable::of(Process::Pid(u32::MAX)), Err(MountTableError::Gone(_))));
        assert!(MountTable::of(Process::Own).unwrap().covering(Path::new("/proc")).is_some());
    }
}
