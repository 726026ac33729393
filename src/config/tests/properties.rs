use proptest::prelude::*;

use super::fragment;
use crate::config::{
    self, Fragment,
    text::{Texts, merge},
};

/// Text that looks enough like a configuration to get past the first line.
fn nearly_toml() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[cluster]\n".to_owned()),
        Just("[kubelet.config]\n".to_owned()),
        Just("[[preflight.waive]]\n".to_owned()),
        Just("[sources.kubelet]\n".to_owned()),
        "(server|version|ip|dns|ca|labels|taints|port|config|url|digest|waive|a\\.b)( = )?",
        "(\"[ -~]{0,12}\"|-?[0-9]{1,20}|\\[|\\]|\\{|\\}|true|1.5|nan|1979-05-27|\"é\\{version\\}\")",
        "[\\PC\n\t]{0,6}",
        Just("\n".to_owned()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A tree of sections and keys in which a name always has the same kind of value, as in a well-formed fragment.
fn well_formed() -> impl Strategy<Value = String> {
    prop::collection::btree_map("[a-c]\\.[a-c]\\.[x-z]", 0u8..5, 0..8)
        .prop_map(|entries| entries.iter().map(|(key, value)| format!("{key} = [{value}]")).collect::<Vec<_>>().join("\n"))
}

/// What fragments amount to when they are laid over each other.
fn merged(texts: &[&str]) -> toml::Table {
    let fragments: Vec<Fragment> = texts.iter().map(|text| fragment(text)).collect();
    let texts = Texts::new(&fragments, &[], None);
    let mut result = toml::de::DeTable::new();
    for tree in texts.trees() {
        merge(&mut result, tree.ok().unwrap());
    }
    serde::Deserialize::deserialize(toml::Deserializer::from(toml::Spanned::new(0..0, result))).unwrap()
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}", set in "\\PC{0,40}") {
        let _ = config::parse(&[fragment(&text)], &[set]).map_err(|error| error.to_string());
    }

    #[test]
    fn no_text_like_toml_makes_the_parser_panic(first in nearly_toml(), second in nearly_toml(), set in "(node|a)?\\.?(ip|name)?=?[ -~]{0,12}") {
        let fragments = [fragment(&first), fragment(&second)];
        let _ = config::parse(&fragments, &[set]).map_err(|error| error.to_string());
    }

    #[test]
    fn every_place_of_a_problem_lies_in_the_text(text in nearly_toml()) {
        if let Err(error) = config::parse(&[fragment(&text)], &[]) {
            for place in error.problems.iter().filter_map(|problem| problem.place.as_ref()) {
                prop_assert!(place.line <= text.matches('\n').count() + 1);
                prop_assert!(place.indent + place.width <= place.text.chars().count() + 1);
            }
        }
    }

    #[test]
    fn a_fragment_over_itself_changes_nothing(text in well_formed()) {
        prop_assert_eq!(merged(&[&text, &text]), merged(&[&text]));
    }

    #[test]
    fn an_empty_fragment_changes_nothing(text in well_formed()) {
        prop_assert_eq!(merged(&[&text, ""]), merged(&["", &text]));
    }

    #[test]
    fn laying_fragments_over_each_other_is_associative(a in well_formed(), b in well_formed(), c in well_formed()) {
        let text = |table: toml::Table| toml::to_string(&table).unwrap();
        let (left, right) = (text(merged(&[&a, &b])), text(merged(&[&b, &c])));
        prop_assert_eq!(merged(&[&left, &c]), merged(&[&a, &right]));
    }

    #[test]
    fn values_come_through_as_they_were_written(
        name in "[a-z0-9]{1,20}", address: u32, port in 1u16.., vni in 1u32..(1 << 24), seconds in 10u64..3600,
    ) {
        let address = std::net::Ipv4Addr::from_bits(address | 0x0100_0000 & 0x7fff_ffff);
        let text = format!(
            "sources.flannel-cni.trust-on-first-use = true\n[node]\nname = {name:?}\n[kubelet]\nhealth-timeout = {seconds}\n[flannel]\ndatastore = \"etcd\"\n\
             etcd.endpoints = [\"https://{address}:{port}\"]\nport = {port}\nvni = {vni}\n"
        );
        let settings = config::parse(&[fragment(&text)], &[]).unwrap();
        prop_assert_eq!(settings.node.name.unwrap().to_string(), name);
        prop_assert_eq!(settings.kubelet.health_timeout.as_secs(), seconds);
        let backend = settings.flannel.unwrap().backend;
        prop_assert_eq!(backend, config::Backend::Vxlan { port: crate::model::Port::known(port), vni, direct_routing: false });
    }
}

#[test]
fn nesting_that_would_exhaust_the_stack_is_refused() {
    for text in [
        format!("{}a = 1", "a.".repeat(200_000)),
        format!("a = {}", "[".repeat(200_000)),
        format!("x = {{ {}a = 1 }}", "a.".repeat(100_000)),
    ] {
        let error = config::parse(&[fragment(&text)], &[]).unwrap_err();
        assert!(!error.problems.is_empty());
        config::parse(&[], &[text]).unwrap_err();
    }
}
