//! A source in words: for events and errors, so without credentials.

use url::Url;

/// A URL without user name, password, query and fragment: each of them may carry a credential (a mirror's token, the
/// signature of a presigned URL). What was left out shows as `…`.
#[must_use]
pub fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither fails where there is a host, and without one there is no user name.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    if url.query().is_some() { format!("{shown}?…") } else { shown.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_is_seen_in_a_url() {
        let show = |text: &str| redacted(&text.parse().unwrap());
        assert_eq!(show("https://user:pass@mirror.example:8443/kubelet?token=x#y"), "https://mirror.example:8443/kubelet?…");
        assert_eq!(show("https://token@mirror.example/kubelet"), "https://mirror.example/kubelet");
        assert_eq!(show("file:///srv/kubelet"), "file:///srv/kubelet");
    }
}
