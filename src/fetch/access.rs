//! What is sent to one source and to nobody else: its header lines, and its login.

use std::path::Path;

use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};

use super::{
    Problem,
    netrc::{Login, Netrc},
};
use crate::{
    config::Site,
    host::{files::FileError, secret_file},
};

/// The credentials for one source.
#[derive(Clone, Default)]
pub(super) struct Access {
    headers: HeaderMap,
    login: Option<Login>,
}

impl Access {
    /// Reads the source's header file. Each value is marked as sensitive, so that no log shows it. Blocking.
    pub(super) fn of(site: &Site, netrc: &Netrc) -> Result<Self, Problem> {
        let headers = site.header_file.as_deref().map(read).transpose()?.unwrap_or_default();
        // Over plain http everybody on the way would read it.
        let host = site.url.host_str().filter(|_| site.url.scheme() == "https" && !headers.contains_key(AUTHORIZATION));
        let login = host.and_then(|host| netrc.login(host));
        Ok(Self { headers, login })
    }

    /// Adds them to a request.
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.headers(self.headers.clone());
        match &self.login {
            Some(login) => request.basic_auth(&login.user, Some(login.password.expose())),
            None => request,
        }
    }
}

/// `Name: value`, one a line; empty lines and those that begin with `#` say nothing.
fn read(path: &Path) -> Result<HeaderMap, Problem> {
    let text = secret_file::read_text(path).map_err(Problem::HeaderFile)?.map_err(Problem::HeaderFileExposed)?;
    let wrong = |line: usize| {
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, format!("line {line} is not \"Name: value\""));
        Problem::HeaderFile(FileError::doing("reading", path)(error))
    };
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong(index + 1))?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong(index + 1))?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong(index + 1))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;

    #[test]
    fn header_lines_are_read_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("header");
        files::write(&path, b"# ours\nPRIVATE-TOKEN: hunter2\n\nX-Two:  a: b \n", 0o600).unwrap();
        let headers = read(&path).unwrap();
        assert_eq!((headers["private-token"].as_bytes(), headers["x-two"].as_bytes()), (&b"hunter2"[..], &b"a: b"[..]));
        assert!(!format!("{headers:?}").contains("hunter2"));
        for wrong in ["hunter2", "a b: hunter2", "x: hunter2\u{1}"] {
            files::write(&path, format!("x: y\n{wrong}\n").as_bytes(), 0o600).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("line 2 is not") && !error.contains("hunter2"), "{error}");
        }
    }
}
