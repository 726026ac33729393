//! TOML fragments, merged, and parsed into [`Settings`]. Pure: the text comes from the caller.
//!
//! Promise: one run reports every mistake that it can, each with fragment, line, column and text, and with what is
//! allowed. The shape of every fragment is checked, its keys and types; the value of a key that a later fragment
//! replaces is not, since it has no effect.
//! Gap: of what the fields of `[kubelet.config]` demand of each other, only what does not hang on the machine is checked.

mod artifacts;
mod availability;
mod build;
pub mod catalog;
mod feature_gates;
mod given;
pub mod kubeadm;
mod kubelet_fields;
mod kubelet_flags;
mod nouns;
mod peers;
mod problem;
mod problems;
mod raw;
mod remembered;
mod settings;
mod shape;
mod template;
mod text;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::LazyLock};

use serde::Deserialize;
use serde_json::Value;
use toml::{Spanned, de::DeTable};

pub use availability::{Absence, Availability};
pub use catalog::Catalog;
pub use feature_gates::{FeatureGates, GateProblem, parse_feature_gates};
pub use kubelet_fields::unknown_kubelet_fields;
pub use kubelet_flags::{KubeletFlag, kubelet_flags, may_have_other_flags};
pub use peers::{PeersFile, peers_file};
pub use problem::{ConfigError, Place, Problem};
pub use remembered::{Configuration, Remembered};
pub use settings::{
    Backend, Bundle, CertificateAuthority, ClientIdentity, CloudProvider, Cluster, Cni, Datastore, EtcdTls, ExtraPort, Flannel,
    FlannelIdentity, Group, JoinCredential, Kubelet, Location, Mesh, Node, Peer, PeersFrom, Preflight, ProxyChoice, Role,
    Runtime, Sample, Settings, Site, Source, Sources, Taint, UrlTemplate, WaitFor, Waiver,
};
pub use text::Fragment;

use nouns::AbsolutePath;
use problems::Problems;
use raw::Raw;
use text::Texts;

/// Reads fragments, each laid over those before it: tables are merged deeply, anything else is replaced, lists included.
/// Then each of `sets` (`key=value`) replaces one key; its value is read as TOML, or else taken as text.
pub fn parse(fragments: &[Fragment], sets: &[String]) -> Result<Settings, ConfigError> {
    parse_with(fragments, sets, Catalog::builtin(), None)
}

/// The same with the catalog in force ([`catalog_file`]) and the file of peers ([`peers_file`]), where the fragments name
/// them: they are read first.
pub fn parse_with(
    fragments: &[Fragment],
    sets: &[String],
    catalog: Catalog,
    file: Option<&PeersFile>,
) -> Result<Settings, ConfigError> {
    parse_as(fragments, sets, catalog, file, Fit::Checked)
}

/// Whether the kubelet's version must have what the configuration uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// It must.
    Checked,
    /// These settings are looked at and never in force: another version is.
    Unchecked,
}

fn parse_as(
    fragments: &[Fragment],
    sets: &[String],
    catalog: Catalog,
    file: Option<&PeersFile>,
    fit: Fit,
) -> Result<Settings, ConfigError> {
    let texts = Texts::new(fragments, sets, file.and_then(PeersFile::fragment));
    let mut problems = Problems::new(&texts);
    let mut merged = DeTable::new();
    for tree in texts.trees() {
        match tree {
            Ok(mut tree) => {
                shape::check_table(&SCHEMA, &mut tree, "", &mut problems);
                text::merge(&mut merged, tree);
            }
            Err(malformed) => problems.malformed(malformed),
        }
    }
    let listed = peers::tree(&texts, &mut problems);
    problems.index(&merged);
    peers::was_read(file, &mut problems);
    if !problems.is_empty() {
        problems.only_values();
    }
    let raw = match Raw::deserialize(toml::Deserializer::from(Spanned::new(0..0, merged))) {
        Ok(raw) => raw,
        Err(error) => {
            problems.add(&error.span().unwrap_or(0..0), error.message());
            return problems.finish(None);
        }
    };
    let listed = peers::raw(listed, &mut problems);
    let settings = build::settings(raw, listed, catalog, fit, &mut problems);
    problems.finish(settings)
}

/// The catalog that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFile {
    /// Where it is.
    pub path: PathBuf,
    /// It takes the place of hostlet's own, instead of going before that.
    pub replaces: bool,
}

/// Which file has to be read for [`parse_with`]. None as well where a fragment cannot be read: parsing says why.
#[must_use]
pub fn catalog_file(fragments: &[Fragment], sets: &[String]) -> Option<CatalogFile> {
    let texts = Texts::new(fragments, sets, None);
    let mut merged = DeTable::new();
    for tree in texts.trees() {
        text::merge(&mut merged, tree.ok()?);
    }
    let sources = merged.get("sources")?.get_ref().as_table()?.clone();
    let path: AbsolutePath = sources.get("catalog-file")?.get_ref().as_str()?.parse().ok()?;
    let builtin = sources.get("builtin-catalog").and_then(|value| value.get_ref().as_bool());
    Some(CatalogFile { path: path.0, replaces: builtin == Some(false) })
}

static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<Raw>);

fn schema_of<T: schemars::JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The JSON schema of the configuration, for editors. `config/schema.json` is its copy.
#[must_use]
pub fn schema() -> Value {
    SCHEMA.clone()
}

/// Every key, commented, with its meaning, default and range.
#[must_use]
pub fn example() -> &'static str {
    include_str!("../../config/example.toml")
}

/// The smallest configuration that makes a node of a cluster.
#[must_use]
pub fn minimal() -> &'static str {
    include_str!("../../config/minimal.toml")
}
