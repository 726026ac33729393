//! What a rehearsal without a configuration plays in: artifacts, a mirror, credentials and a configuration for them. The
//! mirror plays the API server as well, which the stand-ins join.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Machine, RehearseError};
use crate::{
    host::process::ProcessError,
    model::Component,
    standin::{FLANNEL_TOKEN, Made, TOKEN},
};

const TEMPLATE: &str = include_str!("configuration.toml");
const MIRROR: &str = "127.0.0.1:8443";

/// A machine of whatever kind in which root can do things.
pub trait Scene {
    /// Runs a shell script that must succeed, and returns what it printed.
    fn script(&self, script: &str) -> impl Future<Output = Result<String, ProcessError>> + Send;

    /// Writes a file, and the directories it lies in.
    fn write(&self, path: &str, content: String, mode: u32) -> impl Future<Output = Result<(), ProcessError>> + Send;
}

impl Scene for Machine {
    async fn script(&self, script: &str) -> Result<String, ProcessError> {
        Self::script(self, script).await
    }

    async fn write(&self, path: &str, content: String, mode: u32) -> Result<(), ProcessError> {
        Self::write(self, path, content, mode).await
    }
}

/// Makes stand-ins in the copy (`releases` says which, as the JSON of [`crate::standin::Versions`]), serves them there, and
/// writes a configuration and credentials for them.
pub async fn set_up_stand_ins(
    machine: &Machine,
    hostlet: &str,
    configuration: &str,
    releases: &str,
) -> Result<(), RehearseError> {
    let made = machine.expect(&[hostlet, "stand-in", "artifacts", "/srv/mirror", releases]).await?;
    let made = serde_json::from_str(&made).map_err(RehearseError::Artifacts)?;
    serve_stand_ins(machine, hostlet, configuration, &made).await
}

/// Serves stand-ins that were made in /srv/mirror, and writes a configuration and credentials for them.
pub async fn serve_stand_ins(
    scene: &impl Scene,
    hostlet: &str,
    configuration: &str,
    made: &BTreeMap<Component, Made>,
) -> Result<(), RehearseError> {
    let serve = format!(
        "systemd-run --quiet --unit=hostlet-mirror --description='a mirror of the stand-ins' --service-type=notify \
         {hostlet} stand-in mirror --directory /srv/mirror --listen {MIRROR} --ca-out /srv/mirror-ca.crt"
    );
    scene.script(&serve).await?;
    scene.write("/srv/mirror/version", version(made), 0o644).await?;
    // Not in hostlet's own directory, where it would go once the node has joined: a copy may join again and again.
    scene.write("/srv/bootstrap-token", format!("{TOKEN}\n"), 0o600).await?;
    scene.write("/etc/hostlet/flannel-token", format!("{FLANNEL_TOKEN}\n"), 0o600).await?;
    let cgroups = scene.script("stat --file-system --format=%T /sys/fs/cgroup").await?;
    let swaps = scene.script("cat /proc/swaps").await?;
    scene.write(configuration, render(made, cgroups.trim() == "cgroup2fs", swaps.lines().count() <= 1), 0o600).await?;
    Ok(())
}

/// What an API server of the kubelet's version tells.
fn version(made: &BTreeMap<Component, Made>) -> String {
    let version = made.get(&Component::Kubelet).map_or("", |made| made.version.as_str());
    let mut numbers = version.split('.');
    let mut next = || numbers.next().unwrap_or_default();
    serde_json::json!({ "major": next(), "minor": next(), "gitVersion": format!("v{version}") }).to_string()
}

fn render(made: &BTreeMap<Component, Made>, cgroup_v2: bool, no_swap: bool) -> String {
    let mut text = TEMPLATE
        .replace("{server}", &format!("https://{MIRROR}"))
        .replace("{fail-cgroup-v1}", if cgroup_v2 { "true" } else { "false" })
        .replace("{fail-swap-on}", if no_swap { "true" } else { "false" });
    for (component, made) in made {
        text = text.replace(&format!("{{{component}}}"), &made.version);
        let _ = write!(
            text,
            "\n[sources.{component}]\nurl = \"https://{MIRROR}/{}\"\ndigest = \"{}\"\n",
            made.template, made.digest
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    #[test]
    fn the_configuration_is_toml_with_every_placeholder_filled_in() {
        let made = Component::ALL.map(|component| {
            let template = format!("{component}/v{{version}}/{{arch}}");
            let made = Made { version: "1.2.3".to_owned(), path: String::new(), template, digest: Digest::of(b"x") };
            (component, made)
        });
        let text = render(&BTreeMap::from(made), false, true);
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["kubelet"]["version"].as_str(), Some("1.2.3"));
        assert_eq!(table["cluster"]["server"].as_str(), Some("https://127.0.0.1:8443"));
        assert_eq!(table["kubelet"]["config"]["failCgroupV1"].as_bool(), Some(false));
        assert_eq!(table["cni"]["flannel-version"].as_str(), Some("1.2.3"));
        assert_eq!(table["sources"]["kubelet"]["url"].as_str(), Some("https://127.0.0.1:8443/kubelet/v{version}/{arch}"));
    }
}
