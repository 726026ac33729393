//! What this process may do.

use procfs::{ProcError, process::Process};

/// The user and the effective capabilities of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privileges {
    /// Effective user id.
    pub user: u32,
    effective: u64,
}

/// A capability, by the kernel's number (linux/capability.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Interfaces, routes, firewall.
    NetAdmin = 12,
    /// Raw sockets.
    NetRaw = 13,
    /// Modules.
    SysModule = 16,
    /// Mounts, namespaces.
    SysAdmin = 21,
}

impl Capability {
    /// As capabilities(7) names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::SysModule => "CAP_SYS_MODULE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
        }
    }
}

impl Privileges {
    /// Those of this process.
    pub fn own() -> Result<Self, ProcError> {
        let status = Process::myself()?.status()?;
        Ok(Self { user: status.euid, effective: status.capeff })
    }

    /// Whether it is root.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.user == 0
    }

    /// Whether the capability is effective.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.effective & (1 << capability as u32) != 0
    }
}

/// Whether hostlet runs as root, whatever capabilities it was left with. Asked of the kernel: /proc may be missing where an
/// image is made.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
