//! `hostlet config`

use std::path::Path;

use serde_json::json;

use super::{Done, settings};
use crate::{
    cli::{ConfigCommand, Global},
    config::{
        self, Fragment,
        kubeadm::{self, Join},
    },
    host::{files, look},
    pipeline::Failure,
};

const FLANNEL_RBAC: &str = include_str!("../../config/flannel-rbac.yaml");

pub(super) fn run(global: &Global, command: ConfigCommand) -> Result<Done, Failure> {
    match command {
        ConfigCommand::Check => {
            settings(global)?;
            Done::new(&"The configuration is good.\n", &json!({ "good": true }))
        }
        ConfigCommand::Example => Done::new(&config::example(), &json!({ "example": config::example() })),
        ConfigCommand::Schema => {
            let schema = config::schema();
            Done::new(&format!("{schema:#}\n"), &schema)
        }
        ConfigCommand::FlannelRbac => Done::new(&FLANNEL_RBAC, &json!({ "manifest": FLANNEL_RBAC })),
        ConfigCommand::From { source, force, print } => from(global, &source, force, print),
    }
}

/// Nothing is written unless what would be written is a good configuration.
fn from(global: &Global, source: &str, force: bool, print: bool) -> Result<Done, Failure> {
    let text = if source == "-" {
        files::read_text(Path::new("/dev/stdin"))?
    } else if kubeadm::is_command(source) {
        source.to_owned()
    } else {
        files::read_text(Path::new(source))?
    };
    let join = Join::read(&text)?;
    let (file, token_file) = (&global.config, global.config.with_file_name("bootstrap-token"));
    let toml = join.to_toml(&token_file);
    config::parse(&[Fragment { name: file.display().to_string(), text: toml.clone() }], &global.set)?;
    if print {
        return Done::new(&toml, &json!({ "configuration": toml, "notes": join.notes() }));
    }
    for path in [file, &token_file] {
        if !force && look::exists(path) {
            return Err(Failure::WouldReplace(path.display().to_string()));
        }
    }
    if let Some(directory) = file.parent() {
        files::create_directory(directory, 0o755)?;
    }
    if let Some(token) = join.token() {
        files::write(&token_file, format!("{}\n", token.expose()).as_bytes(), 0o600)?;
    }
    files::write(file, toml.as_bytes(), 0o644)?;
    let notes: String = join.notes().iter().fold(String::new(), |notes, note| notes + "  " + note + "\n");
    let text =
        format!("Written: {}, and the token into {}.\n{notes}Next: hostlet plan\n", file.display(), token_file.display());
    Done::new(&text, &json!({ "written": [file, token_file], "notes": join.notes() }))
}
