//! What there is in the copy after an installation: looked at with other eyes than hostlet's own.

use std::fmt;

use serde_json::Value;

use super::{Machine, Rehearsal, RehearseError};

/// What was found.
#[derive(Debug)]
pub struct Outcome {
    /// kubelet and flanneld.
    pub units: Vec<Unit>,
    /// Executables behind `/opt/hostlet/current`.
    pub installed: Vec<Installed>,
    /// Mounts below the kubelet's root directory that the running kubelet made: (path, seen by whom). Empty where it made
    /// none.
    pub mounts: Vec<(String, Vec<&'static str>)>,
    /// What `hostlet status --output json` says.
    pub status: Value,
    /// How that ended, where it failed.
    pub status_failure: Option<String>,
}

/// A unit as systemd sees it.
#[derive(Debug)]
pub struct Unit {
    /// Its name.
    pub name: &'static str,
    /// `active/running`
    pub state: String,
    /// Its main process, as the copy numbers it.
    pub main_pid: String,
    /// How often it was restarted by itself.
    pub restarts: String,
}

/// An executable and the digest of its file.
#[derive(Debug)]
pub struct Installed {
    /// Its path.
    pub path: String,
    /// SHA-256 of what is there now.
    pub digest: String,
}

/// Looks at everything.
pub(super) async fn look(machine: &Machine, hostlet: &str) -> Result<Outcome, RehearseError> {
    let mut units = Vec::new();
    for name in ["kubelet.service", "flanneld.service"] {
        let properties = "--property=ActiveState,SubState,MainPID,NRestarts";
        let shown = machine.expect(&["systemctl", "show", properties, name]).await?;
        let value = |key: &str| {
            let mut lines = shown.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let state = format!("{}/{}", value("ActiveState"), value("SubState"));
        units.push(Unit { name, state, main_pid: value("MainPID"), restarts: value("NRestarts") });
    }
    let sums = "{ find -L /opt/hostlet/current/bin /opt/hostlet/current/cni -type f -exec sha256sum {} + 2>/dev/null || true; } | sort -k2";
    let installed = machine.script(sums).await?;
    let installed = installed.lines().filter_map(|line| line.split_once("  "));
    let installed = installed.map(|(digest, path)| Installed { path: path.to_owned(), digest: digest.to_owned() }).collect();
    let status = machine.run(&[hostlet, "status", "--output", "json"]).await?;
    Ok(Outcome {
        mounts: mounts(machine, &units[0].main_pid).await?,
        units,
        installed,
        status: serde_json::from_str(&status.stdout).unwrap_or(Value::Null),
        status_failure: (!status.status.success()).then(|| status.to_string()),
    })
}

/// Every mount that the kubelet sees below its root directory, and who else sees it.
async fn mounts(machine: &Machine, kubelet: &str) -> Result<Vec<(String, Vec<&'static str>)>, RehearseError> {
    let look = "awk '{ print $5 }' /proc/$1/mountinfo | grep /pods/ || true";
    let seen_by = async |pid: &str| -> Result<Vec<String>, RehearseError> {
        let seen = machine.expect(&["sh", "-c", look, "look", pid]).await?;
        Ok(seen.lines().map(str::to_owned).collect())
    };
    let containerd = machine.expect(&["systemctl", "show", "--value", "--property=MainPID", "containerd.service"]).await?;
    let (host, runtime) = (seen_by("1").await?, seen_by(containerd.trim()).await?);
    let all_of = |path: &String| {
        let witnesses = [("the host", &host), ("containerd", &runtime)];
        witnesses.into_iter().filter(|(_, seen)| seen.contains(path)).map(|(name, _)| name).collect()
    };
    Ok(seen_by(kubelet).await?.into_iter().map(|path| (path.clone(), all_of(&path))).collect())
}

impl Outcome {
    /// Whether everything is as it must be after an installation that succeeded.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.units.iter().all(|unit| unit.state == "active/running")
            && self.mounts.iter().all(|(_, seen)| seen.len() == 2)
            && !self.installed.is_empty()
            && self.status_failure.is_none()
    }
}

impl Rehearsal {
    /// Whether the node would be good.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.install.success() && self.outcome.as_ref().is_some_and(Outcome::is_good)
    }
}

/// For people: what was installed, and whether it works.
impl fmt::Display for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |duration: std::time::Duration| duration.as_secs_f64();
        let (install, total) = (seconds(self.install_time), seconds(self.total_time));
        writeln!(f, "Rehearsal: {} after {install:.1} s, {total:.1} s in all", ending(self))?;
        let Some(outcome) = &self.outcome else { return Ok(()) };
        let stand_in = if self.stand_ins { " (stand-in)" } else { "" };
        for unit in &outcome.units {
            writeln!(f, "  {:<18} {}, pid {}, {} restarts{stand_in}", unit.name, unit.state, unit.main_pid, unit.restarts)?;
        }
        for (path, seen) in &outcome.mounts {
            writeln!(
                f,
                "  secret at {path}: {}",
                if seen.is_empty() { "seen by nobody".to_owned() } else { format!("seen by {}", seen.join(" and ")) }
            )?;
        }
        for installed in &outcome.installed {
            writeln!(f, "  {}  {}", installed.digest, installed.path)?;
        }
        if let Some(failure) = &outcome.status_failure {
            writeln!(f, "  {failure}")?;
        }
        Ok(())
    }
}

fn ending(rehearsal: &Rehearsal) -> String {
    match (rehearsal.install.success(), rehearsal.is_good()) {
        (true, true) => "installed and healthy".to_owned(),
        (true, false) => "installed, but not as it should be".to_owned(),
        (false, _) => format!("hostlet install failed ({})", rehearsal.install),
    }
}
