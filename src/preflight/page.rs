//! The documentation page of all checks, made from their list: `docs/preflight.md` is this text.

use std::fmt::Write as _;

use super::list;

const HEAD: &str = "\
# What preflight checks

`hostlet preflight` looks at the host with all these checks at once and changes nothing; `hostlet install` does the same and
goes on only when none blocks. A check ends as `pass`, `warning`, `failure`, or `unknown` when it could not find out: out of
time, not allowed to look, or a bug. A failure blocks where the check's severity is `error`, and so does `unknown` there; a
`warning` never does. A check of severity `error` ends as a warning where something is near the line, or less than best.

- `hostlet preflight --output json` prints each finding with id, severity, outcome, what was observed, what is required, the
  remedy and how long the look took.
- `--wait 5m`, also of `install` and `upgrade`, looks again at what blocks and may become true by itself while a machine
  boots: those with \"waits\" below, and all that ran out of time. Without it the whole is over within two seconds, whatever
  hangs.
- A check may be waived by its id, with a reason that is shown with the result; there is no way to waive all:
  `preflight.waive = [{ check = \"swap\", reason = \"zram only, agreed in OPS-12\" }]`. A waiver without a reason, for an id that
  does not exist, given twice, or that nothing needed is reported.
- What install sets by itself (kernel parameters, modules) passes with \"will be set by install\"; `hostlet plan` shows it.

| check | what holds on a fit host | severity | waits | remedy |
|---|---|---|---|---|
";

/// The page, as Markdown.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    // A cell ends at a bar.
    let cell = |text: &str| text.replace('|', "\\|");
    for check in list() {
        let waits = if check.waits { "waits" } else { "" };
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {waits} | {} |",
            check.id,
            cell(check.tests),
            cell(&check.severity),
            cell(check.remedy)
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/preflight.md");

    #[test]
    #[allow(clippy::disallowed_methods, reason = "it reads a file of the sources")]
    fn the_page_in_the_documentation_is_this_one() {
        let there = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(there == page(), "write it anew: cargo run -- preflight --list --markdown >docs/preflight.md");
    }

    #[test]
    fn every_check_has_one_row_of_five_cells() {
        for check in list() {
            let page = page();
            let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&format!("| `{}` |", check.id))).collect();
            assert_eq!(rows.len(), 1, "{}", check.id);
            assert_eq!(rows[0].replace("\\|", "").matches('|').count(), 6, "{}", check.id);
        }
    }

    /// A remedy that names a key which does not exist sends people astray.
    #[test]
    fn every_key_of_the_configuration_that_is_named_exists() {
        let schema = include_str!("../../config/schema.json");
        let sections = ["node", "cluster", "kubelet", "flannel", "cni", "runtime", "sources", "preflight"];
        let is_of_a_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let mut named = 0;
        let page = page();
        for word in page.split(|c: char| !is_of_a_key(c)) {
            let mut parts = word.trim_end_matches('.').split('.');
            if parts.next().is_some_and(|section| sections.contains(&section))
                && let Some(key) = parts.next_back().filter(|key| !matches!(*key, "service" | "md" | "toml"))
            {
                assert!(schema.contains(&format!("\"{key}\": {{")), "{word}");
                named += 1;
            }
        }
        assert!(named > 5, "{named}");
    }
}
