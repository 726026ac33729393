//! The bytes of a source, piece by piece, wherever they come from.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncReadExt, time::timeout};
use url::Url;

use super::{Problem, client};
use crate::host::files::{self, FileError};

/// As much of a `file://` source is read at once.
const PIECE: usize = 256 * 1024;

/// An opened source.
pub(super) enum Body {
    Http { response: Box<reqwest::Response>, pace: Pace },
    File { file: tokio::fs::File, url: Url },
}

/// Sees that a source does not trickle: silence is a stall, and so is less than a minimum over as long a time. Only the time
/// counts in which we wait for the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    stall: Duration,
    minimum_rate: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(super) const fn new(stall: Duration, minimum_rate: u64) -> Self {
        Self { stall, minimum_rate, waited: Duration::ZERO, bytes: 0 }
    }

    fn account(&mut self, waited: Duration, bytes: usize) -> Result<(), Problem> {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < self.stall {
            return Ok(());
        }
        let rate = u64::try_from(u128::from(self.bytes) * 1000 / self.waited.as_millis().max(1)).unwrap_or(u64::MAX);
        if rate < self.minimum_rate {
            return Err(Problem::TooSlow { rate, minimum: self.minimum_rate, over: self.waited });
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}

impl Body {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        match self {
            Self::Http { response, pace } => {
                let begun = Instant::now();
                let stalled = |_| Problem::Stalled(pace.stall);
                let piece = timeout(pace.stall, response.chunk()).await.map_err(stalled)?.map_err(client::problem)?;
                if let Some(piece) = &piece {
                    pace.account(begun.elapsed(), piece.len())?;
                }
                Ok(piece)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_a_stall_and_a_burst_after_a_pause_is_none() {
        let second = Duration::from_secs(1);
        let mut trickle = Pace::new(10 * second, 1000);
        let stalled = (0..20).map(|_| trickle.account(second, 999)).find_map(Result::err).unwrap();
        assert!(stalled.is_transient() && stalled.to_string().contains("999 bytes a second over 10 s"), "{stalled}");
        let mut bursts = Pace::new(10 * second, 1000);
        for _ in 0..20 {
            bursts.account(9 * second, 1).unwrap();
            bursts.account(second, 10_000).unwrap();
        }
        let mut off = Pace::new(second, 0);
        (0..20).for_each(|_| off.account(second, 0).unwrap());
    }
}
