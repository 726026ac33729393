//! What the kubelet demands of its configuration beyond types: it exits where one of these does not hold.
//!
//! Source: kubernetes, pkg/kubelet/apis/config/validation/validation.go (1.36), pkg/kubelet/eviction/helpers.go
//! (ParseThresholdConfig), cmd/kubelet/app/server.go (parseResourceList), and the defaults of v1beta1; [`gates`] has what hangs on
//! feature gates. Gaps: rules that hang on the machine (NUMA nodes, processors), and on the content of files.

pub(super) mod gates;
mod quantity;
mod tables;

use serde_json::{Map, Value};

use self::{
    quantity::{is_threshold, quantity_sign},
    tables::{RANGES, RESERVABLE, SIGNALS, WORDS},
};
use crate::config::{kubelet_fields::go_duration, nouns::not_one_of, problem::Problem, problems::Problems};

pub(super) fn check(config: &Map<String, Value>, problems: &mut Problems<'_>) {
    let mut rules = Rules { config, problems };
    rules.ranges();
    rules.words();
    rules.images();
    rules.shutdown();
    rules.eviction();
    rules.reserved();
    rules.enforced();
    rules.swap();
    rules.paths();
    rules.others();
}

struct Rules<'r, 't> {
    config: &'r Map<String, Value>,
    problems: &'r mut Problems<'t>,
}

impl Rules<'_, '_> {
    fn at(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let first = self.config.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    fn integer(&self, path: &str) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.at(path).and_then(Value::as_str)
    }

    /// Seconds.
    fn duration(&self, path: &str) -> Option<f64> {
        self.text(path).and_then(go_duration)
    }

    fn map(&self, path: &str) -> impl Iterator<Item = (String, String)> + use<> {
        let pairs = self.at(path).and_then(Value::as_object).into_iter().flatten();
        let pairs: Vec<_> = pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        pairs.into_iter()
    }

    fn wrong(&mut self, path: &str, message: impl std::fmt::Display) -> &mut Problem {
        self.problems.add_at_key(&[&format!("kubelet.config.{path}"), "kubelet.config"], message)
    }

    fn ranges(&mut self) {
        for (field, least, most) in RANGES {
            let Some(found) = self.integer(field).filter(|found| !(least..=most).contains(found)) else { continue };
            let allowed = if most >= i64::from(i32::MAX) { format!("{least} or more") } else { format!("{least} to {most}") };
            let problem = self.wrong(field, format!("{field} is {found}, and the kubelet takes {allowed}"));
            if field == "healthzPort" && found == 0 {
                problem.help.push("0 turns the kubelet's healthz endpoint off, and the health gate needs it".to_owned());
            }
        }
    }

    fn words(&mut self) {
        for (field, noun, allowed) in WORDS {
            let Some(found) = self.text(field).filter(|found| !allowed.contains(found)) else { continue };
            let invalid = not_one_of(found, noun, allowed);
            self.wrong(field, invalid);
        }
    }

    fn images(&mut self) {
        let (high, low) = ("imageGCHighThresholdPercent", "imageGCLowThresholdPercent");
        let (most, least) = (self.integer(high).unwrap_or(85), self.integer(low).unwrap_or(80));
        if least >= most {
            let at = if self.at(low).is_some() { low } else { high };
            self.wrong(at, format!("{low} {least} is not less than {high} {most}"))
                .help
                .push("the defaults are 80 and 85: images are removed from the second on, down to the first".to_owned());
        }
        let (youngest, oldest) = ("imageMinimumGCAge", "imageMaximumGCAge");
        for field in [youngest, oldest] {
            if self.duration(field).is_some_and(|age| age < 0.0) {
                self.wrong(field, format!("{field} is negative"));
            }
        }
        let (least, most) = (self.duration(youngest).unwrap_or(120.0), self.duration(oldest).unwrap_or(0.0));
        if most > 0.0 && most <= least {
            self.wrong(oldest, format!("{oldest} is not more than {youngest}, which is {least} s"));
        }
        let parallel = self.integer("maxParallelImagePulls").is_some_and(|pulls| pulls > 1);
        if parallel && self.at("serializeImagePulls") == Some(&Value::Bool(true)) {
            self.wrong("maxParallelImagePulls", "images are pulled one by one, since serializeImagePulls is true")
                .help
                .push("set serializeImagePulls = false".to_owned());
        }
    }

    fn shutdown(&mut self) {
        let (total, critical) = ("shutdownGracePeriod", "shutdownGracePeriodCriticalPods");
        for field in [total, critical] {
            if self.duration(field).is_some_and(|period| period < 0.0 || (period > 0.0 && period < 1.0)) {
                self.wrong(field, format!("{field} is neither 0 nor a second or more"));
            }
        }
        let (all, last) = (self.duration(total).unwrap_or(0.0), self.duration(critical).unwrap_or(0.0));
        if last > all {
            self.wrong(critical, format!("{critical} is a part of {total}, and is {last} s of {all} s"))
                .help
                .push(format!("set {total} to the time of all pods together, and {critical} to less"));
        }
        let by_priority = "shutdownGracePeriodByPodPriority";
        if self.at(by_priority).is_some_and(|list| list.as_array().is_some_and(|list| !list.is_empty())) && all.max(last) > 0.0
        {
            self.wrong(by_priority, format!("{by_priority} and {total} are two ways to say the same"))
                .help
                .push("give one of the two".to_owned());
        }
    }

    fn eviction(&mut self) {
        for field in ["evictionHard", "evictionSoft", "evictionMinimumReclaim"] {
            for (signal, value) in self.map(field) {
                self.signal(field, &signal);
                if !is_threshold(&value) {
                    self.wrong(&format!("{field}.{signal}"), format!("{value:?} is no threshold"))
                        .help
                        .push("a quantity above 0 such as 500Mi, or a share from 0% to 100%".to_owned());
                }
            }
        }
        let graces: Vec<_> = self.map("evictionSoftGracePeriod").collect();
        for (signal, value) in &graces {
            self.signal("evictionSoftGracePeriod", signal);
            if go_duration(value).is_none_or(|period| period < 0.0) {
                let at = format!("evictionSoftGracePeriod.{signal}");
                self.wrong(&at, format!("{value:?} is not a duration as the kubelet reads it, such as 1m30s"));
            }
        }
        for (signal, _) in self.map("evictionSoft") {
            if !graces.iter().any(|(graced, _)| *graced == signal) {
                self.wrong("evictionSoft", format!("evictionSoft {signal} has no grace period, and the kubelet would exit"))
                    .help
                    .push(format!("set evictionSoftGracePeriod.\"{signal}\" = \"1m30s\"; without a wait it is evictionHard"));
            }
        }
    }

    fn signal(&mut self, field: &str, signal: &str) {
        if !SIGNALS.contains(&signal) {
            self.wrong(field, not_one_of(signal, "an eviction signal", &SIGNALS));
        }
    }

    fn reserved(&mut self) {
        for field in ["systemReserved", "kubeReserved"] {
            for (resource, quantity) in self.map(field) {
                if !RESERVABLE.contains(&resource.as_str()) {
                    self.wrong(field, not_one_of(&resource, "a resource that can be reserved", &RESERVABLE));
                } else if quantity_sign(&quantity).is_none_or(|sign| sign < 0) {
                    let at = format!("{field}.{resource}");
                    self.wrong(&at, format!("{quantity:?} is not a quantity such as 500m, 1, 512Mi or 1Gi"));
                }
            }
        }
    }

    fn enforced(&mut self) {
        const LEVELS: [&str; 6] =
            ["none", "pods", "system-reserved", "system-reserved-compressible", "kube-reserved", "kube-reserved-compressible"];
        let field = "enforceNodeAllocatable";
        let levels: Vec<String> = self
            .at(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        for level in &levels {
            if !LEVELS.contains(&level.as_str()) {
                self.wrong(field, not_one_of(level, "a level of enforcement", &LEVELS));
            }
            let group = match level.split_once("-reserved") {
                Some(("system", _)) => "systemReservedCgroup",
                Some(("kube", _)) => "kubeReservedCgroup",
                _ => continue,
            };
            if self.text(group).is_none_or(str::is_empty) {
                self.wrong(field, format!("{field} has {level}, and there is no {group}"))
                    .help
                    .push(format!("set {group} to the control group that is limited, or remove {level}"));
            }
        }
        for (index, level) in levels.iter().enumerate() {
            if levels[..index].contains(level) {
                self.wrong(field, format!("{field} has {level} twice, and the kubelet would exit"));
            }
            let compressible = format!("{level}-compressible");
            if levels.contains(&compressible) {
                self.wrong(field, format!("{field} has both {level} and {compressible}, and the kubelet would exit"));
            }
        }
        if levels.len() > 1 && levels.iter().any(|level| level == "none") {
            self.wrong(field, format!("{field} has none, and others beside it"));
        }
        if !levels.is_empty() && levels != ["none"] && self.at("cgroupsPerQOS") == Some(&Value::Bool(false)) {
            self.wrong(field, format!("{field} needs cgroupsPerQOS, which is false"));
        }
    }

    /// With failSwapOn there can be no swap to be limited.
    fn swap(&mut self) {
        let limited = self.text("memorySwap.swapBehavior") == Some("LimitedSwap");
        if limited && self.at("failSwapOn") != Some(&Value::Bool(false)) {
            self.wrong("memorySwap.swapBehavior", "pods may use swap, and the kubelet fails where there is any")
                .help
                .push("set failSwapOn = false, which is true by default".to_owned());
        }
    }

    fn paths(&mut self) {
        for field in ["staticPodPath", "podLogsDir", "resolvConf", "volumePluginDir", "tlsCertFile", "tlsPrivateKeyFile"] {
            let relative = self.text(field).is_some_and(|path| !path.is_empty() && !path.starts_with('/'));
            if relative {
                self.wrong(field, format!("{field} is not an absolute path"));
            }
        }
        if let Some(path) = self.text("podLogsDir") {
            let clean: std::path::PathBuf = std::path::Path::new(path).components().collect();
            if path.starts_with('/') && (clean.as_os_str() != path || !path.is_ascii()) {
                self.wrong("podLogsDir", "podLogsDir is not in canonical form, or not ASCII");
            }
        }
    }

    fn others(&mut self) {
        if self.text("systemCgroups").is_some_and(|groups| !groups.is_empty())
            && self.text("cgroupRoot").is_none_or(str::is_empty)
        {
            self.wrong("systemCgroups", "systemCgroups needs cgroupRoot").help.push("set cgroupRoot = \"/\"".to_owned());
        }
        let reserved_groups = self.at("systemReservedCgroup").or(self.at("kubeReservedCgroup")).is_some();
        if self.text("reservedSystemCPUs").is_some_and(|cpus| !cpus.is_empty()) && reserved_groups {
            let message = "reservedSystemCPUs cannot be used with systemReservedCgroup or kubeReservedCgroup";
            self.wrong("reservedSystemCPUs", message);
        }
        if self.at("memoryThrottlingFactor").and_then(Value::as_f64).is_some_and(|factor| factor <= 0.0 || factor > 1.0) {
            self.wrong("memoryThrottlingFactor", "memoryThrottlingFactor is more than 0 and at most 1");
        }
        if self.duration("containerLogMonitorInterval").is_some_and(|interval| interval < 3.0) {
            self.wrong("containerLogMonitorInterval", "containerLogMonitorInterval is at least 3s");
        }
        let restart = "crashLoopBackOff.maxContainerRestartPeriod";
        if self.duration(restart).is_some_and(|period| !(1.0..=300.0).contains(&period)) {
            self.wrong(restart, format!("{restart} is 1s to 300s"));
        }
        if self.duration("cpuCFSQuotaPeriod").is_some_and(|period| !(0.001..=1.0).contains(&period)) {
            self.wrong("cpuCFSQuotaPeriod", "cpuCFSQuotaPeriod is 1ms to 1s");
        }
        let log_query = self.at("enableSystemLogQuery") == Some(&Value::Bool(true));
        if log_query && self.at("enableSystemLogHandler") == Some(&Value::Bool(false)) {
            self.wrong("enableSystemLogQuery", "enableSystemLogQuery needs enableSystemLogHandler, which is false");
        }
        let (allowlist, policy) = ("preloadedImagesVerificationAllowlist", "imagePullCredentialsVerificationPolicy");
        let listed = self.at(allowlist).and_then(Value::as_array).is_some_and(|images| !images.is_empty());
        if listed && self.text(policy) != Some("NeverVerifyAllowlistedImages") {
            self.wrong(allowlist, format!("{allowlist} is for the policy NeverVerifyAllowlistedImages alone"))
                .help
                .push(format!("set {policy} = \"NeverVerifyAllowlistedImages\""));
        }
    }
}
