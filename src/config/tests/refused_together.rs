use super::{fragment, parse, with_mistakes};
use crate::config::{self, Fragment};

#[test]
fn one_run_reports_every_mistake_in_the_order_of_the_text() {
    let error = parse(&with_mistakes()).unwrap_err();
    let lines: Vec<usize> =
        error.problems.iter().filter_map(|problem| problem.place.as_ref()).map(|place| place.line).collect();
    assert_eq!(lines, [2, 4, 5, 7, 8], "{error}");
    assert!(error.to_string().starts_with("the configuration has 5 mistakes\n\n"));
}

#[test]
fn a_misspelt_key_is_not_reported_again_as_a_missing_one() {
    let error = parse(&config::minimal().replace("server", "sever")).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
}

#[test]
fn each_mistake_names_its_own_fragment() {
    let second = Fragment { name: "/etc/hostlet/hostlet.d/50-node.toml".to_owned(), text: "\n[node]\nrol = 1".to_owned() };
    let error = config::parse(&[fragment("[nod]"), second], &["x=1".to_owned()]).unwrap_err();
    let places: Vec<_> = error.problems.iter().map(|problem| problem.place.clone().unwrap()).collect();
    let places: Vec<_> = places.iter().map(|place| (place.fragment.as_str(), place.line)).collect();
    assert_eq!(places, [("/etc/hostlet/hostlet.toml", 1), ("/etc/hostlet/hostlet.d/50-node.toml", 3), ("--set", 1)]);
}

#[test]
fn a_fragment_that_is_not_toml_does_not_hide_the_mistakes_of_the_others() {
    let second = Fragment { name: "b".to_owned(), text: "nod = 1".to_owned() };
    let error = config::parse(&[fragment("[cluster"), second], &[]).unwrap_err();
    assert!(error.problems.len() >= 2, "{error}");
}

#[test]
fn a_long_line_is_shortened_around_the_mistake() {
    let text = format!(
        "node = {{ labels = {{ {} }}, rol = 1 }}",
        (0..100).map(|n| format!("l{n} = \"x\"")).collect::<Vec<_>>().join(", ")
    );
    let place = super::problem(parse(&text)).place.unwrap();
    let shown: String = place.text.chars().skip(place.indent).take(place.width).collect();
    assert_eq!((shown.as_str(), place.text.chars().count() <= 160), ("rol", true));
}
