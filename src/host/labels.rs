//! Mandatory access control: whether SELinux or AppArmor is there, and SELinux's labels.
//!
//! Gap: a program gets the label that the directory of the system's programs has, which is the one that the usual policies have
//! for `/opt/*/bin`, too; another that a policy of one's own has for that place is not asked for.

use std::{fs::File, io, path::Path};

use rustix::{
    fs::{XattrFlags, fsetxattr, lgetxattr},
    io::Errno,
};

use super::files::{self, FileError, if_present};

const LABEL: &str = "security.selinux";
const PROGRAMS: &str = "/usr/bin";

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
    Ok(label(path)?.and_then(|label| type_of(&String::from_utf8_lossy(&label))))
}

/// Labels a file of ours as the system's programs are, so that systemd starts it in the domain that the policy has for what an
/// administrator installs. What is made below `/opt` is labelled as data otherwise (`usr_t`), and a kubelet of that label
/// stays in systemd's own domain. Where SELinux is not, nothing happens. Tells whether it did: then the caller syncs the file.
pub fn label_as_program(file: &File, path: &Path) -> Result<bool, FileError> {
    if selinux()? == SeLinux::Absent {
        return Ok(false);
    }
    let Some(label) = label(Path::new(PROGRAMS))? else { return Ok(false) };
    match fsetxattr(file, LABEL, &label, XattrFlags::empty()) {
        Ok(()) => Ok(true),
        // A file system without labels has one for all that is on it, by its mount.
        Err(Errno::NOTSUP) => Ok(false),
        Err(errno) => Err(FileError::doing("labelling", path)(io::Error::from(errno))),
    }
}

fn label(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    // Labels are far shorter: SELinux itself takes no context of more than a page.
    let mut buffer = [0_u8; 4096];
    match lgetxattr(path, LABEL, &mut buffer[..]) {
        Ok(length) => Ok(buffer.get(..length).map(<[u8]>::to_vec)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(FileError::doing("reading the label of", path)(io::Error::from(errno))),
    }
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
