//! The health gates of a run: of what it started, and of what it started again when it had to undo all it did.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Context,
    activate::{Active, FLANNELD, waits_for_node},
    failure::Cause,
    readiness,
};
use crate::{
    config::{Kubelet, Settings},
    facts::{Activity, Observed},
    generation,
    health::{self, Gate, HealthError, Healthy, PropagationGate, Unhealthy},
    host::{files, healthz::Endpoint, journal::quoted, systemd::Systemd},
    model::{UnitName, layout},
    output::Event,
    transaction::{ChangeError, LeftBehind, Undo, Undone},
};

/// How long what may take, and whose mounts must be seen by whom.
struct Expectations {
    opt: PathBuf,
    root: PathBuf,
    runtime: UnitName,
    timeout: Duration,
    window: Duration,
    waits_for_node: bool,
}

/// Sees that every unit that was started is healthy and stays so.
///
/// A flanneld that waits for its Node is left to the chain, and so is one that gets no lease where there was none before: what
/// it lacks is the cluster's to give, and no reason to tear this host down.
pub(super) async fn gate(context: &Context, active: &Active, had_all: bool) -> Result<Vec<Healthy>, Cause> {
    let is_watched = |unit: &&UnitName| active.has_network || unit.as_str() != FLANNELD;
    let units: Vec<&UnitName> = active.started.iter().filter(is_watched).collect();
    if units.is_empty() {
        return Ok(Vec::new());
    }
    context.events.emit(Event::Stage { name: "health" });
    let systemd = Systemd::connect().await.map_err(ChangeError::from)?;
    // What it waits for is there.
    let expectations = Expectations { waits_for_node: false, ..Expectations::of(context) };
    let gates: Vec<Gate> = units.into_iter().map(|unit| expectations.gate(unit)).collect();
    let all = futures_util::future::try_join_all(gates.iter().map(|gate| async {
        match health::wait(&systemd, gate).await? {
            Ok(healthy) => Ok(Some(healthy)),
            Err(unhealthy) if !had_all && lacks_lease(context, &gate.unit).await => {
                let text = format!("{unhealthy}\nit has no lease yet: the chain of the Node tells more");
                context.events.emit(Event::Warning { text });
                Ok(None)
            }
            Err(unhealthy) => Err(Cause::Unhealthy { unhealthy: Box::new(unhealthy) }),
        }
    }));
    tokio::select! {
        healthy = all => Ok(healthy?.into_iter().flatten().collect()),
        () = context.stop.cancelled() => Err(Cause::Interrupted),
    }
}

async fn lacks_lease(context: &Context, unit: &UnitName) -> bool {
    unit.as_str() == FLANNELD && waits_for_node(&context.settings) && !readiness::has_lease(context).await
}

/// Sees whether what undoing started again is healthy; what is not counts as left behind. A unit that did not run before
/// the run need not run after it.
pub(super) async fn of_restored(context: &Context, observed: &Observed, mut undone: Undone) -> Undone {
    let ran = |unit: &&UnitName| observed.units.get(*unit).is_some_and(|facts| facts.activity == Activity::Up);
    let units: Vec<UnitName> = undone.restarted.iter().filter(ran).filter(|unit| unit.is_service()).cloned().collect();
    if units.is_empty() {
        return undone;
    }
    context.events.emit(Event::Stage { name: "health of what was restored" });
    undone.left_behind.extend(not_healthy(&Expectations::of(context), &units).await);
    undone
}

/// The same after a run that was killed: what is started again then was up when that run began, or it would only be tried.
pub(super) async fn of_recovered(opt: &Path, settings: Option<&Settings>, undone: &Undone) -> Vec<LeftBehind> {
    let services: Vec<UnitName> = undone.restarted.iter().filter(|unit| unit.is_service()).cloned().collect();
    not_healthy(&Expectations::without_context(opt, settings), &services).await
}

/// Of units that were started again, those that are not healthy, and why.
async fn not_healthy(expectations: &Expectations, units: &[UnitName]) -> Vec<LeftBehind> {
    let checks = units.iter().map(|unit| async {
        let why = match check(&expectations.gate(unit)).await {
            Ok(Ok(_)) => return None,
            Ok(Err(unhealthy)) => format!("it was restarted, but {unhealthy}{}", quoted(&unhealthy.journal)),
            Err(error) => format!("it was restarted; whether it is healthy is not known: {error}"),
        };
        Some(LeftBehind { undo: Undo::RestartUnit { unit: unit.clone() }, why })
    });
    futures_util::future::join_all(checks).await.into_iter().flatten().collect()
}

async fn check(gate: &Gate) -> Result<Result<Healthy, Unhealthy>, HealthError> {
    health::wait(&Systemd::connect().await?, gate).await
}

impl Expectations {
    fn of(context: &Context) -> Self {
        Self::without_context(&context.opt, Some(&context.settings))
    }

    /// As the generation in force has it, or the configuration where there is none; the usual ones where there is neither.
    fn without_context(opt: &Path, settings: Option<&Settings>) -> Self {
        let current = generation::current(opt).ok().flatten().map(|manifest| manifest.contents);
        let root = current.as_ref().map(|contents| contents.root_directory.clone());
        let runtime = current.map(|contents| contents.runtime_unit);
        Self {
            opt: opt.to_owned(),
            root: root
                .or_else(|| settings.map(|settings| settings.kubelet.root_directory.clone()))
                .unwrap_or_else(|| layout::KUBELET_ROOT.into()),
            runtime: runtime
                .or_else(|| settings.map(|settings| settings.runtime.unit.clone()))
                .unwrap_or_else(|| UnitName::known("containerd.service")),
            timeout: settings.map_or(Kubelet::HEALTH_TIMEOUT, |settings| settings.kubelet.health_timeout),
            window: settings.map_or(Kubelet::STABLE_WINDOW, |settings| settings.kubelet.stable_window),
            waits_for_node: settings.is_none_or(waits_for_node),
        }
    }

    fn gate(&self, unit: &UnitName) -> Gate {
        let is_kubelet = unit.as_str() == "kubelet.service";
        let may_exit = self.waits_for_node && unit.as_str() == FLANNELD;
        Gate {
            unit: unit.clone(),
            timeout: self.timeout,
            window: self.window,
            since_restarts: Some(0),
            loop_after: if may_exit { None } else { Some(3) },
            healthz: is_kubelet.then(|| kubelet_healthz(&self.opt)).flatten(),
            propagation: is_kubelet.then(|| PropagationGate { root: self.root.clone(), receivers: vec![self.runtime.clone()] }),
        }
    }
}

/// The kubelet's health endpoint, by the configuration that the running one reads. Without one, a kubelet that hostlet did
/// not install is not asked.
fn kubelet_healthz(opt: &Path) -> Option<Endpoint> {
    healthz_of(&files::read(&opt.join("current/etc/kubelet.json")).ok()?)
}

/// 127.0.0.1:10248 unless the KubeletConfiguration says otherwise; 0 turns it off.
fn healthz_of(configuration: &[u8]) -> Option<Endpoint> {
    let configuration: serde_json::Value = serde_json::from_slice(configuration).unwrap_or_default();
    let port = configuration["healthzPort"].as_u64().unwrap_or(10248);
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    let address: Option<IpAddr> = configuration["healthzBindAddress"].as_str().and_then(|address| address.parse().ok());
    let address = address.filter(|address| !address.is_unspecified()).unwrap_or(Ipv4Addr::LOCALHOST.into());
    Some(Endpoint::new(SocketAddr::new(address, port), "/healthz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelet_is_asked_where_its_own_configuration_says() {
        let endpoint = |configuration: &str| healthz_of(configuration.as_bytes()).map(|endpoint| endpoint.to_string());
        assert_eq!(endpoint("{}").unwrap(), "http://127.0.0.1:10248/healthz");
        assert_eq!(endpoint(r#"{"healthzPort":1}"#).unwrap(), "http://127.0.0.1:1/healthz");
        assert_eq!(endpoint(r#"{"healthzBindAddress":"10.0.0.7"}"#).unwrap(), "http://10.0.0.7:10248/healthz");
        assert_eq!(endpoint(r#"{"healthzBindAddress":"0.0.0.0"}"#).unwrap(), "http://127.0.0.1:10248/healthz");
        assert_eq!(endpoint(r#"{"healthzPort":0}"#), None);
    }
}
