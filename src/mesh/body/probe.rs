//! What a probe says about itself.

use std::net::IpAddr;

use super::codec::{Reader, put_ip, put_place, put_port};
use crate::{mesh::wire::Refused, model::Port};

/// What a probe says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The port it was sent to.
    pub port: Port,
    /// How large it is.
    pub size: Size,
    /// The how manieth it is, from 0.
    pub attempt: u8,
    /// The address that the sender sees as its own.
    pub source: IpAddr,
    /// The address that it was sent to.
    pub destination: IpAddr,
}

/// How large a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// 128 bytes.
    Small,
    /// As large as the sender's interface allows, not to be fragmented.
    Full,
}

pub(super) const SIZES: [Size; 2] = [Size::Small, Size::Full];

impl Probe {
    pub(super) fn put(&self, to: &mut Vec<u8>) {
        put_port(to, self.port);
        put_place(to, &SIZES, &self.size);
        to.push(self.attempt);
        put_ip(to, self.source);
        put_ip(to, self.destination);
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        let (port, size, attempt) = (from.port()?, from.one_of(SIZES)?, from.byte()?);
        // A bit of a byte stands for each attempt.
        if attempt > 7 {
            return Err(Refused::Malformed);
        }
        Ok(Self { port, size, attempt, source: from.ip()?, destination: from.ip()? })
    }
}
