//! `[kubelet]`

use std::{path::PathBuf, time::Duration};

use serde_json::{Map, Value};

use super::kubelet_rules;
use crate::{
    config::{
        Fit,
        availability::Absence,
        catalog::Catalog,
        given::Field,
        kubelet_fields,
        kubelet_flags::{kubelet_flags, may_have_other_flags},
        nouns::{AbsolutePath, Seconds},
        problem::nearest,
        problems::Problems,
        raw::RawKubelet,
        settings::Kubelet,
        text::Span,
    },
    model::{Component, Version},
};

pub(super) fn kubelet(raw: RawKubelet, catalog: &Catalog, fit: Fit, problems: &mut Problems<'_>) -> Option<Kubelet> {
    let version = version(raw.version, catalog, problems);
    let root_directory = root_directory(raw.root_dir, problems);
    kubelet_rules::check(&raw.config.0, problems);
    let checked = version.as_ref().filter(|_| fit == Fit::Checked);
    if let Some(version) = checked {
        check_fields(&raw.config.0, version, problems);
    }
    let extra_args = extra_args(raw.extra_args, checked, &raw.config.0, problems);
    if let Some(version) = checked {
        let flag = extra_args.iter().find_map(|(argument, at)| Some((feature_gates(argument)?, at)));
        kubelet_rules::gates::check(&raw.config.0, flag, version, problems);
    }
    let extra_args = extra_args.into_iter().map(|(argument, _)| argument).collect();
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

/// A kubelet that does not have a field ignores it with one line in its log: what was meant would not be.
fn check_fields(config: &Map<String, Value>, version: &Version, problems: &mut Problems<'_>) {
    for (path, absence) in kubelet_fields::absent(config, version) {
        let key = format!("kubelet.config.{path}");
        let message = format!("kubelet {version} has no {path}: {absence}");
        let problem = problems.add_at_key(&[&key, "kubelet.config"], message);
        problem.help.push(match absence {
            Absence::Later((major, minor)) => format!("set kubelet.version to {major}.{minor}.0 or later, or remove {key}"),
            Absence::Gone(_) => format!("remove {key}, or keep an older kubelet.version"),
        });
    }
}

/// Flags that hostlet gives itself, and what to use instead.
const OWNED: [(&str, &str); 14] = [
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
    ("--cloud-provider", "set node.cloud-provider"),
    ("--help", "hostlet starts the kubelet to run it"),
];

fn extra_args(
    raw: Vec<Field<String>>,
    version: Option<&Version>,
    config: &Map<String, Value>,
    problems: &mut Problems<'_>,
) -> Vec<(String, Span)> {
    let mut seen: Vec<String> = Vec::new();
    let mut args = Vec::new();
    for (argument, at) in problems.list(raw) {
        // The flag parser takes --name_with_underscores for --name-with-dashes.
        let name = argument.split('=').next().unwrap_or(&argument).replace('_', "-");
        if flag_is_allowed(&argument, &name, &at, problems)
            && version.is_none_or(|version| flag_is_known(&argument, &name, version, config, &at, problems))
        {
            if seen.contains(&name) {
                problems.add(&at, format!("{name} is given twice"));
            }
            seen.push(name);
            args.push((argument, at));
        }
    }
    args
}

/// The value of `--feature-gates`, if this is that flag.
fn feature_gates(argument: &str) -> Option<&str> {
    let (name, value) = argument.split_once('=')?;
    (name.replace('_', "-") == "--feature-gates").then_some(value)
}

fn flag_is_allowed(argument: &str, name: &str, at: &Span, problems: &mut Problems<'_>) -> bool {
    let well_formed = name.strip_prefix("--").is_some_and(|bare| {
        bare.starts_with(|c: char| c.is_ascii_lowercase())
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
    });
    if !well_formed || argument.chars().any(char::is_control) {
        let problem = problems.add(at, format!("{argument:?} is not a flag"));
        problem.help.push("each element is one flag with its value, such as \"--housekeeping-interval=15s\"".to_owned());
        return false;
    }
    if let Some((_, instead)) = OWNED.iter().find(|(flag, _)| *flag == name) {
        problems.add(at, format!("hostlet sets {name} itself")).help.push(format!("instead: {instead}"));
        return false;
    }
    true
}

/// A kubelet that is given a flag it does not know exits.
fn flag_is_known(
    argument: &str,
    name: &str,
    version: &Version,
    config: &Map<String, Value>,
    at: &Span,
    problems: &mut Problems<'_>,
) -> bool {
    let bare = name.trim_start_matches('-');
    let Some(flag) = kubelet_flags().find(|flag| flag.name == bare) else {
        if may_have_other_flags(version) {
            return true;
        }
        let problem = problems.add(at, format!("kubelet {version} has no {name}, and it would exit"));
        if let Some(meant) = nearest(bare, kubelet_flags().map(|flag| flag.name)) {
            problem.help.push(format!("did you mean --{meant}?"));
        }
        return false;
    };
    if let Some(absence) = flag.availability.absence(version) {
        let problem = problems.add(at, format!("kubelet {version} has no {name}, and it would exit: {absence}"));
        problem.help.extend(flag.instead.map(|instead| format!("instead: {instead}")));
        return false;
    }
    let has_value = argument.split_once('=').is_some();
    if !flag.switch && !has_value {
        problems.add(at, format!("{name} needs a value")).help.push(format!("write \"{name}=VALUE\" as one element"));
        return false;
    }
    if let Some(field) = flag.field.filter(|field| config.contains_key(*field)) {
        let problem = problems.add(at, format!("{name} and kubelet.config.{field} set the same, and the flag would win"));
        problem.help.push(format!("give it in one place: kubelet.config.{field}"));
        return false;
    }
    true
}
