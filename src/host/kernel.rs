//! The kernel: its release, settings, modules, swap and control groups. Looks only.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use nix::sys::{
    statfs::{CGROUP2_SUPER_MAGIC, statfs},
    statvfs::{FsFlags, statvfs},
    utsname::uname,
};

use super::files::{self, FileError, if_present};

/// What uname tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `6.1.0-13-amd64`
    pub release: String,
    /// `x86_64`
    pub machine: String,
    /// The host's name.
    pub host_name: String,
}

impl Kernel {
    /// The running one.
    pub fn running() -> io::Result<Self> {
        let names = uname()?;
        let text = |name: &OsStr| name.to_string_lossy().into_owned();
        Ok(Self { release: text(names.release()), machine: text(names.machine()), host_name: text(names.nodename()) })
    }

    /// The first two numbers of its release.
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// The value of a kernel setting, named as sysctl does; `None` where the kernel has none of that name.
pub fn setting(name: &str) -> Result<Option<String>, FileError> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    Ok(if_present(files::read_text(&path))?.map(|text| text.trim().to_owned()))
}

/// A setting of IPv4 on one link (`rp_filter`); a link's name may have dots in it.
pub fn link_setting(link: &str, name: &str) -> Result<Option<String>, FileError> {
    let path = Path::new("/proc/sys/net/ipv4/conf").join(link).join(name);
    Ok(if_present(files::read_text(&path))?.map(|text| text.trim().to_owned()))
}

/// Whether a setting lies on a mount that can be written: in containers /proc/sys often cannot, or only its part for the
/// network.
pub fn is_writable(name: &str) -> io::Result<bool> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    Ok(!statvfs(&path)?.flags().contains(FsFlags::ST_RDONLY))
}

/// What is known of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// Loaded, or part of the kernel.
    Present,
    /// A file that modprobe can load.
    Loadable,
    /// The kernel's own configuration and its directory of modules know nothing of it.
    Absent,
    /// Nothing tells.
    Unknown,
}

/// Looks for a module by what it brings, by its name, and by the kernel option that builds it (`VXLAN`). Never loads anything.
pub fn module(name: &str, option: &str) -> Result<Module, FileError> {
    if Path::new("/sys/module").join(name).exists() || shows(name)? {
        return Ok(Module::Present);
    }
    let release = Kernel::running().map_err(FileError::doing("asking for", "the kernel's release"))?.release;
    let directory: PathBuf = Path::new("/lib/modules").join(release);
    let builtin = if_present(files::read_text(&directory.join("modules.builtin")))?;
    let loadable = if_present(files::read_text(&directory.join("modules.dep")))?;
    if builtin.as_deref().is_some_and(|list| lists(list, name)) {
        return Ok(Module::Present);
    }
    if loadable.as_deref().is_some_and(|list| lists(list, name)) {
        return Ok(Module::Loadable);
    }
    // A kernel without a readable configuration is no obstacle by itself (kubeadm#1351): then nothing tells.
    let configuration = procfs::kernel_config().ok();
    match configuration.as_ref().map(|options| options.get(&format!("CONFIG_{option}"))) {
        Some(Some(procfs::ConfigSetting::Yes)) => Ok(Module::Present),
        Some(Some(procfs::ConfigSetting::Module)) if loadable.is_none() => Ok(Module::Unknown),
        Some(_) => Ok(Module::Absent),
        None if loadable.is_some() => Ok(Module::Absent),
        None => Ok(Module::Unknown),
    }
}

/// Whether the kernel can do now what the module brings, as far as that shows without asking for it: then the module needs no
/// further proof, and on a kernel that has it built in there may be none.
fn shows(name: &str) -> Result<bool, FileError> {
    Ok(match name {
        "overlay" => files::read_text(Path::new("/proc/filesystems"))?.split_whitespace().any(|word| word == name),
        "nf_conntrack" => Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists(),
        "br_netfilter" => Path::new("/proc/sys/net/bridge").exists(),
        _ => false,
    })
}

/// Opens the device that flannel's udp backend makes its tunnel with, and closes it again: without a further word that makes
/// nothing. Only for a kernel that has tun already: opening the device may load the module.
pub fn open_tun() -> Result<(), FileError> {
    let path = Path::new("/dev/net/tun");
    std::fs::File::options().read(true).write(true).open(path).map(drop).map_err(FileError::doing("opening", path))
}

/// Whether a list of module files names the module; the kernel treats `-` and `_` as the same.
fn lists(list: &str, name: &str) -> bool {
    list.lines().any(|line| {
        let file = line.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        file.split(".ko").next().is_some_and(|stem| stem.replace('-', "_") == name.replace('-', "_") && file.contains(".ko"))
    })
}

/// One active swap area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// The device or file.
    pub path: String,
    /// `partition` or `file`
    pub kind: String,
}

/// Everything the kernel swaps to.
pub fn swaps() -> Result<Vec<Swap>, FileError> {
    let text = if_present(files::read_text(Path::new("/proc/swaps")))?.unwrap_or_default();
    let area = |line: &str| {
        let mut words = line.split_whitespace();
        Some(Swap { path: words.next()?.to_owned(), kind: words.next()?.to_owned() })
    };
    Ok(text.lines().skip(1).filter_map(area).collect())
}

/// How control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlGroups {
    /// The unified hierarchy alone.
    V2,
    /// One hierarchy for each controller, with or without the unified one beside them.
    V1,
}

/// The version mounted at /sys/fs/cgroup.
pub fn control_groups() -> io::Result<ControlGroups> {
    let unified = statfs("/sys/fs/cgroup")?.filesystem_type() == CGROUP2_SUPER_MAGIC;
    Ok(if unified { ControlGroups::V2 } else { ControlGroups::V1 })
}

/// The controllers that can be used, by their v2 names (`io` for v1's `blkio`).
pub fn controllers(version: ControlGroups) -> Result<Vec<String>, FileError> {
    Ok(match version {
        ControlGroups::V2 => {
            let text = files::read_text(Path::new("/sys/fs/cgroup/cgroup.controllers"))?;
            text.split_whitespace().map(str::to_owned).collect()
        }
        ControlGroups::V1 => enabled_v1(&files::read_text(Path::new("/proc/cgroups"))?),
    })
}

/// `name hierarchy num_cgroups enabled`, where hierarchy 0 means mounted nowhere.
fn enabled_v1(table: &str) -> Vec<String> {
    let controller = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let &[name, hierarchy, _, "1"] = words.as_slice() else { return None };
        (hierarchy != "0").then(|| if name == "blkio" { "io" } else { name }.to_owned())
    };
    table.lines().filter(|line| !line.starts_with('#')).filter_map(controller).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        let version =
            |release: &str| Kernel { release: release.to_owned(), machine: String::new(), host_name: String::new() }.version();
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("5.14.0-362.el9.x86_64"), Some((5, 14)));
        assert_eq!(version("weird"), None);
    }

    #[test]
    fn modules_are_found_in_the_lists_that_depmod_writes() {
        let builtin = "kernel/net/ipv4/tcp_cubic.ko\nkernel/fs/overlayfs/overlay.ko\n";
        let dep =
            "kernel/drivers/net/vxlan/vxlan.ko.xz: kernel/net/ipv4/udp_tunnel.ko.xz\nkernel/net/bridge/br_netfilter.ko: a\n";
        assert!(lists(builtin, "overlay") && lists(dep, "vxlan") && lists(dep, "br_netfilter") && lists(dep, "br-netfilter"));
        assert!(!lists(dep, "udp_tunnel") && !lists(builtin, "over"));
    }

    #[test]
    fn v1_controllers_that_are_off_or_mounted_nowhere_do_not_count() {
        let table =
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nmemory\t5\t1\t0\npids\t0\t1\t1\nblkio\t7\t1\t1\n";
        assert_eq!(enabled_v1(table), ["cpu", "io"]);
    }
}
