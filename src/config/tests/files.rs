//! The files of `config/` say what the code does.

use super::accepted;
use crate::config;

/// The example with its commented keys made live.
fn uncommented() -> String {
    let live = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => rest.to_owned(),
        _ => line.to_owned(),
    };
    config::example().lines().map(live).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_parses_when_every_key_is_uncommented() {
    let settings = accepted(&uncommented());
    assert_eq!(settings.node.name.unwrap().as_str(), "node-07");
    assert_eq!(settings.preflight.waive[0].check, "swap");
}

#[test]
fn the_example_shows_the_defaults() {
    let plain = accepted(config::minimal());
    let shown = accepted(&uncommented());
    for (shown, plain) in [
        (format!("{:?}", shown.runtime), format!("{:?}", plain.runtime)),
        (format!("{:?}", shown.cni), format!("{:?}", plain.cni)),
        (format!("{:?}", shown.kubelet.version), format!("{:?}", plain.kubelet.version)),
        (format!("{:?}", shown.kubelet.root_directory), format!("{:?}", plain.kubelet.root_directory)),
        (format!("{:?}", shown.kubelet.health_timeout), format!("{:?}", plain.kubelet.health_timeout)),
        (format!("{:?}", shown.kubelet.stable_window), format!("{:?}", plain.kubelet.stable_window)),
        (
            format!("{:?}", shown.cluster.as_ref().unwrap().ready_timeout),
            format!("{:?}", plain.cluster.as_ref().unwrap().ready_timeout),
        ),
        (format!("{:?}", shown.sources.attempts), format!("{:?}", plain.sources.attempts)),
        (format!("{:?}", shown.sources.minimum_rate), format!("{:?}", plain.sources.minimum_rate)),
        (format!("{:?}", shown.sources.stall_timeout), format!("{:?}", plain.sources.stall_timeout)),
        (format!("{:?}", shown.cluster.as_ref().unwrap().dns), format!("{:?}", plain.cluster.as_ref().unwrap().dns)),
        (format!("{:?}", shown.cluster.as_ref().unwrap().domain), format!("{:?}", plain.cluster.as_ref().unwrap().domain)),
    ] {
        assert_eq!(shown, plain);
    }
    let (shown, plain) = (shown.flannel.unwrap(), plain.flannel.unwrap());
    assert_eq!((shown.version, shown.network, shown.backend), (plain.version, plain.network, plain.backend));
    let urls = |settings: &config::Settings| {
        settings.sources.components.values().map(|source| source.locations.clone()).collect::<Vec<_>>()
    };
    assert_eq!(urls(&accepted(&uncommented())), urls(&accepted(config::minimal())));
}

#[test]
fn the_example_names_every_key_of_the_schema() {
    fn keys(schema: &serde_json::Value, into: &mut Vec<String>) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            into.push(name.clone());
            if name != "config" {
                keys(inner, into);
            }
        }
    }
    let mut all = Vec::new();
    keys(&config::schema(), &mut all);
    assert!(all.len() > 40, "{all:?}");
    for key in all {
        let named = config::example().lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.starts_with(&format!("{key} = ")) || line.contains(&format!("{key}]")) || line.contains(&format!("{key} = \""))
        });
        assert!(named, "config/example.toml does not show {key}");
    }
}

#[test]
fn the_checked_in_schema_is_the_one_the_code_makes() {
    let made = format!("{:#}\n", config::schema());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/schema.json");
    if std::env::var_os("HOSTLET_WRITE_SCHEMA").is_some() {
        crate::host::files::write(path.as_ref(), made.as_bytes(), 0o644).unwrap();
    }
    let checked_in = crate::host::files::read_text(path.as_ref()).unwrap();
    assert!(
        made == checked_in,
        "config/schema.json is out of date: HOSTLET_WRITE_SCHEMA=1 cargo nextest run --lib checked_in_schema"
    );
}
