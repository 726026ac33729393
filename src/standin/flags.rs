//! Command lines as Go's flag libraries read them.

use std::collections::BTreeMap;

/// The flags that were given, without their dashes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(BTreeMap<String, Vec<String>>);

impl Flags {
    /// Reads `--name=value` and `--name value`; flags named in `switches` stand alone. An unknown flag is an error.
    pub(super) fn parse(arguments: &[String], known: &str, switches: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let flag = argument.trim_start_matches('-');
            if flag.len() == argument.len() {
                return Err(format!("unknown command {argument:?}"));
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let switch = switches.split_whitespace().any(|known| known == name);
            if !switch && !known.split_whitespace().any(|known| known == name) {
                return Err(format!("unknown flag: --{name}"));
            }
            let value = match value {
                Some(value) => value,
                None if switch => "true".to_owned(),
                None => arguments.next().cloned().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
            };
            flags.0.entry(name.to_owned()).or_default().push(value);
        }
        Ok(flags)
    }

    /// A flag's value; the last one where it was given several times.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|values| values.last()).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// Sets a flag that was not given.
    pub(super) fn default_to(&mut self, name: &str, value: String) {
        self.0.entry(name.to_owned()).or_insert_with(|| vec![value]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Flags, String> {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Flags::parse(&arguments, "config iface", "version")
    }

    #[test]
    fn values_follow_or_are_attached_and_switches_stand_alone() {
        let flags = parse(&["--config", "/a", "-iface=eth0", "--iface=eth1", "--version"]).unwrap();
        assert_eq!((flags.get("config"), flags.get("iface"), flags.is_on("version")), (Some("/a"), Some("eth1"), true));
    }

    #[test]
    fn what_is_unknown_or_incomplete_is_refused() {
        assert_eq!(parse(&["--pod-infra-container-image=x"]).unwrap_err(), "unknown flag: --pod-infra-container-image");
        assert_eq!(parse(&["--config"]).unwrap_err(), "flag needs an argument: --config");
        assert_eq!(parse(&["run"]).unwrap_err(), "unknown command \"run\"");
    }
}
