//! What a machine boots from: Debian with its cloud kernel and containerd, made once and kept.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hostlet::model::Digest;

/// For root alone: what boots from an image runs as root.
const CACHE: &str = "/var/cache/hostlet-machines";
const RECIPE: &str = include_str!("image.sh");
/// Images that nobody made anew for so long were made by another recipe.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// A kernel, what it starts, and the root that all machines begin with.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    directory: PathBuf,
}

impl Image {
    /// The image of this recipe for this release of Debian; made now unless an earlier run did, which takes a minute and the
    /// network. Safe to call from several processes at once, and to kill: an image is complete or absent.
    pub(crate) fn prepare() -> Self {
        for (program, package) in
            [("qemu-system-x86_64", "qemu-system-x86"), ("mmdebstrap", "mmdebstrap"), ("qemu-img", "qemu-utils")]
        {
            let found = Command::new(program).arg("--version").output();
            assert!(found.is_ok(), "{program} is not installed, and no machine can be made without: apt-get install {package}");
        }
        let release = fs::read("/etc/os-release").unwrap();
        let cache = Path::new(CACHE);
        let directory = cache.join(Digest::of(&[RECIPE.as_bytes(), &release].concat()).short());
        fs::create_dir_all(cache).and_then(|()| set_mode(cache, 0o700)).unwrap();
        let lock = File::create(cache.join("lock")).unwrap();
        lock.lock().unwrap();
        if !directory.exists() {
            let partial = cache.join("partial");
            remove(&partial);
            fs::create_dir(&partial).unwrap();
            make(&partial);
            fs::rename(&partial, &directory).unwrap();
            remove_old(cache, &directory);
        }
        Self { directory }
    }

    pub(super) fn kernel(&self) -> PathBuf {
        self.directory.join("kernel")
    }

    pub(super) fn initrd(&self) -> PathBuf {
        self.directory.join("initrd")
    }

    /// Debian's CNI plugins.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.directory.join("cni")
    }

    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root.raw")
    }
}

/// In a mount namespace of its own: what a killed mmdebstrap left mounted goes with it.
fn make(directory: &Path) {
    let mut log = tempfile::tempfile().unwrap();
    let status = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "bash",
            "-c",
            RECIPE,
            "image",
        ])
        .arg(directory)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log.try_clone().unwrap())
        .status()
        .unwrap();
    let mut said = String::new();
    io::Seek::rewind(&mut log).and_then(|()| log.read_to_string(&mut said)).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert!(status.success(), "making the image of a machine: {status}\n{}", said[said.len().saturating_sub(40)..].join("\n"));
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("removing {}: {error}", path.display()),
        _ => {}
    }
}

fn remove_old(cache: &Path, current: &Path) {
    for entry in fs::read_dir(cache).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        let is_old = metadata.modified().unwrap().elapsed().is_ok_and(|age| age > KEPT_FOR);
        if metadata.is_dir() && entry.path() != current && is_old {
            remove(&entry.path());
        }
    }
}
