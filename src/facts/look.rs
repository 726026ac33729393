//! Looking at the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    Activity, Credentials, FactsError, Footprint, Foreign, HostFacts, KernelAbilities, NodeFacts, Observed, RootMount,
    UnitFacts,
};
use crate::{
    config::{CertificateAuthority, Cluster, JoinCredential, Settings},
    generation::{self, manifest::Manifest},
    host::{
        api_server::{ClientCertificate, Credential},
        files, kernel,
        kubeconfig::{self, Identity},
        look,
        mounts::{MountTable, Need, Process, need},
        namespaces, network, parameters,
        propagation::resolve,
        resolver,
        systemd::{ActiveState, Systemd, SystemdError, UnitState},
    },
    model::{Secret, UnitName, layout},
};

/// Looks at what tells who the node is.
#[must_use]
pub fn node() -> NodeFacts {
    NodeFacts {
        hostname: sysinfo::System::host_name().unwrap_or_default(),
        machine: sysinfo::System::cpu_arch(),
        default_sources: network::default_sources(),
    }
}

/// Looks at what the plan depends on.
pub fn host(settings: &Settings) -> Result<HostFacts, FactsError> {
    // With one that has expired the kubelet bootstraps once more, and without the kubeconfig it does not use it.
    let certificate = ClientCertificate::read(&settings.kubelet.root_directory.join(layout::CLIENT_CERTIFICATE)).ok();
    let validity = certificate.and_then(|certificate| certificate.validity());
    let client_certificate = validity.is_some_and(|validity| jiff::Timestamp::now() <= validity.not_after)
        && look::exists(Path::new(layout::KUBELET_KUBECONFIG));
    Ok(HostFacts {
        node: node(),
        program: files::digest(Path::new("/proc/self/exe"))?,
        resolved_stub: resolver::is_stub()?,
        kernel: KernelAbilities { overlay: parameters::has_overlay()?, bridge_netfilter: parameters::has_bridge_netfilter() },
        root_mount: root_mount(&settings.kubelet.root_directory)?,
        client_certificate,
        foreign: Foreign::default(),
        credentials: credentials(settings, client_certificate)?,
    })
}

/// Looks at what lies in the footprint.
pub async fn observe(footprint: Footprint, current: Option<Manifest>, opt: PathBuf) -> Result<Observed, FactsError> {
    let units = footprint.units.clone();
    let files = tokio::task::spawn_blocking(move || files_of(&footprint, current, &opt));
    let (files, units) = tokio::join!(files, units_of(&units));
    let mut observed = files.map_err(|_| FactsError::Interrupted)??;
    match units {
        Ok(units) => observed.units = units,
        Err(error) => observed.systemd_unavailable = Some(error.to_string()),
    }
    Ok(observed)
}

fn files_of(footprint: &Footprint, current: Option<Manifest>, opt: &Path) -> Result<Observed, FactsError> {
    let mut observed = Observed { highest_generation: generation::highest(opt)?, ..Observed::default() };
    for path in &footprint.paths {
        observed.paths.insert(path.clone(), look::at(path)?);
    }
    for name in &footprint.sysctls {
        observed.sysctls.insert(name.clone(), kernel::setting(name)?);
    }
    if let Some(manifest) = &current {
        let inspection = generation::inspect(opt, manifest)?;
        observed.damage = inspection.damage;
        observed.intact = inspection.intact.into_iter().filter(|name| footprint.store.contains(name)).collect::<BTreeSet<_>>();
    }
    observed.current = current;
    Ok(observed)
}

async fn units_of(names: &BTreeSet<UnitName>) -> Result<BTreeMap<UnitName, UnitFacts>, SystemdError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let systemd = Systemd::connect().await?;
    let mut units = BTreeMap::new();
    for name in names {
        let state = systemd.unit(name).await?;
        let facts = UnitFacts {
            activity: activity(&state),
            enabled: state.unit_file_state == "enabled",
            executable: state.main_pid.and_then(|pid| namespaces::program(pid).ok()),
            sub_state: state.sub_state,
            main_pid: state.main_pid,
            fragment: state.fragment_path,
            drop_ins: state.drop_in_paths,
            needs_reload: state.need_daemon_reload,
        };
        units.insert(name.clone(), facts);
    }
    Ok(units)
}

fn activity(state: &UnitState) -> Activity {
    match &state.active_state {
        ActiveState::Active => Activity::Up,
        ActiveState::Inactive | ActiveState::Failed => Activity::Down,
        ActiveState::Other(other) if other == "reloading" || other == "refreshing" => Activity::Up,
        ActiveState::Activating | ActiveState::Deactivating | ActiveState::Other(_) => Activity::Between,
    }
}

fn root_mount(root: &Path) -> Result<RootMount, FactsError> {
    let table = MountTable::of(Process::Pid(1))?;
    let resolved = resolve(root)?;
    Ok(match need(&table, &resolved) {
        Need::Nothing => RootMount::Shared,
        Need::MountUnit => RootMount::Covered,
        Need::Sharing => RootMount::Private(resolved),
    })
}

fn credentials(settings: &Settings, client_certificate: bool) -> Result<Credentials, FactsError> {
    let Some(cluster) = &settings.cluster else { return Ok(Credentials::default()) };
    let certificate_authority = match &cluster.certificate_authority {
        CertificateAuthority::File(path) => Some(pem(path)?),
        CertificateAuthority::Inline(_) | CertificateAuthority::Discovered(_) => None,
    };
    // Once the certificate is there the files may be gone, and should be.
    let bootstrap = match &cluster.credential {
        Some(credential) if !client_certificate => Some(identity(credential)?),
        _ => None,
    };
    Ok(Credentials { bootstrap, certificate_authority })
}

/// What the node bootstraps with, from its file or files; a certificate is one that can be used now.
pub fn identity(credential: &JoinCredential) -> Result<Identity, FactsError> {
    let (key, path, read) = match credential {
        JoinCredential::TokenFile(path) => return token(path).map(Identity::Token),
        JoinCredential::Kubeconfig(path) => {
            ("kubeconfig-file", path, kubeconfig::identity(path).map_err(|error| error.to_string()))
        }
        JoinCredential::Certificate { certificate, key } => {
            let both = files::read(certificate).and_then(|certificate| Ok((certificate, files::read(key)?)));
            let read = both.map(|(certificate, key)| Identity::Certificate { certificate, key: Secret::new(key) });
            ("client-certificate-file", certificate, read.map_err(|error| error.to_string()))
        }
    };
    let unusable = |why: String| FactsError::Identity { key, path: path.clone(), why };
    let identity = read.map_err(unusable)?;
    if let Credential::Certificate(certificate) = identity.clone().credential().map_err(unusable)? {
        certificate.check(jiff::Timestamp::now()).map_err(unusable)?;
    }
    Ok(identity)
}

/// The bootstrap token, from its file.
pub fn bootstrap_token(cluster: &Cluster) -> Result<Secret<String>, FactsError> {
    let Some(path) = cluster.token_file() else { return Err(FactsError::NoToken) };
    token(path)
}

fn token(path: &Path) -> Result<Secret<String>, FactsError> {
    let text =
        files::read_text(path).map_err(|source| FactsError::Token { path: path.to_owned(), why: source.source.to_string() })?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        let why = "it must hold one token and nothing else".to_owned();
        return Err(FactsError::Token { path: path.to_owned(), why });
    }
    Ok(Secret::new(token.to_owned()))
}

fn pem(path: &Path) -> Result<String, FactsError> {
    let unreadable = |why: String| FactsError::Authority { path: path.to_owned(), why };
    let text = files::read_text(path).map_err(|source| unreadable(source.source.to_string()))?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(text)
    } else {
        Err(unreadable("it holds no PEM certificate".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(directory: &Path, until: i32) -> (PathBuf, PathBuf) {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let (at, key_at) = (directory.join(format!("{until}.crt")), directory.join(format!("{until}.key")));
        files::write(&at, params.self_signed(&key).unwrap().pem().as_bytes(), 0o600).unwrap();
        files::write(&key_at, key.serialize_pem().as_bytes(), 0o600).unwrap();
        (at, key_at)
    }

    #[test]
    fn a_certificate_to_bootstrap_with_is_checked_before_anything_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let (good, key) = certificate(directory.path(), 2999);
        let (old, old_key) = certificate(directory.path(), 2001);
        let of = |certificate: &Path, key: &Path| {
            identity(&JoinCredential::Certificate { certificate: certificate.to_owned(), key: key.to_owned() })
        };
        assert!(matches!(of(&good, &key).unwrap(), Identity::Certificate { .. }));
        for (certificate, key, says) in [
            (&old, &old_key, "it has expired at 2001-01-01"),
            (&good, &old_key, "the key is not the certificate's"),
            (&good, &directory.path().join("none"), "No such file"),
            (&key, &key, "it holds no certificate"),
        ] {
            let said = of(certificate, key).unwrap_err().to_string();
            assert!(said.contains(says) && said.contains("cluster.client-certificate-file"), "{said}");
        }
        let kubeconfig = directory.path().join("kubeconfig");
        files::write(&kubeconfig, b"{}", 0o600).unwrap();
        let said = identity(&JoinCredential::Kubeconfig(kubeconfig)).unwrap_err().to_string();
        assert!(said.contains("cluster.kubeconfig-file") && said.contains("no current-context"), "{said}");
    }
}
