//! What the machine has: processors, memory, the firmware's name for it. Looks only.

use std::path::Path;

use procfs::{Current, Meminfo, ProcError};

use super::files::{self, FileError, if_present};

const ONLINE: &str = "/sys/devices/system/cpu/online";
const PRODUCT_UUID: &str = "/sys/class/dmi/id/product_uuid";

/// The processors that are online; `None` where the kernel's list is none.
///
/// Not what this process may use: a cgroup's quota for hostlet says nothing of the kubelet.
pub fn processors() -> Result<Option<u32>, FileError> {
    Ok(length(files::read_text(Path::new(ONLINE))?.trim()))
}

/// A list such as `0-3,6`.
fn length(list: &str) -> Option<u32> {
    list.split(',').try_fold(0, |sum, part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        Some(sum + to.checked_sub(from)? + 1)
    })
}

/// The memory that the kernel has to give, in bytes.
pub fn memory() -> Result<u64, ProcError> {
    Ok(Meminfo::current()?.mem_total)
}

/// The firmware's id of this machine, as it is written there; `None` where firmware tells none, as on most arm machines.
pub fn product_uuid() -> Result<Option<String>, FileError> {
    Ok(if_present(files::read_text(Path::new(PRODUCT_UUID)))?.map(|text| text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_from_the_kernels_list() {
        assert_eq!((length("0"), length("0-3"), length("0-3,6,8-9")), (Some(1), Some(4), Some(7)));
        assert_eq!((length(""), length("3-1"), length("x")), (None, None, None));
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        assert!(processors().unwrap() >= Some(1));
        assert!(memory().unwrap() > 1 << 20);
    }
}
