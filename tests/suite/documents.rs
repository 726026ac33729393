//! The pages that are made from the program are those in the repository.

#[allow(dead_code, reason = "the manual needs more of it than the pages")]
#[path = "../../packaging/documents/pages.rs"]
mod pages;

#[test]
fn pages_made_from_the_command_line_and_the_schema_are_those_in_docs() {
    for (path, text) in pages::all() {
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(there == text, "{path} is another: cargo run --example documents -- pages");
    }
}

#[test]
fn every_command_has_a_page_and_no_secret_one_has() {
    let names: Vec<String> = pages::commands(&<hostlet::cli::Cli as clap::CommandFactory>::command())
        .iter()
        .map(|command| command.get_name().to_owned())
        .collect();
    for name in ["hostlet", "hostlet-install", "hostlet-bundle-create", "hostlet-config-from"] {
        assert!(names.iter().any(|there| there == name), "{name} is not in {names:?}");
    }
    assert!(names.iter().all(|name| !name.contains("stand-in") && !name.contains("help")), "{names:?}");
}

#[test]
fn checks_that_the_troubleshooting_page_names_exist() {
    let page = std::fs::read_to_string("docs/troubleshooting.md").unwrap();
    let known: Vec<&str> = hostlet::preflight::list().iter().map(|check| check.id).collect();
    let rows = page.lines().skip_while(|line| *line != "## By check").take_while(|line| !line.contains("between nodes"));
    let ids: Vec<&str> = rows
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(ids.len() > 15, "{ids:?}");
    for id in ids {
        assert!(known.contains(&id), "{id}");
    }
}
