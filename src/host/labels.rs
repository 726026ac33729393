//! Mandatory access control: whether SELinux or AppArmor is there, and SELinux's labels. Looks only.

use std::{io, path::Path};

use rustix::{fs::lgetxattr, io::Errno};

use super::files::{self, FileError, if_present};

/// How SELinux is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeLinux {
    /// Not there, or switched off.
    Absent,
    /// It says what it would have denied.
    Permissive,
    /// It denies.
    Enforcing,
}

/// How SELinux is set now.
pub fn selinux() -> Result<SeLinux, FileError> {
    Ok(match if_present(files::read_text(Path::new("/sys/fs/selinux/enforce")))?.as_deref().map(str::trim) {
        None => SeLinux::Absent,
        Some("1") => SeLinux::Enforcing,
        Some(_) => SeLinux::Permissive,
    })
}

/// Whether the kernel enforces AppArmor's profiles.
pub fn apparmor() -> Result<bool, FileError> {
    Ok(if_present(files::read_text(Path::new("/sys/module/apparmor/parameters/enabled")))?.is_some_and(|on| on.trim() == "Y"))
}

/// The type in a file's label: `var_lib_t`. `None` where it has none.
pub fn selinux_type(path: &Path) -> Result<Option<String>, FileError> {
    // Labels are far shorter: SELinux itself takes no context of more than a page.
    let mut buffer = [0_u8; 4096];
    let length = match lgetxattr(path, "security.selinux", &mut buffer[..]) {
        Ok(length) => length,
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
        Err(errno) => return Err(FileError::doing("reading the label of", path)(io::Error::from(errno))),
    };
    Ok(type_of(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default())))
}

/// `user:role:type:level`
fn type_of(label: &str) -> Option<String> {
    label.trim_end_matches('\0').split(':').nth(2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_the_third_part_of_a_label() {
        assert_eq!(type_of("system_u:object_r:var_lib_t:s0\0").as_deref(), Some("var_lib_t"));
        assert_eq!(type_of("system_u:object_r:container_file_t:s0:c1,c2").as_deref(), Some("container_file_t"));
        assert_eq!(type_of(""), None);
    }
}
