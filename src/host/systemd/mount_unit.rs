//! The name that a mount unit must have.

use std::{fmt::Write, os::unix::ffi::OsStrExt, path::Path};

use crate::model::{Invalid, UnitName};

/// The mount unit of a path: `/var/lib/my-kubelet` is `var-lib-my\x2dkubelet.mount`. systemd refuses another name than the
/// one its Where= makes. Source: systemd.unit(5), "String escaping for inclusion in unit names".
pub fn mount_unit_name(path: &Path) -> Result<UnitName, Invalid> {
    let names = path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    let mut escaped = String::new();
    for name in names {
        if !escaped.is_empty() {
            escaped.push('-');
        }
        for &byte in name {
            match byte {
                b'.' if escaped.is_empty() => escaped.push_str("\\x2e"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => escaped.push(char::from(byte)),
                // Writing to a String cannot fail.
                _ => _ = write!(escaped, "\\x{byte:02x}"),
            }
        }
    }
    if escaped.is_empty() {
        escaped.push('-');
    }
    format!("{escaped}.mount").parse().map_err(|_| {
        Invalid::new(path.display().to_string(), "a path that fits into the name of a mount unit, 255 characters when escaped")
    })
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, process::Command};

    use super::*;

    /// What systemd's own tool makes of a path.
    #[allow(clippy::disallowed_types, reason = "the reference is a program")]
    fn reference(path: &OsStr) -> String {
        let output = Command::new("systemd-escape").args(["--path", "--suffix=mount"]).arg(path).output().unwrap();
        assert!(output.status.success(), "systemd-escape (package systemd) refused {path:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[test]
    fn names_are_those_that_systemd_escape_makes() {
        let paths: [&[u8]; 10] = [
            b"/var/lib/kubelet",
            b"/var/lib/my-kubelet",
            b"/",
            b"/data//kubelet/",
            b"/.hidden/x.y",
            b"/a/.b",
            b"/with blank/and\\backslash",
            b"/m\xc3\xbcll/\xff",
            b"/a_b:c@d",
            b"/./x/./y",
        ];
        for path in paths {
            let path = OsStr::from_bytes(path);
            assert_eq!(mount_unit_name(Path::new(path)).unwrap().as_str(), reference(path), "{path:?}");
        }
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        assert!(mount_unit_name(Path::new(&format!("/{}", "-".repeat(100)))).is_err());
    }
}
