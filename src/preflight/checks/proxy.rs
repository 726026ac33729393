//! Proxies between this node and its cluster.

use std::{sync::Arc, time::Instant};

use url::Url;

use crate::{
    host::{
        detached,
        processes::Process,
        proxies::Proxies,
        systemd::{LoadState, Systemd, SystemdError},
    },
    model::{Cidr, UnitName},
    preflight::{
        Subject,
        check::{Check, Judgement, Look, Looking, USUAL, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "proxy",
    tests: "neither the API server nor the networks of pods and services would be reached through a proxy",
    weight: WARNING,
    remedy: "add them to NO_PROXY where the proxy is set",
    deadline: USUAL,
    may_become_true: false,
    look: Look::Async(between),
}];

/// An environment, and what it is of.
struct Place {
    name: String,
    unit: Option<UnitName>,
    proxies: Proxies,
}

/// What must be reached directly.
struct Targets {
    server: Option<Url>,
    networks: Vec<(&'static str, Cidr)>,
    domain: Option<String>,
}

fn between(subject: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async move {
        let own = Proxies::own().map(|proxies| Place { name: "hostlet's own environment".to_owned(), unit: None, proxies });
        let mut places: Vec<_> = own.into_iter().collect();
        // systemd not answering is init's finding.
        if let Ok(systemd) = Systemd::connect().await {
            for unit in [UnitName::known("kubelet.service"), subject.settings.runtime.unit.clone()] {
                let variables = environment(&systemd, &unit).await.unwrap_or_default();
                let proxies = Proxies::of(&variables);
                places.extend(proxies.map(|proxies| Place { name: unit.to_string(), unit: Some(unit), proxies }));
            }
        }
        Ok(judge(&places, &targets(&subject)))
    })
}

/// What the running process has, or else what it will be started with.
async fn environment(systemd: &Systemd, unit: &UnitName) -> Result<Vec<String>, SystemdError> {
    let state = systemd.unit(unit).await?;
    if let Some(pid) = state.main_pid {
        let running = detached::run("environment", move || Process::look(pid).map(|process| process.environment())).await;
        if let Ok(Some(variables)) = running {
            return Ok(variables);
        }
    }
    if state.load_state == LoadState::Loaded { systemd.environment(unit).await } else { Ok(Vec::new()) }
}

fn targets(subject: &Subject) -> Targets {
    let settings = &subject.settings;
    let cluster = settings.cluster.as_ref();
    let mut networks = Vec::new();
    if let Some(flannel) = &settings.flannel {
        networks.push(("the pods' network", flannel.network));
        networks.extend(flannel.ipv6_network.map(|network| ("the pods' network", network)));
    }
    networks.extend(cluster.and_then(|cluster| cluster.service_cidr).map(|network| ("the services' network", network)));
    Targets {
        server: cluster.map(|cluster| cluster.server.clone()),
        networks,
        domain: cluster.map(|cluster| cluster.domain.clone()),
    }
}

fn judge(places: &[Place], targets: &Targets) -> Judgement {
    let (mut found, mut remedies) = (Vec::new(), Vec::new());
    for place in places {
        let (mut missing, mut through) = (Vec::new(), Vec::new());
        if let Some(server) = &targets.server
            && let Some(proxy) = place.proxies.before(server)
        {
            let host = server.host_str().unwrap_or_default();
            missing.push(host.trim_matches(['[', ']']).to_owned());
            through.push((format!("the API server {host}"), proxy));
        }
        for (name, network) in &targets.networks {
            if let Some(proxy) = place.proxies.before_network(*network) {
                missing.push(network.to_string());
                through.push((format!("{name} {network}"), proxy));
            }
        }
        if missing.is_empty() {
            continue;
        }
        found.extend(through.iter().map(|(what, proxy)| format!("{}: {what} through the proxy {proxy}", place.name)));
        // Names of services do not show which network they are in.
        if let Some(domain) = &targets.domain {
            missing.extend([".svc".to_owned(), format!(".{domain}")]);
        }
        remedies.push(remedy(place, &missing));
    }
    if !found.is_empty() {
        return Judgement::failure(found.join("\n")).remedy(remedies.join("\n"));
    }
    let names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
    Judgement::pass(if names.is_empty() { "none is set".to_owned() } else { format!("excepted in {}", names.join(", ")) })
}

/// The whole line that has to be there.
fn remedy(place: &Place, missing: &[String]) -> String {
    let before = place.proxies.exceptions.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned);
    let mut all: Vec<String> = Vec::new();
    for part in before.chain(missing.iter().cloned()) {
        if !all.contains(&part) {
            all.push(part);
        }
    }
    let line = format!("NO_PROXY={}", all.join(","));
    match &place.unit {
        None => format!("export {line}"),
        Some(unit) => format!("systemctl edit {unit}: [Service] Environment={line}; then systemctl restart {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::check::Kind;

    #[test]
    fn the_remedy_is_the_whole_line_for_the_place_that_sets_the_proxy() {
        let place = |unit: Option<&str>| Place {
            name: "x".to_owned(),
            unit: unit.map(|unit| unit.parse().unwrap()),
            proxies: Proxies::of(&["HTTPS_PROXY=http://proxy:3128".to_owned(), "NO_PROXY=localhost, 10.77.0.1".to_owned()])
                .unwrap(),
        };
        let targets = Targets {
            server: Some("https://10.77.0.1:6443".parse().unwrap()),
            networks: vec![("the pods' network", "10.244.0.0/16".parse().unwrap())],
            domain: Some("cluster.local".to_owned()),
        };
        let judged = judge(&[place(Some("containerd.service"))], &targets);
        assert_eq!(judged.kind, Kind::Failure);
        assert_eq!(judged.observed, "x: the pods' network 10.244.0.0/16 through the proxy proxy:3128");
        let line = "NO_PROXY=localhost,10.77.0.1,10.244.0.0/16,.svc,.cluster.local";
        assert!(
            judged.remedy.unwrap().starts_with(&format!("systemctl edit containerd.service: [Service] Environment={line};"))
        );
        assert_eq!(judge(&[place(None)], &targets).remedy.unwrap(), format!("export {line}"));
        assert_eq!(judge(&[], &targets).kind, Kind::Pass);
    }
}
