//! Where the container runtime looks for networks: pods get none when that is not where hostlet lays them.
//!
//! Debian's containerd looks for plugins in /usr/lib/cni, says NetworkReady all the same, and every pod then fails.

use std::{sync::Arc, time::Instant};

use crate::{
    host::cri::{NetworkPlaces, RuntimeService},
    preflight::{
        Subject,
        check::{Again, Check, ERROR, Judgement, Look, Looking, USUAL},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "cni-places",
    tests: "the container runtime looks for CNI plugins and configuration where hostlet lays them; containerd tells",
    weight: ERROR,
    remedy: "in containerd's configuration, cni of the cri plugin: bin_dir = \"/opt/cni/bin\", conf_dir = \"/etc/cni/net.d\"",
    deadline: USUAL,
    may_become_true: true,
    look: Look::Async(places),
}];

fn places(subject: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async move {
        if subject.settings.flannel.is_none() {
            return Ok(Judgement::pass("without flannel the network's own installer says where its plugins lie"));
        }
        let asked = async { RuntimeService::dial(&subject.settings.runtime.socket).await?.network_places().await };
        Ok(match asked.await {
            // Whether a runtime answers at all is cri's finding: said once is enough.
            Err(error) => Judgement::warning(format!("the runtime does not tell: {error}")).remedy("see cri").again(Again::Yes),
            Ok(None) => Judgement::pass("the runtime does not tell; the usual places are those that hostlet uses"),
            Ok(Some(places)) => judge(&subject, &places),
        })
    })
}

fn judge(subject: &Subject, places: &NetworkPlaces) -> Judgement {
    let (plugins, configuration) = (&subject.places.cni_executables, &subject.places.cni_configuration);
    let listed = places.plugin_dirs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let mut wrong = Vec::new();
    if !places.plugin_dirs.contains(plugins) {
        wrong.push(format!("it looks for CNI plugins in {listed}, and not in {}", plugins.display()));
    }
    if &places.configuration != configuration {
        wrong.push(format!(
            "it looks for CNI configuration in {}, and not in {}",
            places.configuration.display(),
            configuration.display()
        ));
    }
    if wrong.is_empty() {
        return Judgement::pass(format!("plugins: {listed}; configuration: {}", configuration.display()));
    }
    Judgement::failure(wrong.join("\n")).remedy(format!(
        "in /etc/containerd/config.toml set bin_dir = \"{}\" and conf_dir = \"{}\" below \
         [plugins.\"io.containerd.grpc.v1.cri\".cni] (containerd 2: [plugins.\"io.containerd.cri.v1.runtime\".cni]), and: \
         systemctl restart {}",
        plugins.display(),
        configuration.display(),
        subject.settings.runtime.unit
    ))
}
