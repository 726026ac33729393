//! The bytes of a source, piece by piece, wherever they come from.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncReadExt, time::timeout};
use url::Url;

use super::{Problem, client};
use crate::host::files::{self, FileError};

/// As much of a `file://` source is read at once.
const PIECE: usize = 256 * 1024;

/// An opened source.
pub(super) enum Body {
    Http { response: Box<reqwest::Response>, stall: Duration },
    File { file: tokio::fs::File, url: Url },
}

impl Body {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        match self {
            Self::Http { response, stall } => {
                timeout(*stall, response.chunk()).await.map_err(|_| Problem::Stalled(*stall))?.map_err(client::problem)
            }
            Self::File { file, url } => {
                let mut piece = BytesMut::with_capacity(PIECE);
                let count = file.read_buf(&mut piece).await.map_err(|error| {
                    Problem::Source(FileError::doing("reading", url.to_file_path().unwrap_or_default())(error))
                })?;
                Ok((count > 0).then(|| piece.freeze()))
            }
        }
    }

    /// Opens a `file://` source; gives its size, too.
    pub(super) async fn open_file(url: &Url) -> Result<(Self, Option<u64>), Problem> {
        let path = url.to_file_path().map_err(|()| Problem::NoPath)?;
        let opening = path.clone();
        let opened = tokio::task::spawn_blocking(move || files::open_regular(&opening)).await.map_err(Problem::stopped)?;
        let file = opened.map_err(Problem::Source)?.map_err(|kind| Problem::NotAFile { path: path.clone(), kind })?;
        let size = file.metadata().map_err(|error| Problem::Source(FileError::doing("looking at", &path)(error)))?.len();
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(PIECE);
        Ok((Self::File { file, url: url.clone() }, Some(size)))
    }
}
