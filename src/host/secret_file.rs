//! Files with keys and passwords that a user put there: read only where nobody else may read or change them, as ssh does.

use std::{
    fmt,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    capabilities::Privileges,
    files::{self, FileError},
};

const ROOT: u32 = 0;

/// Others than root and who runs hostlet may read or change the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub path: PathBuf,
    mode: u32,
    owner: u32,
    we: u32,
}

impl Exposed {
    fn is_strangers(&self) -> bool {
        self.owner != ROOT && self.owner != self.we
    }

    /// What to type.
    #[must_use]
    pub fn remedy(&self) -> String {
        let path = self.path.display();
        let owner = if self.is_strangers() { format!("chown {} {path}; ", self.we) } else { String::new() };
        format!("{owner}chmod 0600 {path}")
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, mode, owner, .. } = self;
        let others = if self.is_strangers() || mode & 0o022 != 0 { "read or change" } else { "read" };
        write!(f, "{} has mode {mode:04o} and belongs to user {owner}: others can {others} it", path.display())
    }
}

/// The whole content; the inner error says who else may have it. What is looked at is what is read: the opened file, to
/// which a link may lead.
pub fn read(path: &Path) -> Result<Result<Vec<u8>, Exposed>, FileError> {
    let mut file = files::open(path)?;
    let metadata = file.metadata().map_err(FileError::doing("looking at", path))?;
    // Who cannot tell who it is has root's files alone.
    let we = Privileges::own().map_or(ROOT, |privileges| privileges.user);
    let mode = metadata.permissions().mode() & 0o7777;
    let exposed = Exposed { path: path.to_owned(), mode, owner: metadata.uid(), we };
    if mode & 0o077 != 0 || exposed.is_strangers() {
        return Ok(Err(exposed));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(FileError::doing("reading", path))?;
    Ok(Ok(content))
}

/// The same as text.
pub fn read_text(path: &Path) -> Result<Result<String, Exposed>, FileError> {
    let text = |content| {
        String::from_utf8(content).map_err(|_| FileError::doing("reading", path)(std::io::ErrorKind::InvalidData.into()))
    };
    Ok(match read(path)? {
        Ok(content) => Ok(text(content)?),
        Err(exposed) => Err(exposed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_do_and_what_mends_it_is_said() {
        let shown = |mode, owner| {
            let exposed = Exposed { path: "/key".into(), mode, owner, we: 7 };
            format!("{exposed}; {}", exposed.remedy())
        };
        assert_eq!(shown(0o640, 0), "/key has mode 0640 and belongs to user 0: others can read it; chmod 0600 /key");
        assert_eq!(shown(0o602, 7), "/key has mode 0602 and belongs to user 7: others can read or change it; chmod 0600 /key");
        let strangers = "/key has mode 0600 and belongs to user 8: others can read or change it; chown 7 /key; chmod 0600 /key";
        assert_eq!(shown(0o600, 8), strangers);
    }

    #[test]
    fn a_link_is_judged_by_what_it_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let (key, link) = (directory.path().join("key"), directory.path().join("link"));
        files::link(&link, &key).unwrap();
        for mode in [0o600, 0o400, 0o700] {
            files::write(&key, b"hunter2", mode).unwrap();
            assert_eq!(read(&link).unwrap().unwrap(), b"hunter2", "{mode:o}");
        }
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
            files::write(&key, b"hunter2", mode).unwrap();
            let exposed = read(&link).unwrap().unwrap_err();
            assert!(exposed.to_string().contains(&format!("mode {mode:04o}")), "{exposed}");
        }
    }
}
