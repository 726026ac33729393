//! Who this machine is: the id that systemd gave its installation, which the kubelet reports as its Node's.

use std::path::Path;

use super::files;

/// /etc/machine-id; empty where there is none.
pub fn id() -> files::Result<String> {
    let text = files::if_present(files::read_text(Path::new("/etc/machine-id")))?;
    Ok(text.unwrap_or_default().trim().to_owned())
}
