//! `hostlet config`

use serde_json::json;

use super::{Done, settings};
use crate::{
    cli::{ConfigCommand, Global},
    config,
    pipeline::Failure,
};

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
    }
}
