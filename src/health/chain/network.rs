//! The container runtime's network: CNI initialised, as it reports it over the CRI.

use std::{path::Path, time::Duration};

use tokio::time::timeout;

use super::{Link, Obstacle};
use crate::host::cri::{Condition, RuntimeService};

/// How long the runtime may take.
const ANSWER: Duration = Duration::from_secs(2);

pub(super) async fn cni(socket: &Path) -> Result<String, Obstacle> {
    let asked = timeout(ANSWER, async { RuntimeService::dial(socket).await?.readiness().await }).await;
    let obstacle = |found: String, remedy: &str| Err(Obstacle::new(Link::Cni, found, remedy));
    match asked {
        Ok(Ok(readiness)) => judge(readiness.network),
        Ok(Err(error)) => obstacle(error.to_string(), "look at the container runtime: systemctl status containerd"),
        Err(_) => obstacle(
            format!("the container runtime at {} does not answer within {} s", socket.display(), ANSWER.as_secs()),
            "look at the container runtime: systemctl status containerd",
        ),
    }
}

fn judge(network: Option<Condition>) -> Result<String, Obstacle> {
    match network {
        Some(Condition { holds: true, .. }) => Ok("NetworkReady".to_owned()),
        Some(Condition { explanation, .. }) => Err(Obstacle::new(
            Link::Cni,
            explanation,
            "look into /etc/cni/net.d, where the first file by name counts, and into /opt/cni/bin, where its plugins have to be; \
             does the container runtime look there (crictl info)?",
        )),
        None => Err(Obstacle::new(
            Link::Cni,
            "the container runtime does not tell whether it has a network for pods",
            "use a runtime that reports NetworkReady over the CRI",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_says_against_it_is_told() {
        let says = |holds, explanation: &str| judge(Some(Condition { holds, explanation: explanation.to_owned() }));
        assert!(says(true, "").is_ok());
        let found = says(false, "NetworkPluginNotReady: cni plugin not initialized").unwrap_err();
        assert!(found.found.contains("cni plugin not initialized") && found.remedy.contains("/etc/cni/net.d"), "{found:?}");
        assert!(judge(None).unwrap_err().found.contains("does not tell"));
    }
}
