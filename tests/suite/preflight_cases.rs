//! Every check of preflight is shown to fail and to pass: `preflight_cases.txt` names the tests, one check a line, as
//! `check | tests in which it fails or warns | tests in which it passes`.
//!
//! Names of unit tests (those without a tier) stand for parsers tested on recorded input, where the condition itself cannot
//! be made on the machines that tests run on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const CASES: &str = include_str!("preflight_cases.txt");

/// The tests of one check.
struct Cases {
    failing: Vec<&'static str>,
    passing: Vec<&'static str>,
}

fn cases() -> BTreeMap<&'static str, Cases> {
    let mut all = BTreeMap::new();
    for line in CASES.lines() {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [check, failing, passing] = columns[..] else { panic!("not `check | failing | passing`: {line}") };
        let (failing, passing) = (failing.split_whitespace().collect(), passing.split_whitespace().collect());
        assert!(all.insert(check, Cases { failing, passing }).is_none(), "{check} has two lines");
    }
    all
}

/// Each check has a case of both kinds, every test that is named exists, and it speaks of the check.
#[test]
fn every_check_is_shown_to_fail_and_to_pass() {
    let cases = cases();
    let ids: BTreeSet<_> = hostlet::preflight::list().iter().map(|check| check.id).collect();
    let mut wrong = Vec::new();
    wrong.extend(ids.iter().filter(|id| !cases.contains_key(**id)).map(|id| format!("{id} has no line")));
    wrong.extend(cases.keys().filter(|id| !ids.contains(**id)).map(|id| format!("there is no check {id}")));
    let (listed, sources) = (listed(), sources());
    for (id, tests) in &cases {
        for (kind, names) in [("failing", &tests.failing), ("passing", &tests.passing)] {
            if names.is_empty() {
                wrong.push(format!("{id} has no {kind} case"));
            }
            wrong.extend(names.iter().filter_map(|name| fault(id, name, &listed, &sources)));
        }
    }
    let count = |which: fn(&Cases) -> &Vec<&'static str>| cases.values().map(|tests| which(tests).len()).sum::<usize>();
    let (failing, passing) = (count(|tests| &tests.failing), count(|tests| &tests.passing));
    println!("{} checks, {failing} failing cases, {passing} passing cases", ids.len());
    assert!(wrong.is_empty(), "preflight_cases.txt:\n{}", wrong.join("\n"));
}

/// What is wrong with naming this test as a case of the check.
fn fault(id: &str, name: &str, listed: &BTreeSet<String>, sources: &[String]) -> Option<String> {
    let tiered = name.starts_with("ns_") || name.starts_with("sys_") || name.starts_with("vm_");
    if tiered && !listed.contains(name) {
        return Some(format!("{id}: {name} is no test of this suite"));
    }
    let Some(body) = sources.iter().find_map(|source| body(source, name)) else {
        return Some(format!("{id}: there is no test {name}"));
    };
    // A parser's test need not know what its check is called.
    (tiered && !body.contains(&format!("\"{id}\""))).then(|| format!("{id}: {name} does not speak of \"{id}\""))
}

/// The text of a test, from its attribute to the brace that ends it.
fn body<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let at = source.find(&format!("fn {name}("))?;
    let (before, after) = source.split_at(at);
    let attribute = before.trim_end().trim_end_matches("async").trim_end();
    attribute.ends_with("test]").then_some(())?;
    let indent = before.rsplit('\n').next()?.trim_end_matches("async ");
    after.split_once(&format!("\n{indent}}}\n")).map(|(body, _)| body)
}

/// The suite's tests, without their modules.
fn listed() -> BTreeSet<String> {
    let own = std::env::current_exe().unwrap();
    let output = Command::new(own).args(["--list", "--format", "terse"]).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| line.strip_suffix(": test").and_then(|path| path.rsplit("::").next()).map(str::to_owned);
    names.lines().filter_map(name).collect()
}

/// The text of every source file.
fn sources() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<PathBuf> = vec![here.join("tests/suite"), here.join("src")];
    let mut texts = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}
