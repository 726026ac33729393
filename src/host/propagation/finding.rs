//! What is said when the canary was not seen everywhere: where, the evidence, the likely cause, and what to do.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::host::{
    mounts::{MountTable, MountTableError, Process},
    namespaces::{self, MountNamespace},
};

use super::{Observer, PropagationError, Witness};

/// What went wrong with the canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// It did not appear.
    NotSeen,
    /// It appeared and stayed after it was unmounted.
    NotGone,
    /// It was not tried: hostlet is not in the host's mount namespace.
    NotOnTheHost,
}

/// One who did not see it, with what it sees instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// Who.
    pub name: String,
    /// Its process; none for a namespace that hostlet made.
    pub pid: Option<u32>,
    /// It has the namespace of PID 1.
    pub in_the_hosts_namespace: bool,
    /// The mount that covers the root directory there, with its propagation: `/ (shared:55 master:54)`.
    pub covering: String,
}

/// What is mounted under the root directory does not reach everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPropagated {
    /// The root directory.
    pub root: PathBuf,
    /// Who mounted the canary.
    pub mounter: String,
    /// What went wrong.
    pub defect: Defect,
    /// With whom.
    pub unreached: Vec<Unreached>,
    /// What was found, as evidence: the covering mount in the mounter's namespace and on the host.
    pub evidence: String,
    /// What to do.
    pub remedy: String,
    /// Likely causes, where the caller knows some: "containerd.service has ProtectSystem=full in /etc/...".
    pub suspects: Vec<String>,
}

impl NotPropagated {
    /// Adds likely causes.
    #[must_use]
    pub fn suspecting(mut self, suspects: impl IntoIterator<Item = String>) -> Self {
        self.suspects.extend(suspects);
        self
    }

    pub(super) fn in_another_namespace(root: &Path, own: MountNamespace, init: MountNamespace) -> Self {
        Self {
            root: root.to_owned(),
            mounter: "hostlet".to_owned(),
            defect: Defect::NotOnTheHost,
            unreached: Vec::new(),
            evidence: format!("hostlet's mount namespace is mnt:[{}], that of PID 1 mnt:[{}]", own.number(), init.number()),
            remedy: "run hostlet on the host itself: not in a container, and not from a unit with PrivateTmp=, \
                     ProtectSystem= or another option that gives it a mount namespace of its own"
                .to_owned(),
            suspects: Vec::new(),
        }
    }

    /// The finding about those who did not see it (or still do); none if there are none.
    pub(super) fn judge(
        defect: Defect,
        root: &Path,
        mounter: Option<&Observer>,
        witnesses: &[Witness],
    ) -> Result<Option<Self>, PropagationError> {
        if witnesses.is_empty() {
            return Ok(None);
        }
        let host = Side::of(root, Process::Pid(1))?;
        let unreached = witnesses.iter().map(|witness| unreached(root, witness)).collect::<Result<Vec<_>, _>>()?;
        let from = mounter.map(|mounter| Side::of(root, Process::Pid(mounter.pid)).map(|side| (mounter, side))).transpose()?;
        let evidence = match &from {
            Some((mounter, side)) => {
                format!("{} lies on {side} with {} and on {host} on the host", root.display(), mounter.name)
            }
            None => format!("{} lies on {host} on the host", root.display()),
        };
        Ok(Some(Self {
            root: root.to_owned(),
            mounter: mounter.map_or_else(|| "hostlet".to_owned(), |mounter| format!("{} (pid {})", mounter.name, mounter.pid)),
            defect,
            remedy: remedy(root, &host, from.as_ref(), &unreached),
            unreached,
            evidence,
            suspects: Vec::new(),
        }))
    }
}

/// The root directory as one process sees it.
struct Side {
    on_the_host: bool,
    covering: String,
    shared: bool,
}

impl Side {
    fn of(root: &Path, process: Process) -> Result<Self, PropagationError> {
        let table = match MountTable::of(process) {
            Err(MountTableError::Gone(_)) => {
                return Ok(Self { on_the_host: false, covering: "nothing: it has ended".to_owned(), shared: false });
            }
            other => other?,
        };
        let covering = table.covering(root);
        Ok(Self {
            on_the_host: namespaces::mount_namespace(process)? == namespaces::mount_namespace(Process::Pid(1))?,
            covering: covering.map_or_else(
                || "no mount that it sees".to_owned(),
                |mount| format!("{} ({})", mount.mount_point.display(), mount.propagation),
            ),
            shared: covering.is_some_and(|mount| mount.propagation.is_shared()),
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.covering)
    }
}

fn unreached(root: &Path, witness: &Witness) -> Result<Unreached, PropagationError> {
    let side = Side::of(root, witness.process)?;
    let pid = match witness.process {
        Process::Pid(pid) => Some(pid),
        Process::Own | Process::Thread(_) => None,
    };
    Ok(Unreached { name: witness.name.clone(), pid, in_the_hosts_namespace: side.on_the_host, covering: side.covering })
}

fn remedy(root: &Path, host: &Side, from: Option<&(&Observer, Side)>, unreached: &[Unreached]) -> String {
    let isolated = |name: &str| {
        format!(
            "give {name} the host's mount namespace: remove what sandboxes its unit (PrivateMounts=, PrivateTmp=, \
             ProtectSystem=, ReadWritePaths=, MountFlags= and their like), reload systemd and restart it"
        )
    };
    match from {
        Some((mounter, side)) if !side.on_the_host => isolated(&mounter.name),
        _ if !host.shared => format!(
            "share the mounts below it: `hostlet install` does so with a mount unit; by hand, `mount --make-rshared` on \
             {}, which must be a mount point",
            root.display()
        ),
        _ => {
            let names = unreached.iter().filter(|one| one.pid.is_some_and(|pid| pid != 1)).map(|one| one.name.as_str());
            isolated(&names.collect::<Vec<_>>().join(" and "))
        }
    }
}

impl fmt::Display for NotPropagated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.display();
        match self.defect {
            Defect::NotOnTheHost => write!(f, "mounts under {root} cannot be judged from here")?,
            Defect::NotSeen => write!(f, "what {} mounts under {root} is not seen by {}", self.mounter, self.names())?,
            Defect::NotGone => {
                write!(f, "what {} unmounts under {root} stays mounted with {}", self.mounter, self.names())?;
            }
        }
        write!(f, ": {}", self.evidence)?;
        for suspect in &self.suspects {
            write!(f, "; likely cause: {suspect}")?;
        }
        write!(f, ". Secrets would be missing in pods. To do: {}", self.remedy)
    }
}

impl NotPropagated {
    fn names(&self) -> String {
        let one = |unreached: &Unreached| match unreached.pid {
            Some(pid) if unreached.in_the_hosts_namespace && pid != 1 => format!("{} (pid {pid})", unreached.name),
            Some(pid) if pid != 1 => format!("{} (pid {pid}, where it lies on {})", unreached.name, unreached.covering),
            _ => unreached.name.clone(),
        };
        self.unreached.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}
