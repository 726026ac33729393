//! `hostlet config from`, as it is run.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

const COMMAND: &str = "kubeadm join 10.0.1.1:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash \
    sha256:d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4";

fn hostlet(configuration: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hostlet"))
        .arg("--config")
        .arg(configuration)
        .args(["config", "from"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_join_command_is_written_as_configuration_and_token_and_nothing_is_replaced_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("etc/hostlet.toml");
    let token = directory.path().join("etc/bootstrap-token");
    let printed = hostlet(&configuration, &[COMMAND, "--print"], "");
    assert!(printed.status.success() && !said(&printed).contains("0123456789abcdef"), "{}", said(&printed));
    assert!(!configuration.exists() && !token.exists());

    let written = hostlet(&configuration, &[COMMAND], "");
    assert!(written.status.success() && said(&written).contains("Next: hostlet plan"), "{}", said(&written));
    assert_eq!(fs::read(&configuration).unwrap(), printed.stdout);
    assert_eq!(fs::read_to_string(&token).unwrap(), "abcdef.0123456789abcdef\n");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);

    let other = COMMAND.replace("10.0.1.1", "10.0.1.2");
    let refused = hostlet(&configuration, &[&other], "");
    assert!(refused.status.code() == Some(2) && said(&refused).contains("--force"), "{}", said(&refused));
    assert!(fs::read_to_string(&configuration).unwrap().contains("10.0.1.1"));
    let replaced = hostlet(&configuration, &["-", "--force"], &other);
    assert!(replaced.status.success(), "{}", said(&replaced));
    assert!(fs::read_to_string(&configuration).unwrap().contains("10.0.1.2"));
}

#[test]
fn what_is_no_good_configuration_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("hostlet.toml");
    for (source, says) in [
        ("kubeadm init", "kubeadm join"),
        ("/nonexistent/join.yaml", "/nonexistent/join.yaml"),
        (&COMMAND.replace("sha256:", "md5:"), "sha256: and 64 hexadecimal characters"),
        (&format!("{COMMAND} --node-name Node_7"), "not a node name"),
    ] {
        let output = hostlet(&configuration, &[source], "");
        let said = said(&output);
        assert!(!output.status.success() && said.contains(says), "{source}: {said}");
        assert!(!said.contains("0123456789abcdef"), "{said}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{source}");
    }
}
