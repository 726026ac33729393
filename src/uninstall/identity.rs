//! What the kubelet wrote outside of its root directory.

use std::path::Path;

use super::{Intent, UninstallError, Uninstalled, paths};
use crate::model::layout;

/// Removes the kubeconfigs with credentials. What an administrator put beside them stays.
pub(super) fn remove(intent: &Intent, done: &mut Uninstalled) -> Result<(), UninstallError> {
    if intent.manifest.is_none() {
        return Ok(());
    }
    for path in [layout::KUBELET_KUBECONFIG, layout::BOOTSTRAP_KUBECONFIG] {
        paths::remove_file(Path::new(path), done)?;
    }
    Ok(())
}
