//! The feature gates themselves, and fields that do nothing, or stop the kubelet, while a gate is off.
//!
//! Source: kubernetes, pkg/kubelet/apis/config/validation/validation.go, component-base/logs/api/v1/options.go and the
//! `+featureGate` of the fields (1.33 to 1.37).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Rules;
use crate::{
    config::{
        availability::Absence,
        feature_gates::{FeatureGates, GateProblem, parse_feature_gates},
        problem::Problem,
        problems::Problems,
        text::Span,
    },
    model::Version,
};

/// When a field asks for its gate.
enum When {
    /// It is there, and not empty.
    Given,
    /// It is more or less than nothing.
    NotZero,
    /// It is true.
    True,
    /// It is this.
    Is(&'static str),
    /// It is anything but this.
    IsNot(&'static str),
}

/// Without its gate a field stops the kubelet.
const STOPS: [(&str, When, &str); 17] = [
    ("cpuCFSQuotaPeriod", When::IsNot("100ms"), "CustomCPUCFSQuotaPeriod"),
    ("crashLoopBackOff.maxContainerRestartPeriod", When::Given, "KubeletCrashLoopBackOffMax"),
    ("enableSystemLogQuery", When::True, "NodeLogQuery"),
    ("imageMaximumGCAge", When::NotZero, "ImageMaximumGCAge"),
    ("imagePullCredentialsVerificationPolicy", When::Given, "KubeletEnsureSecretPulledImages"),
    ("logging.format", When::Is("json"), "LoggingBetaOptions"),
    ("logging.options.json.infoBufferSize", When::NotZero, "LoggingAlphaOptions"),
    ("logging.options.json.splitStream", When::True, "LoggingAlphaOptions"),
    ("logging.options.text.infoBufferSize", When::NotZero, "LoggingAlphaOptions"),
    ("logging.options.text.splitStream", When::True, "LoggingAlphaOptions"),
    ("memoryReservationPolicy", When::Is("TieredReservation"), "MemoryQoS"),
    ("memorySwap.swapBehavior", When::Given, "NodeSwap"),
    ("preloadedImagesVerificationAllowlist", When::Given, "KubeletEnsureSecretPulledImages"),
    ("serverTLSBootstrap", When::True, "RotateKubeletServerCertificate"),
    ("shutdownGracePeriod", When::NotZero, "GracefulNodeShutdown"),
    ("shutdownGracePeriodByPodPriority", When::Given, "GracefulNodeShutdownBasedOnPodPriority"),
    ("shutdownGracePeriodCriticalPods", When::NotZero, "GracefulNodeShutdown"),
];

/// Without its gate a field does nothing.
const DOES_NOTHING: [(&str, When, &str); 2] =
    [("defaultPodSysctls", When::Given, "DefaultPodSysctls"), ("qosReserved", When::Given, "QOSReserved")];

/// What the fields or the flag set, against what this version has, and the fields that hang on it.
pub(in crate::config::build) fn check(
    config: &Map<String, Value>,
    flag: Option<(&str, &Span)>,
    version: &Version,
    problems: &mut Problems<'_>,
) {
    let field = config.get("featureGates").and_then(Value::as_object).into_iter().flatten();
    let mut set: BTreeMap<String, bool> = field.filter_map(|(name, on)| on.as_bool().map(|on| (name.clone(), on))).collect();
    match flag.map(|(value, at)| (parse_feature_gates(value), at)) {
        Some((Err(why), at)) => {
            problems.add(at, format!("--feature-gates: {why}, and kubelet {version} would exit"));
            return;
        }
        // The flag wins.
        Some((Ok(given), _)) => set.extend(given),
        None => {}
    }
    let gates = FeatureGates::new(version, &set);
    let wrong = gates.problems();
    for (name, problem) in &wrong {
        let (message, help) = explain(name, problem, version);
        let problem = match flag {
            Some((_, at)) => problems.add(at, message),
            None => at_gate(problems, name, problem, message),
        };
        problem.help.push(help);
    }
    // What is on is known where nothing is wrong with them.
    if wrong.is_empty() {
        Rules { config, problems }.gated(&gates, version);
    }
}

/// At the gate itself, or at the one that it needs: whichever was set.
fn at_gate<'p>(problems: &'p mut Problems<'_>, name: &str, problem: &GateProblem, message: String) -> &'p mut Problem {
    let other = if let GateProblem::Needs { other } = problem { *other } else { name };
    let at = |name: &str| format!("kubelet.config.featureGates.{name}");
    let field = "kubelet.config.featureGates";
    problems.add_at_key(&[&at(name), &at(other), &at("AllAlpha"), &at("AllBeta"), field, "kubelet.config"], message)
}

fn explain(name: &str, problem: &GateProblem, version: &Version) -> (String, String) {
    let none = format!("kubelet {version} has no feature gate {name}, and it would exit");
    match problem {
        GateProblem::Unknown { meant: Some(meant) } => (none, format!("did you mean {meant}?")),
        GateProblem::Unknown { meant: None } => {
            (none, format!("`kubelet --help` of {version} lists those that it has; remove {name}"))
        }
        GateProblem::Absent(absence @ Absence::Later((major, minor))) => {
            (format!("{none}: {absence}"), format!("set kubelet.version to {major}.{minor}.0 or later, or remove {name}"))
        }
        GateProblem::Absent(absence @ Absence::Gone(_)) => (
            format!("{none}: {absence}"),
            format!("remove {name}: gates go when their feature is always there, or gone itself"),
        ),
        GateProblem::Locked { to } => (
            format!("kubelet {version} has {name} locked to {to}, and it would exit"),
            format!("remove {name}: it can no longer be turned {}", if *to { "off" } else { "on" }),
        ),
        GateProblem::Needs { other } => (
            format!("{name} is on in kubelet {version} and needs {other}, which is off: it would exit"),
            format!("turn {name} off as well, or {other} on"),
        ),
    }
}

impl Rules<'_, '_> {
    fn gated(&mut self, gates: &FeatureGates<'_>, version: &Version) {
        let stops = STOPS.iter().map(|rule| (rule, "and it would exit"));
        let does_nothing = DOES_NOTHING.iter().map(|rule| (rule, "and the field would do nothing"));
        for ((field, when, gate), effect) in stops.chain(does_nothing) {
            if self.asks(field, when) && gates.is_on(gate) == Some(false) {
                self.wrong(
                    field,
                    format!("{field} needs the feature gate {gate}, which is off in kubelet {version}, {effect}"),
                )
                .help
                .push(format!("set featureGates.{gate} = true in [kubelet.config], or remove {field}"));
            }
        }
    }

    fn asks(&self, field: &str, when: &When) -> bool {
        let Some(value) = self.at(field) else { return false };
        let is_empty = match value {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            other => other.is_null(),
        };
        match when {
            When::Given => !is_empty,
            When::NotZero => {
                !is_empty && self.duration(field) != Some(0.0) && !matches!(value.as_str(), Some("0" | "0Ki")) && *value != 0
            }
            When::True => *value == true,
            When::Is(word) => *value == *word,
            When::IsNot(word) => !is_empty && *value != *word,
        }
    }
}
