//! What can be wrong with a source, a transfer, or the cache.

use std::{io::ErrorKind, path::PathBuf, time::Duration};

use crate::{
    host::{files::FileError, secret_file::Exposed},
    model::Digest,
};

/// What went wrong while a file was fetched.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The URL is neither https nor file.
    #[error("the source's scheme is {0:?}, and only https and file are taken")]
    Scheme(String),
    /// Plain http where that is not allowed.
    #[error("the source is plain http, which it is not allowed to be")]
    Plain,
    /// The file with the source's headers is not what it should be.
    #[error("its headers: {0}")]
    HeaderFile(FileError),
    /// That file is open to others.
    #[error("its headers (header-file): {0}")]
    HeaderFileExposed(Exposed),
    /// No TLS client could be made.
    #[error("TLS cannot be set up: {0}")]
    Client(String),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The source's certificate or its TLS is not acceptable.
    #[error("the source cannot be trusted: {0}")]
    Trust(String),
    /// Nothing came for a while.
    #[error("the source sent nothing for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    /// Something came now and then, and too little of it.
    #[error("the source sent {rate} bytes a second over {} s, less than the minimum of {minimum}", .over.as_secs())]
    TooSlow {
        /// Bytes a second.
        rate: u64,
        /// What is asked for.
        minimum: u64,
        /// For how long.
        over: Duration,
    },
    /// The connection ended early.
    #[error("the transfer broke off: {0}")]
    Broken(String),
    /// An HTTP status that is not success.
    #[error("the source answered {}", status(*.code))]
    Status {
        /// The code.
        code: u16,
        /// How long the source asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A page for people came.
    #[error(
        "an HTML page came instead of the file{}: a captive portal, a proxy's notice or an error page",
        .title.as_deref().map(|title| format!(" (\"{title}\")")).unwrap_or_default()
    )]
    Page {
        /// Its title, shortened and harmless.
        title: Option<String>,
    },
    /// The bytes were changed on the way.
    #[error("the source sends the file with the encoding {0}, for which it was not asked")]
    Encoded(String),
    /// A redirect away from https.
    #[error("the source redirects to {0}, which is not https")]
    RedirectToPlain(String),
    /// Too many redirects.
    #[error("the source redirects more than {0} times")]
    RedirectLoop(usize),
    /// The file is not the one that was asked for.
    #[error(
        "the digest is wrong: expected sha256:{expected}, found sha256:{actual} in {bytes} bytes{}",
        if *.html { "; the source answered with an HTML page" } else { "" }
    )]
    WrongDigest {
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
        /// How many bytes came.
        bytes: u64,
        /// The content is a page for people, not the file.
        html: bool,
    },
    /// More bytes than any artifact has.
    #[error("the file is larger than {limit} bytes{}", .announced.map(|bytes| format!(" ({bytes} announced)")).unwrap_or_default())]
    TooLarge {
        /// What the source announced, if it did.
        announced: Option<u64>,
        /// What is taken.
        limit: u64,
    },
    /// A `file://` source is something else than a file.
    #[error("{} is {kind}, not a regular file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A `file://` URL that names no path of this host.
    #[error("the URL names no path on this host")]
    NoPath,
    /// A `file://` source cannot be read.
    #[error("{0}")]
    Source(FileError),
    /// The cache cannot be written or read.
    #[error("{}", cache(.error, *.needed))]
    Cache {
        /// What failed.
        error: FileError,
        /// The size of the file, where the source told it.
        needed: Option<u64>,
    },
    /// A checksum file holds no SHA-256 digest.
    #[error("the checksum file {0}")]
    Sidecar(String),
    /// The task that did it ended unexpectedly.
    #[error("the work ended unexpectedly: {0}")]
    Stopped(String),
}

impl Problem {
    /// Whether trying again may help: what the network or an overloaded source does, not what they say.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Stalled(_) | Self::TooSlow { .. } | Self::Broken(_) => true,
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500 | 502..=504) || (520..=530).contains(code),
            _ => false,
        }
    }

    /// Whether it says something about the source, beyond this one file: others are asked first then.
    pub(super) fn is_the_sources(&self) -> bool {
        self.is_transient() || matches!(self, Self::Trust(_) | Self::Page { .. } | Self::RedirectToPlain(_))
    }

    /// Whether no other source can help.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Cache { .. } | Self::Client(_) | Self::Stopped(_))
    }

    /// For `map_err` where the cache is read or written.
    pub(super) fn cache(needed: Option<u64>) -> impl FnOnce(FileError) -> Self {
        move |error| Self::Cache { error, needed }
    }

    /// For `map_err` where a task is awaited.
    #[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
    pub(super) fn stopped(error: tokio::task::JoinError) -> Self {
        Self::Stopped(error.to_string())
    }

    pub(super) fn remedy(&self, url: &str) -> String {
        match self {
            Self::Scheme(_) => "Set the component's url in [sources] to one that starts with https:// or file://.".to_owned(),
            Self::Plain => "Use https, or say allow-http = true for this source in [sources].".to_owned(),
            Self::HeaderFile(error) => format!(
                "Put one header a line into {}, as Name: value, readable by root, or leave header-file out.",
                error.path.display()
            ),
            Self::HeaderFileExposed(exposed) => {
                format!(
                    "Let nobody else have it: {}. What was in it may be known to others by now: change it.",
                    exposed.remedy()
                )
            }
            Self::Page { .. } | Self::Status { code: 511, .. } => format!(
                "Open {url} in a browser on this network: log in where a portal asks for it, or set a proxy or a mirror in [sources]."
            ),
            Self::Encoded(_) => "Turn compression off for this file on the mirror or the proxy between: its digest is of the \
                                 file as it is published."
                .to_owned(),
            Self::Client(_) => {
                "Install the ca-certificates package, or name a PEM file with sources.ca-file; check sources.proxy.".to_owned()
            }
            Self::Connect(_) | Self::Stalled(_) | Self::TooSlow { .. } | Self::Broken(_) => format!(
                "Check name resolution, routes, firewalls and HTTPS_PROXY towards {url}, then run hostlet again: it resumes what \
                 was transferred. A mirror can be set in [sources]."
            ),
            Self::Trust(_) => {
                "If the source is a mirror with an authority of your own, name its PEM file with sources.ca-file; \
                 check the host's clock and, behind a proxy, whether it intercepts TLS."
                    .to_owned()
            }
            Self::Status { code: 401 | 403 | 407, .. } => {
                "The source or a proxy asks for permission: check the credentials in sources.netrc-file, the source's \
                 header-file or HTTPS_PROXY."
                    .to_owned()
            }
            Self::Status { code: 404 | 410, .. } => {
                format!("Check the version and architecture in {url}, and that the mirror carries this release.")
            }
            Self::Status { .. } => format!("Try again later, or set another source for it in [sources] than {url}."),
            Self::RedirectToPlain(_) | Self::RedirectLoop(_) => {
                "Set the component's url in [sources] to the https address that serves the file itself.".to_owned()
            }
            Self::WrongDigest { html: true, .. } => format!(
                "Open {url} in a browser: a login page, a proxy's notice or an error page stands where the file should be."
            ),
            Self::WrongDigest { .. } => {
                "Check the digest in the configuration against the publisher's, and whether the source \
                 carries the file unchanged. Nothing of it was kept."
                    .to_owned()
            }
            Self::TooLarge { .. } => format!("Check what {url} serves: no artifact of a node is that large."),
            Self::NotAFile { .. } | Self::NoPath => "Name a regular file: file:///absolute/path/to/it.".to_owned(),
            Self::Source(error) => {
                format!("Check that {} exists, is complete and can be read by root.", error.path.display())
            }
            Self::Cache { error, needed } => cache_remedy(error, *needed),
            Self::Sidecar(_) => {
                "Pin the digest in [sources] instead, or point to a file with the 64 hexadecimal characters of \
                 its SHA-256 digest, alone or as sha256sum prints it."
                    .to_owned()
            }
            Self::Stopped(_) => "This is a defect of hostlet: report it with the run's output.".to_owned(),
        }
    }
}

fn status(code: u16) -> String {
    let reason = reqwest::StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
    reason.map_or_else(|| code.to_string(), |reason| format!("{code} {reason}"))
}

fn cache(error: &FileError, needed: Option<u64>) -> String {
    let path = error.path.display();
    match error.source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            let needs = needed.map(|bytes| format!("; the file needs {bytes} bytes")).unwrap_or_default();
            format!("the file system of {path} is full{needs} ({error})")
        }
        ErrorKind::ReadOnlyFilesystem => format!("the file system of {path} is read-only ({error})"),
        _ => error.to_string(),
    }
}

fn cache_remedy(error: &FileError, needed: Option<u64>) -> String {
    let path = error.path.display();
    match error.source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => match needed {
            Some(bytes) => format!("Free at least {bytes} bytes on the file system of {path}, and run hostlet again."),
            None => format!("Free space on the file system of {path}, and run hostlet again."),
        },
        ErrorKind::ReadOnlyFilesystem => format!("Make the file system of {path} writable, and run hostlet again."),
        _ => format!("Check {path}: it must be writable by root, on a healthy disk."),
    }
}
