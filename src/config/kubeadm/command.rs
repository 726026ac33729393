//! `kubeadm join …`, as it is pasted.

use super::{HASH_HELP, Join, NotAJoin, left_out, unknown};

/// The flags that have a value, which stands behind `=` or is the next word.
const WITH_VALUE: &[&str] = &[
    "apiserver-advertise-address",
    "apiserver-bind-port",
    "certificate-key",
    "config",
    "cri-socket",
    "discovery-file",
    "discovery-token",
    "discovery-token-ca-cert-hash",
    "ignore-preflight-errors",
    "node-name",
    "patches",
    "rootfs",
    "skip-phases",
    "tls-bootstrap-token",
    "token",
    "v",
];
/// Those that have none, or one behind `=` alone.
const SWITCHES: &[&str] = &["control-plane", "discovery-token-unsafe-skip-ca-verification", "dry-run"];

/// Whether the text is a command of kubeadm's, and not a file's path or content.
#[must_use]
pub fn is_command(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let program = words.find(|word| !matches!(*word, "sudo" | "$" | "#")).unwrap_or_default();
    program.rsplit('/').next() == Some("kubeadm")
}

pub(super) fn read(text: &str) -> Result<Join, NotAJoin> {
    // A line that is continued is one for the shell; shlex would see an empty word there.
    let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let words: Option<Vec<String>> = shlex::split(text.trim_start_matches(['$', '#', ' ', '\n', '\t']));
    let Some(words) = words else {
        return Err(NotAJoin::new("the command has a quote that is not closed", "paste the command as kubeadm printed it"));
    };
    let words: Vec<String> = words.into_iter().skip_while(|word| word == "sudo").skip(1).collect();
    let Some((subcommand, rest)) = words.split_first() else {
        return Err(NotAJoin::new("kubeadm without a command", "paste a whole command: kubeadm join 10.0.1.1:6443 --token …"));
    };
    if subcommand != "join" {
        let help =
            "hostlet makes a node of a cluster that is there; paste the `kubeadm join` command that kubeadm init printed";
        return Err(NotAJoin::new(format!("this is `kubeadm {subcommand}`, not `kubeadm join`"), help));
    }
    let mut join = Join::default();
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-').filter(|flag| flag.starts_with('v'))) else {
            argument(&mut join, word)?;
            continue;
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        if SWITCHES.contains(&name) {
            if value.as_deref() != Some("false") {
                switch(&mut join, name)?;
            }
        } else if WITH_VALUE.contains(&name) {
            let Some(value) = value.or_else(|| words.next().cloned()) else {
                return Err(NotAJoin::new(format!("--{name} has no value"), "paste the command as kubeadm printed it, whole"));
            };
            with_value(&mut join, name, value)?;
        } else {
            let known: Vec<&str> = WITH_VALUE.iter().chain(SWITCHES).copied().collect();
            return Err(unknown("the flag", name, &known));
        }
    }
    if join.ca_hashes.is_empty() {
        return Err(NotAJoin::new(
            "it has no --discovery-token-ca-cert-hash, so nothing would vouch for the API server",
            HASH_HELP,
        ));
    }
    Ok(join)
}

fn argument(join: &mut Join, word: &str) -> Result<(), NotAJoin> {
    if join.endpoint.is_empty() {
        word.clone_into(&mut join.endpoint);
        return Ok(());
    }
    Err(NotAJoin::new(
        format!("there is a second address, {word:?}"),
        "paste one command: kubeadm join 10.0.1.1:6443 --token …",
    ))
}

fn switch(join: &mut Join, name: &str) -> Result<(), NotAJoin> {
    match name {
        "control-plane" => join.control_plane(),
        "discovery-token-unsafe-skip-ca-verification" => {
            let found = "--discovery-token-unsafe-skip-ca-verification would take any server for the cluster's";
            return Err(NotAJoin::new(found, HASH_HELP));
        }
        _ => join.notes.extend(left_out(name).map(|why| format!("--{name} is left out: {why}"))),
    }
    Ok(())
}

fn with_value(join: &mut Join, name: &str, value: String) -> Result<(), NotAJoin> {
    match name {
        "token" | "discovery-token" | "tls-bootstrap-token" => join.set_token(value),
        "discovery-token-ca-cert-hash" => {
            join.ca_hashes.extend(value.split(',').map(str::to_owned));
        }
        "node-name" => join.node_name = Some(value),
        "cri-socket" => join.cri_socket = Some(value),
        "apiserver-advertise-address" => join.node_ips = vec![value],
        "config" => {
            return Err(NotAJoin::new(format!("the command names a file, {value:?}"), format!("hostlet config from {value}")));
        }
        "discovery-file" => {
            let help = "write its certificate-authority-data, decoded, into a file and name it with cluster.ca-file; and its \
                        server with cluster.server";
            return Err(NotAJoin::new("hostlet discovers a cluster by token and hash, not by a file", help));
        }
        _ => join.notes.extend(left_out(name).map(|why| format!("--{name} is left out: {why}"))),
    }
    Ok(())
}
