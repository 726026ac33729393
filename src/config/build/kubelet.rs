//! `[kubelet]`

use std::{path::PathBuf, time::Duration};

use serde_json::{Map, Value};

use crate::{
    config::{
        catalog::Catalog,
        given::Field,
        nouns::{AbsolutePath, Seconds},
        problems::Problems,
        raw::RawKubelet,
        settings::Kubelet,
        text::Span,
    },
    model::{Component, Version},
};

pub(super) fn kubelet(raw: RawKubelet, catalog: &Catalog, problems: &mut Problems<'_>) -> Option<Kubelet> {
    let version = version(raw.version, catalog, problems);
    let root_directory = root_directory(raw.root_dir, problems);
    check_config(&raw.config.0, problems);
    let extra_args = extra_args(raw.extra_args, problems);
    let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
    let health_timeout = within(raw.health_timeout, Kubelet::HEALTH_TIMEOUT, second, hour, problems);
    let stable_window = within(raw.stable_window, Kubelet::STABLE_WINDOW, second, hour, problems);
    if stable_window >= health_timeout {
        let message = format!("the window of {stable_window:?} does not fit into the health gate's {health_timeout:?}");
        let problem = problems.add_at_key(&["kubelet.stable-window", "kubelet.health-timeout"], message);
        problem.help.push("make kubelet.stable-window shorter than kubelet.health-timeout".to_owned());
    }
    Some(Kubelet { version: version?, root_directory, config: raw.config.0, extra_args, health_timeout, stable_window })
}

/// A duration within bounds, or the default.
pub(super) fn within(
    field: Field<Seconds>,
    default: Duration,
    least: Duration,
    most: Duration,
    problems: &mut Problems<'_>,
) -> Duration {
    let Some((Seconds(duration), at)) = problems.located(field) else { return default };
    if (least..=most).contains(&duration) {
        return duration;
    }
    problems.add(&at, format!("{duration:?} is not a duration from {least:?} to {most:?}"));
    default
}

fn version(field: Field<Version>, catalog: &Catalog, problems: &mut Problems<'_>) -> Option<Version> {
    const OLDEST: Version = Version::new(1, 33, 0);
    let Some((version, at)) = problems.located(field) else { return catalog.default_version(Component::Kubelet) };
    if version.major() == 1 && version >= OLDEST {
        return Some(version);
    }
    let problem = problems.add(&at, format!("hostlet does not run kubelet {version}"));
    let known: Vec<_> = catalog.versions(Component::Kubelet).iter().rev().take(6).map(Version::to_string).collect();
    problem.help.push(format!("allowed is 1.33.0 or newer, of major version 1; the newest it knows: {}", known.join(", ")));
    None
}

fn root_directory(field: Field<AbsolutePath>, problems: &mut Problems<'_>) -> PathBuf {
    let default = PathBuf::from("/var/lib/kubelet");
    let Some((AbsolutePath(path), at)) = problems.located(field) else { return default };
    let Some(reason) = unfit_as_root(&path) else { return path };
    let problem = problems.add(&at, format!("{} cannot be the kubelet's root directory: {reason}", path.display()));
    problem
        .help
        .push("the default is /var/lib/kubelet; use a directory of the kubelet's own, such as /data/kubelet".to_owned());
    default
}

fn unfit_as_root(path: &std::path::Path) -> Option<String> {
    // What is below them is not the kubelet's, or is gone after a reboot.
    const FORBIDDEN_BELOW: [&str; 13] =
        ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr"];
    const FORBIDDEN: [&str; 12] =
        ["/", "/home", "/media", "/mnt", "/opt", "/srv", "/var", "/var/lib", "/var/cache", "/var/log", "/var/run", "/var/tmp"];
    const OTHERS: [&str; 7] = [
        "/opt/hostlet",
        "/var/lib/hostlet",
        "/var/cache/hostlet",
        "/var/lib/containerd",
        "/var/lib/etcd",
        "/var/lib/cni",
        "/opt/cni",
    ];
    // The longest socket that a kubelet makes below its root is device-plugins/kubelet.sock, and unix(7) allows 107 bytes.
    const LONGEST: usize = 107 - "/device-plugins/kubelet.sock".len();
    let text = path.to_string_lossy();
    let canonical: PathBuf = path.components().collect();
    if canonical.as_os_str() != path.as_os_str() {
        return Some(format!("it is not in canonical form, which would be {}", canonical.display()));
    }
    if FORBIDDEN.contains(&&*text) || FORBIDDEN_BELOW.iter().any(|parent| path.starts_with(parent)) {
        return Some("the system's own files live there".to_owned());
    }
    if let Some(other) = OTHERS.iter().find(|other| path.starts_with(other)) {
        return Some(format!("{other} belongs to something else"));
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c)) {
        return Some("it goes into units and mount options, so only letters, digits and . _ - + @ may be in it".to_owned());
    }
    (text.len() > LONGEST).then(|| format!("with {} bytes its sockets' paths are too long; {LONGEST} are allowed", text.len()))
}

fn check_config(config: &Map<String, Value>, problems: &mut Problems<'_>) {
    if config.get("healthzPort").and_then(Value::as_i64) == Some(0) {
        let message = "0 turns the kubelet's healthz endpoint off, and the health gate needs it";
        problems.add_at_key(&["kubelet.config.healthzPort"], message).help.push("use a port from 1 to 65535".to_owned());
    }
    for key in ["port", "readOnlyPort", "healthzPort"] {
        if config.get(key).and_then(Value::as_i64).is_some_and(|port| !(0..=65535).contains(&port)) {
            problems.add_at_key(&[&format!("kubelet.config.{key}")], format!("{key} is not a port from 0 to 65535"));
        }
    }
    let driver = config.get("cgroupDriver").and_then(Value::as_str);
    if let Some(driver) = driver.filter(|driver| !["systemd", "cgroupfs"].contains(driver)) {
        let invalid = crate::config::nouns::not_one_of(driver, "a cgroup driver", &["systemd", "cgroupfs"]);
        problems.add_at_key(&["kubelet.config.cgroupDriver"], invalid);
    }
}

/// Flags that hostlet gives itself, and what to use instead.
const OWNED: [(&str, &str); 13] = [
    ("--config", "set fields in [kubelet.config]"),
    ("--kubeconfig", "[cluster] says where the API server is"),
    ("--bootstrap-kubeconfig", "set cluster.token-file"),
    ("--node-ip", "set node.ip"),
    ("--hostname-override", "set node.name"),
    ("--root-dir", "set kubelet.root-dir"),
    ("--cert-dir", "it lies below kubelet.root-dir"),
    ("--node-labels", "set node.labels"),
    ("--register-with-taints", "set node.taints"),
    ("--container-runtime-endpoint", "set runtime.socket"),
    ("--healthz-port", "set healthzPort in [kubelet.config]"),
    ("--healthz-bind-address", "set healthzBindAddress in [kubelet.config]"),
    ("--help", "hostlet starts the kubelet to run it"),
];

/// Flags that a supported kubelet does not know any more: it exits.
const GONE: [(&str, &str); 8] = [
    ("--pod-infra-container-image", "since 1.35; set the sandbox image in the container runtime"),
    ("--container-runtime", "since 1.27; every runtime is a remote one"),
    ("--containerized", "since 1.16; hostlet runs the kubelet on the host"),
    ("--network-plugin", "since 1.24; the container runtime runs CNI"),
    ("--cni-conf-dir", "since 1.24; the container runtime runs CNI"),
    ("--cni-bin-dir", "since 1.24; the container runtime runs CNI"),
    ("--docker-endpoint", "since 1.24; use a CRI runtime"),
    ("--dynamic-config-dir", "since 1.24; use [kubelet.config]"),
];

fn extra_args(raw: Vec<Field<String>>, problems: &mut Problems<'_>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut args = Vec::new();
    for (argument, at) in problems.list(raw) {
        // The flag parser takes --name_with_underscores for --name-with-dashes.
        let name = argument.split('=').next().unwrap_or(&argument).replace('_', "-");
        if flag_is_allowed(&argument, &name, &at, problems) {
            if seen.contains(&name) {
                problems.add(&at, format!("{name} is given twice"));
            }
            seen.push(name);
            args.push(argument);
        }
    }
    args
}

fn flag_is_allowed(argument: &str, name: &str, at: &Span, problems: &mut Problems<'_>) -> bool {
    let find = |list: &[(&str, &'static str)]| list.iter().find(|(flag, _)| *flag == name).map(|(_, why)| *why);
    let well_formed = name.strip_prefix("--").is_some_and(|bare| {
        bare.starts_with(|c: char| c.is_ascii_lowercase())
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
    });
    if !well_formed || argument.chars().any(char::is_control) {
        let problem = problems.add(at, format!("{argument:?} is not a flag"));
        problem.help.push("each element is one flag with its value, such as \"--cloud-provider=external\"".to_owned());
        return false;
    }
    if let Some(instead) = find(&OWNED) {
        problems.add(at, format!("hostlet sets {name} itself")).help.push(format!("instead: {instead}"));
        return false;
    }
    if let Some(since) = find(&GONE) {
        problems.add(at, format!("{name} is gone, and a kubelet that is given it exits")).help.push(format!("gone {since}"));
        return false;
    }
    true
}
