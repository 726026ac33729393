//! What the running kubelet mounts must be seen by the host and by the container runtime, and what the host mounts by it.

use crate::{
    host::{
        propagation::{NotPropagated, Observer, Proof, prove_both_ways},
        systemd::Systemd,
    },
    model::UnitName,
};

use super::{HealthError, PropagationGate};

/// With those as observers that are the main processes of the receiving units now.
pub(super) async fn prove_with(
    systemd: &Systemd,
    unit: &UnitName,
    pid: u32,
    gate: &PropagationGate,
) -> Result<Result<Proof, NotPropagated>, HealthError> {
    let mounter = Observer { name: unit.to_string(), pid };
    let mut receivers = Vec::new();
    for receiver in &gate.receivers {
        let pid = systemd.unit(receiver).await?.main_pid;
        let pid = pid.ok_or_else(|| HealthError::ReceiverDown(receiver.clone(), unit.clone()))?;
        receivers.push(Observer { name: receiver.to_string(), pid });
    }
    let root = gate.root.clone();
    let proof = tokio::task::spawn_blocking(move || prove_both_ways(&root, &mounter, &receivers)).await??;
    match proof {
        Ok(proof) => Ok(Ok(proof)),
        Err(finding) => Ok(Err(finding.suspecting(suspects(systemd, unit, gate).await?))),
    }
}

/// The options that are to blame, most likely.
async fn suspects(systemd: &Systemd, unit: &UnitName, gate: &PropagationGate) -> Result<Vec<String>, HealthError> {
    let mut suspects = Vec::new();
    for unit in std::iter::once(unit).chain(&gate.receivers) {
        suspects.extend(systemd.sandboxing(unit).await?.iter().map(ToString::to_string));
    }
    Ok(suspects)
}
