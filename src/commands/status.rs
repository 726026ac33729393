//! `hostlet status`

use std::path::Path;

use super::Done;
use crate::{
    model::layout,
    pipeline::{self, Failure},
};

pub(super) async fn run(exit_code: bool) -> Result<Done, Failure> {
    let status = pipeline::status(Path::new(layout::OPT), Path::new(layout::STATE)).await?;
    let code = u8::from(exit_code && !status.is_good());
    Ok(Done::new(&status, &status)?.exit_code(code))
}
