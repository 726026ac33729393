//! What a directory needs so that mounts made below it reach the rest of the host.

use std::path::Path;

use super::{Mount, MountTable};

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The host shares the covering mount by itself.
    Nothing,
    /// A bind of the directory on itself, shared, from a mount unit.
    MountUnit,
    /// A file system of its own is mounted there and is not shared: it must be made so where it is mounted (fstab or
    /// mount unit), for a bind on top would only hide it.
    Sharing,
}

/// What the directory needs, whether or not it exists yet. Links in the path must be resolved before.
///
/// A bind of the directory on itself, ours or one that a kubelet made at its start, is looked through: the answer is the
/// same before and after the mount unit is there, so a second run plans what the first did.
#[must_use]
pub fn need(table: &MountTable, directory: &Path) -> Need {
    let Some(mut covering) = table.covering(directory) else { return Need::Nothing };
    while covering.mount_point == directory
        && let Some(below) = bound_on_itself(table, covering)
    {
        covering = below;
    }
    match (covering.propagation.is_shared(), covering.mount_point == directory) {
        (true, _) => Need::Nothing,
        (false, true) => Need::Sharing,
        (false, false) => Need::MountUnit,
    }
}

/// Whether the directory needs the mount unit: see [`need`].
#[must_use]
pub fn needs_mount_unit(table: &MountTable, directory: &Path) -> bool {
    need(table, directory) == Need::MountUnit
}

/// The mount below, when a mount shows at its mount point exactly the directory that would be there without it.
pub(super) fn bound_on_itself<'a>(table: &'a MountTable, mount: &Mount) -> Option<&'a Mount> {
    let parent = table.parent(mount)?;
    let beneath = mount.mount_point.strip_prefix(&parent.mount_point).ok()?;
    let same = parent.device == mount.device && mount.root.components().eq(parent.root.join(beneath).components());
    same.then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(text: &str) -> Need {
        need(&MountTable::parse(text.as_bytes()).unwrap(), Path::new("/var/lib/kubelet"))
    }

    #[test]
    fn a_shared_host_needs_nothing() {
        assert_eq!(needed("21 1 8:1 / / rw shared:1 - ext4 a rw"), Need::Nothing);
    }

    #[test]
    fn a_private_host_needs_the_unit_before_and_after_it_is_there() {
        let private = "21 1 8:1 / / rw - ext4 a rw\n";
        assert_eq!(needed(private), Need::MountUnit);
        assert_eq!(
            needed(&format!("{private}22 21 8:1 /var/lib/kubelet /var/lib/kubelet rw shared:5 - ext4 a rw")),
            Need::MountUnit
        );
    }

    #[test]
    fn a_slave_does_not_count_as_shared() {
        assert_eq!(needed("21 1 8:1 / / rw master:1 - ext4 a rw"), Need::MountUnit);
    }

    #[test]
    fn a_bind_on_a_shared_host_makes_no_need() {
        let text = "21 1 8:1 / / rw shared:1 - ext4 a rw\n22 21 8:1 /var/lib/kubelet /var/lib/kubelet rw - ext4 a rw";
        assert_eq!(needed(text), Need::Nothing);
    }

    #[test]
    fn a_file_system_of_its_own_is_never_hidden() {
        let private = "21 1 8:1 / / rw shared:1 - ext4 a rw\n22 21 8:2 / /var/lib/kubelet rw - ext4 b rw\n";
        assert_eq!(needed(private), Need::Sharing);
        assert_eq!(
            needed(&format!("{private}23 22 8:2 / /var/lib/kubelet rw shared:7 - ext4 b rw")),
            Need::Sharing,
            "also when a kubelet has bound it on itself"
        );
        assert_eq!(needed("21 1 8:1 / / rw - ext4 a rw\n22 21 8:2 / /var/lib/kubelet rw shared:9 - ext4 b rw"), Need::Nothing);
    }

    #[test]
    fn a_bind_of_another_directory_is_a_file_system_of_its_own() {
        let text = "21 1 8:1 / / rw - ext4 a rw\n22 21 8:1 /data /var/lib/kubelet rw - ext4 a rw";
        assert_eq!(needed(text), Need::Sharing);
    }
}
